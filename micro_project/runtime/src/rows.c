#include "tvm_patch/rows.h"

#include <string.h>

#include "tvm_patch/message.h"
#include "tvm_patch/server.h"

enum {
  NUMBER_BYTES = 4, /* before the data of an answer */
  CHUNK_MAX_BYTES = TVM_PATCH_PAYLOAD_MAX_BYTES - NUMBER_BYTES,
};

struct chunk {
  uint16_t input;
  uint32_t offset; /* in the input */
  uint16_t size_bytes;
};

static void ask(const struct tvm_patch_server *server, struct chunk chunk) {
  uint8_t payload[TVM_PATCH_NOTICE_MAX_BYTES];
  struct tvm_patch_writer question = {.data = payload, .capacity = sizeof(payload), .ok = true};
  tvm_patch_write_u32(&question, server->fetches);
  tvm_patch_write_u16(&question, chunk.input);
  tvm_patch_write_u32(&question, chunk.offset);
  tvm_patch_write_u16(&question, chunk.size_bytes);
  tvm_patch_server_notify(server, TVM_PATCH_COMMAND_FETCH_ROWS, TVM_PATCH_STATUS_OK, payload,
                          question.size);
}

/* True if the frame that has just come holds the chunk, which is then in `target`. */
static bool take_answer(struct tvm_patch_server *server, struct chunk chunk, uint8_t *target) {
  struct tvm_patch_message message =
      tvm_patch_message_parse(server->decoder.message, server->decoder.size);
  if (message.version == TVM_PATCH_PROTOCOL_VERSION && message.crc == server->request.crc) {
    ask(server, chunk); /* the question got lost, so the host has repeated its request */
    return false;
  }
  const bool is_rows = message.command == TVM_PATCH_COMMAND_FETCH_ROWS;
  if (message.version == TVM_PATCH_PROTOCOL_VERSION && !is_rows &&
      tvm_patch_server_is_stale(server, &message)) {
    return false;
  }
  if (message.version != TVM_PATCH_PROTOCOL_VERSION || !is_rows) {
    server->interrupted = true;
    tvm_patch_server_abandon(server, TVM_PATCH_STATUS_ABORTED);
  }
  const uint32_t number = tvm_patch_read_u32(&message.payload);
  if (message.sequence != server->request.sequence || number != server->fetches) {
    return false; /* an earlier question was repeated, and answered twice */
  }
  if (message.payload.remaining != chunk.size_bytes) {
    tvm_patch_server_abandon(server, TVM_PATCH_STATUS_MALFORMED);
  }
  memcpy(target, message.payload.data, chunk.size_bytes);
  return true;
}

static void fetch(struct tvm_patch_server *server, struct chunk chunk, uint8_t *target) {
  server->fetches++;
  ask(server, chunk);
  for (;;) {
    switch (tvm_patch_server_await_frame(server)) {
    case TVM_PATCH_FRAME_COMPLETE:
      if (take_answer(server, chunk, target)) {
        return;
      }
      break;
    case TVM_PATCH_FRAME_DAMAGED:
      ask(server, chunk);
      break;
    case TVM_PATCH_FRAME_PENDING:
      tvm_patch_server_abandon(server, TVM_PATCH_STATUS_ABORTED);
    }
  }
}

void tvm_patch_rows_transfer(uint32_t input, uint32_t first_row, uint32_t row_count,
                             uint8_t *rows) {
  struct tvm_patch_server *server = tvm_patch_server_active();
  const struct tvm_patch_model *model = server->model;
  const uint32_t row_bytes = input < model->input_count ? model->inputs[input].row_bytes : 0;
  const uint32_t row_total = row_bytes == 0 ? 0 : model->inputs[input].size_bytes / row_bytes;
  if (first_row > row_total || row_count > row_total - first_row) {
    tvm_patch_server_abandon(server, TVM_PATCH_STATUS_OUT_OF_RANGE);
  }
  const uint32_t begin = first_row * row_bytes;
  const uint32_t size = row_count * row_bytes;
  for (uint32_t done = 0; done < size;) {
    const uint32_t rest = size - done;
    const uint16_t length = (uint16_t)(rest < CHUNK_MAX_BYTES ? rest : CHUNK_MAX_BYTES);
    fetch(server, (struct chunk){(uint16_t)input, begin + done, length}, rows + done);
    done += length;
  }
}
