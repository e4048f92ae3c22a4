#include "tvm_patch/server.h"

#include <string.h>

#include "tvm_patch/commands.h"
#include "tvm_patch/message.h"
#include "tvm_patch/platform.h"

static struct tvm_patch_server *active;

static void send(const uint8_t *message, size_t size) {
  tvm_patch_frame_encode(message, size, tvm_patch_platform_write);
}

static void send_status(uint8_t command, uint16_t sequence, uint8_t status) {
  uint8_t message[TVM_PATCH_HEADER_BYTES + TVM_PATCH_CRC_BYTES];
  send(message, tvm_patch_message_seal(message, 0, command, sequence, status));
}

void tvm_patch_server_notify(const struct tvm_patch_server *server, uint8_t command, uint8_t status,
                             const uint8_t *payload, size_t size) {
  uint8_t message[TVM_PATCH_HEADER_BYTES + TVM_PATCH_NOTICE_MAX_BYTES + TVM_PATCH_CRC_BYTES];
  memcpy(message + TVM_PATCH_HEADER_BYTES, payload, size);
  send(message, tvm_patch_message_seal(message, size, command, server->request.sequence, status));
}

void tvm_patch_server_report_working(const struct tvm_patch_server *server, uint32_t done) {
  uint8_t payload[sizeof(done)];
  tvm_patch_store_u32(payload, done);
  tvm_patch_server_notify(server, server->request.command, TVM_PATCH_STATUS_WORKING, payload,
                          sizeof(payload));
}

static void seal_reply(struct tvm_patch_server *server, size_t payload_size, uint8_t status) {
  server->reply_size = tvm_patch_message_seal(server->reply, payload_size, server->request.command,
                                              server->request.sequence, status);
}

static void carry_out(struct tvm_patch_server *server, struct tvm_patch_reader *payload) {
  struct tvm_patch_writer reply = {
      .data = server->reply + TVM_PATCH_HEADER_BYTES,
      .capacity = TVM_PATCH_PAYLOAD_MAX_BYTES,
      .ok = true,
  };
  uint8_t status = tvm_patch_execute(server, server->request.command, payload, &reply);
  if (status == TVM_PATCH_STATUS_OK && !reply.ok) {
    status = TVM_PATCH_STATUS_OUT_OF_RANGE;
  }
  seal_reply(server, reply.size, status);
}

/* No local of this function changes once the way out is marked, and none of its callers keeps
 * floating-point values, whose registers newlib does not restore. */
static void carry_out_or_abandon(struct tvm_patch_server *server,
                                 struct tvm_patch_reader *payload) {
  if (setjmp(server->way_out) == 0) {
    carry_out(server, payload);
  } else {
    seal_reply(server, 0, server->abandoned_status);
  }
}

_Noreturn void tvm_patch_server_abandon(struct tvm_patch_server *server, uint8_t status) {
  server->abandoned_status = status;
  longjmp(server->way_out, 1);
}

static void token_of(const struct tvm_patch_message *ping, uint8_t *token) {
  const size_t given = ping->payload.remaining;
  memset(token, 0, TVM_PATCH_TOKEN_BYTES);
  memcpy(token, ping->payload.data, given < TVM_PATCH_TOKEN_BYTES ? given : TVM_PATCH_TOKEN_BYTES);
}

bool tvm_patch_server_is_stale(const struct tvm_patch_server *server,
                               const struct tvm_patch_message *message) {
  uint8_t token[TVM_PATCH_TOKEN_BYTES];
  if (!server->greeted) {
    return false;
  }
  if (message->command == TVM_PATCH_COMMAND_PING) {
    token_of(message, token);
    if (memcmp(token, server->token, sizeof(token)) != 0) {
      return false; /* another session begins, and counts on its own */
    }
  }
  return (int16_t)(uint16_t)(message->sequence - server->request.sequence) <= 0;
}

static bool is_welcome(struct tvm_patch_server *server, const struct tvm_patch_message *message) {
  if (message->command == TVM_PATCH_COMMAND_PING) {
    token_of(message, server->token);
    server->greeted = true;
  }
  return server->greeted || message->command == TVM_PATCH_COMMAND_RESET;
}

static void answer(struct tvm_patch_server *server) {
  struct tvm_patch_message message =
      tvm_patch_message_parse(server->decoder.message, server->decoder.size);
  if (message.version != TVM_PATCH_PROTOCOL_VERSION) {
    send_status(message.command, message.sequence, TVM_PATCH_STATUS_WRONG_VERSION);
    return;
  }
  if (message.command == TVM_PATCH_COMMAND_FETCH_ROWS) {
    return; /* rows that nobody waits for any more: the question was repeated */
  }
  if (!server->answered || message.crc != server->request.crc) {
    if (tvm_patch_server_is_stale(server, &message)) {
      return;
    }
    if (!is_welcome(server, &message)) {
      send_status(message.command, message.sequence, TVM_PATCH_STATUS_RESTARTED);
      return;
    }
    server->request = (struct tvm_patch_request){message.command, message.sequence, message.crc};
    carry_out_or_abandon(server, &message.payload);
    server->answered = true;
  }
  send(server->reply, server->reply_size);
  if (server->reset_requested) {
    tvm_patch_platform_reset();
  }
}

void tvm_patch_server_init(struct tvm_patch_server *server, const struct tvm_patch_model *model) {
  memset(server, 0, sizeof(*server));
  server->model = model;
  server->stack_high_water_bytes = TVM_PATCH_UNKNOWN;
  tvm_patch_frame_decoder_init(&server->decoder);
  active = server;
  model->bind();
}

struct tvm_patch_server *tvm_patch_server_active(void) {
  return active;
}

static enum tvm_patch_frame_event decode_next(struct tvm_patch_server *server) {
  server->incoming_size--;
  return tvm_patch_frame_decode(&server->decoder, *server->incoming++);
}

static bool read_more(struct tvm_patch_server *server) {
  server->incoming = server->read_buffer;
  server->incoming_size = tvm_patch_platform_read(server->read_buffer, sizeof(server->read_buffer));
  return server->incoming_size != 0;
}

enum tvm_patch_frame_event tvm_patch_server_await_frame(struct tvm_patch_server *server) {
  while (server->incoming_size != 0 || read_more(server)) {
    const enum tvm_patch_frame_event event = decode_next(server);
    if (event != TVM_PATCH_FRAME_PENDING) {
      return event;
    }
  }
  return TVM_PATCH_FRAME_PENDING;
}

static void work_off(struct tvm_patch_server *server) {
  while (server->incoming_size != 0) {
    switch (decode_next(server)) {
    case TVM_PATCH_FRAME_COMPLETE:
      do {
        server->interrupted = false;
        answer(server);
      } while (server->interrupted);
      break;
    case TVM_PATCH_FRAME_DAMAGED:
      send_status(TVM_PATCH_COMMAND_NONE, 0, TVM_PATCH_STATUS_DAMAGED_FRAME);
      break;
    case TVM_PATCH_FRAME_PENDING:
      break;
    }
  }
}

void tvm_patch_server_receive(struct tvm_patch_server *server, const uint8_t *data, size_t size) {
  server->incoming = data;
  server->incoming_size = size;
  work_off(server);
}

bool tvm_patch_server_poll(struct tvm_patch_server *server) {
  if (!read_more(server)) {
    return false;
  }
  work_off(server);
  return true;
}
