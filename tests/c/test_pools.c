/* Pools' stand-ins for instructions, and averages of all sums, against plain C. */
#include "check.h"
#include "pool.h"
#include "sums.h"

static uint32_t state = 54321;

static uint32_t random_word(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static int32_t byte_of(uint32_t word, int index) {
  return (int8_t)(word >> (8 * index));
}

static void test_instructions(void) {
  for (int i = 0; i < 20000; ++i) {
    uint32_t a = random_word(), b = random_word();
    uint32_t greater = tvmp_max4(a, b), lesser = tvmp_min4(a, b);
    for (int byte = 0; byte < 4; ++byte) {
      int32_t x = byte_of(a, byte), y = byte_of(b, byte);
      CHECK(byte_of(greater, byte) == (x > y ? x : y));
      CHECK(byte_of(lesser, byte) == (x < y ? x : y));
    }
    CHECK(tvmp_max4(a, a) == a && tvmp_min4(a, a) == a);
    CHECK(tvmp_low(tvmp_uxtb16(a)) == (int32_t)(a & 0xffu));
    CHECK(tvmp_high(tvmp_uxtb16(a)) == (int32_t)(a >> 16 & 0xffu));
    CHECK(tvmp_low(tvmp_sadd16(a, b)) == (int16_t)(tvmp_low(a) + tvmp_low(b)));
    CHECK(tvmp_high(tvmp_sadd16(a, b)) == (int16_t)(tvmp_high(a) + tvmp_high(b)));
  }
  CHECK(tvmp_max4(0x80ff007fu, 0x7f00ff80u) == 0x7f00007fu);
  CHECK(tvmp_min4(0x80ff007fu, 0x7f00ff80u) == 0x80ffff80u);
}

/* LiteRT's average. */
static int32_t average(int32_t total, int32_t count) {
  return (total > 0 ? total + count / 2 : total - count / 2) / count;
}

/* Every sum that up to 256 int8 have. */
static void test_averages_of_windows(void) {
  for (int32_t count = 1; count <= 256; ++count) {
    for (int32_t total = -128 * count; total <= 127 * count; ++total) {
      const int32_t other = -1 - total;
      const struct tvmp_lanes sum = {tvmp_pair(total, other), tvmp_pair(other, total)};
      const int32_t first = average(total, count) & 0xff, second = average(other, count) & 0xff;
      const uint32_t expected = (uint32_t)(first | second << 8 | second << 16) | (uint32_t)first
                                                                                     << 24;
      CHECK(tvmp_average4(sum, (1 << 30) / count + 1, 14) == expected);
      if (count > 2) {
        CHECK(tvmp_average4(sum, (int32_t)(((int64_t)1 << 32) / count) + 1, 16) == expected);
      }
    }
  }
}

/* Ties, their neighbours, and the extremes. */
static void test_averages_of_maps(void) {
  for (int32_t count = 3; count <= 4095; ++count) {
    const int32_t multiplier = (int32_t)(((int64_t)1 << 32) / count) + 1;
    for (int32_t half = -256; half <= 254; ++half) {
      for (int32_t beside = -1; beside <= 1; ++beside) {
        const int32_t total = half * count / 2 + beside;
        if (total < -128 * count || total > 127 * count) {
          continue;
        }
        int8_t result;
        tvmp_average_of_sum(&total, &result, 1, multiplier, -128, 127);
        CHECK(result == average(total, count));
      }
    }
  }
}

int main(void) {
  test_instructions();
  test_averages_of_windows();
  test_averages_of_maps();
  return 0;
}
