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

#include "dsp.h"
#include "pair.h"

/* Most taps, rows and columns of a window. */
#define TVMP_SHARED_TAPS 9
#define TVMP_SHARED_ROWS 3

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
  int32_t start[4];
  struct tvmp_shared_tap tap[TVMP_SHARED_TAPS];
  struct tvmp_channel channel[4];
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
  }
  uint32_t shifts = (uint32_t)channels[8];
  for (int32_t index = 0; index < 4; ++index, shifts >>= 8) {
    group->start[index] = channels[index];
    struct tvmp_channel *const channel = &group->channel[index];
    channel->multiplier = channels[4 + index];
    channel->shift = (int32_t)shifts;
    channel->rounding = scale->form > TVMP_TIES ? offset
                                                : tvmp_shift_left(offset, channel->shift) +
                                                      (scale->form == TVMP_FLOOR_TWICE ? 64 : 0);
  }
}

#if TVMP_HAS_DSP

#define TVMP_SHARED_PIXEL(load)                                                                    \
  load "sxtb16 %[y], %[x]\n\t"                                                                     \
       "sxtb16 %[x], %[x], ror #8\n\t"
#define TVMP_SHARED_MULTIPLY(tap, a, b, c, d)                                                      \
  "ldrd %[u], %[v], %[" tap "]\n\t"                                                                \
  "smlabb %[" a "], %[y], %[u], %[" a "]\n\t"                                                      \
  "smlatt %[" c "], %[y], %[u], %[" c "]\n\t"                                                      \
  "smlabb %[" b "], %[x], %[v], %[" b "]\n\t"                                                      \
  "smlatt %[" d "], %[x], %[v], %[" d "]\n\t"
#define TVMP_SHARED_FIRST TVMP_SHARED_MULTIPLY("tap0", "a0", "b0", "c0", "d0")
#define TVMP_SHARED_SECOND TVMP_SHARED_MULTIPLY("tap1", "a1", "b1", "c1", "d1")
#define TVMP_SHARED_SUMS_1 [a0] "+r"(a0), [b0] "+r"(b0), [c0] "+r"(c0), [d0] "+r"(d0)
#define TVMP_SHARED_SUMS_2                                                                         \
  TVMP_SHARED_SUMS_1, [a1] "+r"(a1), [b1] "+r"(b1), [c1] "+r"(c1), [d1] "+r"(d1)
/* The pixel at data, or the one behind it; behind that one data moves on by two. */
#define TVMP_SHARED_RUN(code, ...)                                                                 \
  do {                                                                                             \
    if (column % 2 == 0) {                                                                         \
      TVMP_SHARED_ASM(TVMP_SHARED_PIXEL("ldr %[x], [%[data]]\n\t") code, __VA_ARGS__);             \
    } else {                                                                                       \
      TVMP_SHARED_ASM(TVMP_SHARED_PIXEL("ldr %[x], [%[data], %[step]]\n\t"                         \
                                        "add %[data], %[data], %[step], lsl #1\n\t") code,         \
                      __VA_ARGS__);                                                                \
    }                                                                                              \
  } while (0)
#define TVMP_SHARED_ASM(code, ...)                                                                 \
  __asm__ volatile(                                                                                \
      code                                                                                         \
      : __VA_ARGS__, [data] "+r"(data), [x] "=&r"(x), [y] "=&r"(y), [u] "=&r"(u), [v] "=&r"(v)     \
      : [step] "r"(step), [tap0] "m"(*first), [tap1] "m"(*second)                                  \
      : "memory")
#define TVMP_SHARED_REGISTER(name, number, place) register int32_t name __asm__(number) = sum[place]

/* A column of one row times the taps of the outputs that it is under; data goes on every two. */
TVMP_INLINE const int8_t *tvmp_shared_column(const int8_t *data, int32_t step, int32_t column,
                                             const struct tvmp_shared_tap *taps, int32_t outputs,
                                             const struct tvmp_shared_layer *layer, int32_t *sum) {
  const int is_first = column < layer->kernel_w;
  const int is_second =
      outputs == 2 && column >= layer->stride && column < layer->kernel_w + layer->stride;
  const struct tvmp_shared_tap *const first = taps + (is_first ? column : 0);
  const struct tvmp_shared_tap *const second = taps + (is_second ? column - layer->stride : 0);
  uint32_t x, y, u, v;
  TVMP_SHARED_REGISTER(a0, "r2", 0);
  TVMP_SHARED_REGISTER(b0, "r3", 1);
  TVMP_SHARED_REGISTER(c0, "r4", 2);
  TVMP_SHARED_REGISTER(d0, "r5", 3);
  if (outputs == 1) {
    if (is_first) {
      TVMP_SHARED_RUN(TVMP_SHARED_FIRST, TVMP_SHARED_SUMS_1);
    }
  } else {
    TVMP_SHARED_REGISTER(a1, "r6", 4);
    TVMP_SHARED_REGISTER(b1, "r7", 5);
    TVMP_SHARED_REGISTER(c1, "r8", 6);
    TVMP_SHARED_REGISTER(d1, "r9", 7);
    if (is_first && is_second) {
      TVMP_SHARED_RUN(TVMP_SHARED_FIRST TVMP_SHARED_SECOND, TVMP_SHARED_SUMS_2);
    } else if (is_first) {
      TVMP_SHARED_RUN(TVMP_SHARED_FIRST, TVMP_SHARED_SUMS_2);
    } else if (is_second) {
      TVMP_SHARED_RUN(TVMP_SHARED_SECOND, TVMP_SHARED_SUMS_2);
    } else if (column % 2 != 0 && column < layer->kernel_w + layer->stride) {
      data += 2 * step;
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
  return data;
}

/* One row of the window of one or two outputs. */
TVMP_INLINE const int8_t *tvmp_shared_row(const int8_t *data, int32_t row,
                                          const struct tvmp_shared_group *group, int32_t outputs,
                                          const struct tvmp_shared_layer *layer, int32_t *sum) {
  const struct tvmp_shared_tap *const taps = group->tap + row * layer->kernel_w;
  const int32_t step = layer->pixel_bytes;
#define TVMP_SHARED_COLUMN(x) data = tvmp_shared_column(data, step, x, taps, outputs, layer, sum);
  TVMP_SHARED_COLUMN(0)
  TVMP_SHARED_COLUMN(1)
  TVMP_SHARED_COLUMN(2)
  TVMP_SHARED_COLUMN(3)
  TVMP_SHARED_COLUMN(4)
  TVMP_SHARED_COLUMN(5)
  TVMP_SHARED_COLUMN(6)
  TVMP_SHARED_COLUMN(7)
  TVMP_SHARED_COLUMN(8)
  TVMP_SHARED_COLUMN(9)
  TVMP_SHARED_COLUMN(10)
#undef TVMP_SHARED_COLUMN
  return data;
}

/* Pixels that a row has gone on. */
TVMP_INLINE int32_t tvmp_shared_gone(int32_t outputs, const struct tvmp_shared_layer *layer) {
  return (layer->kernel_w + (outputs - 1) * layer->stride) / 2 * 2;
}

#else

TVMP_INLINE const int8_t *tvmp_shared_row(const int8_t *data, int32_t row,
                                          const struct tvmp_shared_group *group, int32_t outputs,
                                          const struct tvmp_shared_layer *layer, int32_t *sum) {
  TVMP_ROLLED for (int32_t i = 0; i < outputs * layer->kernel_w; ++i) {
    const int32_t output = i / layer->kernel_w, tap = i % layer->kernel_w;
    const struct tvmp_shared_tap weight = group->tap[row * layer->kernel_w + tap];
    const uint32_t pixel = tvmp_load4(data + (output * layer->stride + tap) * layer->pixel_bytes);
    const uint32_t even = tvmp_sxtb16(pixel), odd = tvmp_sxtb16_odd(pixel);
    int32_t *const to = sum + 4 * output;
    to[0] = tvmp_smlabb(even, weight.even, to[0]);
    to[1] = tvmp_smlabb(odd, weight.odd, to[1]);
    to[2] = tvmp_smlatt(even, weight.even, to[2]);
    to[3] = tvmp_smlatt(odd, weight.odd, to[3]);
  }
  return data;
}

TVMP_INLINE int32_t tvmp_shared_gone(int32_t outputs, const struct tvmp_shared_layer *layer) {
  (void)outputs;
  (void)layer;
  return 0;
}

#endif

/* Four channels of two outputs, or, at a row's end, of one. */
TVMP_INLINE void tvmp_shared_block(const int8_t *data, const struct tvmp_shared_group *group,
                                   int8_t *out, int32_t outputs,
                                   const struct tvmp_shared_layer *layer,
                                   const struct tvmp_scale *scale) {
  int32_t sum[8];
  for (int32_t channel = 0; channel < 4; ++channel) {
    sum[channel] = group->start[channel];
    sum[4 + channel] = sum[channel];
  }
  const int32_t next_row = layer->row_bytes - tvmp_shared_gone(outputs, layer) * layer->pixel_bytes;
  if (outputs == 1) {
    TVMP_ROLLED for (int32_t row = 0; row < layer->kernel_h; ++row) {
      data = tvmp_shared_row(data, row, group, outputs, layer, sum) + next_row;
    }
  } else {
    data = tvmp_shared_row(data, 0, group, outputs, layer, sum);
    if (layer->kernel_h >= 2) {
      data = tvmp_shared_row(data + next_row, 1, group, outputs, layer, sum);
    }
    if (layer->kernel_h == 3) {
      tvmp_shared_row(data + next_row, 2, group, outputs, layer, sum);
    }
  }
#if TVMP_HAS_DSP
  __asm__ volatile("" : "+r"(out));
#endif
  int8_t *const second = out + layer->pixel_bytes;
  for (int32_t channel = 0; channel < 4; ++channel) {
    const struct tvmp_channel parameters = group->channel[channel];
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
  TVMP_ROLLED for (int32_t left = pixel_bytes; left > 0; left -= 4) {
    /* Without a branch, lest the compiler make a copy of all this for the last group. */
    const int32_t back = (4 - left) & ~((4 - left) >> 31);
    data -= back;
    out -= back;
    struct tvmp_shared_group group;
    tvmp_shared_expand(&group, weight, channels, offset, kernel_h * kernel_w, &scale);
    const int8_t *from = data;
    int8_t *to = out;
    TVMP_ROLLED for (int32_t pairs = width / 2; pairs != 0; --pairs) {
      tvmp_shared_block(from, &group, to, 2, &layer, &scale);
      from += 2 * stride * pixel_bytes;
      to += 2 * pixel_bytes;
    }
    if (width % 2 != 0) {
      tvmp_shared_block(from, &group, to, 1, &layer, &scale);
    }
    data += 4;
    out += 4;
    weight += 4 * kernel_h * kernel_w;
    channels += TVMP_SHARED_NUMBERS;
  }
}

#endif
