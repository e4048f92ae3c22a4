/* Depthwise convolution of one output row straight from the input: any window, any stride.
 *
 * Four channels of one or two outputs at a time. A word of the input is four channels of a pixel;
 * SXTB16 makes of it channels 0 and 2, and 1 and 3, as halves that SMLABB and SMLATT multiply.
 * Where the windows of two outputs overlap, each pixel is read and taken apart once for both.
 *
 * Weights are int16 in the same order, channels 0, 2, 1, 3 of each tap, and already multiplied by
 * what the form of pair.h wants sums to be multiplied by: 256, or 2, or 1. So are the biases. In
 * the first case a channel whose sums have to be shifted right further than others' is multiplied
 * by as much less, so that all are shifted by the same constant.
 *
 * Against gathering (depthwise.h) products are single, but nothing is packed: what a window costs
 * does not depend on how many others there are in the row. */
#ifndef TVMP_DEPTHWISE_DIRECT_H
#define TVMP_DEPTHWISE_DIRECT_H

#include "dsp.h"
#include "pair.h"

/* Numbers of a channel behind the starts of all four: multiplier, rounding and shift, the last of
 * them only where channels do not share it. */
TVMP_INLINE int32_t tvmp_direct_numbers(const struct tvmp_scale *scale) {
  return scale->exponent >= 0 ? 2 : 3;
}

/* A layer, in bytes of int8 data. Constants wherever it is used. */
struct tvmp_direct {
  int32_t width;       /* outputs of the row */
  int32_t stride;      /* input pixels from the window of one output to the next */
  int32_t kernel_h;    /* rows of the window */
  int32_t kernel_w;    /* columns of the window */
  int32_t pixel_bytes; /* channels */
  int32_t row_bytes;   /* from one row of the window to the next */
};

/* Largest constant offset of a load. */
#define TVMP_DIRECT_OFFSET 4095

#if TVMP_HAS_DSP

#define TVMP_DIRECT_PIXEL                                                                          \
  "ldr %[x], [%[data], %[at]]\n\t"                                                                 \
  "sxtb16 %[y], %[x]\n\t"                                                                          \
  "sxtb16 %[x], %[x], ror #8\n\t"
#define TVMP_DIRECT_MULTIPLY(tap, a, b, c, d)                                                      \
  "ldrd %[u], %[v], [%[weight], %[" tap "]]\n\t"                                                   \
  "smlabb %[" a "], %[y], %[u], %[" a "]\n\t"                                                      \
  "smlatt %[" c "], %[y], %[u], %[" c "]\n\t"                                                      \
  "smlabb %[" b "], %[x], %[v], %[" b "]\n\t"                                                      \
  "smlatt %[" d "], %[x], %[v], %[" d "]\n\t"
#define TVMP_DIRECT_FIRST TVMP_DIRECT_MULTIPLY("tap0", "a0", "b0", "c0", "d0")
#define TVMP_DIRECT_SECOND TVMP_DIRECT_MULTIPLY("tap1", "a1", "b1", "c1", "d1")
#define TVMP_DIRECT_SUMS_1 [a0] "+r"(a0), [b0] "+r"(b0), [c0] "+r"(c0), [d0] "+r"(d0)
#define TVMP_DIRECT_SUMS_2                                                                         \
  TVMP_DIRECT_SUMS_1, [a1] "+r"(a1), [b1] "+r"(b1), [c1] "+r"(c1), [d1] "+r"(d1)
/* Eight sums, four temporaries and two addresses are all 14 registers. Sums have theirs by name, or
 * compilers move them around between one pixel and the next. */
#define TVMP_DIRECT_REGISTER(name, number, place) register int32_t name __asm__(number) = sum[place]
#define TVMP_DIRECT_RUN(code, ...)                                                                 \
  __asm__ volatile(code                                                                            \
                   : __VA_ARGS__, [x] "=&r"(x), [y] "=&r"(y), [u] "=&r"(u), [v] "=&r"(v)           \
                   : [data] "r"(data), [weight] "r"(weight), [at] "n"(at), [tap0] "n"(8 * first),  \
                     [tap1] "n"(8 * second)                                                        \
                   : "memory")

/* A pixel times the tap of the first output, of the second one, or of both. */
TVMP_INLINE void tvmp_direct_pixel(const int8_t *data, int32_t at, const int16_t *weight,
                                   int is_first, int32_t first, int is_second, int32_t second,
                                   int32_t outputs, int32_t *sum) {
  uint32_t x, y, u, v;
  TVMP_DIRECT_REGISTER(a0, "r2", 0);
  TVMP_DIRECT_REGISTER(b0, "r3", 1);
  TVMP_DIRECT_REGISTER(c0, "r4", 2);
  TVMP_DIRECT_REGISTER(d0, "r5", 3);
  if (outputs == 1) {
    if (is_first) {
      TVMP_DIRECT_RUN(TVMP_DIRECT_PIXEL TVMP_DIRECT_FIRST, TVMP_DIRECT_SUMS_1);
    }
  } else {
    TVMP_DIRECT_REGISTER(a1, "r6", 4);
    TVMP_DIRECT_REGISTER(b1, "r7", 5);
    TVMP_DIRECT_REGISTER(c1, "r8", 6);
    TVMP_DIRECT_REGISTER(d1, "r9", 7);
    if (is_first && is_second) {
      TVMP_DIRECT_RUN(TVMP_DIRECT_PIXEL TVMP_DIRECT_FIRST TVMP_DIRECT_SECOND, TVMP_DIRECT_SUMS_2);
    } else if (is_first) {
      TVMP_DIRECT_RUN(TVMP_DIRECT_PIXEL TVMP_DIRECT_FIRST, TVMP_DIRECT_SUMS_2);
    } else if (is_second) {
      TVMP_DIRECT_RUN(TVMP_DIRECT_PIXEL TVMP_DIRECT_SECOND, TVMP_DIRECT_SUMS_2);
    }
    sum[4] = a1;
    sum[5] = b1;
    sum[6] = c1;
    sum[7] = d1;
  }
  sum[0] = a0;
  sum[1] = b0;
  sum[2] = c0;
  sum[3] = d0;
}

/* One row of the window of one or two outputs, ``start`` bytes behind data. */
TVMP_INLINE void tvmp_direct_row(const int8_t *data, int32_t start, const int16_t *weight,
                                 int32_t row, int32_t outputs, const struct tvmp_direct *layer,
                                 int32_t *sum) {
  const int32_t taps = row * layer->kernel_w;
#define TVMP_DIRECT_COLUMN(x)                                                                      \
  tvmp_direct_pixel(data, start + (x) * layer->pixel_bytes, weight, (x) < layer->kernel_w,         \
                    taps + (x), (x) >= layer->stride && (x) < layer->kernel_w + layer->stride,     \
                    taps + (x) - layer->stride, outputs, sum);
  TVMP_DIRECT_COLUMN(0)
  TVMP_DIRECT_COLUMN(1)
  TVMP_DIRECT_COLUMN(2)
  TVMP_DIRECT_COLUMN(3)
  TVMP_DIRECT_COLUMN(4)
  TVMP_DIRECT_COLUMN(5)
  TVMP_DIRECT_COLUMN(6)
  TVMP_DIRECT_COLUMN(7)
  TVMP_DIRECT_COLUMN(8)
  TVMP_DIRECT_COLUMN(9)
  TVMP_DIRECT_COLUMN(10)
  TVMP_DIRECT_COLUMN(11)
  TVMP_DIRECT_COLUMN(12)
  TVMP_DIRECT_COLUMN(13)
  TVMP_DIRECT_COLUMN(14)
#undef TVMP_DIRECT_COLUMN
}

#else

TVMP_INLINE void tvmp_direct_row(const int8_t *data, int32_t start, const int16_t *weight,
                                 int32_t row, int32_t outputs, const struct tvmp_direct *layer,
                                 int32_t *sum) {
  data += start;
  weight += row * layer->kernel_w * 4;
  TVMP_ROLLED for (int32_t i = 0; i < outputs * layer->kernel_w; ++i) {
    const int32_t output = i / layer->kernel_w, tap = i % layer->kernel_w;
    const uint32_t pixel = tvmp_load4(data + (output * layer->stride + tap) * layer->pixel_bytes);
    const uint32_t even = tvmp_sxtb16(pixel), odd = tvmp_sxtb16_odd(pixel);
    const uint32_t even_weights = tvmp_load4(weight + 4 * tap);
    const uint32_t odd_weights = tvmp_load4(weight + 4 * tap + 2);
    int32_t *const to = sum + 4 * output;
    to[0] = tvmp_smlabb(even, even_weights, to[0]);
    to[1] = tvmp_smlabb(odd, odd_weights, to[1]);
    to[2] = tvmp_smlatt(even, even_weights, to[2]);
    to[3] = tvmp_smlatt(odd, odd_weights, to[3]);
  }
}

#endif

/* Four channels of one or two outputs. Up to three rows of a window are not looped over. */
TVMP_INLINE void tvmp_direct_block(const int8_t *data, const int16_t *weight,
                                   const int32_t *channels, int8_t *out, int32_t outputs,
                                   const struct tvmp_direct *layer,
                                   const struct tvmp_scale *scale) {
  int32_t sum[8];
  for (int32_t channel = 0; channel < 4; ++channel) {
    sum[channel] = channels[channel];
    sum[4 + channel] = sum[channel];
  }
  const int32_t rows = layer->kernel_h;
  const int32_t row_columns = (layer->kernel_w + layer->stride) * layer->pixel_bytes;
  /* Rows that loads do not reach from the first one have addresses of their own. */
  const int is_near = (rows - 1) * layer->row_bytes + row_columns <= TVMP_DIRECT_OFFSET;
  const int32_t step = is_near ? 0 : layer->row_bytes, offset = is_near ? layer->row_bytes : 0;
  if (rows <= 3) {
    tvmp_direct_row(data, 0, weight, 0, outputs, layer, sum);
    if (rows >= 2) {
      tvmp_direct_row(data + step, offset, weight, 1, outputs, layer, sum);
    }
    if (rows == 3) {
      tvmp_direct_row(data + 2 * step, 2 * offset, weight, 2, outputs, layer, sum);
    }
  } else {
    TVMP_ROLLED for (int32_t row = 0; row < rows; ++row) {
      tvmp_direct_row(data, 0, weight, 0, outputs, layer, sum);
      data += layer->row_bytes;
      weight += 4 * layer->kernel_w;
    }
  }
#if TVMP_HAS_DSP
  /* In registers from here on: both were in memory before, for want of any. */
  __asm__ volatile("" : "+r"(channels), "+r"(out));
#endif
  for (int32_t channel = 0; channel < 4; ++channel) {
    const int32_t numbers = tvmp_direct_numbers(scale);
    const int32_t *const first = channels + 4 + numbers * channel;
    const struct tvmp_channel parameters = {first[0], first[1], numbers == 3 ? first[2] : 0};
    out[channel] = (int8_t)tvmp_scale_sum(sum[channel], &parameters, scale);
    if (outputs == 2) {
      out[layer->pixel_bytes + channel] =
          (int8_t)tvmp_scale_sum(sum[4 + channel], &parameters, scale);
    }
  }
}

/* A whole row.
 *
 * data: the window of the first output, at least four channels. weight: [groups][taps][4].
 * channels: for each group four starts and the numbers of four channels. The last group begins
 * where it ends with the pixel, and makes again what others did. All numbers are constants, as in
 * the structures.
 */
TVMP_INLINE void tvmp_depthwise_direct(const int8_t *data, const int16_t *weight,
                                       const int32_t *channels, int8_t *out, int32_t width,
                                       int32_t stride, int32_t kernel_h, int32_t kernel_w,
                                       int32_t pixel_bytes, int32_t row_bytes, int32_t form,
                                       int32_t exponent, int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_direct layer = {
      .width = width,
      .stride = stride,
      .kernel_h = kernel_h,
      .kernel_w = kernel_w,
      .pixel_bytes = pixel_bytes,
      .row_bytes = row_bytes,
  };
  const struct tvmp_scale scale = tvmp_scale_of(form, 0, exponent, clamp_min, clamp_max);
  const int32_t group_numbers = 4 + 4 * tvmp_direct_numbers(&scale);
  const int32_t *group = channels;
  const int32_t *end = group + (pixel_bytes + 3) / 4 * group_numbers;
  TVMP_UNKNOWN(end);
  const int32_t pairs = width / 2, overlap = (4 - pixel_bytes % 4) % 4;
  do {
    if (overlap != 0 && group == end - group_numbers) {
      data -= overlap;
      out -= overlap;
    }
    const int8_t *from = data;
    int8_t *to = out;
    TVMP_ROLLED for (int32_t pair = 0; pair < pairs; ++pair) {
      tvmp_direct_block(from, weight, group, to, 2, &layer, &scale);
      from += 2 * stride * pixel_bytes;
      to += 2 * pixel_bytes;
    }
    if (width % 2 != 0) {
      tvmp_direct_block(from, weight, group, to, 1, &layer, &scale);
    }
    data += 4;
    out += 4;
    weight += 4 * kernel_h * kernel_w;
    group += group_numbers;
  } while (group != end);
}

#endif
