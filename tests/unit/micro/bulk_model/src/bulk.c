#include "tvmgen_bulk.h"

enum { DATA_BYTES = TVMGEN_BULK_ARENA_SIZE_BYTES / 2 };

uint8_t tvmgen_bulk_arena[TVMGEN_BULK_ARENA_SIZE_BYTES]
    __attribute__((aligned(16), section(".bss.tvmgen_arena")));

static void reverse(void) {
  for (uint32_t i = 0; i < DATA_BYTES; ++i) {
    tvmgen_bulk_arena[TVMGEN_BULK_ARENA_SIZE_BYTES - 1 - i] = tvmgen_bulk_arena[i];
  }
}

void tvmgen_bulk_map_io(struct tvmgen_bulk_inputs *inputs, struct tvmgen_bulk_outputs *outputs) {
  inputs->data = tvmgen_bulk_arena;
  outputs->reversed = tvmgen_bulk_arena + DATA_BYTES;
}

int32_t tvmgen_bulk_run(struct tvmgen_bulk_inputs *inputs, struct tvmgen_bulk_outputs *outputs) {
  (void)inputs;
  (void)outputs;
  reverse();
  return 0;
}

void tvmgen_bulk_run_operator(uint32_t index) {
  (void)index;
  reverse();
}

const char *tvmgen_bulk_operator_name(uint32_t index) {
  (void)index;
  return "reverse";
}
