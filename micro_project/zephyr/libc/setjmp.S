/* int setjmp(jmp_buf) and void longjmp(jmp_buf, int); the layout is setjmp.h's. */
  .syntax unified
  .thumb

  .section .text.setjmp, "ax", %progbits
  .global setjmp
  .type setjmp, %function
setjmp:
  mov r1, sp
  stmia r0!, {r4-r11}
  stmia r0!, {r1, lr}
  movs r0, #0
  bx lr
  .size setjmp, . - setjmp

  .section .text.longjmp, "ax", %progbits
  .global longjmp
  .type longjmp, %function
longjmp:
  ldmia r0!, {r4-r11}
  ldmia r0!, {r2, lr}
  mov sp, r2
  movs r0, r1
  it eq
  moveq r0, #1
  bx lr
  .size longjmp, . - longjmp
