/* Sums of pairs of output channels: where they start from, and what int8 they become.
 *
 * Fast forms beside the general ones of requantise.h. A channel has a multiplier m and a shift, and
 * e = -shift; offset is 2 * zero_point + 1.
 *
 * TVMP_FLOOR: ((high(256 * sum * m) + rounding) >> exponent) >> 1, where high rounds down, exponent
 * is 6 + e, and rounding is offset << exponent. That is one rounding, ties up: floors nest.
 * TVMP_FLOOR_TWICE: two roundings are the same but for half a unit of the first one, 64 more in the
 * rounding, and for negative ties, which go away from zero. Where outputs below the zero point are
 * clamped to it those do not matter. In both, sums stay below 2^23.
 *
 * TVMP_TIES: ((high(2 * sum * m) + rounding) >> exponent) >> 1, where high rounds to nearest,
 * exponent is e - 1, and rounding is offset << exponent, less one where the sum is negative: that
 * is what ties away from zero take. (Where high is 0 it changes nothing, since rounding is odd
 * times 2^exponent.) Sums stay below 2^30. */
#ifndef TVMP_PAIR_H
#define TVMP_PAIR_H

#include "requantise.h"

enum tvmp_pair_form {
  TVMP_FLOOR,
  TVMP_FLOOR_TWICE,
  TVMP_TIES,
  TVMP_TWICE_ANY,
  TVMP_ONCE_ANY,
};

/* A pair of output channels. How much to shift by lies in the two low bytes of shifts, and the
 * offset in its upper half: a register shift looks at the lowest byte alone. In the general forms
 * they are the shifts and the zero point. */
struct tvmp_pair {
  int32_t start[2];
  int32_t multiplier[2];
  int32_t shifts;
};

/* What all pairs of a layer have in common. Constants wherever it is used. */
struct tvmp_scale {
  enum tvmp_pair_form form;
  int joint;        /* the second sum has the first one in it, see dot.h */
  int32_t exponent; /* where all channels share it, else -1 */
  int32_t clamp_min;
  int32_t clamp_max;
};

TVMP_INLINE struct tvmp_scale tvmp_scale_of(int32_t form, int joint, int32_t exponent,
                                            int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_scale scale = {
      .form = (enum tvmp_pair_form)form,
      .joint = joint,
      .exponent = exponent,
      .clamp_min = clamp_min,
      .clamp_max = clamp_max,
  };
  return scale;
}

/* The constants of one channel, as registers have them. */
struct tvmp_channel {
  int32_t multiplier;
  int32_t rounding;
  int32_t shift; /* in its lowest byte */
};

/* number << the lowest byte of shift */
TVMP_INLINE int32_t tvmp_shift_left(int32_t number, int32_t shift) {
#if TVMP_HAS_DSP
  int32_t shifted;
  __asm__("lsl %0, %1, %2" : "=r"(shifted) : "r"(number), "r"(shift));
  return shifted;
#else
  return (int32_t)((uint32_t)number << (shift & 0xff));
#endif
}

TVMP_INLINE struct tvmp_channel tvmp_channel_of(const struct tvmp_pair *pair, int second,
                                                const struct tvmp_scale *scale) {
  struct tvmp_channel channel;
  channel.multiplier = pair->multiplier[second];
  channel.shift = second ? (int32_t)((uint32_t)pair->shifts >> 8) : pair->shifts;
  const int32_t offset = pair->shifts >> 16;
  if (scale->form > TVMP_TIES) {
    channel.rounding = offset;
    return channel;
  }
  channel.rounding = scale->exponent >= 0 ? offset * (1 << scale->exponent)
                                          : tvmp_shift_left(offset, channel.shift);
  channel.rounding += scale->form == TVMP_FLOOR_TWICE ? 64 : 0;
  return channel;
}

/* A sum times 256 (TVMP_FLOOR) or two (TVMP_TIES) to int8. On DSP cores volatile assembly keeps the
 * compiler from spreading the six sums of a block over more registers than there are. */
TVMP_INLINE int32_t tvmp_scale_fast(int32_t sum, const struct tvmp_channel *channel,
                                    const struct tvmp_scale *scale) {
#if TVMP_HAS_DSP
  int32_t towards;
  if (scale->form != TVMP_TIES && scale->exponent >= 0) {
    __asm__ volatile("smmla %0, %0, %1, %2\n\tssat %0, #8, %0, asr %3"
                     : "+r"(sum)
                     : "r"(channel->multiplier), "r"(channel->rounding), "n"(scale->exponent + 1));
  } else if (scale->form != TVMP_TIES) {
    __asm__ volatile("smmla %0, %0, %1, %2\n\tasr %0, %0, %3\n\tssat %0, #8, %0, asr #1"
                     : "+r"(sum)
                     : "r"(channel->multiplier), "r"(channel->rounding), "r"(channel->shift));
  } else if (scale->exponent >= 0) {
    __asm__ volatile("add %1, %3, %0, asr #31\n\tsmmlar %0, %0, %2, %1\n\t"
                     "ssat %0, #8, %0, asr %4"
                     : "+r"(sum), "=&r"(towards)
                     : "r"(channel->multiplier), "r"(channel->rounding), "n"(scale->exponent + 1));
  } else {
    __asm__ volatile("add %1, %3, %0, asr #31\n\tsmmlar %0, %0, %2, %1\n\t"
                     "asr %0, %0, %4\n\tssat %0, #8, %0, asr #1"
                     : "+r"(sum), "=&r"(towards)
                     : "r"(channel->multiplier), "r"(channel->rounding), "r"(channel->shift));
  }
  return sum;
#else
  const int32_t shift = scale->exponent >= 0 ? scale->exponent : channel->shift & 0xff;
  const int32_t high = scale->form == TVMP_TIES
                           ? tvmp_smmlar(sum, channel->multiplier, channel->rounding + (sum >> 31))
                           : tvmp_smmla(sum, channel->multiplier, channel->rounding);
  return tvmp_ssat8_asr(high >> shift, 1);
#endif
}

TVMP_INLINE int32_t tvmp_scale_sum(int32_t sum, const struct tvmp_channel *channel,
                                   const struct tvmp_scale *scale) {
  if (scale->form <= TVMP_TIES) {
    int32_t value = tvmp_scale_fast(sum, channel, scale);
    /* The compiler does not know that it is an int8. */
    const int is_whole_range = scale->clamp_min == -128 && scale->clamp_max == 127;
    return is_whole_range ? value : tvmp_clamp(value, scale->clamp_min, scale->clamp_max);
  }
  int32_t scaled = tvmp_scale_any(sum, channel->multiplier, (int8_t)(channel->shift & 0xff),
                                  scale->form == TVMP_TWICE_ANY);
  return tvmp_clamp(scaled + channel->rounding, scale->clamp_min, scale->clamp_max);
}

/* What a form wants sums to be shifted to the left by. */
TVMP_INLINE int tvmp_scale_places(const struct tvmp_scale *scale) {
  return scale->form < TVMP_TIES ? 8 : scale->form == TVMP_TIES ? 1 : 0;
}

/* One sum of a channel, whose shifts are those of the first of a pair. All but the first three are
 * constants. Other sums may be made meanwhile: this has no order among volatile assembly. */
TVMP_INLINE int32_t tvmp_scale_alone(int32_t sum, int32_t multiplier, int32_t shifts, int32_t form,
                                     int32_t exponent, int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_scale scale = tvmp_scale_of(form, 0, exponent, clamp_min, clamp_max);
  const struct tvmp_pair pair = {{0, 0}, {multiplier, 0}, shifts};
  const struct tvmp_channel channel = tvmp_channel_of(&pair, 0, &scale);
  const int32_t value = (int32_t)((uint32_t)sum << tvmp_scale_places(&scale));
  if (form > TVMP_TIES) {
    return tvmp_scale_sum(value, &channel, &scale);
  }
  const int32_t high = form == TVMP_TIES
                           ? tvmp_smmlar(value, multiplier, channel.rounding + (value >> 31))
                           : tvmp_smmla(value, multiplier, channel.rounding);
  const int32_t narrow = exponent >= 0 ? tvmp_ssat8_asr(high, exponent + 1)
                                       : tvmp_ssat8_asr(high >> (shifts & 0xff), 1);
  const int is_whole_range = clamp_min == -128 && clamp_max == 127;
  return is_whole_range ? narrow : tvmp_clamp(narrow, clamp_min, clamp_max);
}

#if TVMP_HAS_DSP

/* A sum of the first channel, and one of the second with that one still in it, times two. */
#define TVMP_TIES_APART(first, second)                                                             \
  ".if %c[joint]\n\t"                                                                              \
  "sub %[" second "], %[" second "], %[" first "]\n\t"                                             \
  "asr %[" second "], %[" second "], #7\n\t"                                                       \
  ".else\n\t"                                                                                      \
  "lsl %[" second "], %[" second "], #1\n\t"                                                       \
  ".endif\n\t"
#define TVMP_TIES_ROUNDING(offset, shift)                                                          \
  ".if %c[exponent] < 0\n\t"                                                                       \
  "lsl %[r], %[" offset "], %[" shift "]\n\t"                                                      \
  ".else\n\t"                                                                                      \
  "lsl %[r], %[" offset "], #%c[exponent]\n\t"                                                     \
  ".endif\n\t"
/* Multiplier m, rounding r, shift e; t is for what is taken off it. */
#define TVMP_TIES_SCALE(sum, m, t, e)                                                              \
  "add %[" t "], %[r], %[" sum "], asr #31\n\t"                                                    \
  "smmlar %[" sum "], %[" sum "], %[" m "], %[" t "]\n\t"                                          \
  ".if %c[exponent] < 0\n\t"                                                                       \
  "asr %[" sum "], %[" sum "], %[" e "]\n\t"                                                       \
  "ssat %[" sum "], #8, %[" sum "], asr #1\n\t"                                                    \
  ".else\n\t"                                                                                      \
  "ssat %[" sum "], #8, %[" sum "], asr #%c[exponent] + 1\n\t"                                     \
  ".endif\n\t"
#define TVMP_TIES_LAYER [joint] "n"(scale->joint), [exponent] "n"(scale->exponent)

/* Two channels of two or three pixels, one channel after the other: constants of both, beside six
 * sums, leave no registers for addresses. */
#define TVMP_TIES_SECOND_CHANNEL                                                                   \
  "ldrd %[m], %[e], [%[pair], #12]\n\t"                                                            \
  "asr %[r], %[e], #16\n\t"                                                                        \
  "lsr %[f], %[e], #8\n\t" TVMP_TIES_ROUNDING("r", "f")
#define TVMP_TIES_FIRST_CHANNEL                                                                    \
  "ldr %[m], [%[pair], #8]\n\t"                                                                    \
  ".if %c[exponent] < 0\n\t"                                                                       \
  "asr %[r], %[e], #16\n\t"                                                                        \
  "lsl %[r], %[r], %[e]\n\t"                                                                       \
  ".endif\n\t"
#define TVMP_TIES_SECOND(first, second)                                                            \
  TVMP_TIES_APART(first, second) TVMP_TIES_SCALE(second, "m", "t", "f")
#define TVMP_TIES_FIRST(first)                                                                     \
  "lsl %[" first "], %[" first "], #1\n\t" TVMP_TIES_SCALE(first, "m", "t", "e")
#define TVMP_TIES_PIXELS(code, ...)                                                                \
  __asm__ volatile(                                                                                \
      code                                                                                         \
      : __VA_ARGS__, [m] "=&r"(m), [r] "=&r"(r), [e] "=&r"(e), [f] "=&r"(f), [t] "=&r"(t)          \
      : [pair] "r"(pair), TVMP_TIES_LAYER                                                          \
      : "memory")
#define TVMP_TIES_SUMS_2 [a0] "+r"(sum[0]), [b0] "+r"(sum[1]), [a1] "+r"(sum[2]), [b1] "+r"(sum[3])
#define TVMP_TIES_SUMS_3 TVMP_TIES_SUMS_2, [a2] "+r"(sum[4]), [b2] "+r"(sum[5])

TVMP_INLINE void tvmp_scale_ties(int32_t *sum, int32_t pixels, const struct tvmp_pair *pair,
                                 const struct tvmp_scale *scale) {
  uint32_t m, r, e, f, t;
  if (pixels == 2) {
    TVMP_TIES_PIXELS(TVMP_TIES_SECOND_CHANNEL TVMP_TIES_SECOND("a0", "b0")
                         TVMP_TIES_SECOND("a1", "b1") TVMP_TIES_FIRST_CHANNEL TVMP_TIES_FIRST("a0")
                             TVMP_TIES_FIRST("a1"),
                     TVMP_TIES_SUMS_2);
  } else {
    TVMP_TIES_PIXELS(TVMP_TIES_SECOND_CHANNEL TVMP_TIES_SECOND("a0", "b0")
                         TVMP_TIES_SECOND("a1", "b1") TVMP_TIES_SECOND("a2", "b2")
                             TVMP_TIES_FIRST_CHANNEL TVMP_TIES_FIRST("a0") TVMP_TIES_FIRST("a1")
                                 TVMP_TIES_FIRST("a2"),
                     TVMP_TIES_SUMS_3);
  }
}

/* Two channels of one pixel each of three pairs: six sums of a fully connected layer. Multipliers
 * and shifts of a pair are loaded at once, and with those of the first two the starts behind them,
 * which only move the address on. All channels of a layer have the same offset o. */
#define TVMP_TIES_PAIR(load, first, second)                                                        \
  load "lsr %[f], %[e], #8\n\t" TVMP_TIES_ROUNDING("o", "f") TVMP_TIES_APART(first, second)        \
      TVMP_TIES_SCALE(second, "m1", "r", "f")                                                      \
          TVMP_TIES_ROUNDING("o", "e") "lsl %[" first "], %[" first                                \
                                       "], #1\n\t" TVMP_TIES_SCALE(first, "m0", "r", "e")
#define TVMP_TIES_NEXT "ldm %[at]!, {%[m0], %[m1], %[e], %[f], %[r]}\n\t"
#define TVMP_TIES_LAST "ldm %[at], {%[m0], %[m1], %[e]}\n\t"

TVMP_INLINE void tvmp_scale_ties_of_six(int32_t *sum, const struct tvmp_pair *pair,
                                        const struct tvmp_scale *scale) {
  register const int32_t *at __asm__("r12") = pair->multiplier;
  int32_t o;
  register int32_t m0 __asm__("r2");
  register int32_t m1 __asm__("r3");
  register int32_t e __asm__("r5");
  register int32_t f __asm__("r6");
  register int32_t r __asm__("r7");
  __asm__ volatile(TVMP_TIES_PAIR(TVMP_TIES_NEXT "asr %[o], %[e], #16\n\t", "a0", "b0")
                       TVMP_TIES_PAIR(TVMP_TIES_NEXT, "a1", "b1")
                           TVMP_TIES_PAIR(TVMP_TIES_LAST, "a2", "b2")
                   : TVMP_TIES_SUMS_3, [at] "+r"(at), [o] "=&r"(o), [m0] "=&r"(m0), [m1] "=&r"(m1),
                     [e] "=&r"(e), [f] "=&r"(f), [r] "=&r"(r)
                   : TVMP_TIES_LAYER
                   : "memory");
}

#endif

/* The sums of one to three pixels, channels 1 or 2 of each, to out, pixels stride bytes apart.
 * Returns where the pixel behind them goes. */
TVMP_INLINE int8_t *tvmp_scale_block(int32_t *sum, int32_t pixels, int32_t channels,
                                     const struct tvmp_pair *pair, int8_t *out, int32_t stride,
                                     const struct tvmp_scale *scale) {
  /* Read once: the compiler cannot know that the output does not lie over them. */
  const struct tvmp_channel first_channel = tvmp_channel_of(pair, 0, scale);
  const struct tvmp_channel second_channel = tvmp_channel_of(pair, 1, scale);
  const int up = tvmp_scale_places(scale);
  for (int32_t pixel = 0; pixel < pixels; ++pixel, out += stride) {
#if TVMP_HAS_DSP
    if (!__builtin_constant_p(stride)) {
      /* One address that goes on, lest the compiler keep several in memory. */
      __asm__ volatile("" : "+r"(out));
    }
#endif
    uint32_t first = (uint32_t)sum[2 * pixel];
    uint32_t second = (uint32_t)sum[2 * pixel + 1];
    if (channels == 2) {
      int32_t value =
          scale->joint ? (int32_t)(second - first) >> (8 - up) : (int32_t)(second << up);
      out[1] = (int8_t)tvmp_scale_sum(value, &second_channel, scale);
    }
    out[0] = (int8_t)tvmp_scale_sum((int32_t)(first << up), &first_channel, scale);
  }
  return out;
}

/* As tvmp_scale_block, where it is not only six sums that want registers: addresses of rows, or
 * strides, or more than one statement of products. With few of these compilers do better alone. */
TVMP_INLINE int8_t *tvmp_scale_crowded_block(int32_t *sum, int32_t pixels, int32_t channels,
                                             const struct tvmp_pair *pair, int8_t *out,
                                             int32_t stride, const struct tvmp_scale *scale) {
#if TVMP_HAS_DSP
  const int is_whole_range = scale->clamp_min == -128 && scale->clamp_max == 127;
  if (channels == 2 && pixels > 1 && scale->form == TVMP_TIES && is_whole_range) {
    tvmp_scale_ties(sum, pixels, pair, scale);
    for (int32_t pixel = 0; pixel < pixels; ++pixel, out += stride) {
      if (!__builtin_constant_p(stride)) {
        /* One address that goes on, lest the compiler keep several in memory. */
        __asm__ volatile("" : "+r"(out));
      }
      out[1] = (int8_t)sum[2 * pixel + 1];
      out[0] = (int8_t)sum[2 * pixel];
    }
    return out;
  }
#endif
  return tvmp_scale_block(sum, pixels, channels, pair, out, stride, scale);
}

/* Six sums of one pixel, two channels of each of three pairs, to six bytes. */
TVMP_INLINE void tvmp_scale_three_pairs(int32_t *sum, const struct tvmp_pair *pair, int8_t *out,
                                        const struct tvmp_scale *scale) {
#if TVMP_HAS_DSP
  if (scale->form == TVMP_TIES && scale->clamp_min == -128 && scale->clamp_max == 127) {
    tvmp_scale_ties_of_six(sum, pair, scale);
    for (int32_t index = 0; index < 6; ++index) {
      out[index] = (int8_t)sum[index];
      /* To put bytes together takes more than to write them. */
      __asm__ volatile("" ::: "memory");
    }
    return;
  }
#endif
  for (int32_t index = 0; index < 3; ++index) {
    tvmp_scale_block(sum + 2 * index, 1, 2, pair + index, out + 2 * index, 0, scale);
  }
}

#endif
