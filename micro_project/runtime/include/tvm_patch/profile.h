/* Whose time it is: books what passes between the marks of the generated code. In profiling builds
 * only: there the model's binding has a `struct tvm_patch_profile`, and without one the linker
 * drops all of this. */
#ifndef TVM_PATCH_PROFILE_H
#define TVM_PATCH_PROFILE_H

#include <stdint.h>

/* What code between one mark and the next has taken. */
struct tvm_patch_span_of_code {
  uint64_t ticks;
  uint32_t visits; /* each of them has one mark's own cost in `ticks` */
};

struct tvm_patch_profile {
  struct tvm_patch_span_of_code *spans; /* by the number of the mark in front */
  uint16_t span_count;
  void (*begin)(struct tvm_patch_profile *profile);
  void (*end)(struct tvm_patch_profile *profile, uint64_t elapsed);

  /* What marks cost: ticks of so many in a row. */
  uint64_t calibration_ticks;
  uint32_t calibration_visits;
};

/* Forgets what was booked, measures what marks cost, and opens the span of mark 0. Uses the
 * stopwatch, which is to be started anew behind it. */
void tvm_patch_profile_begin(struct tvm_patch_profile *profile);

/* Closes the open span at the stopwatch's last reading; that is no visit. */
void tvm_patch_profile_end(struct tvm_patch_profile *profile, uint64_t elapsed);

/* Called by the generated code. Takes the same time whatever it is told. */
void tvm_patch_profile_mark(uint32_t number);

#endif
