#include "tune_bench.h"

#include <string.h>

#include "tvm_patch/platform.h"

#define PAINT 0xa5

static uint32_t reference;

/* FNV-1a. */
static uint32_t checksum(const uint8_t *bytes, uint32_t count) {
  uint32_t sum = 2166136261u;
  for (uint32_t i = 0; i < count; ++i) {
    sum = (sum ^ bytes[i]) * 16777619u;
  }
  return sum;
}

/* Bytes that look random, the same in every run. */
static void fill(uint8_t *bytes, uint32_t count) {
  uint32_t state = 1u;
  for (uint32_t i = 0; i < count; ++i) {
    state = state * 1664525u + 1013904223u;
    bytes[i] = (uint8_t)(state >> 24);
  }
}

static int is_painted(const uint8_t *bytes) {
  for (uint32_t i = 0; i < TVMP_TUNE_MARGIN; ++i) {
    if (bytes[i] != PAINT) {
      return 0;
    }
  }
  return 1;
}

void tvmp_tune_prepare(const struct tvmp_tune_bench *bench, uint8_t *arena,
                       const uint32_t *selected, uint32_t *verdict) {
  *verdict = TVMP_TUNE_UNKNOWN;
  if (*selected >= bench->candidate_count) {
    return;
  }
  const struct tvmp_tune_candidate *candidate = &bench->candidates[*selected];
  const struct tvmp_tune_task *task = &bench->tasks[candidate->task];
  uint8_t *output = arena + bench->layout.output;
  fill(arena + bench->layout.input, task->input_bytes);
  task->run(arena);
  reference = checksum(output, task->output_bytes);
  memset(output - TVMP_TUNE_MARGIN, PAINT, task->output_bytes + 2 * TVMP_TUNE_MARGIN);
  memset(arena + bench->layout.scratch, PAINT, candidate->scratch_bytes + TVMP_TUNE_MARGIN);
  *verdict = TVMP_TUNE_NOT_RUN;
  /* Not armed by `run`, which is timed. */
  tvm_patch_platform_watchdog(true);
}

void tvmp_tune_run(const struct tvmp_tune_bench *bench, uint8_t *arena, const uint32_t *selected) {
  if (*selected >= bench->candidate_count) {
    return;
  }
  const struct tvmp_tune_candidate *candidate = &bench->candidates[*selected];
  for (uint32_t left = candidate->repeats; left != 0; --left) {
    candidate->run(arena);
  }
}

void tvmp_tune_check(const struct tvmp_tune_bench *bench, uint8_t *arena, const uint32_t *selected,
                     uint32_t *verdict) {
  tvm_patch_platform_watchdog(false);
  if (*selected >= bench->candidate_count) {
    return;
  }
  const struct tvmp_tune_candidate *candidate = &bench->candidates[*selected];
  const struct tvmp_tune_task *task = &bench->tasks[candidate->task];
  const uint8_t *output = arena + bench->layout.output;
  if (!is_painted(output - TVMP_TUNE_MARGIN) || !is_painted(output + task->output_bytes) ||
      !is_painted(arena + bench->layout.scratch + candidate->scratch_bytes)) {
    *verdict = TVMP_TUNE_SPILLS;
  } else {
    *verdict =
        checksum(output, task->output_bytes) == reference ? TVMP_TUNE_RIGHT : TVMP_TUNE_WRONG;
  }
}
