/* A network that fetches its input by rows, and a host that serves them well, badly or not at
 * all. */
#include <string.h>

#include "check.h"
#include "fake_port.h"
#include "tvm_patch/crc32.h"
#include "tvm_patch/rows.h"
#include "tvm_patch/server.h"
#include "tvm_patch/wire.h"

enum { ROWS = 3, ROW_BYTES = 1500, RUN_TICKS = 70, HOST_TICKS = 1000, TOTAL_AT = 0 };

static struct tvm_patch_server server;
static uint8_t image[ROWS * ROW_BYTES];
static uint32_t rows_asked; /* by the network at a time */
static uint32_t first_asked;

/* ---- The network: its output is the sum of its input. */

static struct tvm_patch_tensor inputs[] = {
    {.name = "in", .size_bytes = sizeof(image), .row_bytes = ROW_BYTES}};
static struct tvm_patch_tensor outputs[] = {{.name = "out", .size_bytes = 4}};

static void bind(void) {
  outputs[0].data = fake_arena + TOTAL_AT;
}

static uint32_t sum(const uint8_t *data, size_t size) {
  uint32_t total = 0;
  for (size_t i = 0; i < size; ++i) {
    total += data[i] * (uint32_t)(i % 7 + 1);
  }
  return total;
}

static void run_operator(uint32_t index) {
  static uint8_t rows[ROWS * ROW_BYTES];
  (void)index;
  fake_time += RUN_TICKS;
  for (uint32_t y = first_asked; y < ROWS; y += rows_asked) {
    tvm_patch_fetch_rows(0, y, rows_asked, rows + y * ROW_BYTES);
  }
  tvm_patch_store_u32(fake_arena + TOTAL_AT, sum(rows, sizeof(rows)));
}

static int32_t run(void) {
  run_operator(0);
  return 0;
}

static const char *operator_name(uint32_t index) {
  (void)index;
  return "sum";
}

static const struct tvm_patch_model model = {
    .name = "rows",
    .fingerprint = "f00d",
    .arena = fake_arena,
    .arena_size_bytes = FAKE_ARENA_BYTES,
    .inputs = inputs,
    .input_count = 1,
    .outputs = outputs,
    .output_count = 1,
    .operator_count = 1,
    .bind = bind,
    .run = run,
    .run_operator = run_operator,
    .operator_name = operator_name,
};

/* ---- The host. */

static uint8_t link[8 * TVM_PATCH_MESSAGE_MAX_BYTES];
static size_t link_size;
static unsigned questions;
static unsigned reads;

static void to_link(const uint8_t *data, size_t size) {
  CHECK(link_size + size <= sizeof(link));
  memcpy(link + link_size, data, size);
  link_size += size;
}

static void send_frame(uint8_t command, uint16_t sequence, const void *payload, size_t size) {
  uint8_t message[TVM_PATCH_MESSAGE_MAX_BYTES] = {TVM_PATCH_PROTOCOL_VERSION, command,
                                                  (uint8_t)sequence, (uint8_t)(sequence >> 8)};
  if (size != 0) {
    memcpy(message + TVM_PATCH_HEADER_BYTES, payload, size);
  }
  const size_t covered = TVM_PATCH_HEADER_BYTES + size;
  tvm_patch_store_u32(message + covered, tvm_patch_crc32(0, message, covered));
  tvm_patch_frame_encode(message, covered + TVM_PATCH_CRC_BYTES, to_link);
}

struct question {
  uint16_t sequence;
  uint32_t number;
  uint32_t offset;
  uint16_t size;
};

static struct tvm_patch_frame_decoder from_server;

/* The latest frame from the server, taken off what it has sent. */
static void take_latest(void) {
  tvm_patch_frame_decoder_init(&from_server);
  for (size_t i = 0; i < fake_sent_size; ++i) {
    CHECK(tvm_patch_frame_decode(&from_server, fake_sent[i]) != TVM_PATCH_FRAME_DAMAGED);
  }
  fake_sent_size = 0;
}

static struct question take_question(void) {
  take_latest();
  const uint8_t *message = from_server.message;
  const uint8_t *payload = message + TVM_PATCH_HEADER_BYTES;
  CHECK(from_server.size == TVM_PATCH_HEADER_BYTES + 12 + TVM_PATCH_CRC_BYTES);
  CHECK(message[1] == (TVM_PATCH_COMMAND_FETCH_ROWS | TVM_PATCH_REPLY_FLAG));
  CHECK(payload[4] == 0 && payload[5] == 0);
  questions++;
  return (struct question){
      .sequence = (uint16_t)(message[2] | message[3] << 8),
      .number = tvm_patch_load_u32(payload),
      .offset = tvm_patch_load_u32(payload + 6),
      .size = (uint16_t)(payload[10] | payload[11] << 8),
  };
}

static void send_rows(struct question question) {
  uint8_t payload[TVM_PATCH_PAYLOAD_MAX_BYTES];
  CHECK(question.offset + question.size <= sizeof(image));
  tvm_patch_store_u32(payload, question.number);
  memcpy(payload + 4, image + question.offset, question.size);
  send_frame(TVM_PATCH_COMMAND_FETCH_ROWS, question.sequence, payload, 4u + question.size);
}

static void send_run(uint16_t sequence) {
  send_frame(TVM_PATCH_COMMAND_RUN, sequence, "\2\0\0\0", 4);
}

/* Gives the server what is on the link, a few bytes at a time. */
static size_t hand_over(uint8_t *data, size_t capacity) {
  const size_t size = link_size < capacity ? link_size : capacity;
  memcpy(data, link, size);
  memmove(link, link + size, link_size - size);
  link_size -= size;
  return size;
}

static size_t read_served(uint8_t *data, size_t capacity) {
  if (link_size == 0) {
    fake_time += HOST_TICKS;
    send_rows(take_question());
  }
  return hand_over(data, capacity);
}

/* Every answer twice: the second one comes when the next is waited for. */
static size_t read_served_twice(uint8_t *data, size_t capacity) {
  if (link_size == 0) {
    const struct question question = take_question();
    send_rows(question);
    send_rows(question);
  }
  return hand_over(data, capacity);
}

/* Every other answer is damaged. */
static size_t read_damaged(uint8_t *data, size_t capacity) {
  if (link_size == 0) {
    send_rows(take_question());
    if (questions % 2 == 1) {
      link[link_size / 2] ^= 1;
    }
  }
  return hand_over(data, capacity);
}

/* Every other question is lost, so that the host repeats its request. */
static size_t read_repeated(uint8_t *data, size_t capacity) {
  if (link_size == 0) {
    const struct question question = take_question();
    if (questions % 2 == 1) {
      send_run(question.sequence);
    } else {
      send_rows(question);
    }
  }
  return hand_over(data, capacity);
}

/* One row comes, then a ping. */
static size_t read_interrupted(uint8_t *data, size_t capacity) {
  if (link_size == 0) {
    const struct question question = take_question();
    if (questions == 1) {
      send_rows(question);
    } else {
      send_frame(TVM_PATCH_COMMAND_PING, 99, "hello", 5);
    }
  }
  return hand_over(data, capacity);
}

static size_t read_short(uint8_t *data, size_t capacity) {
  if (link_size == 0) {
    struct question question = take_question();
    question.size--;
    send_rows(question);
  }
  return hand_over(data, capacity);
}

/* ---- The tests. */

/* Hands all that is on the link to the server in one piece. */
static void receive(void) {
  static uint8_t data[sizeof(link)];
  const size_t size = link_size;
  memcpy(data, link, size);
  link_size = 0;
  tvm_patch_server_receive(&server, data, size);
}

static void start(size_t (*host)(uint8_t *data, size_t capacity)) {
  memset(fake_arena, 0, FAKE_ARENA_BYTES);
  for (size_t i = 0; i < sizeof(image); ++i) {
    image[i] = (uint8_t)(i * 37 >> 2);
  }
  fake_read = host;
  fake_sent_size = link_size = 0;
  questions = reads = 0;
  rows_asked = 1;
  first_asked = 0;
  tvm_patch_server_init(&server, &model);
  send_frame(TVM_PATCH_COMMAND_PING, 0, "session1", 8);
  receive();
  fake_sent_size = 0;
}

static uint8_t run_twice(uint16_t sequence) {
  send_run(sequence);
  receive();
  take_latest();
  CHECK(from_server.message[1] == (TVM_PATCH_COMMAND_RUN | TVM_PATCH_REPLY_FLAG));
  CHECK(from_server.message[2] == sequence);
  return from_server.message[4];
}

static int total_is_right(void) {
  return tvm_patch_load_u32(fake_arena + TOTAL_AT) == sum(image, sizeof(image));
}

static void rows_come_and_are_not_timed(void) {
  for (uint32_t at_a_time = 1; at_a_time <= ROWS; at_a_time += ROWS - 1) {
    start(read_served);
    rows_asked = at_a_time;
    CHECK(run_twice(5) == TVM_PATCH_STATUS_OK);
    CHECK(total_is_right());
    const uint8_t *payload = from_server.message + TVM_PATCH_HEADER_BYTES;
    /* Half a tick for each pause. */
    const uint32_t pauses = ROWS / at_a_time;
    CHECK(tvm_patch_load_u32(payload) == RUN_TICKS + pauses / 2);
    CHECK(tvm_patch_load_u32(payload + 8) == RUN_TICKS + pauses / 2);
    CHECK(tvm_patch_load_u32(payload + 16) == questions * HOST_TICKS);
    /* A row goes in two pieces, three in five. */
    CHECK(questions == 2 * (at_a_time == 1 ? 6 : 5));
  }
}

static void operators_get_rows_too(void) {
  start(read_served);
  send_frame(TVM_PATCH_COMMAND_PROFILE, 3, "\0\0\1\0", 4);
  receive();
  take_latest();
  CHECK(from_server.message[4] == TVM_PATCH_STATUS_OK);
  CHECK(from_server.message[TVM_PATCH_HEADER_BYTES] == RUN_TICKS + 1);
  CHECK(total_is_right());
}

static void what_is_lost_is_asked_for_again(void) {
  size_t (*const hosts[])(uint8_t *, size_t) = {read_served_twice, read_damaged, read_repeated};
  for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); ++i) {
    start(hosts[i]);
    CHECK(run_twice(7) == TVM_PATCH_STATUS_OK);
    CHECK(total_is_right());
    CHECK(questions == (i == 0 ? 12 : 24));
  }
}

static void late_rows_are_dropped(void) {
  start(read_served_twice);
  CHECK(run_twice(7) == TVM_PATCH_STATUS_OK);
  send_rows((struct question){.sequence = 7, .number = 12, .size = 10});
  receive();
  CHECK(fake_sent_size == 0);
}

static void bytes_behind_the_request_count(void) {
  start(read_served);
  send_run(4);
  send_rows((struct question){.sequence = 4, .number = 1, .size = 1020});
  receive();
  take_latest();
  CHECK(from_server.message[4] == TVM_PATCH_STATUS_OK);
  CHECK(total_is_right() && questions == 11);
}

static void another_request_ends_the_wait(void) {
  start(read_interrupted);
  send_run(8);
  receive();
  /* Both are answered, the one that was left first. */
  const uint8_t aborted[] = {TVM_PATCH_PROTOCOL_VERSION,
                             TVM_PATCH_COMMAND_RUN | TVM_PATCH_REPLY_FLAG, 8, 0,
                             TVM_PATCH_STATUS_ABORTED};
  tvm_patch_frame_decoder_init(&from_server);
  size_t at = 0;
  while (tvm_patch_frame_decode(&from_server, fake_sent[at++]) != TVM_PATCH_FRAME_COMPLETE) {
  }
  CHECK(memcmp(from_server.message, aborted, sizeof(aborted)) == 0);
  take_latest();
  CHECK(from_server.message[1] == (TVM_PATCH_COMMAND_PING | TVM_PATCH_REPLY_FLAG));
  CHECK(memcmp(from_server.message + TVM_PATCH_HEADER_BYTES, "hello", 5) == 0);
  /* And the next inference is as good as any. */
  fake_read = read_served;
  CHECK(run_twice(100) == TVM_PATCH_STATUS_OK && total_is_right());
}

static void a_closed_link_ends_the_wait(void) {
  start(NULL);
  CHECK(run_twice(8) == TVM_PATCH_STATUS_ABORTED);
}

static void rows_of_the_wrong_size_are_refused(void) {
  start(read_short);
  CHECK(run_twice(8) == TVM_PATCH_STATUS_MALFORMED);
}

static void rows_that_are_not_there_are_refused(void) {
  start(read_served);
  first_asked = 1;
  rows_asked = ROWS;
  CHECK(run_twice(8) == TVM_PATCH_STATUS_OUT_OF_RANGE);
}

static void the_input_is_described_and_cannot_be_written(void) {
  start(NULL);
  send_frame(TVM_PATCH_COMMAND_DESCRIBE_INPUT, 1, "\0\0", 2);
  receive();
  take_latest();
  CHECK(memcmp(from_server.message + TVM_PATCH_HEADER_BYTES,
               "\x94\x11\0\0\xff\xff\xff\xff\xdc\x05\0\0\2in", 15) == 0);
  send_frame(TVM_PATCH_COMMAND_WRITE_INPUT, 2, "\0\0\0\0\0\0x", 7);
  receive();
  take_latest();
  CHECK(from_server.message[4] == TVM_PATCH_STATUS_OUT_OF_RANGE);
}

/* Whatever comes instead of rows, the server keeps to its buffers and is there afterwards. */
static unsigned random_state = 0x2545f491u;
static uint16_t spoilt_sequence;

static size_t read_spoilt(uint8_t *data, size_t capacity) {
  if (++reads > 400) {
    return 0;
  }
  if (link_size == 0 && fake_sent_size == 0) {
    to_link((const uint8_t *)"", 1); /* it waits for the end of a frame */
    send_run(spoilt_sequence);
  } else if (link_size == 0) {
    struct question question = take_question();
    const unsigned choice = next_random(&random_state) % 16;
    question.number += choice == 1;
    question.sequence = (uint16_t)(question.sequence + (choice == 2));
    question.size = (uint16_t)(question.size - (choice == 3));
    send_rows(question);
    if (choice < 8) {
      const size_t at = next_random(&random_state) % link_size;
      link[at] = (uint8_t)next_random(&random_state);
      link_size = choice == 7 ? at + 1 : link_size;
    }
  }
  return hand_over(data, capacity);
}

static void spoilt_rows_do_no_harm(void) {
  unsigned good = 0;
  start(read_spoilt);
  for (unsigned i = 0; i < 4000; ++i) {
    memset(fake_arena, 0, 4);
    spoilt_sequence = (uint16_t)(i + 1);
    reads = 0;
    link_size = fake_sent_size = 0;
    to_link((const uint8_t *)"", 1);
    send_run(spoilt_sequence);
    receive();
    take_latest();
    if (from_server.message[4] == TVM_PATCH_STATUS_OK) {
      CHECK(total_is_right());
      good++;
    }
  }
  CHECK(good > 100);
}

int main(void) {
  rows_come_and_are_not_timed();
  operators_get_rows_too();
  what_is_lost_is_asked_for_again();
  late_rows_are_dropped();
  bytes_behind_the_request_count();
  another_request_ends_the_wait();
  a_closed_link_ends_the_wait();
  rows_of_the_wrong_size_are_refused();
  rows_that_are_not_there_are_refused();
  the_input_is_described_and_cannot_be_written();
  spoilt_rows_do_no_harm();
  return 0;
}
