/* Moves and fills of any size between any bytes, against the C library's. Runs on this machine,
 * where they are the library's, and on an emulated core, where they are assembly. */
#include "check.h"
#include "move.h"

#include <stdint.h>
#include <string.h>

static unsigned state = 12345;

/* To a lower address, whether blocks overlap or not. */
static void test_moves(void) {
  uint8_t moved[160], expected[160];
  for (size_t gap = 0; gap < 50; ++gap) {
    for (int32_t size = 0; size < 100; size += 3) {
      for (size_t i = 0; i < sizeof moved; ++i) {
        moved[i] = expected[i] = (uint8_t)next_random(&state);
      }
      tvmp_move(moved + 1, moved + 1 + gap, size);
      memmove(expected + 1, expected + 1 + gap, (size_t)size);
      CHECK(memcmp(moved, expected, sizeof moved) == 0);
    }
  }
}

/* Every byte of the target and no other, at whole words and between them. */
static void test_fills(void) {
  uint8_t filled[160], expected[160];
  for (size_t begin = 0; begin < 8; ++begin) {
    for (int32_t size = 0; size < 120; ++size) {
      for (size_t i = 0; i < sizeof filled; ++i) {
        filled[i] = expected[i] = (uint8_t)next_random(&state);
      }
      const int32_t value = size % 2 ? -1 - size : size;
      tvmp_fill(filled + 8 + begin, value, size);
      memset(expected + 8 + begin, value, (size_t)size);
      CHECK(memcmp(filled, expected, sizeof filled) == 0);
    }
  }
}

int main(void) {
  test_moves();
  test_fills();
  return 0;
}
