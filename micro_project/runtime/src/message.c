#include "tvm_patch/message.h"

#include "tvm_patch/crc32.h"
#include "tvm_patch/protocol.h"

enum { AT_VERSION = 0, AT_COMMAND = 1, AT_SEQUENCE = 2, AT_STATUS = 4 };

struct tvm_patch_message tvm_patch_message_parse(const uint8_t *bytes, size_t size) {
  return (struct tvm_patch_message){
      .version = bytes[AT_VERSION],
      .command = bytes[AT_COMMAND],
      .sequence = (uint16_t)(bytes[AT_SEQUENCE] | (bytes[AT_SEQUENCE + 1] << 8)),
      .crc = tvm_patch_load_u32(bytes + size - TVM_PATCH_CRC_BYTES),
      .payload = {.data = bytes + TVM_PATCH_HEADER_BYTES,
                  .remaining = size - TVM_PATCH_HEADER_BYTES - TVM_PATCH_CRC_BYTES,
                  .ok = true},
  };
}

size_t tvm_patch_message_seal(uint8_t *bytes, size_t payload_size, uint8_t command,
                              uint16_t sequence, uint8_t status) {
  bytes[AT_VERSION] = TVM_PATCH_PROTOCOL_VERSION;
  bytes[AT_COMMAND] = (uint8_t)(command | TVM_PATCH_REPLY_FLAG);
  bytes[AT_SEQUENCE] = (uint8_t)sequence;
  bytes[AT_SEQUENCE + 1] = (uint8_t)(sequence >> 8);
  bytes[AT_STATUS] = status;
  const size_t covered = TVM_PATCH_HEADER_BYTES + payload_size;
  tvm_patch_store_u32(bytes + covered, tvm_patch_crc32(0, bytes, covered));
  return covered + TVM_PATCH_CRC_BYTES;
}
