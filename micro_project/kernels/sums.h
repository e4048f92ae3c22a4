/* Sums of int8 pixels channel by channel, and what global pools make of them. */
#ifndef TVMP_SUMS_H
#define TVMP_SUMS_H

#include "dsp.h"
#include "requantise.h"

/* Pixels whose sums are halfwords. */
#define TVMP_MOST_PIXELS 256

/* Adds four or eight channels (one or two words) of pixels to the sums of those before, which may
 * lie where the new ones are written. */
TVMP_INLINE void tvmp_sum_words(const int8_t *data, const int32_t *before, int32_t *sum,
                                int32_t pixels, int32_t channels, int32_t words) {
  while (pixels > 0) {
    uint32_t even[2] = {0, 0}, odd[2] = {0, 0};
    const int32_t turns = pixels < TVMP_MOST_PIXELS ? pixels : TVMP_MOST_PIXELS;
    TVMP_BY_FOUR for (int32_t turn = 0; turn < turns; ++turn) {
      for (int32_t i = 0; i < words; ++i) {
        const uint32_t word = tvmp_load4(data + 4 * i);
        even[i] = tvmp_sxtab16(even[i], word);
        odd[i] = tvmp_sxtab16_odd(odd[i], word);
      }
      data += channels;
    }
    for (int32_t i = 0; i < words; ++i) {
      sum[4 * i] = before[4 * i] + tvmp_low(even[i]);
      sum[4 * i + 1] = before[4 * i + 1] + tvmp_low(odd[i]);
      sum[4 * i + 2] = before[4 * i + 2] + tvmp_high(even[i]);
      sum[4 * i + 3] = before[4 * i + 3] + tvmp_high(odd[i]);
    }
    before = sum;
    pixels -= turns;
  }
}

TVMP_INLINE int32_t tvmp_sum_channel(const int8_t *data, int32_t sum, int32_t pixels,
                                     int32_t channels) {
  TVMP_ROLLED for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    sum += *data;
    data += channels;
  }
  return sum;
}

/* Adds pixels to the sums of those before, which may lie where the new ones are written. */
TVMP_INLINE void tvmp_accumulate(const int8_t *data, const int32_t *before, int32_t *sum,
                                 int32_t pixels, int32_t channels) {
  int32_t left = channels;
  TVMP_ROLLED for (; left >= 8; left -= 8) {
    tvmp_sum_words(data, before, sum, pixels, channels, 2);
    data += 8;
    before += 8;
    sum += 8;
  }
  if (left >= 4) {
    tvmp_sum_words(data, before, sum, pixels, channels, 1);
    data += 4;
    before += 4;
    sum += 4;
    left -= 4;
  }
  TVMP_ROLLED for (; left > 0; --left) {
    *sum++ = tvmp_sum_channel(data++, *before++, pixels, channels);
  }
}

/* A mean of int8 less their zero point, requantised. */
struct tvmp_mean {
  int32_t start; /* What a sum of plain int8 lacks: the zero point as often as there are pixels. */
  int32_t multiplier;
  struct tvmp_requantisation requantisation;
};

TVMP_INLINE int8_t tvmp_mean_output(const struct tvmp_mean *mean, int32_t sum) {
  const enum tvmp_scaling scaling = mean->requantisation.scaling;
  const int32_t doubled = scaling == TVMP_DOUBLE_FAST ? (int32_t)((uint32_t)sum << 1) : sum;
  return (int8_t)tvmp_requantise(doubled, sum, mean->multiplier, mean->requantisation.shift,
                                 &mean->requantisation);
}

/* Means over all pixels. Numbers from ``start`` on: see struct tvmp_mean; ``exponent`` is that of
 * the fast form, else the shift. */
TVMP_INLINE void tvmp_mean(const int8_t *data, int8_t *out, int32_t pixels, int32_t channels,
                           int32_t start, int32_t multiplier, int32_t scaling, int32_t exponent,
                           int32_t zero_point, int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_mean mean = {
      start, multiplier, {(enum tvmp_scaling)scaling, zero_point, clamp_min, clamp_max, exponent}};
  int32_t left = channels;
  TVMP_ROLLED for (; left >= 4; left -= 4) {
    const int32_t before[4] = {start, start, start, start};
    int32_t sum[4];
    tvmp_sum_words(data, before, sum, pixels, channels, 1);
    for (int32_t i = 0; i < 4; ++i) {
      out[i] = tvmp_mean_output(&mean, sum[i]);
    }
    data += 4;
    out += 4;
  }
  TVMP_ROLLED for (; left > 0; --left) {
    *out++ = tvmp_mean_output(&mean, tvmp_sum_channel(data++, start, pixels, channels));
  }
}

/* The same from sums, which may begin where the output does. */
TVMP_INLINE void tvmp_mean_of_sum(const int32_t *sum, int8_t *out, int32_t channels, int32_t start,
                                  int32_t multiplier, int32_t scaling, int32_t exponent,
                                  int32_t zero_point, int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_mean mean = {
      start, multiplier, {(enum tvmp_scaling)scaling, zero_point, clamp_min, clamp_max, exponent}};
  TVMP_ROLLED for (; channels != 0; --channels) {
    *out++ = tvmp_mean_output(&mean, start + *sum++);
  }
}

/* Averages of n int8 from their sums, rounded half away from zero: the multiplier is the first
 * integer above 2^32 / n, n from 3 to 4095, for the reasons of tvmp_average4. The output may begin
 * where the sums do. */
TVMP_INLINE void tvmp_average_of_sum(const int32_t *sum, int8_t *out, int32_t channels,
                                     int32_t multiplier, int32_t clamp_min, int32_t clamp_max) {
  TVMP_ROLLED for (; channels != 0; --channels) {
    int32_t average = tvmp_smmlar(multiplier, *sum++, 0);
    if (clamp_min > -128 || clamp_max < 127) {
      average = tvmp_clamp(average, clamp_min, clamp_max);
    }
    *out++ = (int8_t)average;
  }
}

#endif
