/* The cycle counter of the Data Watchpoint and Trace unit (Armv7-M and Armv8-M architecture
 * reference manuals). Zephyr's own cycle count is a 32,768 Hz clock on Nordic's chips. */
#include <zephyr/kernel.h>

#include "cortex_m.h"
#include "stopwatch.h"
#include "tvm_patch/protocol.h"

#define DEMCR TVM_PATCH_REGISTER(0xe000edfcu)
#define DWT_CTRL TVM_PATCH_REGISTER(0xe0001000u)
#define DWT_CYCCNT TVM_PATCH_REGISTER(0xe0001004u)
#define DWT_LAR TVM_PATCH_REGISTER(0xe0001fb0u)

enum { DEMCR_TRACE_ENABLE = 1 << 24, DWT_CTRL_CYCLES_ENABLE = 1 << 0 };

#define DWT_UNLOCK_KEY 0xc5acce55u

void tvm_patch_stopwatch_init(void) {
  DEMCR |= DEMCR_TRACE_ENABLE;
  DWT_LAR = DWT_UNLOCK_KEY; /* the Cortex-M7 has a lock; elsewhere nothing is there */
  DWT_CTRL |= DWT_CTRL_CYCLES_ENABLE;
  cortex_m_barrier();
}

#if defined(CONFIG_SOC_FAMILY_NRF) || defined(CONFIG_SOC_FAMILY_NORDIC_NRF)
extern uint32_t SystemCoreClock;
void SystemCoreClockUpdate(void);

static uint32_t core_hz(void) {
  SystemCoreClockUpdate();
  return SystemCoreClock;
}
#else
/* The system timer is the core's SysTick. */
static uint32_t core_hz(void) {
  return (uint32_t)sys_clock_hw_cycles_per_sec();
}
#endif

struct tvm_patch_clock tvm_patch_stopwatch_clock(void) {
  return (struct tvm_patch_clock){
      .kind = TVM_PATCH_CLOCK_CYCLES, .units_per_tick = 1, .hz = core_hz()};
}

void tvm_patch_stopwatch_start(void) {
  DWT_CYCCNT = 0;
  cortex_m_barrier();
}

uint64_t tvm_patch_stopwatch_elapsed(void) {
  return DWT_CYCCNT;
}
