#include "faults.h"

#include "fault_report.h"

/* The interrupted code's stack is of no more use, and may be what failed: start a new one. */
__attribute__((naked)) void fault_handler(void) {
  __asm__ volatile(
#if defined(__ARM_ARCH_8M_MAIN__)
      "movs r1, #0\n\t"
      "mrs r0, msp\n\t"
      "msr msplim, r1\n\t"
#else
      "mrs r0, msp\n\t"
#endif
      "ldr r1, =stack_top\n\t"
      "msr msp, r1\n\t"
      "isb\n\t"
      "b tvm_patch_report_fault\n\t"
      ".ltorg");
}
