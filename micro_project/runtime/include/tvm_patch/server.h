/* Answers the requests of the host, one at a time. */
#ifndef TVM_PATCH_SERVER_H
#define TVM_PATCH_SERVER_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tvm_patch/framing.h"
#include "tvm_patch/message.h"
#include "tvm_patch/model.h"

enum {
  /* What is taken off the link at a time. */
  TVM_PATCH_READ_BYTES = 64,
  /* Payload of frames that are sent in the middle of a request. */
  TVM_PATCH_NOTICE_MAX_BYTES = 16,
};

/* What has to be known of a request after its frame has made room for others. */
struct tvm_patch_request {
  uint8_t command;
  uint16_t sequence;
  uint32_t crc;
};

struct tvm_patch_server {
  const struct tvm_patch_model *model;
  struct tvm_patch_frame_decoder decoder;

  /* Bytes that have arrived and are still to be decoded. */
  const uint8_t *incoming;
  size_t incoming_size;
  uint8_t read_buffer[TVM_PATCH_READ_BYTES];

  /* The last answer stays, so that a request whose answer got lost can be asked again
   * without being carried out twice. */
  uint8_t reply[TVM_PATCH_MESSAGE_MAX_BYTES];
  size_t reply_size;
  struct tvm_patch_request request; /* under way, or the last one */
  bool answered;
  bool reset_requested;

  /* Whose requests are carried out: those of the session that has pinged last. */
  bool greeted;
  uint8_t token[TVM_PATCH_TOKEN_BYTES];

  /* The way out of a network that waits for rows which will not come, and why it was taken. */
  jmp_buf way_out;
  uint8_t abandoned_status;
  /* Another request came meanwhile; the decoder holds it. */
  bool interrupted;
  /* Questions for rows so far: each has a number. */
  uint32_t fetches;

  uint32_t stack_high_water_bytes;
};

void tvm_patch_server_init(struct tvm_patch_server *server, const struct tvm_patch_model *model);

/* The server that was initialised last: generated code knows of none. */
struct tvm_patch_server *tvm_patch_server_active(void);

/* Waits for bytes and carries out every request that they complete; false when the link is
 * closed. */
bool tvm_patch_server_poll(struct tvm_patch_server *server);

/* The same with bytes that have been taken off the link already. */
void tvm_patch_server_receive(struct tvm_patch_server *server, const uint8_t *data, size_t size);

/* Sends a frame in the middle of the request under way, with its sequence number.
 * `size` is at most TVM_PATCH_NOTICE_MAX_BYTES. */
void tvm_patch_server_notify(const struct tvm_patch_server *server, uint8_t command, uint8_t status,
                             const uint8_t *payload, size_t size);

/* Tells the host, in the middle of a request, that work goes on: `done` steps so far. */
void tvm_patch_server_report_working(const struct tvm_patch_server *server, uint32_t done);

/* Whether a request that has arrived is older than the one that was carried out last. On a link
 * that repeats or reorders frames such a one turns up late; its answer is of no use. */
bool tvm_patch_server_is_stale(const struct tvm_patch_server *server,
                               const struct tvm_patch_message *message);

/* Waits, in the middle of a request, for the next frame, which overwrites the request's.
 * PENDING says that the link is closed. */
enum tvm_patch_frame_event tvm_patch_server_await_frame(struct tvm_patch_server *server);

/* Leaves the request under way, out of whatever it was doing, and answers it with `status`. */
_Noreturn void tvm_patch_server_abandon(struct tvm_patch_server *server, uint8_t status);

#endif
