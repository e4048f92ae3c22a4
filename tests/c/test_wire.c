#include <string.h>

#include "check.h"
#include "tvm_patch/wire.h"

static void fields_come_back(void) {
  uint8_t data[40];
  struct tvm_patch_writer writer = {.data = data, .capacity = sizeof(data), .ok = true};
  tvm_patch_write_u8(&writer, 0x12);
  tvm_patch_write_u16(&writer, 0x3456);
  tvm_patch_write_u32(&writer, 0x789abcdeu);
  tvm_patch_write_u64(&writer, 0x0123456789abcdefu);
  tvm_patch_write_string(&writer, "name");
  CHECK(writer.ok);
  const uint8_t expected[] = {0x12, 0x56, 0x34, 0xde, 0xbc, 0x9a, 0x78, 0xef, 0xcd, 0xab,
                              0x89, 0x67, 0x45, 0x23, 0x01, 4,    'n',  'a',  'm',  'e'};
  CHECK(writer.size == sizeof(expected));
  CHECK(memcmp(data, expected, sizeof(expected)) == 0);

  struct tvm_patch_reader reader = {.data = data + 1, .remaining = 6, .ok = true};
  CHECK(tvm_patch_read_u16(&reader) == 0x3456);
  CHECK(!tvm_patch_reader_finished(&reader));
  CHECK(tvm_patch_read_u32(&reader) == 0x789abcdeu);
  CHECK(tvm_patch_reader_finished(&reader));
}

static void reading_past_the_end_is_noticed(void) {
  const uint8_t data[3] = {1, 2, 3};
  struct tvm_patch_reader reader = {.data = data, .remaining = sizeof(data), .ok = true};
  CHECK(tvm_patch_read_u32(&reader) == 0);
  CHECK(!reader.ok);
  CHECK(tvm_patch_read_u16(&reader) == 0); /* once wrong, wrong for good */
  CHECK(!tvm_patch_reader_finished(&reader));
}

static void writing_past_the_end_writes_nothing(void) {
  uint8_t data[4] = {9, 9, 9, 9};
  struct tvm_patch_writer writer = {.data = data, .capacity = 3, .ok = true};
  tvm_patch_write_u16(&writer, 0);
  tvm_patch_write_u16(&writer, 0);
  CHECK(!writer.ok);
  CHECK(writer.size == 2);
  CHECK(data[2] == 9 && data[3] == 9);
}

static void long_strings_are_cut(void) {
  char text[300];
  memset(text, 'x', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  uint8_t data[300];
  struct tvm_patch_writer writer = {.data = data, .capacity = sizeof(data), .ok = true};
  tvm_patch_write_string(&writer, text);
  CHECK(writer.ok && writer.size == 256 && data[0] == 255);
}

int main(void) {
  fields_come_back();
  reading_past_the_end_is_noticed();
  writing_past_the_end_writes_nothing();
  long_strings_are_cut();
  return 0;
}
