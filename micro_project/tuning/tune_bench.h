/* Times candidates: kernels of which several compute the same.
 *
 * An inference has three operators. *prepare* fills the inputs of the selected candidate's task,
 * runs the task's own kernel, which is known to be right, and keeps a checksum of what it wrote.
 * *run* runs the candidate, as often as its table says. *check* compares checksums. The platform's
 * watchdog is armed from the one to the other: a candidate that hangs ends like one that faults. */
#ifndef TVMP_TUNE_BENCH_H
#define TVMP_TUNE_BENCH_H

#include <stdint.h>

/* Bytes beside outputs and behind scratch memory that no kernel may write. */
#define TVMP_TUNE_MARGIN 32u

/* Kernels that compute the same. Offsets are those in the arena. */
struct tvmp_tune_task {
  void (*run)(uint8_t *arena);
  uint32_t input_bytes; /* all inputs, from the offset of the first on */
  uint32_t output_bytes;
};

struct tvmp_tune_candidate {
  void (*run)(uint8_t *arena);
  uint32_t task;
  uint32_t repeats;
  uint32_t scratch_bytes;
};

/* Where things lie in the arena. */
struct tvmp_tune_layout {
  uint32_t input;
  uint32_t output; /* a margin lies before it and behind it */
  uint32_t scratch;
};

struct tvmp_tune_bench {
  const struct tvmp_tune_task *tasks;
  const struct tvmp_tune_candidate *candidates;
  uint32_t candidate_count;
  struct tvmp_tune_layout layout;
};

/* What `check` says; the first of them until it has run. */
enum tvmp_tune_verdict {
  TVMP_TUNE_NOT_RUN,
  TVMP_TUNE_RIGHT,
  TVMP_TUNE_WRONG,   /* other outputs than the task's own kernel */
  TVMP_TUNE_SPILLS,  /* writes where it must not */
  TVMP_TUNE_UNKNOWN, /* there is no such candidate */
};

/* `selected` is the number of a candidate, `verdict` one of the above. */
void tvmp_tune_prepare(const struct tvmp_tune_bench *bench, uint8_t *arena,
                       const uint32_t *selected, uint32_t *verdict);
void tvmp_tune_run(const struct tvmp_tune_bench *bench, uint8_t *arena, const uint32_t *selected);
void tvmp_tune_check(const struct tvmp_tune_bench *bench, uint8_t *arena, const uint32_t *selected,
                     uint32_t *verdict);

#endif
