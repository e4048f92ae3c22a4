/* Requantisation: int32 accumulators to int8, bit for bit as LiteRT's reference kernels.
 *
 * A channel's accumulator is multiplied by multiplier / 2^31 (multiplier in [2^30, 2^31), or 0),
 * then by 2^shift. With two roundings the product is rounded to nearest, ties up, then the right
 * shift to nearest, ties away from zero. With one rounding ties go up.
 *
 * The fast forms need every shift negative, and low enough that the rounding term fits:
 *
 *   two roundings, shift in [-22, -1], |accumulator| < 2^30: with e = -1 - shift
 *   one rounding, shift in [-23, -2]:                        with e = -2 - shift
 *
 * Both compute ((scaled + ((2 * zero_point + 1) << e)) >> e) >> 1, where scaled is rounded to
 * nearest by SMMLAR of the doubled accumulator, or rounded down by SMMLA of the plain one. With two
 * roundings, ties away from zero take one off where scaled is negative. Its sign is that of the
 * accumulator unless scaled is 0, and then taking one off changes nothing, since the rounding term
 * is odd times 2^e. */
#ifndef TVMP_REQUANTISE_H
#define TVMP_REQUANTISE_H

#include "dsp.h"

/* How accumulators are scaled; the two fast forms and the general one of either rounding. */
enum tvmp_scaling {
  TVMP_DOUBLE_FAST,
  TVMP_SINGLE_FAST,
  TVMP_DOUBLE_ANY,
  TVMP_SINGLE_ANY,
};

/* What all channels of a layer have in common. Constants wherever it is used. */
struct tvmp_requantisation {
  enum tvmp_scaling scaling;
  int32_t zero_point;
  int32_t clamp_min;
  int32_t clamp_max;
  int32_t shift; /* e where all channels share it, else -1 */
};

TVMP_INLINE int32_t tvmp_clamp(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : value > high ? high : value;
}

/* gemmlowp's arithmetic as written, for layers with left shifts or wide accumulators. The product
 * accumulator << shift must fit in 32 bits where shift is positive. */
TVMP_INLINE int32_t tvmp_scale_any(int32_t accumulator, int32_t multiplier, int32_t shift,
                                   int is_double) {
  if (!is_double) {
    int32_t total = 31 - shift;
    int64_t product = (int64_t)accumulator * multiplier;
    return (int32_t)((product + ((int64_t)1 << (total - 1))) >> total);
  }
  int32_t left = shift > 0 ? shift : 0;
  int32_t right = shift > 0 ? 0 : -shift;
  int64_t product = (int64_t)accumulator * multiplier;
  int32_t high = (int32_t)((product * ((int64_t)1 << left) + (1ll << 30)) >> 31);
  int32_t mask = (int32_t)(0x7fffffffu >> (31 - right));
  int32_t threshold = (mask >> 1) + (high < 0);
  return (high >> right) + ((high & mask) > threshold);
}

/* The int8 value of an accumulator, its bias included. ``doubled`` is twice the accumulator for
 * TVMP_DOUBLE_FAST, else the accumulator. ``exponent`` is e of the fast forms, else the shift. */
TVMP_INLINE int32_t tvmp_requantise(int32_t doubled, int32_t sign_of, int32_t multiplier,
                                    int32_t exponent,
                                    const struct tvmp_requantisation *requantisation) {
  if (requantisation->scaling == TVMP_DOUBLE_ANY || requantisation->scaling == TVMP_SINGLE_ANY) {
    int32_t scaled =
        tvmp_scale_any(doubled, multiplier, exponent, requantisation->scaling == TVMP_DOUBLE_ANY);
    return tvmp_clamp(scaled + requantisation->zero_point, requantisation->clamp_min,
                      requantisation->clamp_max);
  }
  int32_t offset = 2 * requantisation->zero_point + 1;
  int32_t rounding = requantisation->shift >= 0 ? offset * (1 << requantisation->shift)
                                                : (int32_t)((uint32_t)offset << exponent);
  int32_t sum = requantisation->scaling == TVMP_DOUBLE_FAST
                    ? tvmp_smmlar(doubled, multiplier, rounding + (sign_of >> 31))
                    : tvmp_smmla(doubled, multiplier, rounding);
  if (requantisation->clamp_min != -128 || requantisation->clamp_max != 127) {
    return tvmp_clamp((sum >> exponent) >> 1, requantisation->clamp_min, requantisation->clamp_max);
  }
  if (requantisation->shift >= 0) {
    return tvmp_ssat8_asr(sum, requantisation->shift + 1);
  }
  return tvmp_ssat8_asr(sum >> exponent, 1);
}

#endif
