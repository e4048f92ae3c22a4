#include <string.h>

#include "check.h"
#include "tvm_patch/crc32.h"
#include "tvm_patch/framing.h"
#include "tvm_patch/wire.h"

static uint8_t link[2 * TVM_PATCH_MESSAGE_MAX_BYTES];
static size_t link_size;

static void to_link(const uint8_t *data, size_t size) {
  CHECK(link_size + size <= sizeof(link));
  memcpy(link + link_size, data, size);
  link_size += size;
}

static size_t seal(uint8_t *message, size_t covered) {
  tvm_patch_store_u32(message + covered, tvm_patch_crc32(0, message, covered));
  return covered + TVM_PATCH_CRC_BYTES;
}

static enum tvm_patch_frame_event feed(struct tvm_patch_frame_decoder *decoder, const uint8_t *data,
                                       size_t size) {
  enum tvm_patch_frame_event last = TVM_PATCH_FRAME_PENDING;
  for (size_t i = 0; i < size; ++i) {
    CHECK(i == 0 || last == TVM_PATCH_FRAME_PENDING);
    last = tvm_patch_frame_decode(decoder, data[i]);
  }
  return last;
}

static void stuffing_is_as_the_paper_has_it(void) {
  static const struct {
    uint8_t message[4];
    size_t size;
    uint8_t stuffed[6];
    size_t stuffed_size;
  } cases[] = {
      {{0}, 1, {1, 1, 0}, 3},
      {{0, 0}, 2, {1, 1, 1, 0}, 4},
      {{0x11, 0x22, 0, 0x33}, 4, {3, 0x11, 0x22, 2, 0x33, 0}, 6},
      {{0x11, 0, 0, 0}, 4, {2, 0x11, 1, 1, 1, 0}, 6},
  };
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    link_size = 0;
    tvm_patch_frame_encode(cases[i].message, cases[i].size, to_link);
    CHECK(link_size == cases[i].stuffed_size);
    CHECK(memcmp(link, cases[i].stuffed, link_size) == 0);
  }
}

/* Every size, and contents around the 254-byte blocks of the stuffing. */
static void messages_come_back(void) {
  static struct tvm_patch_frame_decoder decoder;
  uint8_t message[TVM_PATCH_MESSAGE_MAX_BYTES];
  unsigned random = 1;
  tvm_patch_frame_decoder_init(&decoder);
  for (size_t covered = TVM_PATCH_HEADER_BYTES; covered <= sizeof(message) - TVM_PATCH_CRC_BYTES;
       ++covered) {
    for (unsigned zeros = 0; zeros < 3; ++zeros) {
      for (size_t i = 0; i < covered; ++i) {
        const unsigned value = next_random(&random);
        const int is_zero = zeros == 1 ? value % 251 == 0 : zeros == 2 && value % 2 == 0;
        message[i] = is_zero ? 0 : (uint8_t)(value % 255 + 1);
      }
      const size_t size = seal(message, covered);
      link_size = 0;
      tvm_patch_frame_encode(message, size, to_link);
      CHECK(memchr(link, 0, link_size) == link + link_size - 1);
      CHECK(feed(&decoder, link, link_size) == TVM_PATCH_FRAME_COMPLETE);
      CHECK(decoder.size == size && memcmp(decoder.message, message, size) == 0);
    }
  }
}

static void no_single_wrong_byte_passes(void) {
  static struct tvm_patch_frame_decoder decoder;
  uint8_t message[300 + TVM_PATCH_CRC_BYTES];
  for (size_t i = 0; i < 300; ++i) {
    message[i] = (uint8_t)(i * 7);
  }
  const size_t size = seal(message, 300);
  link_size = 0;
  tvm_patch_frame_encode(message, size, to_link);
  for (size_t at = 0; at + 1 < link_size; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      tvm_patch_frame_decoder_init(&decoder);
      link[at] ^= (uint8_t)(1 << bit);
      for (size_t i = 0; i < link_size; ++i) {
        CHECK(tvm_patch_frame_decode(&decoder, link[i]) != TVM_PATCH_FRAME_COMPLETE);
      }
      link[at] ^= (uint8_t)(1 << bit);
    }
  }
}

static void the_frame_behind_a_damaged_one_is_whole(void) {
  static struct tvm_patch_frame_decoder decoder;
  uint8_t message[20 + TVM_PATCH_CRC_BYTES] = {1, 2, 0, 3};
  const size_t size = seal(message, 20);
  tvm_patch_frame_decoder_init(&decoder);
  CHECK(feed(&decoder, (const uint8_t *)"\x09junk", 6) == TVM_PATCH_FRAME_DAMAGED);
  for (int i = 0; i < 5000; ++i) {
    CHECK(tvm_patch_frame_decode(&decoder, 0x55) == TVM_PATCH_FRAME_PENDING);
  }
  CHECK(tvm_patch_frame_decode(&decoder, 0) == TVM_PATCH_FRAME_DAMAGED);
  CHECK(tvm_patch_frame_decode(&decoder, 0) == TVM_PATCH_FRAME_PENDING);
  link_size = 0;
  tvm_patch_frame_encode(message, size, to_link);
  CHECK(feed(&decoder, link, link_size) == TVM_PATCH_FRAME_COMPLETE);
  CHECK(decoder.size == size && memcmp(decoder.message, message, size) == 0);
}

int main(void) {
  stuffing_is_as_the_paper_has_it();
  messages_come_back();
  no_single_wrong_byte_passes();
  the_frame_behind_a_damaged_one_is_whole();
  return 0;
}
