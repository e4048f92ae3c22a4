/* Port to Zephyr: any board with a UART, or USB, and a cycle counter. */
#include <zephyr/kernel.h>
#include <zephyr/sys/reboot.h>

#include "link.h"
#include "quiet.h"
#include "stopwatch.h"
#include "tvm_patch/platform.h"

extern uint8_t tvm_patch_guard_front_begin[], tvm_patch_guard_front_end[];
extern uint8_t tvm_patch_guard_back_begin[], tvm_patch_guard_back_end[];

static struct tvm_patch_platform platform;

static struct tvm_patch_span span(uint8_t *begin, const uint8_t *end) {
  return (struct tvm_patch_span){.begin = begin, .size_bytes = (uint32_t)(end - begin)};
}

/* The stack of the thread that serves. Zephyr keeps a guard at its low end out of it, which
 * faults when touched. */
static struct tvm_patch_span own_stack(void) {
  const struct k_thread *thread = k_current_get();
  return (struct tvm_patch_span){
      .begin = (uint8_t *)ROUND_UP(thread->stack_info.start, sizeof(uint32_t)),
      .size_bytes = (uint32_t)ROUND_DOWN(thread->stack_info.size, sizeof(uint32_t)),
  };
}

void tvm_patch_platform_init(void) {
  tvm_patch_stopwatch_init();
  platform = (struct tvm_patch_platform){
      .board = CONFIG_TVM_PATCH_BOARD_NAME,
      .clock = tvm_patch_stopwatch_clock(),
      .stack = own_stack(),
      .guards = {span(tvm_patch_guard_front_begin, tvm_patch_guard_front_end),
                 span(tvm_patch_guard_back_begin, tvm_patch_guard_back_end)},
  };
  tvm_patch_link_open();
}

const struct tvm_patch_platform *tvm_patch_platform(void) {
  return &platform;
}

void tvm_patch_platform_reset(void) {
  /* What has been handed to the hardware must get out of it first. */
  k_msleep(50);
  sys_reboot(SYS_REBOOT_COLD);
  CODE_UNREACHABLE;
}

/* Operators are timed with interrupts off, and which watchdog a board has is its own business. */
void tvm_patch_platform_watchdog(bool armed) {
  (void)armed;
}

static bool quiet;
static unsigned int interrupts_before;

void tvm_patch_quiet_begin(void) {
  if (!quiet) {
    interrupts_before = irq_lock();
    quiet = true;
  }
}

void tvm_patch_quiet_end(void) {
  if (quiet) {
    quiet = false;
    irq_unlock(interrupts_before);
  }
}

void tvm_patch_platform_timer_start(void) {
  tvm_patch_quiet_begin();
  tvm_patch_stopwatch_start();
}

uint64_t tvm_patch_platform_timer_elapsed(void) {
  return tvm_patch_stopwatch_elapsed();
}
