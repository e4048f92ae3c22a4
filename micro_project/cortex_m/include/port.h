/* The inline part of the bare-metal port. */
#ifndef TVM_PATCH_PORT_H
#define TVM_PATCH_PORT_H

#include <stdint.h>

static inline uintptr_t tvm_patch_port_stack_pointer(void) {
  uintptr_t stack_pointer;
  __asm__ volatile("mov %0, sp" : "=r"(stack_pointer));
  return stack_pointer;
}

#endif
