/* The timer of the Cortex-M System Design Kit (Arm DDI 0479), as QEMU's MPS2 machines have it.
 * It counts down; loading the value restarts the current period, which sets the phase, so that
 * the same instructions count the same in every run. */
#include <zephyr/devicetree.h>
#include <zephyr/kernel.h>

#include "stopwatch.h"
#include "tvm_patch/protocol.h"

struct cmsdk_timer {
  volatile uint32_t control;
  volatile uint32_t value;
  volatile uint32_t reload;
  volatile uint32_t interrupt;
};

enum { TIMER_CONTROL_ENABLE = 1 << 0 };

#define TIMER ((struct cmsdk_timer *)DT_REG_ADDR(DT_NODELABEL(timer0)))

void tvm_patch_stopwatch_init(void) {
  TIMER->reload = UINT32_MAX;
}

struct tvm_patch_clock tvm_patch_stopwatch_clock(void) {
  return (struct tvm_patch_clock){
      .kind = TVM_PATCH_CLOCK_INSTRUCTIONS,
      .units_per_tick = CONFIG_TVM_PATCH_INSTRUCTIONS_PER_TICK,
      .hz = (uint32_t)sys_clock_hw_cycles_per_sec(),
  };
}

void tvm_patch_stopwatch_start(void) {
  TIMER->control = TIMER_CONTROL_ENABLE;
  TIMER->value = UINT32_MAX;
}

uint64_t tvm_patch_stopwatch_elapsed(void) {
  return UINT32_MAX - TIMER->value;
}
