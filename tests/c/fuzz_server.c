/* A million mutated frames against the whole server, under the sanitizers. Whatever comes in, the
 * server must keep to its buffers and answer the next good request. Seed and count may be
 * given: fuzz_server [seed [count]]. */
#include <string.h>

#include "check.h"
#include "fake_port.h"
#include "tvm_patch/crc32.h"
#include "tvm_patch/server.h"
#include "tvm_patch/wire.h"

static struct tvm_patch_server server;
static uint8_t stream[3 * TVM_PATCH_MESSAGE_MAX_BYTES];
static size_t stream_size;

static void to_stream(const uint8_t *data, size_t size) {
  CHECK(stream_size + size <= sizeof(stream));
  memcpy(stream + stream_size, data, size);
  stream_size += size;
}

static void append_request(uint8_t command, unsigned *random) {
  uint8_t message[TVM_PATCH_MESSAGE_MAX_BYTES] = {TVM_PATCH_PROTOCOL_VERSION, command};
  const unsigned shape = next_random(random);
  const size_t size = shape % 64 == 0 ? TVM_PATCH_PAYLOAD_MAX_BYTES : shape % 16;
  for (size_t i = 2; i < TVM_PATCH_HEADER_BYTES + size; ++i) {
    /* Small numbers, so that many requests are nearly right. */
    const unsigned value = next_random(random);
    message[i] = (uint8_t)(value % 4 == 0 ? value >> 8 : value % 4 == 1);
  }
  const size_t covered = TVM_PATCH_HEADER_BYTES + size;
  tvm_patch_store_u32(message + covered, tvm_patch_crc32(0, message, covered));
  tvm_patch_frame_encode(message, covered + TVM_PATCH_CRC_BYTES, to_stream);
}

static void mutate(unsigned *random) {
  for (unsigned mutations = next_random(random) % 4; mutations != 0; --mutations) {
    const size_t at = next_random(random) % stream_size;
    switch (next_random(random) % 4) {
    case 0:
      stream[at] ^= (uint8_t)(1u << (next_random(random) % 8));
      break;
    case 1:
      stream[at] = (uint8_t)next_random(random);
      break;
    case 2: /* lost bytes; one stays, so that there is a stream */
      memmove(stream + at, stream + at + 1, stream_size - at - 1);
      stream_size -= stream_size > 1;
      break;
    default: /* cut short */
      stream_size = at + 1;
      break;
    }
  }
}

static void check_alive(void) {
  static struct tvm_patch_frame_decoder decoder;
  uint8_t ping[TVM_PATCH_HEADER_BYTES + TVM_PATCH_CRC_BYTES] = {TVM_PATCH_PROTOCOL_VERSION,
                                                                TVM_PATCH_COMMAND_PING, 0xed, 0xfe};
  tvm_patch_store_u32(ping + TVM_PATCH_HEADER_BYTES,
                      tvm_patch_crc32(0, ping, TVM_PATCH_HEADER_BYTES));
  stream_size = 0;
  to_stream((const uint8_t *)"", 1); /* ends what the mutation left open */
  tvm_patch_frame_encode(ping, sizeof(ping), to_stream);
  fake_sent_size = 0;
  tvm_patch_server_receive(&server, stream, stream_size);
  tvm_patch_frame_decoder_init(&decoder);
  for (size_t i = 0; i < fake_sent_size; ++i) {
    CHECK(tvm_patch_frame_decode(&decoder, fake_sent[i]) != TVM_PATCH_FRAME_DAMAGED);
  }
  CHECK(decoder.size == sizeof(ping));
  CHECK(decoder.message[1] == (TVM_PATCH_COMMAND_PING | TVM_PATCH_REPLY_FLAG));
  CHECK(decoder.message[2] == 0xed && decoder.message[3] == 0xfe);
}

int main(int count, char **arguments) {
  unsigned random = count > 1 ? (unsigned)strtoul(arguments[1], NULL, 0) | 1u : 0x2545f491u;
  const unsigned frames = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 0) : 1000000u;
  for (unsigned i = 0; i < frames; ++i) {
    if (i % (frames / 2 + 1) == 0) { /* half of them to a profiling build */
      tvm_patch_server_init(&server, i == 0 ? &fake_model_table : &fake_profiled_model_table);
    }
    /* Any command, and some that there are not, but reset, which would end the process. */
    uint8_t command;
    do {
      command = (uint8_t)(next_random(&random) % (TVM_PATCH_COMMAND_SPANS + 2));
    } while (command == TVM_PATCH_COMMAND_RESET);
    stream_size = 0;
    append_request(command, &random);
    mutate(&random);
    fake_sent_size = 0;
    tvm_patch_server_receive(&server, stream, stream_size);
    if (i % 16 == 0) {
      check_alive();
    }
  }
  return 0;
}
