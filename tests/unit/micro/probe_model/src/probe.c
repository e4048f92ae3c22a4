#include "tvmgen_probe.h"

#include <string.h>

enum order {
  DO_NOTHING,
  DO_COPY,
  DO_LOOP,
  DO_USE_STACK,
  DO_OVERFLOW_STACK,
  DO_UNDEFINED_INSTRUCTION,
  DO_WRITE_BEHIND_ARENA,
  DO_FAIL,
  DO_HANG,
};

enum { DATA_BYTES = 3000, DATA_AT = 0, COPY_AT = 3000, ORDER_AT = 6000, RUNS_AT = 6008 };

uint8_t tvmgen_probe_arena[TVMGEN_PROBE_ARENA_SIZE_BYTES]
    __attribute__((aligned(16), section(".bss.tvmgen_arena")));

/* Two instructions a turn on a Cortex-M. */
static void loop(uint32_t turns) {
#if defined(__arm__)
  __asm__ volatile("1: subs %0, #1\n\tbne 1b" : "+l"(turns) : : "cc");
#else
  for (volatile uint32_t left = turns; left != 0; --left) {
  }
#endif
}

__attribute__((noinline)) static uint32_t use_stack(uint32_t depth) {
  volatile uint8_t frame[96];
  for (uint32_t i = 0; i < sizeof(frame); ++i) {
    frame[i] = (uint8_t)depth;
  }
  return depth == 0 ? frame[0] : use_stack(depth - 1) + frame[depth % sizeof(frame)];
}

__attribute__((noinline)) static int32_t obey(void) {
  static uint32_t runs;
  uint32_t order[2];
  memcpy(order, tvmgen_probe_arena + ORDER_AT, sizeof(order));
  runs++;
  memcpy(tvmgen_probe_arena + RUNS_AT, &runs, sizeof(runs));
  switch (order[0]) {
  case DO_COPY:
    memcpy(tvmgen_probe_arena + COPY_AT, tvmgen_probe_arena + DATA_AT, DATA_BYTES);
    return 0;
  case DO_LOOP:
    loop(order[1]);
    return 0;
  case DO_USE_STACK:
    return use_stack(order[1]) == UINT32_MAX;
  case DO_OVERFLOW_STACK:
    return use_stack(UINT32_MAX) == UINT32_MAX;
  case DO_UNDEFINED_INSTRUCTION:
    __builtin_trap();
  case DO_WRITE_BEHIND_ARENA:
    *(volatile uint8_t *)((uintptr_t)tvmgen_probe_arena + order[1]) ^= 0xff;
    return 0;
  case DO_FAIL:
    return (int32_t)order[1];
  case DO_HANG:
    for (;;) {
      loop(1000);
    }
  default:
    return 0;
  }
}

void tvmgen_probe_map_io(struct tvmgen_probe_inputs *inputs, struct tvmgen_probe_outputs *outputs) {
  inputs->data = tvmgen_probe_arena + DATA_AT;
  inputs->order = tvmgen_probe_arena + ORDER_AT;
  outputs->copy = tvmgen_probe_arena + COPY_AT;
  outputs->runs = tvmgen_probe_arena + RUNS_AT;
}

int32_t tvmgen_probe_run(struct tvmgen_probe_inputs *inputs, struct tvmgen_probe_outputs *outputs) {
  (void)inputs;
  (void)outputs;
  return obey();
}

void tvmgen_probe_run_operator(uint32_t index) {
  (void)index;
  obey();
}

const char *tvmgen_probe_operator_name(uint32_t index) {
  (void)index;
  return "obey";
}
