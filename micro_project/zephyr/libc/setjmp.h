/* Zephyr's minimal C library has no setjmp. Saves what the Arm procedure call standard has a
 * function keep, but for floating-point registers: see the runtime's server.c. */
#ifndef TVM_PATCH_SETJMP_H
#define TVM_PATCH_SETJMP_H

/* r4 to r11, sp, lr */
typedef unsigned int jmp_buf[10];

int setjmp(jmp_buf environment) __attribute__((returns_twice));
_Noreturn void longjmp(jmp_buf environment, int value);

#endif
