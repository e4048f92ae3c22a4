/* Pools over windows of int8 pixels, four channels in a word.
 *
 * Where the channels are no multiple of four the last word overlaps the one before, so there must
 * be four of them. Words are read and written at any address; the output must not overlap the
 * input. */
#ifndef TVMP_POOL_H
#define TVMP_POOL_H

#include "dsp.h"

/* Of a part of a window: the maxima of four channels in ``even``; or the sums of channels 0 and 2
 * in
 * ``even``, 1 and 3 in ``odd``, as halfwords. 256 int8 are the most whose sum is one. */
struct tvmp_lanes {
  uint32_t even;
  uint32_t odd;
};

/* What all windows of a kernel have in common; constants. */
struct tvmp_pool {
  int32_t is_average;
  int32_t rows;
  int32_t columns;
  int32_t stride;
  int32_t channels;
  int32_t row_bytes;
  int32_t multiplier;
  int32_t shift;
  int32_t clamp_min;
  int32_t clamp_max;
};

TVMP_INLINE struct tvmp_lanes tvmp_lanes_of(uint32_t word, int is_average) {
  struct tvmp_lanes lanes = {word, 0};
  if (is_average) {
    lanes.even = tvmp_sxtb16(word);
    lanes.odd = tvmp_sxtb16_odd(word);
  }
  return lanes;
}

TVMP_INLINE void tvmp_take_word(struct tvmp_lanes *lanes, uint32_t word, int is_average) {
  if (is_average) {
    lanes->even = tvmp_sxtab16(lanes->even, word);
    lanes->odd = tvmp_sxtab16_odd(lanes->odd, word);
  } else {
    lanes->even = tvmp_max4(lanes->even, word);
  }
}

/* One byte in each of four. */
TVMP_INLINE uint32_t tvmp_bytes_of(int32_t value) {
  return ((uint32_t)value & 0xffu) * 0x01010101u;
}

TVMP_INLINE uint32_t tvmp_clamp4(uint32_t bytes, int32_t clamp_min, int32_t clamp_max) {
  if (clamp_min > -128) {
    bytes = tvmp_max4(bytes, tvmp_bytes_of(clamp_min));
  }
  if (clamp_max < 127) {
    bytes = tvmp_min4(bytes, tvmp_bytes_of(clamp_max));
  }
  return bytes;
}

/* Sums of n elements to averages, rounded half away from zero. The multiplier is the first integer
 * above 2^(16 + shift) / n, shift 16 (for n above 2) or 14. That it is a little too large makes
 * ties, to which a half is added before rounding down, go up above zero and down below it; that it
 * is not larger leaves everything else on its side, since n * n < 2^(8 + shift). */
TVMP_INLINE uint32_t tvmp_average4(struct tvmp_lanes sum, int32_t multiplier, int32_t shift) {
  const int32_t half = 1 << (shift - 1);
  const int32_t first = tvmp_smlawb(multiplier, sum.even, half);
  const int32_t second = tvmp_smlawb(multiplier, sum.odd, half);
  const int32_t third = tvmp_smlawt(multiplier, sum.even, half);
  const int32_t fourth = tvmp_smlawt(multiplier, sum.odd, half);
  const int32_t rest = 16 - shift;
  const uint32_t even = tvmp_pack_high((uint32_t)first << rest, (uint32_t)third << rest);
  const uint32_t odd = tvmp_pack_high((uint32_t)second << rest, (uint32_t)fourth << rest);
  return tvmp_uxtb16(even) | tvmp_uxtb16(odd) << 8;
}

TVMP_INLINE uint32_t tvmp_pooled(struct tvmp_lanes lanes, const struct tvmp_pool *pool) {
  uint32_t bytes = lanes.even;
  if (pool->is_average) {
    bytes = tvmp_average4(lanes, pool->multiplier, pool->shift);
  }
  return tvmp_clamp4(bytes, pool->clamp_min, pool->clamp_max);
}

/* Takes one column of a window in, from a row on. */
TVMP_INLINE void tvmp_take_column(struct tvmp_lanes *lanes, const int8_t *data, int32_t row,
                                  const struct tvmp_pool *pool) {
  TVMP_UNROLLED for (; row < pool->rows; ++row) {
    tvmp_take_word(lanes, tvmp_load4(data + row * pool->row_bytes), pool->is_average);
  }
}

TVMP_INLINE struct tvmp_lanes tvmp_pool_column(const int8_t *data, const struct tvmp_pool *pool) {
  struct tvmp_lanes lanes = tvmp_lanes_of(tvmp_load4(data), pool->is_average);
  tvmp_take_column(&lanes, data, 1, pool);
  return lanes;
}

TVMP_INLINE void tvmp_join_lanes(struct tvmp_lanes *lanes, struct tvmp_lanes other,
                                 int is_average) {
  if (is_average) {
    lanes->even = tvmp_sadd16(lanes->even, other.even);
    lanes->odd = tvmp_sadd16(lanes->odd, other.odd);
  } else {
    lanes->even = tvmp_max4(lanes->even, other.even);
  }
}

/* Columns of a window whose maxima fit registers; of sums half as many do. */
#define TVMP_MOST_COLUMNS 6

/* Four channels of all pixels of a row. Columns that two windows share are looked at once. */
TVMP_INLINE void tvmp_pool_shared(const int8_t *data, int8_t *out, int32_t width,
                                  const struct tvmp_pool *pool) {
  struct tvmp_lanes column[TVMP_MOST_COLUMNS];
  const int32_t kept = pool->columns - pool->stride;
  TVMP_UNROLLED for (int32_t i = 0; i < kept; ++i) {
    column[i] = tvmp_pool_column(data + i * pool->channels, pool);
  }
  data += kept * pool->channels;
  TVMP_ROLLED for (; width != 0; --width) {
    TVMP_UNROLLED for (int32_t i = kept; i < pool->columns; ++i) {
      column[i] = tvmp_pool_column(data + (i - kept) * pool->channels, pool);
    }
    struct tvmp_lanes all = column[0];
    TVMP_UNROLLED for (int32_t i = 1; i < pool->columns; ++i) {
      tvmp_join_lanes(&all, column[i], pool->is_average);
    }
    tvmp_store4(out, tvmp_pooled(all, pool));
    TVMP_UNROLLED for (int32_t i = 0; i < kept; ++i) {
      column[i] = column[i + pool->stride];
    }
    data += pool->stride * pool->channels;
    out += pool->channels;
  }
}

/* The same, each window on its own. */
TVMP_INLINE void tvmp_pool_apart(const int8_t *data, int8_t *out, int32_t width,
                                 const struct tvmp_pool *pool) {
  TVMP_ROLLED for (; width != 0; --width) {
    struct tvmp_lanes all = tvmp_pool_column(data, pool);
    if (pool->columns <= 3) {
      TVMP_UNROLLED for (int32_t i = 1; i < pool->columns; ++i) {
        tvmp_take_column(&all, data + i * pool->channels, 0, pool);
      }
    } else {
      const int8_t *at = data;
      TVMP_ROLLED for (int32_t i = 1; i < pool->columns; ++i) {
        at += pool->channels;
        tvmp_take_column(&all, at, 0, pool);
      }
    }
    tvmp_store4(out, tvmp_pooled(all, pool));
    data += pool->stride * pool->channels;
    out += pool->channels;
  }
}

/* One row of outputs from full windows; all numbers are constants. */
TVMP_INLINE void tvmp_pool_row(const int8_t *data, int8_t *out, int32_t is_average, int32_t width,
                               int32_t channels, int32_t row_bytes, int32_t rows, int32_t columns,
                               int32_t stride, int32_t multiplier, int32_t shift, int32_t clamp_min,
                               int32_t clamp_max) {
  const struct tvmp_pool pool = {is_average, rows,       columns, stride,    channels,
                                 row_bytes,  multiplier, shift,   clamp_min, clamp_max};
  const int32_t most = is_average ? TVMP_MOST_COLUMNS / 2 : TVMP_MOST_COLUMNS;
  TVMP_ROLLED for (int32_t channel = 0; channel < channels; channel += 4) {
    if (channels % 4 != 0 && channel > channels - 4) {
      channel = channels - 4;
    }
    if (stride < columns && columns <= most) {
      tvmp_pool_shared(data + channel, out + channel, width, &pool);
    } else {
      tvmp_pool_apart(data + channel, out + channel, width, &pool);
    }
  }
}

/* The sums of one window's columns, from its first row on. */
TVMP_INLINE struct tvmp_lanes tvmp_sum_window(const int8_t *data, int32_t rows, int32_t columns,
                                              int32_t channels, int32_t row_bytes) {
  struct tvmp_lanes sum = {0, 0};
  TVMP_ROLLED for (; rows != 0; --rows) {
    const int8_t *at = data;
    for (int32_t column = 0; column < columns; ++column) {
      tvmp_take_word(&sum, tvmp_load4(at), 1);
      at += channels;
    }
    data += row_bytes;
  }
  return sum;
}

/* One pixel: the averages of a window of so many valid rows and columns. */
TVMP_INLINE void tvmp_average_pixel(const int8_t *data, int8_t *out, int32_t rows, int32_t columns,
                                    int32_t channels, int32_t row_bytes, int32_t clamp_min,
                                    int32_t clamp_max) {
  const int32_t multiplier = (1 << 30) / (rows * columns) + 1;
  TVMP_ROLLED for (int32_t channel = 0; channel < channels; channel += 4) {
    if (channels % 4 != 0 && channel > channels - 4) {
      channel = channels - 4;
    }
    const struct tvmp_lanes sum =
        tvmp_sum_window(data + channel, rows, columns, channels, row_bytes);
    tvmp_store4(out + channel,
                tvmp_clamp4(tvmp_average4(sum, multiplier, 14), clamp_min, clamp_max));
  }
}

/* A map of averages over the elements of each window that lie in the map. Windows of up to 256
 * elements, each with one of them in the map. */
TVMP_INLINE void tvmp_average_padded(const int8_t *data, int8_t *out, int32_t in_height,
                                     int32_t in_width, int32_t channels, int32_t out_height,
                                     int32_t out_width, int32_t rows, int32_t columns,
                                     int32_t stride_h, int32_t stride_w, int32_t pad_top,
                                     int32_t pad_left, int32_t clamp_min, int32_t clamp_max) {
  const int32_t row_bytes = in_width * channels;
  TVMP_ROLLED for (int32_t y = 0; y < out_height; ++y) {
    const int32_t top = y * stride_h - pad_top;
    const int32_t first_row = top < 0 ? 0 : top;
    const int32_t end_row = top + rows < in_height ? top + rows : in_height;
    TVMP_ROLLED for (int32_t x = 0; x < out_width; ++x) {
      const int32_t left = x * stride_w - pad_left;
      const int32_t first_column = left < 0 ? 0 : left;
      const int32_t end_column = left + columns < in_width ? left + columns : in_width;
      const int8_t *at = data + first_row * row_bytes + first_column * channels;
      if (end_column - first_column == columns) {
        tvmp_average_pixel(at, out, end_row - first_row, columns, channels, row_bytes, clamp_min,
                           clamp_max);
      } else {
        tvmp_average_pixel(at, out, end_row - first_row, end_column - first_column, channels,
                           row_bytes, clamp_min, clamp_max);
      }
      out += channels;
    }
  }
}

#endif
