/* Sums of pairs of output channels: where they start from, and what int8 they become.
 *
 * Two fast forms beside the general ones of requantise.h. A channel has a multiplier m and a shift,
 * and e = -shift.
 *
 * TVMP_FLOOR: ((high(256 * sum * m) + rounding) >> exponent) >> 1, where high rounds down, exponent
 * is 6 + e, and rounding is (2 * zero_point + 1) << exponent. That is one rounding, ties up: floors
 * nest. Two roundings are this too, but for 64 more in the rounding (half a unit of the first one)
 * and for negative ties, which go away from zero; where outputs below the zero point are clamped to
 * it those do not matter. Sums stay below 2^23, shifts are in [-15, 5].
 *
 * TVMP_TIES: TVMP_DOUBLE_FAST of requantise.h, with its rounding term among the constants. */
#ifndef TVMP_PAIR_H
#define TVMP_PAIR_H

#include "requantise.h"

enum tvmp_pair_form {
  TVMP_FLOOR,
  TVMP_TIES,
  TVMP_TWICE_ANY,
  TVMP_ONCE_ANY,
};

/* A pair of output channels. exponent is the shift in the general forms. */
struct tvmp_pair {
  int32_t start[2];
  int32_t multiplier[2];
  int32_t rounding[2];
  int32_t exponent[2];
};

/* What all pairs of a layer have in common. Constants wherever it is used. */
struct tvmp_scale {
  enum tvmp_pair_form form;
  int joint;          /* the second sum has the first one in it, see dot.h */
  int32_t exponent;   /* where all channels share it, else -1 */
  int32_t zero_point; /* of the general forms */
  int32_t clamp_min;
  int32_t clamp_max;
};

/* The fast forms of one sum, scaled by 256 or, for ties, by two. On DSP cores volatile assembly
 * keeps the compiler from spreading the six sums of a block, which needs more registers than there
 * are. */
TVMP_INLINE int32_t tvmp_scale_floor(int32_t times256, int32_t multiplier, int32_t rounding,
                                     int32_t exponent, int32_t common) {
#if TVMP_HAS_DSP
  if (common >= 0) {
    __asm__ volatile("smmla %0, %0, %1, %2\n\tssat %0, #8, %0, asr %3"
                     : "+r"(times256)
                     : "r"(multiplier), "r"(rounding), "n"(common + 1));
  } else {
    __asm__ volatile("smmla %0, %0, %1, %2\n\tasr %0, %0, %3\n\tssat %0, #8, %0, asr #1"
                     : "+r"(times256)
                     : "r"(multiplier), "r"(rounding), "r"(exponent));
  }
  return times256;
#else
  exponent = common >= 0 ? common : exponent;
  return tvmp_ssat8_asr(tvmp_smmla(times256, multiplier, rounding) >> exponent, 1);
#endif
}

TVMP_INLINE int32_t tvmp_scale_ties(int32_t doubled, int32_t multiplier, int32_t rounding,
                                    int32_t exponent, int32_t common) {
#if TVMP_HAS_DSP
  int32_t towards;
  if (common >= 0) {
    __asm__ volatile("add %1, %3, %0, asr #31\n\tsmmlar %0, %0, %2, %1\n\t"
                     "ssat %0, #8, %0, asr %4"
                     : "+r"(doubled), "=&r"(towards)
                     : "r"(multiplier), "r"(rounding), "n"(common + 1));
  } else {
    __asm__ volatile("add %1, %3, %0, asr #31\n\tsmmlar %0, %0, %2, %1\n\t"
                     "asr %0, %0, %4\n\tssat %0, #8, %0, asr #1"
                     : "+r"(doubled), "=&r"(towards)
                     : "r"(multiplier), "r"(rounding), "r"(exponent));
  }
  return doubled;
#else
  exponent = common >= 0 ? common : exponent;
  return tvmp_ssat8_asr(tvmp_smmlar(doubled, multiplier, rounding + (doubled >> 31)) >> exponent,
                        1);
#endif
}

TVMP_INLINE int32_t tvmp_scale_sum(int32_t sum, const struct tvmp_pair *pair, int second,
                                   const struct tvmp_scale *scale) {
  const int32_t multiplier = pair->multiplier[second];
  const int32_t exponent = pair->exponent[second];
  if (scale->form == TVMP_FLOOR || scale->form == TVMP_TIES) {
    int32_t value =
        scale->form == TVMP_FLOOR
            ? tvmp_scale_floor(sum, multiplier, pair->rounding[second], exponent, scale->exponent)
            : tvmp_scale_ties(sum, multiplier, pair->rounding[second], exponent, scale->exponent);
    /* The compiler does not know that it is an int8. */
    const int is_whole_range = scale->clamp_min == -128 && scale->clamp_max == 127;
    return is_whole_range ? value : tvmp_clamp(value, scale->clamp_min, scale->clamp_max);
  }
  int32_t scaled = tvmp_scale_any(sum, multiplier, exponent, scale->form == TVMP_TWICE_ANY);
  return tvmp_clamp(scaled + scale->zero_point, scale->clamp_min, scale->clamp_max);
}

/* The sums of one to three pixels, channels 1 or 2 of each, to out, pixels stride bytes apart. */
TVMP_INLINE void tvmp_scale_block(int32_t *sum, int32_t pixels, int32_t channels,
                                  const struct tvmp_pair *address, int8_t *out, int32_t stride,
                                  const struct tvmp_scale *scale) {
  /* Read once: the compiler cannot know that the output does not lie over them. */
  const struct tvmp_pair pair = *address;
  const int up = scale->form == TVMP_FLOOR ? 8 : scale->form == TVMP_TIES ? 1 : 0;
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    uint32_t first = (uint32_t)sum[2 * pixel];
    uint32_t second = (uint32_t)sum[2 * pixel + 1];
    int8_t *target = out + pixel * stride;
    if (channels == 2) {
      int32_t value =
          scale->joint ? (int32_t)(second - first) >> (8 - up) : (int32_t)(second << up);
      target[1] = (int8_t)tvmp_scale_sum(value, &pair, 1, scale);
    }
    target[0] = (int8_t)tvmp_scale_sum((int32_t)(first << up), &pair, 0, scale);
  }
}

#endif
