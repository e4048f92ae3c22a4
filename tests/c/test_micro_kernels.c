/* Micro-kernels' stand-ins for instructions, requantisation and dot products against plain C. */
#include "check.h"
#include "conv.h"

#include <stdlib.h>

static uint32_t state = 12345;

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
  for (int i = 0; i < 10000; ++i) {
    uint32_t a = random_word(), b = random_word(), c = random_word();
    CHECK(tvmp_low(tvmp_sxtb16(a)) == byte_of(a, 0));
    CHECK(tvmp_high(tvmp_sxtb16(a)) == byte_of(a, 2));
    CHECK(tvmp_low(tvmp_sxtb16_odd(a)) == byte_of(a, 1));
    CHECK(tvmp_high(tvmp_sxtb16_odd(a)) == byte_of(a, 3));
    CHECK((int16_t)tvmp_low(tvmp_sxtab16(b, a)) == (int16_t)((int16_t)b + byte_of(a, 0)));
    CHECK((int16_t)tvmp_high(tvmp_sxtab16(b, a)) == (int16_t)((int16_t)(b >> 16) + byte_of(a, 2)));
    CHECK((int16_t)tvmp_low(tvmp_sxtab16_odd(b, a)) == (int16_t)((int16_t)b + byte_of(a, 1)));
    CHECK((int16_t)tvmp_high(tvmp_sxtab16_odd(b, a)) ==
          (int16_t)((int16_t)(b >> 16) + byte_of(a, 3)));
    CHECK(tvmp_smulbb(a, b) == (int16_t)a * (int16_t)b);
    CHECK(tvmp_smultt(a, b) == (int16_t)(a >> 16) * (int16_t)(b >> 16));
    int64_t low = (int64_t)(int16_t)a * (int16_t)b;
    int64_t high = (int64_t)(int16_t)(a >> 16) * (int16_t)(b >> 16);
    CHECK((uint32_t)tvmp_smlad(a, b, (int32_t)c) == (uint32_t)(low + high + c));
    CHECK((uint32_t)tvmp_smlabb(a, b, (int32_t)c) == (uint32_t)(low + c));
    CHECK((uint32_t)tvmp_smlatt(a, b, (int32_t)c) == (uint32_t)(high + c));
    int64_t wide = (int64_t)(int32_t)a * (int16_t)b,
            wide_high = (int64_t)(int32_t)a * (int16_t)(b >> 16);
    CHECK((uint32_t)tvmp_smlawb((int32_t)a, b, (int32_t)c) == (uint32_t)((wide >> 16) + c));
    CHECK((uint32_t)tvmp_smlawt((int32_t)a, b, (int32_t)c) == (uint32_t)((wide_high >> 16) + c));
    CHECK(tvmp_pack_low(a, b) == ((a & 0xffffu) | b << 16));
    CHECK(tvmp_pack_high(a, b) == (a >> 16 | (b & 0xffff0000u)));
    int64_t product = (int64_t)(int32_t)a * (int32_t)b;
    CHECK((uint32_t)tvmp_smmla((int32_t)a, (int32_t)b, (int32_t)c) ==
          (uint32_t)((product >> 32) + c));
    CHECK((uint32_t)tvmp_smmlar((int32_t)a, (int32_t)b, (int32_t)c) ==
          (uint32_t)(((product + 0x80000000ll) >> 32) + c));
  }
  CHECK(tvmp_ssat8_asr(255, 1) == 127 && tvmp_ssat8_asr(256, 1) == 127);
  CHECK(tvmp_ssat8_asr(-256, 1) == -128 && tvmp_ssat8_asr(-300, 1) == -128);
  CHECK(tvmp_ssat8_asr(-1, 5) == -1);
}

/* gemmlowp, word for word. */
static int32_t high_multiply(int32_t a, int32_t b) {
  int64_t product = (int64_t)a * b;
  int32_t nudge = product >= 0 ? 1 << 30 : 1 - (1 << 30);
  return (int32_t)((product + nudge) / (1ll << 31));
}

static int32_t divide_by_power_of_two(int32_t x, int exponent) {
  int32_t mask = (int32_t)((1ll << exponent) - 1);
  int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return (x >> exponent) + ((x & mask) > threshold ? 1 : 0);
}

static int32_t reference(int32_t accumulator, int32_t multiplier, int32_t shift, int is_double,
                         const struct tvmp_requantisation *r) {
  int64_t scaled;
  if (is_double) {
    scaled = divide_by_power_of_two(high_multiply(accumulator, multiplier), -shift);
  } else {
    int total = 31 - shift;
    scaled = ((int64_t)accumulator * multiplier + (1ll << (total - 1))) >> total;
  }
  return tvmp_clamp((int32_t)scaled + r->zero_point, r->clamp_min, r->clamp_max);
}

static int32_t fast(int32_t accumulator, int32_t multiplier, int32_t shift, int is_double,
                    struct tvmp_requantisation r) {
  int32_t exponent = (is_double ? -1 : -2) - shift;
  int32_t argument = is_double ? accumulator * 2 : accumulator;
  r.scaling = is_double ? TVMP_DOUBLE_FAST : TVMP_SINGLE_FAST;
  r.shift = -1;
  int32_t result = tvmp_requantise(argument, accumulator, multiplier, exponent, &r);
  r.shift = exponent;
  CHECK(tvmp_requantise(argument, accumulator, multiplier, exponent, &r) == result);
  return result;
}

/* Accumulators around those at which a multiplier and shift round, tie and saturate. */
static void test_requantisation(void) {
  for (int i = 0; i < 60000; ++i) {
    int is_double = i & 1;
    int32_t lowest = is_double ? -22 : -23, highest = is_double ? -1 : -2;
    int32_t shift = lowest + (int32_t)(random_word() % (uint32_t)(highest - lowest + 1));
    int32_t multiplier = (int32_t)(0x40000000u | (random_word() >> 2));
    switch (random_word() % 8) {
    case 0:
      multiplier = 1 << 30;
      break;
    case 1:
      multiplier = INT32_MAX;
      break;
    case 2:
      multiplier = 0;
      break;
    default:
      break;
    }
    struct tvmp_requantisation r = {TVMP_DOUBLE_ANY, byte_of(random_word(), 0), -128, 127, -1};
    if (random_word() % 4 == 0) {
      r.clamp_min = -20;
      r.clamp_max = 100;
    }
    int32_t accumulator = (int32_t)(random_word() % 0x7fffffffu) - 0x3fffffff;
    if (random_word() % 2 != 0) {
      /* Half of a step, or a whole one, and its neighbours. */
      double step = 2147483648.0 / (multiplier == 0 ? 1 : multiplier) * (double)(1 << -shift);
      double at = step * (0.5 * (double)(int32_t)(random_word() % 600) - 150.0);
      at += (double)(random_word() % 5) - 2.0;
      if (at > -1073741824.0 && at < 1073741824.0) {
        accumulator = (int32_t)at;
      }
    }
    int32_t expected = reference(accumulator, multiplier, shift, is_double, &r);
    CHECK(fast(accumulator, multiplier, shift, is_double, r) == expected);
    r.scaling = is_double ? TVMP_DOUBLE_ANY : TVMP_SINGLE_ANY;
    CHECK(tvmp_requantise(accumulator, accumulator, multiplier, shift, &r) == expected);
  }
}

/* Every small accumulator and shift: all ties are among them. */
static void test_ties(void) {
  struct tvmp_requantisation r = {TVMP_DOUBLE_ANY, 3, -128, 127, -1};
  for (int32_t shift = -8; shift <= -1; ++shift) {
    for (int32_t accumulator = -3000; accumulator <= 3000; ++accumulator) {
      for (int32_t low = 0; low < 4; ++low) {
        int32_t multiplier = (int32_t)(0x40000000 + ((low & 1) << 29) + ((low >> 1) << 28));
        CHECK(fast(accumulator, multiplier, shift, 1, r) ==
              reference(accumulator, multiplier, shift, 1, &r));
        if (shift <= -2) {
          CHECK(fast(accumulator, multiplier, shift, 0, r) ==
                reference(accumulator, multiplier, shift, 0, &r));
        }
      }
    }
  }
}

/* What the forms of pair.h make of a sum, packed as schedules/dsp_pair.py does. */
static int32_t by_pair(enum tvmp_pair_form form, int32_t sum, int32_t multiplier, int32_t shift,
                       const struct tvmp_requantisation *r, int32_t second) {
  int32_t exponent = form < TVMP_TIES ? 6 - shift : form == TVMP_TIES ? -1 - shift : shift;
  int32_t offset = form <= TVMP_TIES ? 2 * r->zero_point + 1 : r->zero_point;
  uint32_t shifts = ((uint32_t)offset << 16) | ((uint32_t)exponent & 0xffu) * 0x101u;
  struct tvmp_pair pair = {{0, 0}, {multiplier, multiplier}, (int32_t)shifts};
  struct tvmp_scale scale = {form, 0, -1, r->clamp_min, r->clamp_max};
  int8_t result[3][5], common[3][5];
  int32_t sums[6] = {0, 0, 0, 0, 0, 0};
  sums[second] = sum;
  int32_t again[6], crowded[6], pairs[6];
  memcpy(again, sums, sizeof sums);
  memcpy(crowded, sums, sizeof sums);
  memcpy(pairs, sums, sizeof sums);
  tvmp_scale_block(sums, 3, 2, &pair, result[0], 5, &scale);
  int8_t of_crowded[3][5], of_pairs[6];
  const struct tvmp_pair three[3] = {pair, pair, pair};
  tvmp_scale_crowded_block(crowded, 3, 2, &pair, of_crowded[0], 5, &scale);
  tvmp_scale_three_pairs(pairs, three, of_pairs, &scale);
  CHECK(of_crowded[second / 2][second % 2] == result[second / 2][second % 2]);
  CHECK(of_pairs[second] == result[second / 2][second % 2]);
  CHECK(tvmp_scale_alone(sum, multiplier, (int32_t)shifts, (int32_t)form, -1, r->clamp_min,
                         r->clamp_max) == of_pairs[second]);
  if (form <= TVMP_TIES) {
    scale.exponent = exponent;
  }
  tvmp_scale_block(again, 3, 2, &pair, common[0], 5, &scale);
  CHECK(result[second / 2][second % 2] == common[second / 2][second % 2]);
  return result[second / 2][second % 2];
}

static void test_forms_of_pairs(void) {
  for (int i = 0; i < 60000; ++i) {
    int is_double = i & 1;
    int32_t shift = (int32_t)(random_word() % 21) - 15;
    int32_t multiplier = (int32_t)(0x40000000u | (random_word() >> 2));
    if (random_word() % 4 == 0) {
      multiplier = 0x40000000 | (int32_t)((random_word() % 4) << 28);
    }
    int32_t zero_point = byte_of(random_word(), 0);
    struct tvmp_requantisation r = {TVMP_DOUBLE_ANY, zero_point, -128, 127, -1};
    int32_t sum = (int32_t)(random_word() % 0xffffffu) - 0x7fffff;
    if (random_word() % 2 != 0) {
      sum >>= random_word() % 20;
    }
    int32_t second = (int32_t)(random_word() % 6);
    int32_t left = shift > 0 ? shift : 0;
    int32_t expected;
    if (shift <= 0 || !is_double) {
      expected = reference(sum, multiplier, shift, is_double, &r);
    } else {
      int32_t scaled = high_multiply(sum * (1 << left), multiplier);
      expected = tvmp_clamp(scaled + zero_point, -128, 127);
    }
    CHECK(by_pair(is_double ? TVMP_TWICE_ANY : TVMP_ONCE_ANY, sum, multiplier, shift, &r, second) ==
          expected);
    if (is_double && shift < 0) {
      CHECK(by_pair(TVMP_TIES, sum, multiplier, shift, &r, second) == expected);
    }
    if (is_double) {
      /* Outputs below the zero point are clamped: negative ties do not matter. */
      r.clamp_min = zero_point;
      expected = tvmp_clamp(expected, zero_point, 127);
    }
    if (!is_double || shift < 0) {
      enum tvmp_pair_form form = is_double ? TVMP_FLOOR_TWICE : TVMP_FLOOR;
      CHECK(by_pair(form, sum, multiplier, shift, &r, second) == expected);
    }
  }
}

static void test_left_shifts(void) {
  struct tvmp_requantisation r = {TVMP_DOUBLE_ANY, 0, -128, 127, -1};
  CHECK(tvmp_requantise(10, 10, 1 << 30, 2, &r) == 20);
  CHECK(tvmp_requantise(-10, -10, 1 << 30, 2, &r) == -20);
  r.scaling = TVMP_SINGLE_ANY;
  CHECK(tvmp_requantise(10, 10, 1 << 30, 2, &r) == 20);
  CHECK(tvmp_requantise(3, 3, 1 << 30, 0, &r) == 2);
  CHECK(tvmp_requantise(-3, -3, 1 << 30, 0, &r) == -1);
}

/* Buffers of the exact size, on the heap: the sanitizer sees any byte read beside them. */
static void test_dot_reads_what_it_is_given(int pixels, int words, int joint) {
  int32_t pixel_bytes = 5;
  size_t size = (size_t)((pixels - 1) * pixel_bytes + 4 * words);
  int8_t *data = malloc(size);
  int8_t *weight = malloc((size_t)(8 * words));
  int32_t sum[6], expected[6];
  for (size_t i = 0; i < size; ++i) {
    data[i] = (int8_t)random_word();
  }
  for (int i = 0; i < 6; ++i) {
    sum[i] = expected[i] = (int32_t)(random_word() % 1000);
  }
  for (int word = 0; word < words; ++word) {
    for (int input = 0; input < 4; ++input) {
      int32_t w0 = byte_of(random_word(), 0), w1 = byte_of(random_word(), 1);
      w1 = w1 == -128 ? -127 : w1;
      int8_t *at = weight + 8 * word + 4 * (input % 2) + 2 * (input / 2);
      at[0] = (int8_t)w0;
      at[1] = (int8_t)(joint && w0 < 0 ? w1 - 1 : w1);
      for (int pixel = 0; pixel < pixels; ++pixel) {
        int32_t value = data[pixel * pixel_bytes + 4 * word + input];
        expected[2 * pixel] += value * w0;
        expected[2 * pixel + 1] += value * (joint ? 256 * w1 + w0 : w1);
      }
    }
  }
  struct tvmp_walk walk = {data, weight};
  tvmp_dot(&walk, pixels, pixel_bytes, words, joint, sum);
  CHECK(memcmp(sum, expected, (size_t)(8 * pixels)) == 0);
  CHECK(walk.pixel == data + 4 * words && walk.weight == weight + 8 * words);
  free(data);
  free(weight);
}

int main(void) {
  test_instructions();
  test_requantisation();
  test_ties();
  test_forms_of_pairs();
  test_left_shifts();
  for (int pixels = 1; pixels <= 3; ++pixels) {
    for (int words = 1; words <= 5; ++words) {
      test_dot_reads_what_it_is_given(pixels, words, 0);
      test_dot_reads_what_it_is_given(pixels, words, 1);
    }
  }
  return 0;
}
