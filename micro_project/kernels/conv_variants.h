/* Convolution in other ways than conv.h: what a tuner chooses among.
 *
 * Two things vary, and each may be the faster one, depending on the layer:
 *
 * - How often the inner loop is unrolled: `turn` words of four inputs in each of its turns.
 * - Whether the inputs of one to three pixels are *gathered* first: expanded to halfwords in
 * scratch memory, in the order in which products are made, and then read for every pair of
 * channels. That saves two instructions for each word, pixel and pair; it costs four for each word
 * and pixel, and the memory. The window is then one run, however many rows and segments it has.
 *
 * Weights and channels are packed as for conv.h. */
#ifndef TVMP_CONV_VARIANTS_H
#define TVMP_CONV_VARIANTS_H

#include "conv.h"

/* Gathered inputs of one word: for each pixel a word with inputs 0 and 2 as halfwords, and one with
 * inputs 1 and 3. */
#define TVMP_GATHERED_BYTES 8

#if TVMP_HAS_DSP

#define TVMP_GATHERED_PIXEL(a, b)                                                                  \
  "ldrd %[x], %[y], [%[pixel]], #8\n\t"                                                            \
  "smlad %[" a "], %[x], %[u0], %[" a "]\n\t"                                                      \
  "smlad %[" b "], %[x], %[w0], %[" b "]\n\t"                                                      \
  "smlad %[" a "], %[y], %[u1], %[" a "]\n\t"                                                      \
  "smlad %[" b "], %[y], %[w1], %[" b "]\n\t"
#define TVMP_GATHERED_1 TVMP_GATHERED_PIXEL("a0", "b0")
#define TVMP_GATHERED_2 TVMP_GATHERED_1 TVMP_GATHERED_PIXEL("a1", "b1")
#define TVMP_GATHERED_3 TVMP_GATHERED_2 TVMP_GATHERED_PIXEL("a2", "b2")

#define TVMP_TWICE(code) code code
#define TVMP_TURN_2(code) TVMP_TWICE(code)
#define TVMP_TURN_4(code) TVMP_TWICE(TVMP_TURN_2(code))
#define TVMP_TURN_8(code) TVMP_TURN_4(code) TVMP_TURN_4(code)
#define TVMP_TURN_16(code) TVMP_TURN_8(code) TVMP_TURN_8(code)

#define TVMP_VARIANT_RUN(code, ...)                                                                \
  __asm__ volatile(code                                                                            \
                   : __VA_ARGS__, TVMP_TEMPORARIES                                                 \
                   : [step] "n"(pixel_bytes), [twice] "n"(2 * pixel_bytes)                         \
                   : "memory")

/* Whole turns as a loop, or as they are where there is one. */
#define TVMP_TURNS(code, ...)                                                                      \
  do {                                                                                             \
    if (words >= 2 * turn) {                                                                       \
      const int8_t *const end = walk->weight + words / turn * turn * 8;                            \
      __asm__ volatile("1:\n\t" code "ldr %[x], %[end]\n\t"                                        \
                       "cmp %[weight], %[x]\n\t"                                                   \
                       "bne 1b\n\t"                                                                \
                       : __VA_ARGS__, TVMP_TEMPORARIES                                             \
                       : [step] "n"(pixel_bytes), [twice] "n"(2 * pixel_bytes), [end] "m"(end)     \
                       : "cc", "memory");                                                          \
    } else if (words >= turn) {                                                                    \
      TVMP_VARIANT_RUN(code, __VA_ARGS__);                                                         \
    }                                                                                              \
  } while (0)

/* Turns, then what is left of the words, half by half. */
#define TVMP_ALL_WORDS(word, ...)                                                                  \
  do {                                                                                             \
    uint32_t w0, w1, u0, u1, x, y;                                                                 \
    if (turn == 16) {                                                                              \
      TVMP_TURNS(TVMP_TURN_16(word), __VA_ARGS__);                                                 \
    } else if (turn == 8) {                                                                        \
      TVMP_TURNS(TVMP_TURN_8(word), __VA_ARGS__);                                                  \
    } else if (turn == 4) {                                                                        \
      TVMP_TURNS(TVMP_TURN_4(word), __VA_ARGS__);                                                  \
    } else {                                                                                       \
      TVMP_TURNS(TVMP_TURN_2(word), __VA_ARGS__);                                                  \
    }                                                                                              \
    if (words % turn & 8) {                                                                        \
      TVMP_VARIANT_RUN(TVMP_TURN_8(word), __VA_ARGS__);                                            \
    }                                                                                              \
    if (words % turn & 4) {                                                                        \
      TVMP_VARIANT_RUN(TVMP_TURN_4(word), __VA_ARGS__);                                            \
    }                                                                                              \
    if (words % turn & 2) {                                                                        \
      TVMP_VARIANT_RUN(TVMP_TURN_2(word), __VA_ARGS__);                                            \
    }                                                                                              \
    if (words % turn & 1) {                                                                        \
      TVMP_VARIANT_RUN(word, __VA_ARGS__);                                                         \
    }                                                                                              \
  } while (0)

#define TVMP_VARIANT_PIXELS(pixels, ...)                                                           \
  do {                                                                                             \
    if (joint) {                                                                                   \
      TVMP_ALL_WORDS(TVMP_WEIGHTS_JOINT pixels, __VA_ARGS__);                                      \
    } else {                                                                                       \
      TVMP_ALL_WORDS(TVMP_WEIGHTS_PLAIN pixels, __VA_ARGS__);                                      \
    }                                                                                              \
  } while (0)

#endif

/* As tvmp_dot, with `turn` words (2, 4, 8 or 16) in each turn of its loop. Of gathered inputs the
 * walk's pixel is the block's first byte. All but the walk and the sums must be constants. */
TVMP_INLINE void tvmp_dot_variant(struct tvmp_walk *walk, int32_t pixels, int32_t pixel_bytes,
                                  int32_t words, int joint, int gathered, int32_t turn,
                                  int32_t *sum) {
#if TVMP_HAS_DSP
  if (gathered) {
    if (pixels == 1) {
      TVMP_VARIANT_PIXELS(TVMP_GATHERED_1, TVMP_OPERANDS_1);
    } else if (pixels == 2) {
      TVMP_VARIANT_PIXELS(TVMP_GATHERED_2, TVMP_OPERANDS_2);
    } else {
      TVMP_VARIANT_PIXELS(TVMP_GATHERED_3, TVMP_OPERANDS_3);
    }
  } else if (pixels == 1) {
    TVMP_VARIANT_PIXELS(TVMP_PIXELS_1, TVMP_OPERANDS_1);
  } else if (pixels == 2) {
    TVMP_VARIANT_PIXELS(TVMP_PIXELS_2, TVMP_OPERANDS_2);
  } else {
    TVMP_VARIANT_PIXELS(TVMP_PIXELS_3, TVMP_OPERANDS_3);
  }
#else
  (void)turn;
  if (!gathered) {
    tvmp_dot(walk, pixels, pixel_bytes, words, joint, sum);
    return;
  }
  for (int32_t word = 0; word < words; ++word, walk->weight += 8) {
    for (int32_t pixel = 0; pixel < pixels; ++pixel, walk->pixel += TVMP_GATHERED_BYTES) {
      for (int32_t half = 0; half < 2; ++half) {
        const uint32_t weights = tvmp_load4(walk->weight + 4 * half);
        const uint32_t pair = tvmp_load4(walk->pixel + 4 * half);
        sum[2 * pixel] = tvmp_smlad(pair, tvmp_sxtb16(weights), sum[2 * pixel]);
        sum[2 * pixel + 1] =
            tvmp_smlad(pair, joint ? weights : tvmp_sxtb16_odd(weights), sum[2 * pixel + 1]);
      }
    }
  }
#endif
}

/* Expands words of `pixels` neighbouring pixels. Returns where it ends. */
TVMP_INLINE int32_t *tvmp_gather_words(const int8_t *data, int32_t pixels, int32_t pixel_bytes,
                                       int32_t words, int32_t *to) {
  TVMP_ROLLED for (const int8_t *const end = data + 4 * words; data != end; data += 4) {
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
      const uint32_t inputs = tvmp_load4(data + pixel * pixel_bytes);
      to[2 * pixel] = (int32_t)tvmp_sxtb16(inputs);
      to[2 * pixel + 1] = (int32_t)tvmp_sxtb16_odd(inputs);
    }
    to += 2 * pixels;
  }
  return to;
}

/* The windows of `pixels` neighbouring pixels. */
TVMP_INLINE void tvmp_gather_block(const int8_t *data, int32_t pixels, const struct tvmp_conv *conv,
                                   int32_t *to) {
  const int32_t words = tvmp_conv_words(conv);
  const int32_t overlap = 4 * words - conv->segment_bytes;
  const int32_t whole = overlap == 0 ? words : words - 1;
  TVMP_ROLLED for (int32_t row = 0; row < conv->rows; ++row, data += conv->row_bytes) {
    const int8_t *run = data;
    TVMP_ROLLED for (int32_t left = conv->segments; left != 0; --left, run += conv->segment_step) {
      to = tvmp_gather_words(run, pixels, conv->pixel_bytes, whole, to);
      if (overlap != 0) {
        to = tvmp_gather_words(run + conv->segment_bytes - 4, pixels, conv->pixel_bytes, 1, to);
      }
    }
  }
}

/* All channels of gathered pixels. */
TVMP_INLINE void tvmp_gathered_channels(const int32_t *gathered, const int8_t *weight,
                                        const struct tvmp_pair *pair, int8_t *out, int32_t pixels,
                                        int32_t turn, const struct tvmp_conv *conv,
                                        const struct tvmp_scale *scale) {
  const int32_t words = conv->rows * conv->segments * tvmp_conv_words(conv);
  struct tvmp_walk walk = {(const int8_t *)gathered, weight};
  int32_t sum[6];
  TVMP_ROLLED for (int32_t left = conv->channels; left > 0; left -= 2) {
    for (int32_t pixel = 0; pixel < pixels; ++pixel) {
      sum[2 * pixel] = pair->start[0];
      sum[2 * pixel + 1] = pair->start[1];
    }
    walk.pixel = (const int8_t *)gathered;
    tvmp_dot_variant(&walk, pixels, 0, words, scale->joint, 1, turn, sum);
    if (conv->channels % 2 != 0 && left == 1) {
      tvmp_scale_block(sum, pixels, 1, pair, out, conv->stride, scale);
    } else {
      tvmp_scale_block(sum, pixels, 2, pair, out, conv->stride, scale);
    }
    out += 2;
    ++pair;
  }
}

/* As tvmp_conv_row, through scratch memory: three pixels' windows of gathered words, at an address
 * that four divides. */
TVMP_INLINE void tvmp_conv_gathered(const int8_t *data, const int8_t *weight,
                                    const int32_t *channels, int8_t *out, void *scratch,
                                    int32_t turn, int32_t pixels, int32_t pixel_bytes, int32_t rows,
                                    int32_t row_bytes, int32_t segments, int32_t segment_step,
                                    int32_t segment_bytes, int32_t group_channels, int32_t groups,
                                    int32_t joint, int32_t form, int32_t exponent,
                                    int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_conv conv = tvmp_conv_of(pixels, pixel_bytes, rows, row_bytes, segments,
                                             segment_step, segment_bytes, group_channels, groups);
  const struct tvmp_scale scale = tvmp_scale_of(form, joint, exponent, clamp_min, clamp_max);
  const struct tvmp_pair *pair = (const struct tvmp_pair *)channels;
  const int32_t pairs = (group_channels + 1) / 2;
  const int32_t pair_bytes = rows * segments * tvmp_conv_words(&conv) * 8;
  int32_t *const gathered = (int32_t *)scratch;
  TVMP_ROLLED for (int32_t left = groups; left != 0; --left) {
    const int8_t *from = data;
    int8_t *to = out;
    TVMP_ROLLED for (int32_t blocks = pixels / 3; blocks != 0; --blocks) {
      tvmp_gather_block(from, 3, &conv, gathered);
      tvmp_gathered_channels(gathered, weight, pair, to, 3, turn, &conv, &scale);
      from += 3 * pixel_bytes;
      to += 3 * conv.stride;
    }
    if (pixels % 3 != 0) {
      tvmp_gather_block(from, pixels % 3, &conv, gathered);
      tvmp_gathered_channels(gathered, weight, pair, to, pixels % 3, turn, &conv, &scale);
    }
    data += segment_bytes;
    out += group_channels;
    weight += pairs * pair_bytes;
    pair += pairs;
  }
}

/* Windows of one to three neighbouring pixels times two channels, as tvmp_conv_block. */
TVMP_INLINE void tvmp_conv_unrolled_block(const int8_t *data, const int8_t *weight,
                                          const struct tvmp_pair *pair, int8_t *out, int32_t pixels,
                                          int32_t channels, int32_t turn,
                                          const struct tvmp_conv *conv,
                                          const struct tvmp_scale *scale) {
  const int32_t words = tvmp_conv_words(conv);
  const int32_t overlap = 4 * words - conv->segment_bytes;
  const int32_t whole = overlap == 0 ? words : words - 1;
  struct tvmp_walk walk = {data, weight};
  int32_t sum[6];
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    sum[2 * pixel] = pair->start[0];
    sum[2 * pixel + 1] = pair->start[1];
  }
  TVMP_ROLLED for (int32_t row = 0; row < conv->rows; ++row) {
    TVMP_ROLLED for (int32_t segment = 0; segment < conv->segments; ++segment) {
      tvmp_dot_variant(&walk, pixels, conv->pixel_bytes, whole, scale->joint, 0, turn, sum);
      if (overlap != 0) {
        walk.pixel -= overlap;
        tvmp_dot_variant(&walk, pixels, conv->pixel_bytes, 1, scale->joint, 0, turn, sum);
      }
      walk.pixel += conv->segment_step - conv->segment_bytes;
    }
    walk.pixel += conv->row_bytes - conv->segments * conv->segment_step;
  }
  tvmp_scale_block(sum, pixels, channels, pair, out, conv->stride, scale);
}

/* As tvmp_conv_row, with `turn` words in each turn of the inner loop. */
TVMP_INLINE void tvmp_conv_unrolled(const int8_t *data, const int8_t *weight,
                                    const int32_t *channels, int8_t *out, int32_t turn,
                                    int32_t pixels, int32_t pixel_bytes, int32_t rows,
                                    int32_t row_bytes, int32_t segments, int32_t segment_step,
                                    int32_t segment_bytes, int32_t group_channels, int32_t groups,
                                    int32_t joint, int32_t form, int32_t exponent,
                                    int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_conv conv = tvmp_conv_of(pixels, pixel_bytes, rows, row_bytes, segments,
                                             segment_step, segment_bytes, group_channels, groups);
  const struct tvmp_scale scale = tvmp_scale_of(form, joint, exponent, clamp_min, clamp_max);
  const struct tvmp_pair *pair = (const struct tvmp_pair *)channels;
  const int32_t pair_bytes = rows * segments * tvmp_conv_words(&conv) * 8;
  TVMP_ROLLED for (int32_t left = groups; left != 0; --left) {
    int8_t *group_out = out;
    TVMP_ROLLED for (int32_t missing = group_channels; missing > 0; missing -= 2) {
      const int8_t *from = data;
      int8_t *to = group_out;
      const int is_odd = group_channels % 2 != 0 && missing == 1;
      TVMP_ROLLED for (int32_t blocks = pixels / 3; blocks != 0; --blocks) {
        if (is_odd) {
          tvmp_conv_unrolled_block(from, weight, pair, to, 3, 1, turn, &conv, &scale);
        } else {
          tvmp_conv_unrolled_block(from, weight, pair, to, 3, 2, turn, &conv, &scale);
        }
        from += 3 * pixel_bytes;
        to += 3 * conv.stride;
      }
      if (pixels % 3 != 0) {
        if (is_odd) {
          tvmp_conv_unrolled_block(from, weight, pair, to, pixels % 3, 1, turn, &conv, &scale);
        } else {
          tvmp_conv_unrolled_block(from, weight, pair, to, pixels % 3, 2, turn, &conv, &scale);
        }
      }
      weight += pair_bytes;
      group_out += 2;
      ++pair;
    }
    data += segment_bytes;
    out += group_channels;
  }
}

#endif
