/* Elementwise kernels over flat runs of int8; the output may be the first or the second input. */
#ifndef TVMP_ELEMENTWISE_H
#define TVMP_ELEMENTWISE_H

#include "dsp.h"
#include "requantise.h"

/* Bytes 0 and 2, and bytes 1 and 3, in the upper halves of halfwords: 256 times what they are. */
TVMP_INLINE uint32_t tvmp_even_raised(uint32_t bytes) {
  return (bytes << 8) & 0xff00ff00u;
}

TVMP_INLINE uint32_t tvmp_odd_raised(uint32_t bytes) {
  return bytes & 0xff00ff00u;
}

/* A weighted sum of two operands: each output is
 *
 *   clamp((offset + (lhs_factor * 256 * lhs >> 16) + (rhs_factor * 256 * rhs >> 16)) >> shift)
 *
 * whose numbers somebody has found to give what LiteRT's addition does for all pairs of values. */
struct tvmp_sum {
  int32_t lhs_factor;
  int32_t rhs_factor;
  int32_t offset;
  int32_t shift;
  int32_t clamp_min;
  int32_t clamp_max;
};

/* Shifts right, saturates and clamps. The shift is a constant. */
#define tvmp_sum_output(sum, value) tvmp_sum_clamped(sum, tvmp_ssat8_asr(value, (sum)->shift))

TVMP_INLINE int8_t tvmp_sum_clamped(const struct tvmp_sum *sum, int32_t value) {
  if (sum->clamp_min > -128 && value < sum->clamp_min) {
    value = sum->clamp_min;
  }
  if (sum->clamp_max < 127 && value > sum->clamp_max) {
    value = sum->clamp_max;
  }
  return (int8_t)value;
}

TVMP_INLINE int32_t tvmp_sum_low(const struct tvmp_sum *sum, uint32_t lhs, uint32_t rhs) {
  return tvmp_smlawb(sum->lhs_factor, lhs, tvmp_smlawb(sum->rhs_factor, rhs, sum->offset));
}

TVMP_INLINE int32_t tvmp_sum_high(const struct tvmp_sum *sum, uint32_t lhs, uint32_t rhs) {
  return tvmp_smlawt(sum->lhs_factor, lhs, tvmp_smlawt(sum->rhs_factor, rhs, sum->offset));
}

TVMP_INLINE void tvmp_sum_word(const struct tvmp_sum *sum, const int8_t *lhs, const int8_t *rhs,
                               int8_t *out) {
  const uint32_t left = tvmp_load4(lhs), right = tvmp_load4(rhs);
  const uint32_t left_even = tvmp_even_raised(left), left_odd = tvmp_odd_raised(left);
  const uint32_t right_even = tvmp_even_raised(right), right_odd = tvmp_odd_raised(right);
  out[0] = tvmp_sum_output(sum, tvmp_sum_low(sum, left_even, right_even));
  out[1] = tvmp_sum_output(sum, tvmp_sum_low(sum, left_odd, right_odd));
  out[2] = tvmp_sum_output(sum, tvmp_sum_high(sum, left_even, right_even));
  out[3] = tvmp_sum_output(sum, tvmp_sum_high(sum, left_odd, right_odd));
}

/* Sums of two runs. Numbers from ``shift`` on are constants. */
TVMP_INLINE void tvmp_add(const int8_t *lhs, const int8_t *rhs, int8_t *out, int32_t length,
                          int32_t lhs_factor, int32_t rhs_factor, int32_t offset, int32_t shift,
                          int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_sum sum = {lhs_factor, rhs_factor, offset, shift, clamp_min, clamp_max};
  const int8_t *const words_end = lhs + length / 8 * 8;
  TVMP_ROLLED while (lhs != words_end) {
    tvmp_sum_word(&sum, lhs, rhs, out);
    tvmp_sum_word(&sum, lhs + 4, rhs + 4, out + 4);
    lhs += 8;
    rhs += 8;
    out += 8;
  }
  int32_t rest = length % 8;
  if (rest >= 4) {
    tvmp_sum_word(&sum, lhs, rhs, out);
    lhs += 4;
    rhs += 4;
    out += 4;
    rest -= 4;
  }
  TVMP_ROLLED for (; rest != 0; --rest) {
    const uint32_t left = (uint32_t)*lhs++ << 8, right = (uint32_t)*rhs++ << 8;
    *out++ = tvmp_sum_output(&sum, tvmp_sum_low(&sum, left, right));
  }
}

/* A product of two operands less their zero points, requantised. */
struct tvmp_product {
  int32_t lhs_zero_point;
  int32_t rhs_zero_point;
  int32_t multiplier;
  struct tvmp_requantisation requantisation;
};

TVMP_INLINE int8_t tvmp_product_output(const struct tvmp_product *product, int32_t value) {
  return (int8_t)tvmp_requantise((int32_t)((uint32_t)value << 1), value, product->multiplier,
                                 product->requantisation.shift, &product->requantisation);
}

TVMP_INLINE void tvmp_product_word(const struct tvmp_product *product, const int8_t *lhs,
                                   const int8_t *rhs, int8_t *out) {
  const uint32_t left = tvmp_load4(lhs), right = tvmp_load4(rhs);
  const uint32_t below_left = tvmp_pair(-product->lhs_zero_point, -product->lhs_zero_point);
  const uint32_t below_right = tvmp_pair(-product->rhs_zero_point, -product->rhs_zero_point);
  const uint32_t left_even = tvmp_sxtab16(below_left, left);
  const uint32_t left_odd = tvmp_sxtab16_odd(below_left, left);
  const uint32_t right_even = tvmp_sxtab16(below_right, right);
  const uint32_t right_odd = tvmp_sxtab16_odd(below_right, right);
  out[0] = tvmp_product_output(product, tvmp_smulbb(left_even, right_even));
  out[1] = tvmp_product_output(product, tvmp_smulbb(left_odd, right_odd));
  out[2] = tvmp_product_output(product, tvmp_smultt(left_even, right_even));
  out[3] = tvmp_product_output(product, tvmp_smultt(left_odd, right_odd));
}

/* length products for each of repeats runs; the second operand is the same in all of them. */
TVMP_INLINE void tvmp_mul(const int8_t *lhs, const int8_t *rhs, int8_t *out, int32_t length,
                          int32_t repeats, int32_t lhs_zero_point, int32_t rhs_zero_point,
                          int32_t multiplier, int32_t scaling, int32_t shift, int32_t zero_point,
                          int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_product product = {
      .lhs_zero_point = lhs_zero_point,
      .rhs_zero_point = rhs_zero_point,
      .multiplier = multiplier,
      .requantisation = {(enum tvmp_scaling)scaling, zero_point, clamp_min, clamp_max, shift},
  };
  for (; repeats != 0; --repeats) {
    const int8_t *right = rhs;
    for (int32_t words = length / 4; words != 0; --words) {
      tvmp_product_word(&product, lhs, right, out);
      lhs += 4;
      right += 4;
      out += 4;
    }
    for (int32_t rest = length % 4; rest != 0; --rest) {
      *out++ =
          tvmp_product_output(&product, (*lhs++ - lhs_zero_point) * (*right++ - rhs_zero_point));
    }
  }
}

#endif
