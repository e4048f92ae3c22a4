/* Port to Arm's MPS2 boards and QEMU's models of them: the timer of the Cortex-M System Design
 * Kit (Arm DDI 0479), its watchdog, reset, and where the linker script has put things. */
#include "board_config.h"
#include "cortex_m.h"
#include "link.h"
#include "tvm_patch/platform.h"
#include "tvm_patch/protocol.h"

struct cmsdk_timer {
  volatile uint32_t control;
  volatile uint32_t value;
  volatile uint32_t reload;
  volatile uint32_t interrupt;
};

enum {
  TIMER_CONTROL_ENABLE = 1 << 0,
};

#if TVM_PATCH_WATCHDOG_BASE != 0
struct cmsdk_watchdog {
  volatile uint32_t load;
  volatile uint32_t value;
  volatile uint32_t control;
};

enum {
  WATCHDOG_CONTROL_INTERRUPT = 1 << 0,
};

#define WATCHDOG ((struct cmsdk_watchdog *)TVM_PATCH_WATCHDOG_BASE)
#endif

#define TIMER ((struct cmsdk_timer *)TVM_PATCH_TIMER_BASE)

extern uint8_t stack_limit[], stack_top[];
extern uint8_t arena_guard_front_begin[], arena_guard_front_end[];
extern uint8_t arena_guard_back_begin[], arena_guard_back_end[];

static struct tvm_patch_platform platform;

static struct tvm_patch_span span(uint8_t *begin, const uint8_t *end) {
  return (struct tvm_patch_span){.begin = begin, .size_bytes = (uint32_t)(end - begin)};
}

void tvm_patch_platform_init(void) {
  platform = (struct tvm_patch_platform){
      .board = TVM_PATCH_BOARD_NAME,
      .clock = {.kind = TVM_PATCH_CLOCK_INSTRUCTIONS,
                .units_per_tick = TVM_PATCH_INSTRUCTIONS_PER_TICK,
                .hz = TVM_PATCH_CLOCK_HZ},
      .stack = span(stack_limit, stack_top),
      .guards = {span(arena_guard_front_begin, arena_guard_front_end),
                 span(arena_guard_back_begin, arena_guard_back_end)},
  };
  tvm_patch_link_open();
  TIMER->reload = UINT32_MAX;
}

const struct tvm_patch_platform *tvm_patch_platform(void) {
  return &platform;
}

void tvm_patch_platform_reset(void) {
  cortex_m_barrier();
  SCB_AIRCR = SCB_AIRCR_SYSTEM_RESET;
  cortex_m_barrier();
  for (;;) {
  }
}

/* Its interrupt is the NMI, which cannot be masked and is reported as a fault. A second and a half
 * of the board's clock; an emulator's second has 1e9 instructions. */
void tvm_patch_platform_watchdog(bool armed) {
#if TVM_PATCH_WATCHDOG_BASE != 0
  WATCHDOG->control = 0;
  if (armed) {
    WATCHDOG->load = TVM_PATCH_CLOCK_HZ / 2 * 3;
    WATCHDOG->control = WATCHDOG_CONTROL_INTERRUPT;
  }
#else
  (void)armed;
#endif
}

/* Counts down from the top; loading the value restarts the current period, which sets the
 * phase. 32 bits last for 1.7e11 instructions at 40 a tick. */
void tvm_patch_platform_timer_start(void) {
  TIMER->control = TIMER_CONTROL_ENABLE;
  TIMER->value = UINT32_MAX;
}

uint64_t tvm_patch_platform_timer_elapsed(void) {
  return UINT32_MAX - TIMER->value;
}
