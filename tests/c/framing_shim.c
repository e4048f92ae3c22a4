/* The frame parser as a function of a whole stream, for callers in other languages. */
#include <string.h>

#include "tvm_patch/framing.h"

/* Writes, for every frame in `stream`, its event, its size as two bytes, and its message if it is
 * whole. Returns the bytes written, of at most `capacity`; frames beyond are left out. */
size_t framing_shim_decode(const uint8_t *stream, size_t size, uint8_t *out, size_t capacity) {
  static struct tvm_patch_frame_decoder decoder;
  size_t written = 0;
  tvm_patch_frame_decoder_init(&decoder);
  for (size_t i = 0; i < size; ++i) {
    const enum tvm_patch_frame_event event = tvm_patch_frame_decode(&decoder, stream[i]);
    if (event == TVM_PATCH_FRAME_PENDING || capacity - written < 3 + decoder.size) {
      continue;
    }
    out[written++] = (uint8_t)event;
    out[written++] = (uint8_t)decoder.size;
    out[written++] = (uint8_t)(decoder.size >> 8);
    memcpy(out + written, decoder.message, decoder.size);
    written += decoder.size;
  }
  return written;
}

static uint8_t *encoded;
static size_t encoded_size;

static void append(const uint8_t *data, size_t size) {
  memcpy(encoded + encoded_size, data, size);
  encoded_size += size;
}

/* `out` must have room for the message, a byte per 254 begun, and the delimiter. */
size_t framing_shim_encode(const uint8_t *message, size_t size, uint8_t *out) {
  encoded = out;
  encoded_size = 0;
  tvm_patch_frame_encode(message, size, append);
  return encoded_size;
}
