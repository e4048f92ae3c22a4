/* Memory painted before a run tells afterwards how much of it was touched. */
#ifndef TVM_PATCH_PAINTING_H
#define TVM_PATCH_PAINTING_H

#include <stdbool.h>
#include <stdint.h>

/* The paint depends on the position, so that data which happens to equal a constant (zeros, a
 * zero point, 0xff) is not taken for paint: Fibonacci hashing, its highest byte. */
static inline uint8_t tvm_patch_paint_byte(uint32_t offset) {
  return (uint8_t)(((offset + 1u) * 0x9e3779b1u) >> 24);
}

static inline uint32_t tvm_patch_paint_word(uintptr_t address) {
  return ((uint32_t)address * 0x9e3779b1u) ^ 0x5bd1e995u;
}

void tvm_patch_paint(uint8_t *memory, uint32_t size_bytes);

bool tvm_patch_paint_intact(const uint8_t *memory, uint32_t size_bytes);

/* Bytes from the start up to and including the last one that is no longer paint. */
uint32_t tvm_patch_paint_high_water(const uint8_t *memory, uint32_t size_bytes);

#endif
