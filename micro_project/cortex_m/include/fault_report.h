/* Tells the host of a fault. Common to the ports that run on a Cortex-M. */
#ifndef TVM_PATCH_FAULT_REPORT_H
#define TVM_PATCH_FAULT_REPORT_H

#include <stdint.h>

/* `stack_pointer` is that of the code which faulted, at the frame that the core has pushed.
 * Reads and writes the link by polling it: interrupts stay off for good. */
_Noreturn void tvm_patch_report_fault(uintptr_t stack_pointer);

#endif
