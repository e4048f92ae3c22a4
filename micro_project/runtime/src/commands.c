#include "tvm_patch/commands.h"

#include <string.h>

#include "tvm_patch/measure.h"
#include "tvm_patch/painting.h"
#include "tvm_patch/platform.h"
#include "tvm_patch/profile.h"

static uint32_t arena_offset(const struct tvm_patch_model *model,
                             const struct tvm_patch_tensor *tensor) {
  const uintptr_t begin = (uintptr_t)model->arena;
  const uintptr_t data = (uintptr_t)tensor->data;
  const bool inside = data >= begin && data < begin + model->arena_size_bytes;
  return inside ? (uint32_t)(data - begin) : TVM_PATCH_UNKNOWN;
}

static bool within(uint32_t offset, uint32_t length, uint32_t size) {
  return offset <= size && length <= size - offset;
}

static uint8_t ping(struct tvm_patch_reader *request, struct tvm_patch_writer *reply) {
  tvm_patch_write_bytes(reply, request->data, request->remaining);
  return TVM_PATCH_STATUS_OK;
}

static uint8_t info(const struct tvm_patch_server *server, struct tvm_patch_reader *request,
                    struct tvm_patch_writer *reply) {
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  const struct tvm_patch_model *model = server->model;
  const struct tvm_patch_platform *platform = tvm_patch_platform();
  tvm_patch_write_u8(reply, platform->clock.kind);
  tvm_patch_write_u32(reply, platform->clock.units_per_tick);
  tvm_patch_write_u32(reply, platform->clock.hz);
  tvm_patch_write_u16(reply, TVM_PATCH_PAYLOAD_MAX_BYTES);
  tvm_patch_write_u16(reply, model->input_count);
  tvm_patch_write_u16(reply, model->output_count);
  tvm_patch_write_u16(reply, model->operator_count);
  tvm_patch_write_u32(reply, model->arena_size_bytes);
  tvm_patch_write_string(reply, model->name);
  tvm_patch_write_string(reply, model->fingerprint);
  tvm_patch_write_string(reply, platform->board);
  return TVM_PATCH_STATUS_OK;
}

static uint8_t describe_tensor(const struct tvm_patch_model *model,
                               const struct tvm_patch_tensor *tensors, uint16_t count,
                               struct tvm_patch_reader *request, struct tvm_patch_writer *reply) {
  const uint16_t index = tvm_patch_read_u16(request);
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  if (index >= count) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  tvm_patch_write_u32(reply, tensors[index].size_bytes);
  tvm_patch_write_u32(reply, arena_offset(model, &tensors[index]));
  tvm_patch_write_u32(reply, tensors[index].row_bytes);
  tvm_patch_write_string(reply, tensors[index].name);
  return TVM_PATCH_STATUS_OK;
}

static uint8_t describe_operator(const struct tvm_patch_model *model,
                                 struct tvm_patch_reader *request, struct tvm_patch_writer *reply) {
  const uint16_t index = tvm_patch_read_u16(request);
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  if (index >= model->operator_count) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  tvm_patch_write_string(reply, model->operator_name(index));
  return TVM_PATCH_STATUS_OK;
}

static uint8_t write_input(const struct tvm_patch_model *model, struct tvm_patch_reader *request) {
  const uint16_t index = tvm_patch_read_u16(request);
  const uint32_t offset = tvm_patch_read_u32(request);
  if (!request->ok) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  if (index >= model->input_count || model->inputs[index].data == NULL ||
      !within(offset, (uint32_t)request->remaining, model->inputs[index].size_bytes)) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  memcpy((uint8_t *)model->inputs[index].data + offset, request->data, request->remaining);
  return TVM_PATCH_STATUS_OK;
}

static uint8_t read_span(const uint8_t *data, uint32_t size, struct tvm_patch_reader *request,
                         struct tvm_patch_writer *reply) {
  const uint32_t offset = tvm_patch_read_u32(request);
  const uint16_t length = tvm_patch_read_u16(request);
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  if (!within(offset, length, size)) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  tvm_patch_write_bytes(reply, data + offset, length);
  return TVM_PATCH_STATUS_OK;
}

static uint8_t read_output(const struct tvm_patch_model *model, struct tvm_patch_reader *request,
                           struct tvm_patch_writer *reply) {
  const uint16_t index = tvm_patch_read_u16(request);
  if (!request->ok) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  if (index >= model->output_count) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  return read_span(model->outputs[index].data, model->outputs[index].size_bytes, request, reply);
}

static uint8_t run(struct tvm_patch_server *server, struct tvm_patch_reader *request,
                   struct tvm_patch_writer *reply) {
  const uint32_t runs = tvm_patch_read_u32(request);
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  if (runs == 0 || runs > TVM_PATCH_RUNS_MAX) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  uint64_t fetch_ticks = 0;
  for (uint32_t done = 0; done < runs; ++done) {
    tvm_patch_server_report_working(server, done);
    const struct tvm_patch_measurement measured = tvm_patch_measure_run(server->model);
    server->stack_high_water_bytes = measured.stack_bytes;
    if (measured.result != 0) {
      reply->size = 0;
      tvm_patch_write_u32(reply, (uint32_t)measured.result);
      return TVM_PATCH_STATUS_MODEL_FAILED;
    }
    tvm_patch_write_u64(reply, measured.ticks);
    fetch_ticks += measured.fetch_ticks;
  }
  tvm_patch_write_u64(reply, fetch_ticks);
  return TVM_PATCH_STATUS_OK;
}

/* Operators begin .. begin + count - 1; only the first call of an inference starts at 0. */
static uint8_t run_operators(const struct tvm_patch_server *server, uint32_t begin, uint32_t count,
                             struct tvm_patch_writer *ticks) {
  if (!within(begin, count, server->model->operator_count)) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  for (uint32_t done = 0; done < count; ++done) {
    tvm_patch_server_report_working(server, done);
    const uint64_t elapsed = tvm_patch_measure_operator(server->model, begin + done);
    if (ticks != NULL) {
      tvm_patch_write_u64(ticks, elapsed);
    }
  }
  return TVM_PATCH_STATUS_OK;
}

static uint8_t run_until(const struct tvm_patch_server *server, struct tvm_patch_reader *request) {
  const uint16_t last = tvm_patch_read_u16(request);
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  return run_operators(server, 0, (uint32_t)last + 1, NULL);
}

static uint8_t profile(const struct tvm_patch_server *server, struct tvm_patch_reader *request,
                       struct tvm_patch_writer *reply) {
  const uint16_t begin = tvm_patch_read_u16(request);
  const uint16_t count = tvm_patch_read_u16(request);
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  if (count > TVM_PATCH_PROFILE_MAX) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  return run_operators(server, begin, count, reply);
}

/* Asked for none, it tells how many there are. */
static uint8_t spans(const struct tvm_patch_model *model, struct tvm_patch_reader *request,
                     struct tvm_patch_writer *reply) {
  static const struct tvm_patch_profile no_profile;
  const struct tvm_patch_profile *profile = model->profile != NULL ? model->profile : &no_profile;
  const uint16_t begin = tvm_patch_read_u16(request);
  const uint16_t count = tvm_patch_read_u16(request);
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  if (count > TVM_PATCH_SPANS_MAX || !within(begin, count, profile->span_count)) {
    return TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  tvm_patch_write_u16(reply, profile->span_count);
  tvm_patch_write_u64(reply, profile->calibration_ticks);
  tvm_patch_write_u32(reply, profile->calibration_visits);
  for (uint32_t i = begin; i < (uint32_t)begin + count; ++i) {
    tvm_patch_write_u64(reply, profile->spans[i].ticks);
    tvm_patch_write_u32(reply, profile->spans[i].visits);
  }
  return TVM_PATCH_STATUS_OK;
}

static uint8_t memory(const struct tvm_patch_server *server, struct tvm_patch_reader *request,
                      struct tvm_patch_writer *reply) {
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  const struct tvm_patch_model *model = server->model;
  const struct tvm_patch_platform *platform = tvm_patch_platform();
  uint32_t guard_bytes = 0;
  bool intact = true;
  for (int i = 0; i < 2; ++i) {
    const struct tvm_patch_span guard = platform->guards[i];
    guard_bytes += guard.size_bytes;
    intact = intact && tvm_patch_paint_intact(guard.begin, guard.size_bytes);
  }
  tvm_patch_write_u32(reply, model->arena_size_bytes);
  tvm_patch_write_u32(reply, tvm_patch_paint_high_water(model->arena, model->arena_size_bytes));
  tvm_patch_write_u32(reply, server->stack_high_water_bytes);
  tvm_patch_write_u32(reply, platform->stack.size_bytes);
  tvm_patch_write_u32(reply, guard_bytes);
  tvm_patch_write_u8(reply, intact);
  return TVM_PATCH_STATUS_OK;
}

static uint8_t paint(struct tvm_patch_server *server, struct tvm_patch_reader *request) {
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  tvm_patch_paint(server->model->arena, server->model->arena_size_bytes);
  for (int i = 0; i < 2; ++i) {
    const struct tvm_patch_span guard = tvm_patch_platform()->guards[i];
    tvm_patch_paint(guard.begin, guard.size_bytes);
  }
  server->stack_high_water_bytes = TVM_PATCH_UNKNOWN;
  return TVM_PATCH_STATUS_OK;
}

static uint8_t reset(struct tvm_patch_server *server, struct tvm_patch_reader *request) {
  if (!tvm_patch_reader_finished(request)) {
    return TVM_PATCH_STATUS_MALFORMED;
  }
  server->reset_requested = true; /* once the answer is out */
  return TVM_PATCH_STATUS_OK;
}

uint8_t tvm_patch_execute(struct tvm_patch_server *server, uint8_t command,
                          struct tvm_patch_reader *request, struct tvm_patch_writer *reply) {
  const struct tvm_patch_model *model = server->model;
  switch (command) {
  case TVM_PATCH_COMMAND_PING:
    return ping(request, reply);
  case TVM_PATCH_COMMAND_INFO:
    return info(server, request, reply);
  case TVM_PATCH_COMMAND_DESCRIBE_INPUT:
    return describe_tensor(model, model->inputs, model->input_count, request, reply);
  case TVM_PATCH_COMMAND_DESCRIBE_OUTPUT:
    return describe_tensor(model, model->outputs, model->output_count, request, reply);
  case TVM_PATCH_COMMAND_DESCRIBE_OPERATOR:
    return describe_operator(model, request, reply);
  case TVM_PATCH_COMMAND_WRITE_INPUT:
    return write_input(model, request);
  case TVM_PATCH_COMMAND_READ_OUTPUT:
    return read_output(model, request, reply);
  case TVM_PATCH_COMMAND_RUN:
    return run(server, request, reply);
  case TVM_PATCH_COMMAND_RUN_UNTIL:
    return run_until(server, request);
  case TVM_PATCH_COMMAND_PROFILE:
    return profile(server, request, reply);
  case TVM_PATCH_COMMAND_SPANS:
    return spans(model, request, reply);
  case TVM_PATCH_COMMAND_MEMORY:
    return memory(server, request, reply);
  case TVM_PATCH_COMMAND_PAINT:
    return paint(server, request);
  case TVM_PATCH_COMMAND_READ_ARENA:
    return read_span(model->arena, model->arena_size_bytes, request, reply);
  case TVM_PATCH_COMMAND_RESET:
    return reset(server, request);
  default:
    return TVM_PATCH_STATUS_UNKNOWN_COMMAND;
  }
}
