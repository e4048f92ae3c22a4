/* A message: what is in a frame. Header, payload and CRC; docs/protocol.md has the layout. */
#ifndef TVM_PATCH_MESSAGE_H
#define TVM_PATCH_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "tvm_patch/wire.h"

/* A message that has arrived. Its CRC also serves to know a repeated one again: it covers
 * sequence number, command and payload. */
struct tvm_patch_message {
  uint8_t version;
  uint8_t command;
  uint16_t sequence;
  uint32_t crc;
  struct tvm_patch_reader payload; /* points into the bytes that were parsed */
};

/* Takes a message apart whose size and CRC are known to be right. */
struct tvm_patch_message tvm_patch_message_parse(const uint8_t *bytes, size_t size);

/* Puts header and CRC around a payload that already stands behind the room for the header.
 * Returns the size of the whole. */
size_t tvm_patch_message_seal(uint8_t *bytes, size_t payload_size, uint8_t command,
                              uint16_t sequence, uint8_t status);

#endif
