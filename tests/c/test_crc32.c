#include <string.h>

#include "check.h"
#include "tvm_patch/crc32.h"

static void known_values(void) {
  CHECK(tvm_patch_crc32(0, (const uint8_t *)"", 0) == 0);
  CHECK(tvm_patch_crc32(0, (const uint8_t *)"123456789", 9) == 0xcbf43926u);
  const uint8_t zeros[32] = {0};
  CHECK(tvm_patch_crc32(0, zeros, sizeof(zeros)) == 0x190a55adu);
}

static void continues_where_it_left_off(void) {
  const uint8_t *text = (const uint8_t *)"The quick brown fox jumps over the lazy dog";
  const size_t size = strlen((const char *)text);
  for (size_t cut = 0; cut <= size; ++cut) {
    const uint32_t first = tvm_patch_crc32(0, text, cut);
    CHECK(tvm_patch_crc32(first, text + cut, size - cut) == 0x414fa339u);
  }
}

int main(void) {
  known_values();
  continues_where_it_left_off();
  return 0;
}
