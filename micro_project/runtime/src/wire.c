#include "tvm_patch/wire.h"

#include <string.h>

uint32_t tvm_patch_load_u32(const uint8_t *data) {
  return (uint32_t)data[0] | ((uint32_t)data[1] << 8) | ((uint32_t)data[2] << 16) |
         ((uint32_t)data[3] << 24);
}

void tvm_patch_store_u32(uint8_t *data, uint32_t value) {
  for (int i = 0; i < 4; ++i) {
    data[i] = (uint8_t)(value >> (8 * i));
  }
}

static const uint8_t *take(struct tvm_patch_reader *reader, size_t size) {
  if (!reader->ok || reader->remaining < size) {
    reader->ok = false;
    return NULL;
  }
  const uint8_t *field = reader->data;
  reader->data += size;
  reader->remaining -= size;
  return field;
}

uint16_t tvm_patch_read_u16(struct tvm_patch_reader *reader) {
  const uint8_t *field = take(reader, 2);
  return field == NULL ? 0 : (uint16_t)(field[0] | (field[1] << 8));
}

uint32_t tvm_patch_read_u32(struct tvm_patch_reader *reader) {
  const uint8_t *field = take(reader, 4);
  return field == NULL ? 0 : tvm_patch_load_u32(field);
}

bool tvm_patch_reader_finished(const struct tvm_patch_reader *reader) {
  return reader->ok && reader->remaining == 0;
}

static uint8_t *reserve(struct tvm_patch_writer *writer, size_t size) {
  if (!writer->ok || writer->capacity - writer->size < size) {
    writer->ok = false;
    return NULL;
  }
  uint8_t *field = writer->data + writer->size;
  writer->size += size;
  return field;
}

static void write_little_endian(struct tvm_patch_writer *writer, uint64_t value, size_t size) {
  uint8_t *field = reserve(writer, size);
  for (size_t i = 0; field != NULL && i < size; ++i) {
    field[i] = (uint8_t)(value >> (8 * i));
  }
}

void tvm_patch_write_u8(struct tvm_patch_writer *writer, uint8_t value) {
  write_little_endian(writer, value, 1);
}

void tvm_patch_write_u16(struct tvm_patch_writer *writer, uint16_t value) {
  write_little_endian(writer, value, 2);
}

void tvm_patch_write_u32(struct tvm_patch_writer *writer, uint32_t value) {
  write_little_endian(writer, value, 4);
}

void tvm_patch_write_u64(struct tvm_patch_writer *writer, uint64_t value) {
  write_little_endian(writer, value, 8);
}

void tvm_patch_write_bytes(struct tvm_patch_writer *writer, const uint8_t *data, size_t size) {
  uint8_t *field = reserve(writer, size);
  if (field != NULL && size != 0) {
    memcpy(field, data, size);
  }
}

void tvm_patch_write_string(struct tvm_patch_writer *writer, const char *text) {
  size_t length = strlen(text);
  if (length > UINT8_MAX) {
    length = UINT8_MAX;
  }
  tvm_patch_write_u8(writer, (uint8_t)length);
  tvm_patch_write_bytes(writer, (const uint8_t *)text, length);
}
