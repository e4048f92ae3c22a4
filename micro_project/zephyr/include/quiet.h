/* Nothing but the network runs from the start of the stopwatch until the link is used again. */
#ifndef TVM_PATCH_QUIET_H
#define TVM_PATCH_QUIET_H

/* Masks interrupts, so that no handler's time is measured and none pushes its frame on the
 * painted stack. */
void tvm_patch_quiet_begin(void);

/* Lets interrupts through again. Harmless when repeated. */
void tvm_patch_quiet_end(void);

#endif
