/* From reset to main: memory, floating point, and a fence below the stack. */
#include <stdint.h>
#include <string.h>

#include "cortex_m.h"
#include "faults.h"

extern uint8_t stack_limit[], stack_top[];
extern uint8_t data_begin[], data_end[], bss_begin[], bss_end[], arena_begin[], arena_end[];
extern const uint8_t data_load[];

int main(void);
void reset_handler(void);

static void enable_fpu(void) {
#if defined(__ARM_FP)
  SCB_CPACR |= SCB_CPACR_FPU_FULL_ACCESS;
  cortex_m_barrier();
#endif
}

/* The stack is the lowest thing in SRAM. What lies below it may be memory that ignores writes
 * instead of faulting, so an overflow is made to fault here. */
static void fence_stack(void) {
#if defined(__ARM_ARCH_8M_MAIN__)
  __asm__ volatile("msr msplim, %0" ::"r"(stack_limit));
#else
  enum { FENCE_BYTES_LOG2 = 15 };
  const uintptr_t fence = (uintptr_t)stack_limit - (1u << FENCE_BYTES_LOG2);
  MPU_RBAR = fence | MPU_RBAR_VALID;
  MPU_RASR = MPU_RASR_EXECUTE_NEVER | ((FENCE_BYTES_LOG2 - 1) << 1) | MPU_RASR_ENABLE;
  MPU_CTRL = MPU_CTRL_PRIVDEFENA | MPU_CTRL_ENABLE;
  cortex_m_barrier();
#endif
}

extern void (*const vector_table[])(void);

void reset_handler(void) {
  SCB_VTOR = (uintptr_t)vector_table;
  enable_fpu();
  fence_stack();
  memcpy(data_begin, data_load, (size_t)(data_end - data_begin));
  memset(bss_begin, 0, (size_t)(bss_end - bss_begin));
  memset(arena_begin, 0, (size_t)(arena_end - arena_begin));
  main();
  for (;;) {
  }
}

__attribute__((section(".vectors"), used)) void (*const vector_table[16])(void) = {
    (void (*)(void))(uintptr_t)stack_top,
    reset_handler,
    fault_handler, /* NMI */
    fault_handler, /* HardFault */
    fault_handler, /* MemManage */
    fault_handler, /* BusFault */
    fault_handler, /* UsageFault */
    fault_handler, /* SecureFault */
    fault_handler,
    fault_handler,
    fault_handler,
    fault_handler, /* SVCall */
    fault_handler, /* DebugMonitor */
    fault_handler,
    fault_handler, /* PendSV */
    fault_handler, /* SysTick */
};
