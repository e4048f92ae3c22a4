#include "tvm_patch/framing.h"

#include "tvm_patch/crc32.h"
#include "tvm_patch/wire.h"

enum { BLOCK_MAX = 254 };

static void begin_frame(struct tvm_patch_frame_decoder *decoder) {
  decoder->size = 0;
  decoder->block_remaining = 0;
  decoder->zero_behind_block = false;
  decoder->started = false;
  decoder->damaged = false;
}

void tvm_patch_frame_decoder_init(struct tvm_patch_frame_decoder *decoder) {
  begin_frame(decoder);
}

static void append(struct tvm_patch_frame_decoder *decoder, uint8_t byte) {
  if (decoder->size == sizeof(decoder->message)) {
    decoder->damaged = true;
    return;
  }
  decoder->message[decoder->size++] = byte;
}

static bool message_is_whole(const struct tvm_patch_frame_decoder *decoder) {
  if (decoder->damaged || decoder->block_remaining != 0 ||
      decoder->size < TVM_PATCH_HEADER_BYTES + TVM_PATCH_CRC_BYTES) {
    return false;
  }
  const size_t covered = decoder->size - TVM_PATCH_CRC_BYTES;
  return tvm_patch_crc32(0, decoder->message, covered) ==
         tvm_patch_load_u32(decoder->message + covered);
}

static enum tvm_patch_frame_event end_frame(struct tvm_patch_frame_decoder *decoder) {
  if (!decoder->started) {
    return TVM_PATCH_FRAME_PENDING; /* delimiters in a row: nothing between them */
  }
  const bool whole = message_is_whole(decoder);
  const size_t size = decoder->size;
  begin_frame(decoder);
  decoder->size = whole ? size : 0;
  return whole ? TVM_PATCH_FRAME_COMPLETE : TVM_PATCH_FRAME_DAMAGED;
}

enum tvm_patch_frame_event tvm_patch_frame_decode(struct tvm_patch_frame_decoder *decoder,
                                                  uint8_t byte) {
  if (byte == 0) {
    return end_frame(decoder);
  }
  if (!decoder->started) {
    begin_frame(decoder);
    decoder->started = true;
  }
  if (decoder->block_remaining != 0) {
    decoder->block_remaining--;
    append(decoder, byte);
    return TVM_PATCH_FRAME_PENDING;
  }
  /* `byte` opens a block. The zero behind the block before it belongs to the message only now
   * that something follows. */
  if (decoder->zero_behind_block) {
    append(decoder, 0);
  }
  decoder->block_remaining = (uint8_t)(byte - 1);
  decoder->zero_behind_block = byte != BLOCK_MAX + 1;
  return TVM_PATCH_FRAME_PENDING;
}

void tvm_patch_frame_encode(const uint8_t *message, size_t size, tvm_patch_byte_sink sink) {
  static const uint8_t delimiter = 0;
  size_t begin = 0;
  for (;;) {
    size_t length = 0;
    while (length < BLOCK_MAX && begin + length < size && message[begin + length] != 0) {
      length++;
    }
    const uint8_t code = (uint8_t)(length + 1);
    sink(&code, 1);
    sink(message + begin, length);
    begin += length;
    if (begin == size) {
      break;
    }
    if (length < BLOCK_MAX) {
      begin++; /* the zero that the block stands for; one at the very end opens an empty block */
    }
  }
  sink(&delimiter, 1);
}
