/* Softmax of int8 in LiteRT's fixed point, with tabulated exponentials. */
#ifndef TVMP_SOFTMAX_H
#define TVMP_SOFTMAX_H

#include "dsp.h"

/* SaturatingRoundingDoublingHighMul of numbers that are not both -2^31. */
TVMP_INLINE int32_t tvmp_multiply_high(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + (1ll << 30)) >> 31);
}

/* The Q0.31 reciprocal of a number in [1, 2) whose half is given as Q0.31: three steps of Newton's
 * from 48/17 - 32/17 * half in Q2.29, as gemmlowp makes them. Its left shifts saturate, of which
 * the last one alone has reason to: where the number is one. */
TVMP_INLINE int32_t tvmp_reciprocal(int32_t half) {
  int32_t x = 1515870810 + tvmp_multiply_high(half, -1010580540);
  TVMP_ROLLED for (int32_t step = 0; step < 3; ++step) {
    x += tvmp_multiply_high(x, (1 << 29) - tvmp_multiply_high(half, x)) * 4;
  }
  return x < 1 << 30 ? 2 * x : INT32_MAX;
}

TVMP_INLINE int32_t tvmp_greatest(const int8_t *data, int32_t length) {
  int32_t greatest = -128;
  if (length >= 4) {
    uint32_t words = tvmp_load4(data + length - 4);
    TVMP_ROLLED for (int32_t i = 0; i < length / 4; ++i) {
      words = tvmp_max4(words, tvmp_load4(data + 4 * i));
    }
    words = tvmp_max4(words, words >> 16);
    words = tvmp_max4(words, words >> 8);
    return (int8_t)(words & 0xffu);
  }
  for (int32_t i = 0; i < length; ++i) {
    greatest = data[i] > greatest ? data[i] : greatest;
  }
  return greatest;
}

/* Each output is the exponential of its difference to the greatest, Q0.31, times the reciprocal of
 * the sum of all, rounded twice: to Q0.31, then to 1/256. Both round down after adding a half,
 * which is rounding down once after adding both. exponentials: of -255 to 0. Rows are shorter than
 * 4096, or their sums would not fit. */
TVMP_INLINE void tvmp_softmax_row(const int8_t *data, const int32_t *exponentials, int8_t *out,
                                  int32_t length) {
  const int32_t least = tvmp_greatest(data, length) - 255;
  /* Where that of 0 would be if data were differences; perhaps beyond the table. */
  const int32_t *of = (const int32_t *)((uintptr_t)exponentials - (uintptr_t)(4 * least));
  int32_t total = 0;
  TVMP_ROLLED for (int32_t i = 0; i < length; ++i) {
    /* To Q12.19; adding a half to one would overflow. */
    total += ((of[data[i]] >> 11) + 1) >> 1;
  }
  const int32_t headroom = __builtin_clz((uint32_t)total);
  const int32_t scale = tvmp_reciprocal((int32_t)(((uint32_t)total << headroom) >> 1));
  const int32_t exponent = 35 - headroom;
  if (exponent > 32) {
    /* Of so many none reaches half a step. */
    memset(out, -128, (size_t)length);
    return;
  }
  const int64_t halves = (1ll << 30) + (1ll << (exponent + 30));
  TVMP_ROLLED for (int32_t i = 0; i < length; ++i) {
    const int32_t high = (int32_t)(((int64_t)of[data[i]] * scale + halves) >> 32);
    out[i] = (int8_t)tvmp_ssat8_asr((high >> (exponent - 2)) - 256, 1);
  }
}

TVMP_INLINE void tvmp_softmax(const int8_t *data, const int32_t *exponentials, int8_t *out,
                              int32_t rows, int32_t length) {
  TVMP_ROLLED for (; rows != 0; --rows) {
    tvmp_softmax_row(data, exponentials, out, length);
    data += length;
    out += length;
  }
}

#endif
