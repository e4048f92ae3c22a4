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

#include "depthwise_window.h"
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

/* Most rows of a window that are not looped over. */
#define TVMP_DIRECT_ROWS 3

/* Whether loads reach all rows of a window from the first one. */
TVMP_INLINE int tvmp_direct_is_near(const struct tvmp_direct *layer) {
  const int32_t row_columns = (layer->kernel_w + layer->stride) * layer->pixel_bytes;
  return layer->kernel_h <= TVMP_DIRECT_ROWS &&
         (layer->kernel_h - 1) * layer->row_bytes + row_columns <= TVMP_DIRECT_OFFSET;
}

#if TVMP_HAS_DSP

#define TVMP_DIRECT_PIXEL                                                                          \
  "ldr %[x], [%[data], #%c[row_offset] * tvmp_row + %c[pixel_bytes] * tvmp_column]\n\t"
#define TVMP_DIRECT_TAP(column)                                                                    \
  "ldrd %[u], %[v], [%[weight], #8 * (%c[kernel_w] * tvmp_row + " column ")]\n\t"
#define TVMP_DIRECT_ADD_ROW                                                                        \
  ".if %c[row_step] > 0xfff\n\t"                                                                   \
  "movw %[x], #%c[row_step] & 0xffff\n\t"                                                          \
  ".if %c[row_step] > 0xffff\n\t"                                                                  \
  "movt %[x], #%c[row_step] >> 16\n\t"                                                             \
  ".endif\n\t"                                                                                     \
  "add %[data], %[data], %[x]\n\t"                                                                 \
  ".elseif %c[row_step] > 0\n\t"                                                                   \
  "add %[data], %[data], #%c[row_step]\n\t"                                                        \
  ".endif\n\t"

/* x is where the starts are, before it is a pixel. */
#define TVMP_DIRECT_STARTS                                                                         \
  "ldrd %[a0], %[b0], [%[x]]\n\t"                                                                  \
  "ldrd %[c0], %[d0], [%[x], #8]\n\t"
#define TVMP_DIRECT_ONE                                                                            \
  TVMP_DIRECT_STARTS TVMP_WINDOW_ONE(TVMP_DIRECT_PIXEL, TVMP_DIRECT_TAP, "", TVMP_DIRECT_ADD_ROW)
#define TVMP_DIRECT_TWO                                                                            \
  TVMP_DIRECT_STARTS TVMP_WINDOW_TWO(TVMP_DIRECT_PIXEL, TVMP_DIRECT_TAP, "", TVMP_DIRECT_ADD_ROW,  \
                                     "tvmp_row == 0")

/* A loop over rows. The tap of column 0, the last that is loaded, moves the address on. */
#define TVMP_DIRECT_LOOPED_TAP(column)                                                             \
  ".if tvmp_column == 0\n\t"                                                                       \
  "ldrd %[u], %[v], [%[weight]], #8 * %c[kernel_w]\n\t"                                            \
  ".else\n\t" TVMP_DIRECT_TAP(column) ".endif\n\t"
#define TVMP_DIRECT_LOOP(row)                                                                      \
  "1:\n\t" row "ldr %[x], %[end]\n\t"                                                              \
  "cmp %[weight], %[x]\n\t"                                                                        \
  "bne 1b\n\t"
#define TVMP_DIRECT_LOOP_ONE                                                                       \
  TVMP_DIRECT_STARTS TVMP_DIRECT_LOOP(                                                             \
      TVMP_WINDOW_ONE(TVMP_DIRECT_PIXEL, TVMP_DIRECT_LOOPED_TAP, "", TVMP_DIRECT_ADD_ROW))
#define TVMP_DIRECT_LOOP_TWO                                                                       \
  TVMP_DIRECT_STARTS                                                                               \
  "mov %[a1], %[a0]\n\t"                                                                           \
  "mov %[b1], %[b0]\n\t"                                                                           \
  "mov %[c1], %[c0]\n\t"                                                                           \
  "mov %[d1], %[d0]\n\t" TVMP_DIRECT_LOOP(                                                         \
      TVMP_WINDOW_TWO(TVMP_DIRECT_PIXEL, TVMP_DIRECT_LOOPED_TAP, "", TVMP_DIRECT_ADD_ROW, "0"))

#define TVMP_DIRECT_RUN(code, limit, ...)                                                          \
  __asm__ volatile(                                                                                \
      code                                                                                         \
      : __VA_ARGS__, [data] "+&r"(data), [weight] "+&r"(weight), [x] "+&r"(starts), [y] "=&r"(y),  \
        [u] "=&r"(u), [v] "=&r"(v)                                                                 \
      : [row_offset] "n"(is_near ? layer->row_bytes : 0),                                          \
        [row_step] "n"(is_near ? 0 : layer->row_bytes), [pixel_bytes] "n"(layer->pixel_bytes),     \
        [kernel_w] "n"(layer->kernel_w), [stride] "n"(layer->stride),                              \
        [rows] "n"(is_looped ? 1 : layer->kernel_h), [end] limit                                   \
      : "cc", "memory")

/* The sums of one or two outputs. Returns data, which may have moved on by all rows. */
TVMP_INLINE const int8_t *tvmp_direct_sums(const int8_t *data, const int16_t *weight,
                                           const int32_t *starts, int32_t outputs,
                                           const struct tvmp_direct *layer, int32_t *sum) {
  const int is_near = tvmp_direct_is_near(layer);
  const int is_looped = layer->kernel_h > TVMP_DIRECT_ROWS;
  const int16_t *const end = weight + 4 * layer->kernel_h * layer->kernel_w;
  uint32_t y, u, v;
  if (outputs == 1) {
    if (is_looped) {
      TVMP_DIRECT_RUN(TVMP_DIRECT_LOOP_ONE TVMP_LINES_128, "m"(end), TVMP_WINDOW_SUMS_1);
    } else {
      TVMP_DIRECT_RUN(TVMP_DIRECT_ONE TVMP_LINES_512, "n"(0), TVMP_WINDOW_SUMS_1);
    }
  } else if (is_looped) {
    TVMP_DIRECT_RUN(TVMP_DIRECT_LOOP_TWO TVMP_LINES_128, "m"(end), TVMP_WINDOW_SUMS_2);
  } else if (layer->kernel_h * (layer->kernel_w + layer->stride) <= 15) {
    TVMP_DIRECT_RUN(TVMP_DIRECT_TWO TVMP_LINES_128, "n"(0), TVMP_WINDOW_SUMS_2);
  } else {
    TVMP_DIRECT_RUN(TVMP_DIRECT_TWO TVMP_LINES_512, "n"(0), TVMP_WINDOW_SUMS_2);
  }
  return data;
}

/* Bytes that the sums move data on by. */
TVMP_INLINE int32_t tvmp_direct_moved(const struct tvmp_direct *layer) {
  return tvmp_direct_is_near(layer) ? 0 : layer->kernel_h * layer->row_bytes;
}

#else

TVMP_INLINE const int8_t *tvmp_direct_sums(const int8_t *data, const int16_t *weight,
                                           const int32_t *starts, int32_t outputs,
                                           const struct tvmp_direct *layer, int32_t *sum) {
  for (int32_t index = 0; index < 4 * outputs; ++index) {
    sum[index] = starts[index % 4];
  }
  TVMP_ROLLED for (int32_t row = 0; row < layer->kernel_h; ++row) {
    TVMP_ROLLED for (int32_t i = 0; i < outputs * layer->kernel_w; ++i) {
      const int32_t output = i / layer->kernel_w, tap = i % layer->kernel_w;
      const int32_t column = output * layer->stride + tap;
      const uint32_t pixel =
          tvmp_load4(data + row * layer->row_bytes + column * layer->pixel_bytes);
      const uint32_t even = tvmp_sxtb16(pixel), odd = tvmp_sxtb16_odd(pixel);
      const int16_t *const weights = weight + 4 * (row * layer->kernel_w + tap);
      const uint32_t even_weights = tvmp_load4(weights), odd_weights = tvmp_load4(weights + 2);
      int32_t *const to = sum + 4 * output;
      to[0] = tvmp_smlabb(even, even_weights, to[0]);
      to[1] = tvmp_smlabb(odd, odd_weights, to[1]);
      to[2] = tvmp_smlatt(even, even_weights, to[2]);
      to[3] = tvmp_smlatt(odd, odd_weights, to[3]);
    }
  }
  return data;
}

TVMP_INLINE int32_t tvmp_direct_moved(const struct tvmp_direct *layer) {
  (void)layer;
  return 0;
}

#endif

/* Four channels of one or two outputs. Returns the data of the two behind them. */
TVMP_INLINE const int8_t *tvmp_direct_block(const int8_t *data, const int16_t *weight,
                                            const int32_t *channels, int8_t *out, int32_t outputs,
                                            const struct tvmp_direct *layer,
                                            const struct tvmp_scale *scale) {
  int32_t sum[8];
  data = tvmp_direct_sums(data, weight, channels, outputs, layer, sum);
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
  return data + (2 * layer->stride * layer->pixel_bytes - tvmp_direct_moved(layer));
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
      from = tvmp_direct_block(from, weight, group, to, 2, &layer, &scale);
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
