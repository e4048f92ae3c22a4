/* A platform and a model in this very process, for the tests of the server. */
#ifndef TVM_PATCH_TESTS_FAKE_PORT_H
#define TVM_PATCH_TESTS_FAKE_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "tvm_patch/model.h"
#include "tvm_patch/profile.h"

enum {
  FAKE_ARENA_BYTES = 256,
  FAKE_TENSOR_BYTES = 64,
  FAKE_OPERATORS = 3,
  FAKE_GUARD_BYTES = 16,
  FAKE_SPANS = 90
};

/* The network copies its input to its output, and counts. `result` is what it returns. */
struct fake_model_state {
  uint32_t runs;
  uint32_t operators_run[FAKE_OPERATORS];
  int32_t result;
};

extern struct fake_model_state fake_model;
extern const struct tvm_patch_model fake_model_table;
/* The same as a profiling build: whatever runs passes FAKE_SPANS marks, each of which takes
 * `fake_mark_ticks`. */
extern const struct tvm_patch_model fake_profiled_model_table;
extern struct tvm_patch_profile fake_profile;
extern uint64_t fake_mark_ticks;
extern uint8_t fake_arena[FAKE_ARENA_BYTES];
extern uint8_t fake_guard[FAKE_GUARD_BYTES];

/* What the server has sent. */
extern uint8_t fake_sent[8192];
extern size_t fake_sent_size;

/* What the server reads off the link in the middle of a request; null when the link is closed. */
extern size_t (*fake_read)(uint8_t *data, size_t capacity);

/* The stopwatch's time. */
extern uint64_t fake_time;

#endif
