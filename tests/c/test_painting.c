#include <string.h>

#include "check.h"
#include "tvm_patch/painting.h"

enum { SIZE = 4096 };

static uint8_t memory[SIZE];

static void untouched_paint_is_intact(void) {
  tvm_patch_paint(memory, SIZE);
  CHECK(tvm_patch_paint_intact(memory, SIZE));
  CHECK(tvm_patch_paint_high_water(memory, SIZE) == 0);
  CHECK(tvm_patch_paint_intact(memory, 0));
}

static void the_last_touched_byte_counts(void) {
  for (uint32_t at = 0; at < SIZE; at += 7) {
    tvm_patch_paint(memory, SIZE);
    memory[at] ^= 1;
    CHECK(tvm_patch_paint_high_water(memory, SIZE) == at + 1);
    CHECK(!tvm_patch_paint_intact(memory, SIZE));
  }
}

/* Constants are what arenas are full of; they must not pass for paint. */
static void constant_data_is_not_paint(void) {
  for (int value = 0; value < 256; ++value) {
    tvm_patch_paint(memory, SIZE);
    memset(memory, value, SIZE / 2);
    const uint32_t high_water = tvm_patch_paint_high_water(memory, SIZE);
    CHECK(high_water <= SIZE / 2 && high_water >= SIZE / 2 - 1);
  }
}

static void every_value_is_as_frequent_as_another(void) {
  uint32_t count[256] = {0};
  for (uint32_t i = 0; i < 256 * 64; ++i) {
    count[tvm_patch_paint_byte(i)]++;
  }
  for (int value = 0; value < 256; ++value) {
    CHECK(count[value] >= 48 && count[value] <= 80);
  }
}

int main(void) {
  untouched_paint_is_intact();
  the_last_touched_byte_counts();
  constant_data_is_not_paint();
  every_value_is_as_frequent_as_another();
  return 0;
}
