/* Dot products of int8 pixels with pairs of output channels: the inner loop of convolutions.
 *
 * Weights are int8, packed for two output channels and four inputs at a time in two words: the
 * first has inputs 0 and 2, the second inputs 1 and 3, each as a halfword with channel 0 in its low
 * byte and channel 1 in its high byte. That is the order in which SXTB16 takes a word of four
 * inputs apart.
 *
 * In the *joint* form the halfword is the number 256 * w1 + w0. SMLAD of the halfwords as they are
 * makes 256 * sum1 + sum0, modulo 2^32, and with their low bytes makes sum0; so half of the weights
 * need no SXTB16. sum1 comes out again as (joint - sum0) >> 8, if it stays below 2^23 in magnitude.
 * In the *plain* form the bytes are w0 and w1, and any sums are right.
 *
 * Each function takes a number of words (four inputs) of one segment of the window. It adds to the
 * sums of its pixels, which lie pixel_bytes apart: sum[2 * pixel] of channel 0, sum[2 * pixel + 1]
 * of channel 1 (joint: of both). Pixels are read at any alignment, weights at multiples of four. */
#ifndef TVMP_DOT_H
#define TVMP_DOT_H

#include "dsp.h"

/* Addresses that walk through the pixels and the weights. */
struct tvmp_walk {
  const int8_t *pixel;
  const int8_t *weight;
};

#if TVMP_HAS_DSP

#define TVMP_WEIGHTS_JOINT                                                                         \
  "ldrd %[w0], %[w1], [%[weight]], #8\n\t"                                                         \
  "sxtb16 %[u0], %[w0]\n\t"                                                                        \
  "sxtb16 %[u1], %[w1]\n\t"
#define TVMP_WEIGHTS_PLAIN                                                                         \
  TVMP_WEIGHTS_JOINT                                                                               \
  "sxtb16 %[w0], %[w0], ror #8\n\t"                                                                \
  "sxtb16 %[w1], %[w1], ror #8\n\t"
/* a and b are the sums of one pixel. */
#define TVMP_PIXEL(load, a, b)                                                                     \
  load "sxtb16 %[y], %[x]\n\t"                                                                     \
       "sxtb16 %[x], %[x], ror #8\n\t"                                                             \
       "smlad %[" a "], %[y], %[u0], %[" a "]\n\t"                                                 \
       "smlad %[" b "], %[y], %[w0], %[" b "]\n\t"                                                 \
       "smlad %[" a "], %[x], %[u1], %[" a "]\n\t"                                                 \
       "smlad %[" b "], %[x], %[w1], %[" b "]\n\t"
#define TVMP_FIRST "ldr %[x], [%[pixel]], #4\n\t"
#define TVMP_SECOND "ldr %[x], [%[pixel], %[step]]\n\t"
#define TVMP_THIRD "ldr %[x], [%[pixel], %[twice]]\n\t"
/* The pixel that moves the address on comes last. */
#define TVMP_PIXELS_1 TVMP_PIXEL(TVMP_FIRST, "a0", "b0")
#define TVMP_PIXELS_2 TVMP_PIXEL(TVMP_SECOND, "a1", "b1") TVMP_PIXELS_1
#define TVMP_PIXELS_3 TVMP_PIXEL(TVMP_THIRD, "a2", "b2") TVMP_PIXELS_2

/* One pixel and several pairs of channels, whose weights lie ``apart``. The pair that moves the
 * address of weights on comes last. */
#define TVMP_INPUTS TVMP_FIRST "sxtb16 %[y], %[x]\n\tsxtb16 %[x], %[x], ror #8\n\t"
#define TVMP_PRODUCTS(a, b)                                                                        \
  "smlad %[" a "], %[y], %[u0], %[" a "]\n\t"                                                      \
  "smlad %[" b "], %[y], %[w0], %[" b "]\n\t"                                                      \
  "smlad %[" a "], %[x], %[u1], %[" a "]\n\t"                                                      \
  "smlad %[" b "], %[x], %[w1], %[" b "]\n\t"
#define TVMP_EXPAND_JOINT                                                                          \
  "sxtb16 %[u0], %[w0]\n\t"                                                                        \
  "sxtb16 %[u1], %[w1]\n\t"
#define TVMP_EXPAND_PLAIN                                                                          \
  TVMP_EXPAND_JOINT                                                                                \
  "sxtb16 %[w0], %[w0], ror #8\n\t"                                                                \
  "sxtb16 %[w1], %[w1], ror #8\n\t"
#define TVMP_PAIRS_2(expand)                                                                       \
  TVMP_INPUTS "ldrd %[w0], %[w1], [%[weight], %[step]]\n\t" expand TVMP_PRODUCTS(                  \
      "a1", "b1") "ldrd %[w0], %[w1], [%[weight]], #8\n\t" expand TVMP_PRODUCTS("a0", "b0")
#define TVMP_PAIRS_3(expand)                                                                       \
  TVMP_INPUTS "ldrd %[w0], %[w1], [%[weight], %[twice]]\n\t" expand TVMP_PRODUCTS(                 \
      "a2", "b2") "ldrd %[w0], %[w1], [%[weight], %[step]]\n\t" expand                             \
      TVMP_PRODUCTS("a1", "b1") "ldrd %[w0], %[w1], [%[weight]], #8\n\t" expand TVMP_PRODUCTS(     \
          "a0", "b0")

#define TVMP_TURN(weights, pixels) weights pixels weights pixels
/* With 14 registers taken, the end is compared with in memory. */
#define TVMP_LOOP(weights, pixels)                                                                 \
  "1:\n\t" TVMP_TURN(weights, pixels) "ldr %[x], %[end]\n\t"                                       \
                                      "cmp %[weight], %[x]\n\t"                                    \
                                      "bne 1b\n\t"

#define TVMP_OPERANDS_1 [a0] "+r"(sum[0]), [b0] "+r"(sum[1])
#define TVMP_OPERANDS_2 TVMP_OPERANDS_1, [a1] "+r"(sum[2]), [b1] "+r"(sum[3])
#define TVMP_OPERANDS_3 TVMP_OPERANDS_2, [a2] "+r"(sum[4]), [b2] "+r"(sum[5])
#define TVMP_TEMPORARIES                                                                           \
  [pixel] "+r"(walk->pixel), [weight] "+r"(walk->weight), [w0] "=&r"(w0), [w1] "=&r"(w1),          \
      [u0] "=&r"(u0), [u1] "=&r"(u1), [x] "=&r"(x), [y] "=&r"(y)

#define TVMP_RUN(code, ...)                                                                        \
  __asm__ volatile(code                                                                            \
                   : __VA_ARGS__, TVMP_TEMPORARIES                                                 \
                   : [step] "n"(apart), [twice] "n"(2 * apart)                                     \
                   : "memory")

#define TVMP_RUN_LOOP(code, ...)                                                                   \
  do {                                                                                             \
    const int8_t *const end = walk->weight + (words & ~1) * 8;                                     \
    __asm__ volatile(code                                                                          \
                     : __VA_ARGS__, TVMP_TEMPORARIES                                               \
                     : [step] "n"(apart), [twice] "n"(2 * apart), [end] "m"(end)                   \
                     : "cc", "memory");                                                            \
  } while (0)

/* A loop of two words a turn; up to four words go without. */
#define TVMP_DOT_WORDS(weights, pixels, ...)                                                       \
  do {                                                                                             \
    uint32_t w0, w1, u0, u1, x, y;                                                                 \
    if (words > 5) {                                                                               \
      TVMP_RUN_LOOP(TVMP_LOOP(weights, pixels), __VA_ARGS__);                                      \
    } else if (words >= 4) {                                                                       \
      TVMP_RUN(TVMP_TURN(weights, pixels) TVMP_TURN(weights, pixels), __VA_ARGS__);                \
    } else if (words >= 2) {                                                                       \
      TVMP_RUN(TVMP_TURN(weights, pixels), __VA_ARGS__);                                           \
    }                                                                                              \
    if (words & 1) {                                                                               \
      TVMP_RUN(weights pixels, __VA_ARGS__);                                                       \
    }                                                                                              \
  } while (0)

#define TVMP_DOT_PIXELS(pixels, ...)                                                               \
  do {                                                                                             \
    if (joint) {                                                                                   \
      TVMP_DOT_WORDS(TVMP_WEIGHTS_JOINT, pixels, __VA_ARGS__);                                     \
    } else {                                                                                       \
      TVMP_DOT_WORDS(TVMP_WEIGHTS_PLAIN, pixels, __VA_ARGS__);                                     \
    }                                                                                              \
  } while (0)

#endif

/* Largest constant offset of a load of two words. */
#define TVMP_PAIR_OFFSET 1020

/* One pixel's words, instruction by instruction; on DSP cores for what the blocks above do not fit.
 */
TVMP_INLINE void tvmp_dot_pixel(const int8_t *pixel, const int8_t *weight, int32_t words, int joint,
                                int32_t *sum) {
  for (int32_t word = 0; word < words; ++word) {
    uint32_t inputs = tvmp_load4(pixel + 4 * word);
    for (int32_t half = 0; half < 2; ++half) {
      uint32_t weights = tvmp_load4(weight + 8 * word + 4 * half);
      uint32_t pair = half == 0 ? tvmp_sxtb16(inputs) : tvmp_sxtb16_odd(inputs);
      sum[0] = tvmp_smlad(pair, tvmp_sxtb16(weights), sum[0]);
      sum[1] = tvmp_smlad(pair, joint ? weights : tvmp_sxtb16_odd(weights), sum[1]);
    }
  }
}

/* One segment of one to three pixels, ``apart`` bytes from each other. All but the walk and the
 * sums must be constants. */
TVMP_INLINE void tvmp_dot(struct tvmp_walk *walk, int32_t pixels, int32_t apart, int32_t words,
                          int joint, int32_t *sum) {
#if TVMP_HAS_DSP
  if (pixels == 1) {
    TVMP_DOT_PIXELS(TVMP_PIXELS_1, TVMP_OPERANDS_1);
  } else if (pixels == 2) {
    TVMP_DOT_PIXELS(TVMP_PIXELS_2, TVMP_OPERANDS_2);
  } else {
    TVMP_DOT_PIXELS(TVMP_PIXELS_3, TVMP_OPERANDS_3);
  }
#else
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    tvmp_dot_pixel(walk->pixel + pixel * apart, walk->weight, words, joint, sum + 2 * pixel);
  }
  walk->pixel += 4 * words;
  walk->weight += 8 * words;
#endif
}

/* One segment of one pixel and two or three pairs of channels, whose weights lie ``apart`` bytes
 * from each other: TVMP_PAIR_OFFSET at most from the first to the last. */
TVMP_INLINE void tvmp_dot_pairs(struct tvmp_walk *walk, int32_t pairs, int32_t apart, int32_t words,
                                int joint, int32_t *sum) {
#if TVMP_HAS_DSP
  if (pairs == 2) {
    if (joint) {
      TVMP_DOT_WORDS(, TVMP_PAIRS_2(TVMP_EXPAND_JOINT), TVMP_OPERANDS_2);
    } else {
      TVMP_DOT_WORDS(, TVMP_PAIRS_2(TVMP_EXPAND_PLAIN), TVMP_OPERANDS_2);
    }
  } else {
    if (joint) {
      TVMP_DOT_WORDS(, TVMP_PAIRS_3(TVMP_EXPAND_JOINT), TVMP_OPERANDS_3);
    } else {
      TVMP_DOT_WORDS(, TVMP_PAIRS_3(TVMP_EXPAND_PLAIN), TVMP_OPERANDS_3);
    }
  }
#else
  for (int32_t pair = 0; pair < pairs; ++pair) {
    tvmp_dot_pixel(walk->pixel, walk->weight + pair * apart, words, joint, sum + 2 * pair);
  }
  walk->pixel += 4 * words;
  walk->weight += 8 * words;
#endif
}

#endif
