#include "fake_port.h"

#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "tvm_patch/platform.h"
#include "tvm_patch/protocol.h"

uint8_t fake_arena[FAKE_ARENA_BYTES];
uint8_t fake_guard[FAKE_GUARD_BYTES];
uint8_t fake_sent[8192];
size_t fake_sent_size;
struct fake_model_state fake_model;
size_t (*fake_read)(uint8_t *data, size_t capacity);

uint64_t fake_time;

static struct tvm_patch_tensor inputs[] = {{.name = "in", .size_bytes = FAKE_TENSOR_BYTES}};
static struct tvm_patch_tensor outputs[] = {{.name = "out", .size_bytes = FAKE_TENSOR_BYTES}};

static void bind(void) {
  inputs[0].data = fake_arena;
  outputs[0].data = fake_arena + FAKE_TENSOR_BYTES;
}

static int32_t run(void) {
  fake_model.runs++;
  fake_time += 10 * fake_model.runs;
  memcpy(fake_arena + FAKE_TENSOR_BYTES, fake_arena, FAKE_TENSOR_BYTES);
  return fake_model.result;
}

static void run_operator(uint32_t index) {
  CHECK(index < FAKE_OPERATORS);
  fake_model.operators_run[index]++;
  fake_time += 100 + index;
}

static const char *operator_name(uint32_t index) {
  static const char *const names[FAKE_OPERATORS] = {"a", "b", "c"};
  return names[index];
}

static struct tvm_patch_span_of_code spans[FAKE_SPANS];

struct tvm_patch_profile fake_profile = {
    .spans = spans,
    .span_count = FAKE_SPANS,
    .begin = tvm_patch_profile_begin,
    .end = tvm_patch_profile_end,
};

uint64_t fake_mark_ticks;

/* Span i takes i ticks besides its mark's. */
static void pass_marks(void) {
  for (uint32_t i = 1; i <= FAKE_SPANS; ++i) {
    tvm_patch_profile_mark(i % FAKE_SPANS);
    fake_time += i % FAKE_SPANS;
  }
}

static int32_t run_marked(void) {
  pass_marks();
  return run();
}

static void run_operator_marked(uint32_t index) {
  pass_marks();
  run_operator(index);
}

#define FAKE_MODEL                                                                                 \
  .name = "fake", .fingerprint = "f00d", .arena = fake_arena,                                      \
  .arena_size_bytes = sizeof(fake_arena), .inputs = inputs, .input_count = 1, .outputs = outputs,  \
  .output_count = 1, .operator_count = FAKE_OPERATORS, .bind = bind,                               \
  .operator_name = operator_name

const struct tvm_patch_model fake_model_table = {
    FAKE_MODEL,
    .run = run,
    .run_operator = run_operator,
};

const struct tvm_patch_model fake_profiled_model_table = {
    FAKE_MODEL,
    .run = run_marked,
    .run_operator = run_operator_marked,
    .profile = &fake_profile,
};

const struct tvm_patch_platform *tvm_patch_platform(void) {
  static const struct tvm_patch_platform platform = {
      .board = "fake",
      .clock = {.kind = TVM_PATCH_CLOCK_CYCLES, .units_per_tick = 2, .hz = 1000},
      .guards = {{.begin = fake_guard, .size_bytes = sizeof(fake_guard)}},
  };
  return &platform;
}

size_t tvm_patch_platform_read(uint8_t *data, size_t capacity) {
  return fake_read == NULL ? 0 : fake_read(data, capacity);
}

void tvm_patch_platform_write(const uint8_t *data, size_t size) {
  CHECK(fake_sent_size + size <= sizeof(fake_sent));
  memcpy(fake_sent + fake_sent_size, data, size);
  fake_sent_size += size;
}

void tvm_patch_platform_reset(void) {
  exit(EXIT_SUCCESS); /* a test that asks for it has nothing left to check */
}

void tvm_patch_platform_watchdog(bool armed) {
  (void)armed;
}

static uint64_t time_started;

void tvm_patch_platform_timer_start(void) {
  time_started = fake_time;
}

uint64_t tvm_patch_platform_timer_elapsed(void) {
  const uint64_t elapsed = fake_time - time_started;
  fake_time += fake_mark_ticks; /* behind the reading, like most of what a mark does */
  return elapsed;
}
