/* Little-endian fields of a payload, with bounds kept. */
#ifndef TVM_PATCH_WIRE_H
#define TVM_PATCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reading past the end gives zeros and clears `ok`. */
struct tvm_patch_reader {
  const uint8_t *data;
  size_t remaining;
  bool ok;
};

/* Writing past the end writes nothing and clears `ok`. */
struct tvm_patch_writer {
  uint8_t *data;
  size_t capacity;
  size_t size;
  bool ok;
};

uint32_t tvm_patch_load_u32(const uint8_t *data);
void tvm_patch_store_u32(uint8_t *data, uint32_t value);

uint16_t tvm_patch_read_u16(struct tvm_patch_reader *reader);
uint32_t tvm_patch_read_u32(struct tvm_patch_reader *reader);
/* True if every field was there and nothing is left over. */
bool tvm_patch_reader_finished(const struct tvm_patch_reader *reader);

void tvm_patch_write_u8(struct tvm_patch_writer *writer, uint8_t value);
void tvm_patch_write_u16(struct tvm_patch_writer *writer, uint16_t value);
void tvm_patch_write_u32(struct tvm_patch_writer *writer, uint32_t value);
void tvm_patch_write_u64(struct tvm_patch_writer *writer, uint64_t value);
void tvm_patch_write_bytes(struct tvm_patch_writer *writer, const uint8_t *data, size_t size);
/* Length as u8, then the characters; longer strings are cut to 255. */
void tvm_patch_write_string(struct tvm_patch_writer *writer, const char *text);

#endif
