/* Depthwise convolution of one output row in little flash: layers share the code, weights are int8.
 *
 * As depthwise_direct.h, four channels of one or two outputs at a time straight from the input. But
 * width, channels and rows are arguments, so that one function serves all layers whose windows,
 * strides and forms of requantisation agree. Constants are packed tightly: for each group of four
 * channels the weights are a word for each tap, and nine int32 numbers are starts, multipliers and
 * a word of shifts, a byte for each channel. A group's constants are expanded once for the row.
 * They lie on the stack, where loads need no register for an address: it has the distance of
 * pixels. */
#ifndef TVMP_DEPTHWISE_SHARED_H
#define TVMP_DEPTHWISE_SHARED_H

#include "depthwise_window.h"
#include "pair.h"

/* Most taps of a window. */
#define TVMP_SHARED_TAPS 9

/* int32 numbers of a group of channels. */
#define TVMP_SHARED_NUMBERS 9

/* Weights of one tap as halves: channels 0 and 2, 1 and 3. */
struct tvmp_shared_tap {
  uint32_t even;
  uint32_t odd;
};

struct tvmp_shared_layer {
  int32_t pixel_bytes; /* from one pixel of input or output to the next */
  int32_t row_bytes;   /* from one row of the window to the next */
  int32_t stride;      /* input pixels from the window of one output to the next */
  int32_t kernel_h;    /* the last three are constants */
  int32_t kernel_w;
};

/* A group as it is computed with. */
struct tvmp_shared_group {
  int32_t number[8]; /* starts, multipliers */
  struct tvmp_shared_tap tap[TVMP_SHARED_TAPS];
  struct {
    int32_t rounding;
    int32_t shift;
  } channel[4];
};

TVMP_INLINE struct tvmp_shared_tap tvmp_shared_times_256(uint32_t word) {
  const uint32_t upper_bytes = 0xff00ff00u;
  struct tvmp_shared_tap halves;
#if TVMP_HAS_DSP
  /* Compilers take a shift and a mask of their own for each. */
  __asm__("and %0, %3, %2, lsl #8\n\tand %1, %3, %2"
          : "=&r"(halves.even), "=r"(halves.odd)
          : "r"(word), "r"(upper_bytes));
#else
  halves.even = (word << 8) & upper_bytes;
  halves.odd = word & upper_bytes;
#endif
  return halves;
}

/* Weights times what the form wants sums to be multiplied by: 256, or 2, or 1. */
TVMP_INLINE void tvmp_shared_expand(struct tvmp_shared_group *group, const int8_t *weight,
                                    const int32_t *channels, int32_t offset, int32_t taps,
                                    const struct tvmp_scale *scale) {
  memcpy(group->number, channels, sizeof group->number);
  for (int32_t tap = 0; tap < taps; ++tap) {
    const uint32_t word = tvmp_load4(weight + 4 * tap);
    struct tvmp_shared_tap halves = {tvmp_sxtb16(word), tvmp_sxtb16_odd(word)};
    if (scale->form < TVMP_TIES) {
      halves = tvmp_shared_times_256(word);
    } else if (scale->form == TVMP_TIES) {
      halves.even = tvmp_double16(halves.even);
      halves.odd = tvmp_double16(halves.odd);
    }
    group->tap[tap] = halves;
#if TVMP_HAS_DSP
    /* Compilers would load all words first, into more registers than there are. */
    __asm__ volatile("" ::: "memory");
#endif
  }
  uint32_t shifts = (uint32_t)channels[8];
  for (int32_t index = 0; index < 4; ++index, shifts >>= 8) {
    const int32_t shift = (int32_t)shifts, half = scale->form == TVMP_FLOOR_TWICE ? 64 : 0;
    group->channel[index].shift = shift;
    group->channel[index].rounding =
        scale->form > TVMP_TIES ? offset : tvmp_shift_left(offset, shift) + half;
  }
}

/* Columns in front of the last one under one or two windows. */
TVMP_INLINE int32_t tvmp_shared_last(int32_t outputs, const struct tvmp_shared_layer *layer) {
  return layer->kernel_w - 1 + (outputs - 1) * layer->stride;
}

/* Bytes to the last column of the next row from where columns two by two end. */
TVMP_INLINE int32_t tvmp_shared_next(int32_t outputs, const struct tvmp_shared_layer *layer) {
  const int32_t columns = tvmp_shared_last(outputs, layer) + 1;
  return layer->row_bytes + columns / 2 * 2 * layer->pixel_bytes;
}

#if TVMP_HAS_DSP

/* A column at data, the one in front of it, then data moves on by two. */
#define TVMP_SHARED_PIXEL                                                                          \
  ".if (tvmp_last - tvmp_column) & 1\n\t"                                                          \
  "ldr %[x], [%[data], %[step]]\n\t"                                                               \
  ".else\n\t"                                                                                      \
  "ldr %[x], [%[data]]\n\t"                                                                        \
  ".endif\n\t"
#define TVMP_SHARED_MOVE                                                                           \
  ".if (tvmp_last - tvmp_column) & 1\n\t"                                                          \
  "add %[data], %[data], %[step], lsl #1\n\t"                                                      \
  ".endif\n\t"
#define TVMP_SHARED_NEXT                                                                           \
  ".if tvmp_row + 1 < %c[rows]\n\t"                                                                \
  "ldr %[x], %[next]\n\t"                                                                          \
  "add %[data], %[data], %[x]\n\t"                                                                 \
  ".endif\n\t"
#define TVMP_SHARED_TAP(column)                                                                    \
  ".set tvmp_tap, %c[kernel_w] * tvmp_row + " column "\n\t" TVMP_SHARED_IF_TAP("0")                \
      TVMP_SHARED_IF_TAP("1") TVMP_SHARED_IF_TAP("2") TVMP_SHARED_IF_TAP("3")                      \
          TVMP_SHARED_IF_TAP("4") TVMP_SHARED_IF_TAP("5") TVMP_SHARED_IF_TAP("6")                  \
              TVMP_SHARED_IF_TAP("7") TVMP_SHARED_IF_TAP("8")
#define TVMP_SHARED_IF_TAP(number)                                                                 \
  ".if tvmp_tap == " number "\n\t"                                                                 \
  "ldrd %[u], %[v], %[tap" number "]\n\t"                                                          \
  ".endif\n\t"
#define TVMP_SHARED_STARTS                                                                         \
  "ldrd %[a0], %[b0], %[start]\n\t"                                                                \
  "ldrd %[c0], %[d0], %[start2]\n\t"
#define TVMP_SHARED_ONE                                                                            \
  TVMP_SHARED_STARTS TVMP_WINDOW_ONE(TVMP_SHARED_PIXEL, TVMP_SHARED_TAP, TVMP_SHARED_MOVE,         \
                                     TVMP_SHARED_NEXT)
#define TVMP_SHARED_TWO                                                                            \
  TVMP_SHARED_STARTS TVMP_WINDOW_TWO(TVMP_SHARED_PIXEL, TVMP_SHARED_TAP, TVMP_SHARED_MOVE,         \
                                     TVMP_SHARED_NEXT, "tvmp_row == 0")
#define TVMP_SHARED_RUN(code, ...)                                                                 \
  __asm__ volatile(                                                                                \
      code                                                                                         \
      : __VA_ARGS__, [data] "+&r"(data), [x] "=&r"(x), [y] "=&r"(y), [u] "=&r"(u), [v] "=&r"(v)    \
      : [step] "r"(step), [next] "m"(*next_row), [start] "m"(group->number[0]),                    \
        [start2] "m"(group->number[2]), [tap0] "m"(tap[0]), [tap1] "m"(tap[1 % taps]),             \
        [tap2] "m"(tap[2 % taps]), [tap3] "m"(tap[3 % taps]), [tap4] "m"(tap[4 % taps]),           \
        [tap5] "m"(tap[5 % taps]), [tap6] "m"(tap[6 % taps]), [tap7] "m"(tap[7 % taps]),           \
        [tap8] "m"(tap[8 % taps]), [kernel_w] "n"(layer->kernel_w), [stride] "n"(layer->stride),   \
        [rows] "n"(layer->kernel_h)                                                                \
      : "memory")

/* The sums of one or two outputs; data is the last column of their windows. */
TVMP_INLINE void tvmp_shared_sums(const int8_t *data, const struct tvmp_shared_group *group,
                                  int32_t outputs, const struct tvmp_shared_layer *layer,
                                  const int32_t *next_row, int32_t *sum) {
  const struct tvmp_shared_tap *const tap = group->tap;
  const int32_t taps = layer->kernel_h * layer->kernel_w, step = -layer->pixel_bytes;
  uint32_t x, y, u, v;
  if (outputs == 1) {
    TVMP_SHARED_RUN(TVMP_SHARED_ONE TVMP_LINES_128, TVMP_WINDOW_SUMS_1);
  } else {
    TVMP_SHARED_RUN(TVMP_SHARED_TWO TVMP_LINES_128, TVMP_WINDOW_SUMS_2);
  }
}

#else

TVMP_INLINE void tvmp_shared_sums(const int8_t *data, const struct tvmp_shared_group *group,
                                  int32_t outputs, const struct tvmp_shared_layer *layer,
                                  const int32_t *next_row, int32_t *sum) {
  const int32_t last = tvmp_shared_last(outputs, layer);
  for (int32_t index = 0; index < 4 * outputs; ++index) {
    sum[index] = group->number[index % 4];
  }
  TVMP_ROLLED for (int32_t row = 0; row < layer->kernel_h; ++row) {
    TVMP_ROLLED for (int32_t i = 0; i < outputs * layer->kernel_w; ++i) {
      const int32_t output = i / layer->kernel_w, tap = i % layer->kernel_w;
      const int32_t back = last - output * layer->stride - tap;
      const struct tvmp_shared_tap weight = group->tap[row * layer->kernel_w + tap];
      const uint32_t pixel = tvmp_load4(data - back * layer->pixel_bytes);
      const uint32_t even = tvmp_sxtb16(pixel), odd = tvmp_sxtb16_odd(pixel);
      int32_t *const to = sum + 4 * output;
      to[0] = tvmp_smlabb(even, weight.even, to[0]);
      to[1] = tvmp_smlabb(odd, weight.odd, to[1]);
      to[2] = tvmp_smlatt(even, weight.even, to[2]);
      to[3] = tvmp_smlatt(odd, weight.odd, to[3]);
    }
    if (row + 1 < layer->kernel_h) {
      data += *next_row - (tvmp_shared_next(outputs, layer) - layer->row_bytes);
    }
  }
}

#endif

/* Four channels of two outputs, or, at a row's end, of one. */
TVMP_INLINE void tvmp_shared_block(const int8_t *data, const struct tvmp_shared_group *group,
                                   int8_t *out, int32_t outputs,
                                   const struct tvmp_shared_layer *layer, const int32_t *next_row,
                                   const struct tvmp_scale *scale) {
  int32_t sum[8];
  tvmp_shared_sums(data, group, outputs, layer, next_row, sum);
  int8_t *second = out + layer->pixel_bytes;
#if TVMP_HAS_DSP
  /* One address, lest the compiler keep one of each channel in memory. */
  __asm__ volatile("" : "+r"(second));
#endif
  for (int32_t channel = 0; channel < 4; ++channel) {
    const struct tvmp_channel parameters = {group->number[4 + channel],
                                            group->channel[channel].rounding,
                                            group->channel[channel].shift};
    out[channel] = (int8_t)tvmp_scale_sum(sum[channel], &parameters, scale);
    if (outputs == 2) {
      second[channel] = (int8_t)tvmp_scale_sum(sum[4 + channel], &parameters, scale);
    }
  }
}

/* A whole row.
 *
 * data: the window of the first output, at least four channels. weight: [groups][taps][4].
 * channels: TVMP_SHARED_NUMBERS for each group. offset: 2 * zero point + 1, in the general forms
 * the zero point. The last group begins where it ends with the pixel, and makes again what others
 * did. Numbers from ``stride`` on are constants. */
TVMP_INLINE void tvmp_depthwise_shared(const int8_t *data, const int8_t *weight,
                                       const int32_t *channels, int8_t *out, int32_t width,
                                       int32_t pixel_bytes, int32_t row_bytes, int32_t offset,
                                       int32_t stride, int32_t kernel_h, int32_t kernel_w,
                                       int32_t form, int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_shared_layer layer = {
      .pixel_bytes = pixel_bytes,
      .row_bytes = row_bytes,
      .stride = stride,
      .kernel_h = kernel_h,
      .kernel_w = kernel_w,
  };
  const struct tvmp_scale scale = tvmp_scale_of(form, 0, -1, clamp_min, clamp_max);
  /* In memory, where the assembly reads them. */
  const int32_t next_row[2] = {tvmp_shared_next(1, &layer), tvmp_shared_next(2, &layer)};
  TVMP_ROLLED for (int32_t left = pixel_bytes; left > 0; left -= 4) {
    /* Without a branch, lest the compiler make a copy of all this for the last group. */
    const int32_t back = (4 - left) & ~((4 - left) >> 31);
    data -= back;
    out -= back;
    struct tvmp_shared_group group;
    tvmp_shared_expand(&group, weight, channels, offset, kernel_h * kernel_w, &scale);
    const int8_t *from = data + tvmp_shared_last(2, &layer) * pixel_bytes;
    int8_t *to = out;
    const int8_t *const end = out + width / 2 * 2 * pixel_bytes;
    TVMP_ROLLED while (to != end) {
      tvmp_shared_block(from, &group, to, 2, &layer, &next_row[1], &scale);
      from += 2 * stride * pixel_bytes;
      to += 2 * pixel_bytes;
    }
    if (width % 2 != 0) {
      tvmp_shared_block(from - stride * pixel_bytes, &group, to, 1, &layer, &next_row[0], &scale);
    }
    data += 4;
    out += 4;
    weight += 4 * kernel_h * kernel_w;
    channels += TVMP_SHARED_NUMBERS;
  }
}

#endif
