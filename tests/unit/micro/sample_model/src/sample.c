#include "tvmgen_sample.h"

#include <string.h>

enum {
  SIDE = 16,
  POOLED_SIDE = 8,
  POOLED = POOLED_SIDE * POOLED_SIDE,
  /* The pooled map overwrites the image. */
  IMAGE_AT = 0,
  POOLED_AT = 0,
  RESULT_AT = 64,
  TOTAL_AT = 128,
  SCALED_AT = 256,
  BIAS_AT = 512,
  SCRATCH_BYTES = 200,
};

uint8_t tvmgen_sample_arena[TVMGEN_SAMPLE_ARENA_SIZE_BYTES]
    __attribute__((aligned(16), section(".bss.tvmgen_arena")));

static int8_t *at(uint32_t offset) {
  return (int8_t *)tvmgen_sample_arena + offset;
}

static int8_t saturate(int32_t value) {
  return (int8_t)(value > 127 ? 127 : value < -128 ? -128 : value);
}

static void scale(void) {
  for (int i = 0; i < SIDE * SIDE; ++i) {
    at(SCALED_AT)[i] = saturate(3 * at(IMAGE_AT)[i] - 7);
  }
}

static void pool(void) {
  const int8_t *scaled = at(SCALED_AT);
  for (int y = 0; y < POOLED_SIDE; ++y) {
    for (int x = 0; x < POOLED_SIDE; ++x) {
      int8_t best = -128;
      for (int k = 0; k < 4; ++k) {
        const int8_t value = scaled[(2 * y + k / 2) * SIDE + 2 * x + k % 2];
        best = value > best ? value : best;
      }
      at(POOLED_AT)[y * POOLED_SIDE + x] = best;
    }
  }
}

static void add_and_total(void) {
  /* On the stack, so that its high-water mark is known to be above this size. */
  volatile int8_t scratch[SCRATCH_BYTES];
  int32_t total = 0;
  for (int i = 0; i < SCRATCH_BYTES; ++i) {
    scratch[i] = at(POOLED_AT)[i % POOLED];
  }
  for (int i = 0; i < POOLED; ++i) {
    at(RESULT_AT)[i] = saturate(scratch[i] + at(BIAS_AT)[i]);
    total += at(RESULT_AT)[i];
  }
  memcpy(at(TOTAL_AT), &total, sizeof(total));
}

void tvmgen_sample_map_io(struct tvmgen_sample_inputs *inputs,
                          struct tvmgen_sample_outputs *outputs) {
  inputs->image = at(IMAGE_AT);
  inputs->bias_0 = at(BIAS_AT);
  outputs->result = at(RESULT_AT);
  outputs->total = at(TOTAL_AT);
}

void tvmgen_sample_run_operator(uint32_t index) {
  static void (*const operators[TVMGEN_SAMPLE_OPERATOR_COUNT])(void) = {scale, pool, add_and_total};
  operators[index]();
}

int32_t tvmgen_sample_run(struct tvmgen_sample_inputs *inputs,
                          struct tvmgen_sample_outputs *outputs) {
  (void)inputs;
  (void)outputs;
  for (uint32_t i = 0; i < TVMGEN_SAMPLE_OPERATOR_COUNT; ++i) {
    tvmgen_sample_run_operator(i);
  }
  return 0;
}

const char *tvmgen_sample_operator_name(uint32_t index) {
  static const char *const names[TVMGEN_SAMPLE_OPERATOR_COUNT] = {"scale", "pool", "add_and_total"};
  return names[index];
}
