#include "tvmgen_marked.h"

#include <string.h>

enum { TURNS_AT = 0, RUNS_AT = 4, FIRST_TURNS = 700, SECOND_TURNS = 90, LAST_TURNS = 20000 };

uint8_t tvmgen_marked_arena[TVMGEN_MARKED_ARENA_SIZE_BYTES]
    __attribute__((aligned(16), section(".bss.tvmgen_arena")));

#ifdef TVMGEN_MARK
void TVMGEN_MARK(uint32_t number);
#define mark(number) TVMGEN_MARK(number)
#else
#define mark(number) ((void)0)
#endif

/* Two instructions a turn on a Cortex-M. */
__attribute__((noinline)) static void loop(uint32_t turns) {
#if defined(__arm__)
  __asm__ volatile("1: subs %0, #1\n\tbne 1b" : "+l"(turns) : : "cc");
#else
  for (volatile uint32_t left = turns; left != 0; --left) {
  }
#endif
}

static void stage(void) {
  uint32_t turns;
  memcpy(&turns, tvmgen_marked_arena + TURNS_AT, sizeof(turns));
  mark(1);
  for (uint32_t turn = 0; turn < turns; ++turn) {
    mark(3);
    mark(2);
    loop(FIRST_TURNS);
    mark(3);
    mark(5);
    mark(4);
    loop(SECOND_TURNS);
    mark(5);
    mark(1);
  }
  mark(0);
}

static void last(void) {
  mark(7);
  mark(6);
  loop(LAST_TURNS);
  mark(7);
  uint32_t runs;
  memcpy(&runs, tvmgen_marked_arena + RUNS_AT, sizeof(runs));
  runs++;
  memcpy(tvmgen_marked_arena + RUNS_AT, &runs, sizeof(runs));
  mark(0);
}

void tvmgen_marked_map_io(struct tvmgen_marked_inputs *inputs,
                          struct tvmgen_marked_outputs *outputs) {
  inputs->turns = tvmgen_marked_arena + TURNS_AT;
  outputs->runs = tvmgen_marked_arena + RUNS_AT;
}

void tvmgen_marked_run_operator(uint32_t index) {
  static void (*const operators[TVMGEN_MARKED_OPERATOR_COUNT])(void) = {stage, last};
  operators[index]();
}

int32_t tvmgen_marked_run(struct tvmgen_marked_inputs *inputs,
                          struct tvmgen_marked_outputs *outputs) {
  (void)inputs;
  (void)outputs;
  for (uint32_t i = 0; i < TVMGEN_MARKED_OPERATOR_COUNT; ++i) {
    tvmgen_marked_run_operator(i);
  }
  return 0;
}

const char *tvmgen_marked_operator_name(uint32_t index) {
  static const char *const names[TVMGEN_MARKED_OPERATOR_COUNT] = {"stage0", "last"};
  return names[index];
}
