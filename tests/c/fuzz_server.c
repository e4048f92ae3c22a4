/* A million mutated frames against the whole server, under the sanitizers. Whatever comes in, in
 * whatever pieces, at rest or in the middle of an inference that waits for rows, the server must
 * keep to its buffers, send nothing but good frames, and answer the next good request. Seed and
 * count may be given: fuzz_server [seed [count]]. */
#include <string.h>

#include "check.h"
#include "fake_port.h"
#include "tvm_patch/crc32.h"
#include "tvm_patch/profile.h"
#include "tvm_patch/rows.h"
#include "tvm_patch/server.h"
#include "tvm_patch/wire.h"

enum { ROWS = 2, ROW_BYTES = 1100, CHUNK_MAX_BYTES = 1020, READS_MAX = 400 };

static struct tvm_patch_server server;
static unsigned random_state;
static uint16_t sequence;

static unsigned pick(unsigned below) {
  return next_random(&random_state) % below;
}

/* ---- A network with one input in its arena and one by rows. */

static struct tvm_patch_tensor inputs[] = {
    {.name = "in", .size_bytes = FAKE_TENSOR_BYTES},
    {.name = "image", .size_bytes = ROWS * ROW_BYTES, .row_bytes = ROW_BYTES},
};
static struct tvm_patch_tensor outputs[] = {{.name = "out", .size_bytes = FAKE_TENSOR_BYTES}};

static void bind(void) {
  inputs[0].data = fake_arena;
  outputs[0].data = fake_arena + FAKE_TENSOR_BYTES;
}

static void run_operator(uint32_t index) {
  static uint8_t row[ROW_BYTES];
  CHECK(index < FAKE_OPERATORS);
  if (server.model->profile != NULL) {
    tvm_patch_profile_mark(pick(FAKE_SPANS));
  }
  for (uint32_t y = 0; index == 0 && y < ROWS; ++y) {
    tvm_patch_fetch_rows(1, y, 1, row);
  }
}

static int32_t run(void) {
  run_operator(0);
  return fake_arena[0] & 2; /* the host may have it fail */
}

static const char *operator_name(uint32_t index) {
  CHECK(index < FAKE_OPERATORS);
  return "operator";
}

#define FUZZED_MODEL                                                                               \
  .name = "fuzzed", .fingerprint = "f00d", .arena = fake_arena,                                    \
  .arena_size_bytes = sizeof(fake_arena), .inputs = inputs, .input_count = 2, .outputs = outputs,  \
  .output_count = 1, .operator_count = FAKE_OPERATORS, .bind = bind, .run = run,                   \
  .run_operator = run_operator, .operator_name = operator_name

static const struct tvm_patch_model models[] = {
    {FUZZED_MODEL},
    {FUZZED_MODEL, .profile = &fake_profile},
};

/* ---- What comes over the link. */

static uint8_t stream[4 * TVM_PATCH_MESSAGE_MAX_BYTES];
static size_t stream_size;

static void to_stream(const uint8_t *data, size_t size) {
  CHECK(stream_size + size <= sizeof(stream));
  memcpy(stream + stream_size, data, size);
  stream_size += size;
}

static void seal_and_append(uint8_t *message, size_t payload_size) {
  const size_t covered = TVM_PATCH_HEADER_BYTES + payload_size;
  tvm_patch_store_u32(message + covered, tvm_patch_crc32(0, message, covered));
  tvm_patch_frame_encode(message, covered + TVM_PATCH_CRC_BYTES, to_stream);
}

static void append_request(uint8_t command) {
  uint8_t message[TVM_PATCH_MESSAGE_MAX_BYTES] = {TVM_PATCH_PROTOCOL_VERSION, command};
  /* Mostly the next one of the session, or else the server would drop it as stale. */
  const uint16_t number = pick(8) != 0 ? ++sequence : (uint16_t)next_random(&random_state);
  message[2] = (uint8_t)number;
  message[3] = (uint8_t)(number >> 8);
  message[0] = (uint8_t)(message[0] + (pick(64) == 0));
  if (command == TVM_PATCH_COMMAND_RUN && pick(2) == 0) {
    message[TVM_PATCH_HEADER_BYTES] = 1;
    seal_and_append(message, 4);
    return;
  }
  const unsigned shape = next_random(&random_state);
  const size_t size = shape % 64 == 0 ? TVM_PATCH_PAYLOAD_MAX_BYTES : shape % 16;
  for (size_t i = 0; i < size; ++i) {
    /* Small numbers, so that many requests are nearly right. */
    const unsigned value = next_random(&random_state);
    message[TVM_PATCH_HEADER_BYTES + i] = (uint8_t)(value % 4 == 0 ? value >> 8 : value % 4 == 1);
  }
  seal_and_append(message, size);
}

/* An answer to the question for rows that is under way, right or nearly so. */
static void append_rows(void) {
  uint8_t message[TVM_PATCH_MESSAGE_MAX_BYTES] = {TVM_PATCH_PROTOCOL_VERSION,
                                                  TVM_PATCH_COMMAND_FETCH_ROWS};
  const uint16_t number = (uint16_t)(server.request.sequence + (pick(16) == 0));
  message[2] = (uint8_t)number;
  message[3] = (uint8_t)(number >> 8);
  tvm_patch_store_u32(message + TVM_PATCH_HEADER_BYTES, server.fetches - (pick(16) == 0));
  /* A row takes two pieces. */
  const size_t pieces[] = {CHUNK_MAX_BYTES, ROW_BYTES - CHUNK_MAX_BYTES};
  const size_t size = pieces[(server.fetches + 1) % 2];
  seal_and_append(message, 4 + (pick(16) == 0 ? pick(CHUNK_MAX_BYTES + 1) : size));
}

static void append_noise(void) {
  for (unsigned length = pick(40); length != 0; --length) {
    const uint8_t byte = (uint8_t)next_random(&random_state);
    to_stream(&byte, 1);
  }
}

static void mutate(size_t begin) {
  for (unsigned mutations = pick(4); mutations != 0 && stream_size > begin; --mutations) {
    const size_t at = begin + pick((unsigned)(stream_size - begin));
    switch (pick(6)) {
    case 0:
      stream[at] ^= (uint8_t)(1u << pick(8));
      break;
    case 1:
      stream[at] = (uint8_t)next_random(&random_state);
      break;
    case 2: /* a lost byte */
      memmove(stream + at, stream + at + 1, stream_size - at - 1);
      stream_size--;
      break;
    case 3: /* two that change places */
      if (at + 1 < stream_size) {
        const uint8_t byte = stream[at];
        stream[at] = stream[at + 1];
        stream[at + 1] = byte;
      }
      break;
    case 4: { /* the tail twice */
      const size_t size = stream_size - at;
      if (stream_size + size <= sizeof(stream)) {
        memcpy(stream + stream_size, stream + at, size);
        stream_size += size;
      }
      break;
    }
    default: /* cut short */
      stream_size = at + 1;
      break;
    }
  }
}

static void append_something(void) {
  const size_t begin = stream_size;
  if (pick(32) == 0) {
    append_noise();
  } else {
    /* Any command, and some that there are not, but reset, which would end the process. */
    const uint8_t command = (uint8_t)pick(TVM_PATCH_COMMAND_SPANS + 2);
    append_request(command == TVM_PATCH_COMMAND_RESET ? TVM_PATCH_COMMAND_RUN : command);
  }
  mutate(begin);
}

static unsigned reads;

/* What the server gets while it waits for rows: rows, mostly. */
static size_t read_spoilt(uint8_t *data, size_t capacity) {
  static size_t taken;
  if (++reads > READS_MAX) {
    return 0; /* unplugged */
  }
  if (taken >= stream_size) {
    taken = stream_size = 0;
    fake_sent_size = 0; /* nobody listens */
    if (pick(16) == 0) {
      append_something();
    } else {
      append_rows();
      if (pick(8) == 0) {
        mutate(0);
      }
    }
  }
  const size_t rest = stream_size - taken;
  size_t size = 1 + pick((unsigned)capacity);
  size = size < rest ? size : rest;
  memcpy(data, stream + taken, size);
  taken += size;
  return size;
}

/* ---- The checks. */

static struct tvm_patch_frame_decoder from_server;

static void check_that_only_good_frames_were_sent(void) {
  tvm_patch_frame_decoder_init(&from_server);
  for (size_t i = 0; i < fake_sent_size; ++i) {
    CHECK(tvm_patch_frame_decode(&from_server, fake_sent[i]) != TVM_PATCH_FRAME_DAMAGED);
  }
  CHECK(!from_server.started);
}

static void receive(const uint8_t *data, size_t size) {
  static uint8_t bytes[sizeof(stream)];
  memcpy(bytes, data, size); /* the stream is written anew while the server waits for rows */
  reads = 0;
  fake_sent_size = 0;
  stream_size = 0;
  tvm_patch_server_receive(&server, bytes, size);
}

/* Begins a session, which the next frames belong to. */
static void check_alive(void) {
  static uint32_t sessions;
  uint8_t ping[TVM_PATCH_MESSAGE_MAX_BYTES] = {TVM_PATCH_PROTOCOL_VERSION, TVM_PATCH_COMMAND_PING};
  sequence = (uint16_t)next_random(&random_state);
  ping[2] = (uint8_t)sequence;
  ping[3] = (uint8_t)(sequence >> 8);
  tvm_patch_store_u32(ping + TVM_PATCH_HEADER_BYTES, 0xfeed0000u + ++sessions);
  stream_size = 0;
  to_stream((const uint8_t *)"", 1); /* ends what the mutation left open */
  seal_and_append(ping, 4);
  receive(stream, stream_size);
  check_that_only_good_frames_were_sent();
  CHECK(from_server.size == TVM_PATCH_HEADER_BYTES + 4 + TVM_PATCH_CRC_BYTES);
  CHECK(from_server.message[1] == (TVM_PATCH_COMMAND_PING | TVM_PATCH_REPLY_FLAG));
  CHECK(memcmp(from_server.message + 2, ping + 2, 2) == 0);
  CHECK(memcmp(from_server.message + TVM_PATCH_HEADER_BYTES, ping + TVM_PATCH_HEADER_BYTES, 4) ==
        0);
}

int main(int count, char **arguments) {
  random_state = count > 1 ? (unsigned)strtoul(arguments[1], NULL, 0) | 1u : 0x2545f491u;
  const unsigned frames = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 0) : 1000000u;
  fake_read = read_spoilt;
  for (unsigned i = 0; i < frames; ++i) {
    if (i % 4096 == 0) { /* it starts anew, with or without a profile, and nobody has greeted it */
      tvm_patch_server_init(&server, &models[i / 4096 % 2]);
    }
    stream_size = 0;
    append_something();
    receive(stream, stream_size);
    check_that_only_good_frames_were_sent();
    if (i % 16 == 0) {
      check_alive();
    }
  }
  /* An input that is long gone must not be waited for. */
  fake_read = NULL;
  check_alive();
  return 0;
}
