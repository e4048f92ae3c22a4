#include <string.h>

#include "check.h"
#include "fake_port.h"
#include "tvm_patch/crc32.h"
#include "tvm_patch/painting.h"
#include "tvm_patch/server.h"
#include "tvm_patch/wire.h"

static struct tvm_patch_server server;
static struct tvm_patch_frame_decoder from_server;

struct answer {
  uint8_t command;
  uint16_t sequence;
  uint8_t status;
  const uint8_t *payload;
  size_t size;
  unsigned working; /* frames before it that said that work goes on */
};

static void to_server(const uint8_t *data, size_t size) {
  tvm_patch_server_receive(&server, data, size);
}

/* The last frame that the server has sent. */
static struct answer take_answer(void) {
  struct answer answer = {0};
  unsigned frames = 0;
  tvm_patch_frame_decoder_init(&from_server);
  for (size_t i = 0; i < fake_sent_size; ++i) {
    const enum tvm_patch_frame_event event = tvm_patch_frame_decode(&from_server, fake_sent[i]);
    CHECK(event != TVM_PATCH_FRAME_DAMAGED);
    frames += event == TVM_PATCH_FRAME_COMPLETE;
  }
  CHECK(frames > 0);
  const uint8_t *message = from_server.message;
  CHECK(message[0] == TVM_PATCH_PROTOCOL_VERSION);
  CHECK((message[1] & TVM_PATCH_REPLY_FLAG) != 0);
  answer.command = (uint8_t)(message[1] & ~TVM_PATCH_REPLY_FLAG);
  answer.sequence = (uint16_t)(message[2] | message[3] << 8);
  answer.status = message[4];
  answer.payload = message + TVM_PATCH_HEADER_BYTES;
  answer.size = from_server.size - TVM_PATCH_HEADER_BYTES - TVM_PATCH_CRC_BYTES;
  answer.working = frames - 1;
  return answer;
}

static void send(uint8_t version, uint8_t command, uint16_t sequence, const void *payload,
                 size_t size) {
  uint8_t message[TVM_PATCH_MESSAGE_MAX_BYTES] = {version, command, (uint8_t)sequence,
                                                  (uint8_t)(sequence >> 8)};
  if (size != 0) {
    memcpy(message + TVM_PATCH_HEADER_BYTES, payload, size);
  }
  const size_t covered = TVM_PATCH_HEADER_BYTES + size;
  tvm_patch_store_u32(message + covered, tvm_patch_crc32(0, message, covered));
  fake_sent_size = 0;
  tvm_patch_frame_encode(message, covered + TVM_PATCH_CRC_BYTES, to_server);
}

static struct answer ask_version(uint8_t version, uint8_t command, uint16_t sequence,
                                 const void *payload, size_t size) {
  send(version, command, sequence, payload, size);
  return take_answer();
}

static bool ask_in_vain(uint8_t command, uint16_t sequence, const void *payload, size_t size) {
  send(TVM_PATCH_PROTOCOL_VERSION, command, sequence, payload, size);
  return fake_sent_size == 0;
}

static struct answer ask(uint8_t command, uint16_t sequence, const void *payload, size_t size) {
  const struct answer answer =
      ask_version(TVM_PATCH_PROTOCOL_VERSION, command, sequence, payload, size);
  CHECK(answer.command == command && answer.sequence == sequence);
  return answer;
}

static void boot(const struct tvm_patch_model *model) {
  memset(&fake_model, 0, sizeof(fake_model));
  tvm_patch_server_init(&server, model);
}

static void start_with(const struct tvm_patch_model *model) {
  boot(model);
  ask(TVM_PATCH_COMMAND_PING, 0, "session1", 8);
}

static void start(void) {
  start_with(&fake_model_table);
}

static void ping_echoes(void) {
  start();
  const struct answer answer = ask(TVM_PATCH_COMMAND_PING, 7, "hello", 5);
  CHECK(answer.status == TVM_PATCH_STATUS_OK);
  CHECK(answer.size == 5 && memcmp(answer.payload, "hello", 5) == 0);
}

static void info_tells_who_is_there(void) {
  start();
  const struct answer answer = ask(TVM_PATCH_COMMAND_INFO, 1, NULL, 0);
  const uint8_t expected[] = {TVM_PATCH_CLOCK_CYCLES,
                              2,
                              0,
                              0,
                              0,
                              0xe8,
                              3,
                              0,
                              0,
                              0,
                              4,
                              1,
                              0,
                              1,
                              0,
                              3,
                              0,
                              0,
                              1,
                              0,
                              0,
                              4,
                              'f',
                              'a',
                              'k',
                              'e',
                              4,
                              'f',
                              '0',
                              '0',
                              'd',
                              4,
                              'f',
                              'a',
                              'k',
                              'e'};
  CHECK(answer.status == TVM_PATCH_STATUS_OK);
  CHECK(answer.size == sizeof(expected));
  CHECK(memcmp(answer.payload, expected, sizeof(expected)) == 0);
}

static void tensors_and_operators_are_described(void) {
  start();
  struct answer answer = ask(TVM_PATCH_COMMAND_DESCRIBE_OUTPUT, 1, "\0\0", 2);
  CHECK(answer.size == 16 &&
        memcmp(answer.payload, "\x40\0\0\0\x40\0\0\0\0\0\0\0\x03out", 16) == 0);
  answer = ask(TVM_PATCH_COMMAND_DESCRIBE_INPUT, 2, "\1\0", 2);
  CHECK(answer.status == TVM_PATCH_STATUS_OUT_OF_RANGE);
  answer = ask(TVM_PATCH_COMMAND_DESCRIBE_OPERATOR, 3, "\2\0", 2);
  CHECK(answer.size == 2 && memcmp(answer.payload, "\1c", 2) == 0);
  answer = ask(TVM_PATCH_COMMAND_DESCRIBE_OPERATOR, 4, "\3\0", 2);
  CHECK(answer.status == TVM_PATCH_STATUS_OUT_OF_RANGE);
}

static void an_inference_goes_through(void) {
  start();
  CHECK(ask(TVM_PATCH_COMMAND_PAINT, 1, NULL, 0).status == TVM_PATCH_STATUS_OK);
  uint8_t chunk[6 + FAKE_TENSOR_BYTES / 2] = {0};
  for (uint8_t half = 0; half < 2; ++half) {
    chunk[2] = (uint8_t)(half * FAKE_TENSOR_BYTES / 2);
    memset(chunk + 6, 'a' + half, FAKE_TENSOR_BYTES / 2);
    const struct answer answer =
        ask(TVM_PATCH_COMMAND_WRITE_INPUT, (uint16_t)(2 + half), chunk, sizeof(chunk));
    CHECK(answer.status == TVM_PATCH_STATUS_OK && answer.size == 0);
  }
  struct answer answer = ask(TVM_PATCH_COMMAND_RUN, 4, "\2\0\0\0", 4);
  CHECK(answer.status == TVM_PATCH_STATUS_OK && answer.working == 2);
  CHECK(answer.size == 24 && answer.payload[0] == 10 && answer.payload[8] == 20);

  answer = ask(TVM_PATCH_COMMAND_READ_OUTPUT, 5, "\0\0\x1f\0\0\0\2\0", 8);
  CHECK(answer.size == 2 && memcmp(answer.payload, "ab", 2) == 0);
  answer = ask(TVM_PATCH_COMMAND_READ_ARENA, 6, "\0\0\0\0\2\0", 6);
  CHECK(answer.size == 2 && memcmp(answer.payload, "aa", 2) == 0);

  answer = ask(TVM_PATCH_COMMAND_MEMORY, 7, NULL, 0);
  CHECK(answer.size == 21);
  CHECK(tvm_patch_load_u32(answer.payload) == FAKE_ARENA_BYTES);
  CHECK(tvm_patch_load_u32(answer.payload + 4) == 2 * FAKE_TENSOR_BYTES);
  CHECK(tvm_patch_load_u32(answer.payload + 8) == TVM_PATCH_UNKNOWN);
  CHECK(tvm_patch_load_u32(answer.payload + 16) == FAKE_GUARD_BYTES);
  CHECK(answer.payload[20] == 1);
  fake_guard[3] ^= 1;
  CHECK(ask(TVM_PATCH_COMMAND_MEMORY, 8, NULL, 0).payload[20] == 0);
}

static void operators_run_one_by_one(void) {
  start();
  struct answer answer = ask(TVM_PATCH_COMMAND_RUN_UNTIL, 1, "\1\0", 2);
  CHECK(answer.status == TVM_PATCH_STATUS_OK && answer.working == 2);
  CHECK(fake_model.operators_run[1] == 1 && fake_model.operators_run[2] == 0);
  CHECK(ask(TVM_PATCH_COMMAND_RUN_UNTIL, 2, "\3\0", 2).status == TVM_PATCH_STATUS_OUT_OF_RANGE);
  answer = ask(TVM_PATCH_COMMAND_PROFILE, 3, "\1\0\2\0", 4);
  CHECK(answer.size == 16 && answer.payload[0] == 101 && answer.payload[8] == 102);
  CHECK(ask(TVM_PATCH_COMMAND_PROFILE, 4, "\2\0\2\0", 4).status == TVM_PATCH_STATUS_OUT_OF_RANGE);
}

static uint64_t load_u64(const uint8_t *data) {
  return tvm_patch_load_u32(data) | (uint64_t)tvm_patch_load_u32(data + 4) << 32;
}

static void a_profiling_build_tells_whose_time_it_was(void) {
  start_with(&fake_profiled_model_table);
  fake_mark_ticks = 7;
  for (uint16_t run = 0; run < 2; ++run) { /* the second run forgets the first */
    CHECK(ask(TVM_PATCH_COMMAND_RUN, (uint16_t)(1 + run), "\2\0\0\0", 4).status ==
          TVM_PATCH_STATUS_OK);
  }
  struct answer answer = ask(TVM_PATCH_COMMAND_SPANS, 3, "\0\0\0\0", 4);
  CHECK(answer.status == TVM_PATCH_STATUS_OK && answer.size == 14);
  CHECK(answer.payload[0] == FAKE_SPANS && answer.payload[1] == 0);
  const uint64_t ticks = load_u64(answer.payload + 2);
  const uint32_t visits = tvm_patch_load_u32(answer.payload + 10);
  CHECK(visits > 500 && ticks == 7 * visits);

  answer = ask(TVM_PATCH_COMMAND_SPANS, 4, "\0\0\x50\0", 4);
  CHECK(answer.status == TVM_PATCH_STATUS_OK && answer.size == 14 + 80 * 12);
  for (uint32_t i = 1; i < 80; ++i) {
    const uint8_t *span = answer.payload + 14 + 12 * i;
    CHECK(load_u64(span) == i + 7 && tvm_patch_load_u32(span + 8) == 1);
  }
  /* Before the first mark nothing passes; behind the last one, the run itself: 40 ticks. */
  const uint8_t *first = answer.payload + 14;
  CHECK(load_u64(first) == 7 + 40 && tvm_patch_load_u32(first + 8) == 1);
  answer = ask(TVM_PATCH_COMMAND_SPANS, 5, "\x59\0\1\0", 4);
  CHECK(answer.size == 14 + 12 && load_u64(answer.payload + 14) == 89 + 7);

  /* One operator alone passes marks too. */
  CHECK(ask(TVM_PATCH_COMMAND_PROFILE, 6, "\1\0\1\0", 4).status == TVM_PATCH_STATUS_OK);
  fake_mark_ticks = 0;
}

static void spans_that_are_not_there_are_refused(void) {
  start_with(&fake_profiled_model_table);
  CHECK(ask(TVM_PATCH_COMMAND_SPANS, 1, "\0\0\x51\0", 4).status ==
        TVM_PATCH_STATUS_OUT_OF_RANGE); /* too many for one answer */
  CHECK(ask(TVM_PATCH_COMMAND_SPANS, 2, "\x59\0\2\0", 4).status == TVM_PATCH_STATUS_OUT_OF_RANGE);
  CHECK(ask(TVM_PATCH_COMMAND_SPANS, 3, "\xff\xff\1\0", 4).status == TVM_PATCH_STATUS_OUT_OF_RANGE);
  CHECK(ask(TVM_PATCH_COMMAND_SPANS, 4, "\0\0\0", 3).status == TVM_PATCH_STATUS_MALFORMED);
  start();
  const struct answer answer = ask(TVM_PATCH_COMMAND_SPANS, 5, "\0\0\0\0", 4);
  CHECK(answer.status == TVM_PATCH_STATUS_OK && answer.size == 14);
  CHECK(answer.payload[0] == 0 && answer.payload[1] == 0);
  CHECK(ask(TVM_PATCH_COMMAND_SPANS, 6, "\0\0\1\0", 4).status == TVM_PATCH_STATUS_OUT_OF_RANGE);
}

static void nothing_is_touched_out_of_range(void) {
  start();
  static const uint8_t bad_writes[][7] = {
      {1, 0, 0, 0, 0, 0, 1},             /* no such input */
      {0, 0, 64, 0, 0, 0, 1},            /* behind the end */
      {0, 0, 0xff, 0xff, 0xff, 0xff, 1}, /* offset + size wraps */
  };
  for (uint16_t i = 0; i < 3; ++i) {
    CHECK(ask(TVM_PATCH_COMMAND_WRITE_INPUT, (uint16_t)(1 + i), bad_writes[i], 7).status ==
          TVM_PATCH_STATUS_OUT_OF_RANGE);
  }
  static const uint8_t bad_reads[][8] = {
      {1, 0, 0, 0, 0, 0, 1, 0},
      {0, 0, 64, 0, 0, 0, 1, 0},
      {0, 0, 0xff, 0xff, 0xff, 0xff, 2, 0},
  };
  for (uint16_t i = 0; i < 3; ++i) {
    CHECK(ask(TVM_PATCH_COMMAND_READ_OUTPUT, (uint16_t)(10 + i), bad_reads[i], 8).status ==
          TVM_PATCH_STATUS_OUT_OF_RANGE);
  }
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 20, "\0\0\0\0", 4).status == TVM_PATCH_STATUS_OUT_OF_RANGE);
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 21, "\x65\0\0\0", 4).status == TVM_PATCH_STATUS_OUT_OF_RANGE);
  CHECK(fake_model.runs == 0);
}

static void odd_requests_are_refused(void) {
  start();
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 1, "\1\0\0", 3).status == TVM_PATCH_STATUS_MALFORMED);
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 2, "\1\0\0\0\0", 5).status == TVM_PATCH_STATUS_MALFORMED);
  CHECK(ask(TVM_PATCH_COMMAND_INFO, 3, "x", 1).status == TVM_PATCH_STATUS_MALFORMED);
  CHECK(ask(0x55, 4, NULL, 0).status == TVM_PATCH_STATUS_UNKNOWN_COMMAND);
  const struct answer answer =
      ask_version(TVM_PATCH_PROTOCOL_VERSION + 1, TVM_PATCH_COMMAND_PING, 5, NULL, 0);
  CHECK(answer.status == TVM_PATCH_STATUS_WRONG_VERSION && answer.sequence == 5);
}

static void a_repeated_request_is_not_carried_out_again(void) {
  start();
  for (int i = 0; i < 3; ++i) {
    const struct answer answer = ask(TVM_PATCH_COMMAND_RUN, 9, "\1\0\0\0", 4);
    CHECK(answer.size == 16 && answer.payload[0] == 10);
    CHECK(answer.working == (i == 0));
  }
  CHECK(fake_model.runs == 1);
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 10, "\1\0\0\0", 4).size == 16);
  CHECK(fake_model.runs == 2);
}

static void a_device_that_has_started_anew_says_so(void) {
  static const uint8_t commands[] = {
      TVM_PATCH_COMMAND_INFO,        TVM_PATCH_COMMAND_RUN,    TVM_PATCH_COMMAND_WRITE_INPUT,
      TVM_PATCH_COMMAND_READ_OUTPUT, TVM_PATCH_COMMAND_MEMORY, TVM_PATCH_COMMAND_PAINT,
  };
  start();
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 1, "\1\0\0\0", 4).status == TVM_PATCH_STATUS_OK);
  boot(&fake_model_table); /* a watchdog, say */
  for (uint16_t i = 0; i < sizeof(commands); ++i) {
    const struct answer answer = ask(commands[i], (uint16_t)(2 + i), "\1\0\0\0", 4);
    CHECK(answer.status == TVM_PATCH_STATUS_RESTARTED && answer.size == 0);
  }
  CHECK(fake_model.runs == 0);
  CHECK(ask(TVM_PATCH_COMMAND_PING, 20, "session1", 8).status == TVM_PATCH_STATUS_OK);
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 21, "\1\0\0\0", 4).status == TVM_PATCH_STATUS_OK);
}

static void requests_that_come_late_are_dropped(void) {
  start();
  CHECK(ask(TVM_PATCH_COMMAND_PING, 0xfffe, "session2", 8).status == TVM_PATCH_STATUS_OK);
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 0xffff, "\1\0\0\0", 4).status == TVM_PATCH_STATUS_OK);
  CHECK(ask(TVM_PATCH_COMMAND_READ_OUTPUT, 1, "\0\0\0\0\0\0\2\0", 8).size == 2);
  /* The run again, and the ping, as a link that repeats frames would have it. */
  CHECK(ask_in_vain(TVM_PATCH_COMMAND_RUN, 0xffff, "\1\0\0\0", 4));
  CHECK(ask_in_vain(TVM_PATCH_COMMAND_PING, 0xfffe, "session2", 8));
  CHECK(ask_in_vain(TVM_PATCH_COMMAND_RUN, 1, "\1\0\0\0", 4));
  CHECK(fake_model.runs == 1);
  /* Another session counts anew, from wherever it likes. */
  CHECK(ask(TVM_PATCH_COMMAND_PING, 0x9000, "session3", 8).status == TVM_PATCH_STATUS_OK);
  CHECK(ask(TVM_PATCH_COMMAND_RUN, 0x9001, "\1\0\0\0", 4).status == TVM_PATCH_STATUS_OK);
}

static void a_failing_network_is_reported(void) {
  start();
  fake_model.result = -5;
  const struct answer answer = ask(TVM_PATCH_COMMAND_RUN, 1, "\3\0\0\0", 4);
  CHECK(answer.status == TVM_PATCH_STATUS_MODEL_FAILED);
  CHECK(answer.size == 4 && (int32_t)tvm_patch_load_u32(answer.payload) == -5);
  CHECK(fake_model.runs == 1);
}

static void a_damaged_frame_is_complained_about(void) {
  start();
  fake_sent_size = 0;
  to_server((const uint8_t *)"\x05junk", 6);
  const struct answer answer = take_answer();
  CHECK(answer.command == TVM_PATCH_COMMAND_NONE);
  CHECK(answer.status == TVM_PATCH_STATUS_DAMAGED_FRAME);
  CHECK(ask(TVM_PATCH_COMMAND_PING, 1, "x", 1).status == TVM_PATCH_STATUS_OK);
}

static void reset_answers_first(void) {
  start();
  ask(TVM_PATCH_COMMAND_RESET, 1, NULL, 0);
  CHECK(!"the platform's reset does not return");
}

int main(void) {
  ping_echoes();
  info_tells_who_is_there();
  tensors_and_operators_are_described();
  an_inference_goes_through();
  operators_run_one_by_one();
  a_profiling_build_tells_whose_time_it_was();
  spans_that_are_not_there_are_refused();
  nothing_is_touched_out_of_range();
  odd_requests_are_refused();
  a_repeated_request_is_not_carried_out_again();
  a_device_that_has_started_anew_says_so();
  requests_that_come_late_are_dropped();
  a_failing_network_is_reported();
  a_damaged_frame_is_complained_about();
  reset_answers_first();
}
