/* Takes faults before Zephyr does, which clears the registers that tell what happened. */
#include <stdint.h>

#include "fault_report.h"

/* In an EXC_RETURN value: the interrupted code ran on the process stack. */
enum { EXC_RETURN_PROCESS_STACK = 1 << 2 };

void __wrap_z_arm_fault(uint32_t main_stack_pointer, uint32_t process_stack_pointer,
                        uint32_t exc_return);

void __wrap_z_arm_fault(uint32_t main_stack_pointer, uint32_t process_stack_pointer,
                        uint32_t exc_return) {
  tvm_patch_report_fault((exc_return & EXC_RETURN_PROCESS_STACK) != 0 ? process_stack_pointer
                                                                      : main_stack_pointer);
}
