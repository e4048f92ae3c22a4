#include "tvm_patch/profile.h"

#include "tvm_patch/measure.h"
#include "tvm_patch/platform.h"

static struct {
  struct tvm_patch_span_of_code *spans;
  struct tvm_patch_span_of_code *open;
  uint64_t opened; /* the stopwatch's reading then */
} booking;

void tvm_patch_profile_mark(uint32_t number) {
  const uint64_t now = tvm_patch_measure_elapsed();
  booking.open->ticks += now - booking.opened;
  booking.open->visits++;
  booking.open = &booking.spans[number];
  booking.opened = now;
}

/* Sixteen calls at a time, so that the loop around them is next to nothing. */
static void sixteen_marks(void) {
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
  tvm_patch_profile_mark(0);
}

static void open_first(void) {
  booking.open = &booking.spans[0];
  booking.opened = 0;
}

static void clear(struct tvm_patch_profile *profile) {
  for (uint32_t i = 0; i < profile->span_count; ++i) {
    profile->spans[i] = (struct tvm_patch_span_of_code){0, 0};
  }
}

void tvm_patch_profile_begin(struct tvm_patch_profile *profile) {
  enum { ROUNDS = 64, MARKS_IN_A_ROUND = 16 };
  booking.spans = profile->spans;
  open_first();
  tvm_patch_platform_timer_start();
  for (uint32_t round = 0; round < ROUNDS; ++round) {
    sixteen_marks();
  }
  profile->calibration_ticks = tvm_patch_platform_timer_elapsed();
  profile->calibration_visits = ROUNDS * MARKS_IN_A_ROUND;
  clear(profile);
  open_first();
}

void tvm_patch_profile_end(struct tvm_patch_profile *profile, uint64_t elapsed) {
  (void)profile;
  booking.open->ticks += elapsed - booking.opened;
  booking.opened = elapsed;
}
