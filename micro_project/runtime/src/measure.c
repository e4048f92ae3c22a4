#include "tvm_patch/measure.h"

#include "port.h"
#include "tvm_patch/painting.h"
#include "tvm_patch/profile.h"
#include "tvm_patch/protocol.h"
#include "tvm_patch/rows.h"

/* The measurement under way. */
static struct {
  uint64_t ticks; /* up to the latest pause */
  uint64_t fetch_ticks;
  uint32_t pauses;
  /* Stack from here down is painted, and this much of it has been used; 0 where it is not. */
  uintptr_t stack_pointer;
  uint32_t stack_bytes;
} running;

/* Inlined by force, as what reads it is: frames of their own would lie in the very memory that
 * is painted. */
__attribute__((always_inline)) static inline void paint_stack(uintptr_t stack_pointer) {
  const uintptr_t limit = (uintptr_t)tvm_patch_platform()->stack.begin;
  for (uintptr_t address = limit; address < stack_pointer; address += sizeof(uint32_t)) {
    *(volatile uint32_t *)address = tvm_patch_paint_word(address);
  }
}

/* Finds the lowest word below `stack_pointer` that is no longer paint. */
__attribute__((always_inline)) static inline void note_stack(uintptr_t stack_pointer) {
  uintptr_t address = (uintptr_t)tvm_patch_platform()->stack.begin;
  while (address < stack_pointer &&
         *(volatile const uint32_t *)address == tvm_patch_paint_word(address)) {
    address += sizeof(uint32_t);
  }
  const uint32_t used = (uint32_t)(running.stack_pointer - address);
  running.stack_bytes = used > running.stack_bytes ? used : running.stack_bytes;
}

static void start(const struct tvm_patch_model *model) {
  running.ticks = 0;
  running.fetch_ticks = 0;
  running.pauses = 0;
  running.stack_pointer = 0;
  running.stack_bytes = 0;
  if (model->profile != NULL) {
    model->profile->begin(model->profile);
  }
}

/* A pause drops the tick that has begun: half of one on average, which is made up for. */
static uint64_t total_ticks(uint64_t since_pause) {
  return running.ticks + running.pauses / 2 + since_pause;
}

/* Not inlined: an emulator's counter takes its first instruction for the end of the measurement. */
__attribute__((noinline)) uint64_t tvm_patch_measure_elapsed(void) {
  return total_ticks(tvm_patch_platform_timer_elapsed());
}

static uint64_t stop(const struct tvm_patch_model *model) {
  const uint64_t ticks = tvm_patch_measure_elapsed();
  if (model->profile != NULL) {
    model->profile->end(model->profile, ticks);
  }
  return ticks;
}

__attribute__((noinline)) struct tvm_patch_measurement
tvm_patch_measure_run(const struct tvm_patch_model *model) {
  const uintptr_t stack_pointer = tvm_patch_port_stack_pointer();
  struct tvm_patch_measurement measurement = {.stack_bytes = TVM_PATCH_UNKNOWN};

  start(model);
  if (tvm_patch_platform()->stack.size_bytes != 0) {
    running.stack_pointer = stack_pointer;
    paint_stack(stack_pointer);
  }
  tvm_patch_platform_timer_start();
  measurement.result = model->run();
  measurement.ticks = stop(model);
  measurement.fetch_ticks = running.fetch_ticks;
  if (running.stack_pointer != 0) {
    note_stack(stack_pointer);
    measurement.stack_bytes = running.stack_bytes;
  }
  return measurement;
}

uint64_t tvm_patch_measure_operator(const struct tvm_patch_model *model, uint32_t index) {
  start(model);
  tvm_patch_platform_timer_start();
  model->run_operator(index);
  return stop(model);
}

/* The stopwatch is started anew instead of read twice and subtracted: that sets its phase, and
 * an emulator measures the same however long the host takes. */
__attribute__((noinline)) void tvm_patch_fetch_rows(uint32_t input, uint32_t first_row,
                                                    uint32_t row_count, void *rows) {
  running.ticks += tvm_patch_platform_timer_elapsed();
  running.pauses++;
  tvm_patch_platform_timer_start();
  const uintptr_t stack_pointer = tvm_patch_port_stack_pointer();
  if (running.stack_pointer != 0) {
    note_stack(stack_pointer);
  }
  tvm_patch_rows_transfer(input, first_row, row_count, rows);
  if (running.stack_pointer != 0) {
    paint_stack(stack_pointer);
  }
  running.fetch_ticks += tvm_patch_platform_timer_elapsed();
  tvm_patch_platform_timer_start();
}
