#include "tvmgen_rows.h"

#include <string.h>

enum {
  ROWS = 12,
  ROW_BYTES = 1492,
  /* Two rows at a time; the first image row comes alone. */
  LINES_AT = 0,
  BIAS_AT = 2984,
  TOTAL_AT = 3000,
  RESULT_AT = 3008,
  SCRATCH_BYTES = 300,
};

uint8_t tvmgen_rows_arena[TVMGEN_ROWS_ARENA_SIZE_BYTES]
    __attribute__((aligned(16), section(".bss.tvmgen_arena")));

static int8_t *at(uint32_t offset) {
  return (int8_t *)tvmgen_rows_arena + offset;
}

/* Keeps the greatest of each column. */
__attribute__((noinline)) static void take_row(const int8_t *row) {
  for (int x = 0; x < ROW_BYTES; ++x) {
    at(RESULT_AT)[x] = row[x] > at(RESULT_AT)[x] ? row[x] : at(RESULT_AT)[x];
  }
}

static void stream(void) {
  memset(at(RESULT_AT), -128, ROW_BYTES);
  tvmgen_rows_fetch_rows(0, 0, 1, at(LINES_AT));
  take_row(at(LINES_AT));
  uint32_t y = 1;
  for (; y + 2 <= ROWS; y += 2) {
    tvmgen_rows_fetch_rows(0, y, 2, at(LINES_AT));
    take_row(at(LINES_AT));
    take_row(at(LINES_AT) + ROW_BYTES);
  }
  if (y < ROWS) {
    tvmgen_rows_fetch_rows(0, y, 1, at(LINES_AT));
    take_row(at(LINES_AT));
  }
}

__attribute__((noinline)) static void add_and_total(void) {
  /* On the stack, so that its high-water mark is known to be above this size. */
  volatile int8_t scratch[SCRATCH_BYTES];
  int32_t total = 0;
  for (int i = 0; i < SCRATCH_BYTES; ++i) {
    scratch[i] = at(BIAS_AT)[i % 16];
  }
  for (int x = 0; x < ROW_BYTES; ++x) {
    const int32_t sum = at(RESULT_AT)[x] + scratch[x % 16];
    at(RESULT_AT)[x] = (int8_t)(sum > 127 ? 127 : sum < -128 ? -128 : sum);
    total += at(RESULT_AT)[x];
  }
  memcpy(at(TOTAL_AT), &total, sizeof(total));
}

void tvmgen_rows_map_io(struct tvmgen_rows_inputs *inputs, struct tvmgen_rows_outputs *outputs) {
  inputs->bias = at(BIAS_AT);
  outputs->result = at(RESULT_AT);
  outputs->total = at(TOTAL_AT);
}

void tvmgen_rows_run_operator(uint32_t index) {
  static void (*const operators[TVMGEN_ROWS_OPERATOR_COUNT])(void) = {stream, add_and_total};
  operators[index]();
}

int32_t tvmgen_rows_run(struct tvmgen_rows_inputs *inputs, struct tvmgen_rows_outputs *outputs) {
  (void)inputs;
  (void)outputs;
  for (uint32_t i = 0; i < TVMGEN_ROWS_OPERATOR_COUNT; ++i) {
    tvmgen_rows_run_operator(i);
  }
  return 0;
}

const char *tvmgen_rows_operator_name(uint32_t index) {
  static const char *const names[TVMGEN_ROWS_OPERATOR_COUNT] = {"stream", "add_and_total"};
  return names[index];
}
