/* Frames on a byte stream: consistent overhead byte stuffing (Cheshire & Baker 1999),
 * a zero byte behind every frame. */
#ifndef TVM_PATCH_FRAMING_H
#define TVM_PATCH_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tvm_patch/protocol.h"

enum tvm_patch_frame_event {
  TVM_PATCH_FRAME_PENDING,
  /* `message` holds `size` bytes whose CRC (the last four of them) is right. */
  TVM_PATCH_FRAME_COMPLETE,
  /* A frame ended that was cut short, too long, badly stuffed or has a wrong CRC. */
  TVM_PATCH_FRAME_DAMAGED,
};

struct tvm_patch_frame_decoder {
  uint8_t message[TVM_PATCH_MESSAGE_MAX_BYTES];
  size_t size;
  /* Bytes of the current block still to come, and whether a zero stands behind the block. */
  uint8_t block_remaining;
  bool zero_behind_block;
  bool started;
  bool damaged;
};

void tvm_patch_frame_decoder_init(struct tvm_patch_frame_decoder *decoder);

/* Takes one byte off the link. After COMPLETE, `message` is valid until the next byte. */
enum tvm_patch_frame_event tvm_patch_frame_decode(struct tvm_patch_frame_decoder *decoder,
                                                  uint8_t byte);

typedef void (*tvm_patch_byte_sink)(const uint8_t *data, size_t size);

/* Stuffs `message` straight into `sink`, delimiter included: no second buffer is needed. */
void tvm_patch_frame_encode(const uint8_t *message, size_t size, tvm_patch_byte_sink sink);

#endif
