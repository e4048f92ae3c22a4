#include "tvm_patch/painting.h"

void tvm_patch_paint(uint8_t *memory, uint32_t size_bytes) {
  for (uint32_t i = 0; i < size_bytes; ++i) {
    memory[i] = tvm_patch_paint_byte(i);
  }
}

bool tvm_patch_paint_intact(const uint8_t *memory, uint32_t size_bytes) {
  return tvm_patch_paint_high_water(memory, size_bytes) == 0;
}

uint32_t tvm_patch_paint_high_water(const uint8_t *memory, uint32_t size_bytes) {
  while (size_bytes != 0 && memory[size_bytes - 1] == tvm_patch_paint_byte(size_bytes - 1)) {
    size_bytes--;
  }
  return size_bytes;
}
