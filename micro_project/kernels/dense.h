/* Fully connected layers: one pixel, six output channels at a time. */
#ifndef TVMP_DENSE_H
#define TVMP_DENSE_H

#include "dot.h"
#include "pair.h"

/* Words of four inputs times three pairs of channels. The weights of a word are those of the first
 * pair, as in dot.h, then those of the second and of the third. */
TVMP_INLINE void tvmp_dot_three_pairs(struct tvmp_walk *walk, int32_t words, int joint,
                                      int32_t *sum) {
#if TVMP_HAS_DSP
#define TVMP_PAIR(expand, a, b)                                                                    \
  "ldrd %[w0], %[w1], [%[weight]], #8\n\t"                                                         \
  "sxtb16 %[u], %[w0]\n\t" expand("w0") "smlad %[" a "], %[y], %[u], %[" a "]\n\t"                 \
                                        "smlad %[" b "], %[y], %[w0], %[" b "]\n\t"                \
                                        "sxtb16 %[u], %[w1]\n\t" expand(                           \
                                            "w1") "smlad %[" a "], %[x], %[u], %[" a "]\n\t"       \
                                                  "smlad %[" b "], %[x], %[w1], %[" b "]\n\t"
#define TVMP_NOTHING(word) ""
#define TVMP_EXPAND(word) "sxtb16 %[" word "], %[" word "], ror #8\n\t"
#define TVMP_WORD(expand)                                                                          \
  "ldr %[x], [%[pixel]], #4\n\t"                                                                   \
  "sxtb16 %[y], %[x]\n\t"                                                                          \
  "sxtb16 %[x], %[x], ror #8\n\t" TVMP_PAIR(expand, "a0", "b0") TVMP_PAIR(expand, "a1", "b1")      \
      TVMP_PAIR(expand, "a2", "b2")
#define TVMP_RUN_WORDS(code)                                                                       \
  __asm__ volatile(code                                                                            \
                   : TVMP_OPERANDS_3, [pixel] "+r"(walk->pixel), [weight] "+r"(walk->weight),      \
                     [w0] "=&r"(w0), [w1] "=&r"(w1), [u] "=&r"(u), [x] "=&r"(x), [y] "=&r"(y)      \
                   : [end] "r"(end)                                                                \
                   : "cc", "memory")
  uint32_t w0, w1, u, x, y;
  const int8_t *const end = walk->weight + (words & ~1) * 24;
  if (words >= 2) {
    if (joint) {
      TVMP_RUN_WORDS("1:\n\t" TVMP_WORD(TVMP_NOTHING)
                         TVMP_WORD(TVMP_NOTHING) "cmp %[weight], %[end]\n\tbne 1b\n\t");
    } else {
      TVMP_RUN_WORDS("1:\n\t" TVMP_WORD(TVMP_EXPAND)
                         TVMP_WORD(TVMP_EXPAND) "cmp %[weight], %[end]\n\tbne 1b\n\t");
    }
  }
  if (words & 1) {
    if (joint) {
      TVMP_RUN_WORDS(TVMP_WORD(TVMP_NOTHING));
    } else {
      TVMP_RUN_WORDS(TVMP_WORD(TVMP_EXPAND));
    }
  }
#else
  for (int32_t word = 0; word < words; ++word) {
    for (int32_t pair = 0; pair < 3; ++pair) {
      tvmp_dot_pixel(walk->pixel, walk->weight, 1, joint, sum + 2 * pair);
      walk->weight += 8;
    }
    walk->pixel += 4;
  }
#endif
}

/* An int8 vector of at least four elements times a matrix.
 *
 * weight: for every six channels, three pairs interleaved; what is left of the channels follows
 * pair by pair, the last channel of an odd number paired with zeros. Where the number of inputs is
 * no multiple of four the last word overlaps the one before, with zero weights. channels: struct
 * tvmp_pair for each pair. All numbers are constants. */
TVMP_INLINE void tvmp_dense(const int8_t *data, const int8_t *weight, const int32_t *channels,
                            int8_t *out, int32_t inputs, int32_t outputs, int32_t joint,
                            int32_t form, int32_t exponent, int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_scale scale = tvmp_scale_of(form, joint, exponent, clamp_min, clamp_max);
  const int32_t words = (inputs + 3) / 4;
  const int32_t overlap = 4 * words - inputs;
  const int32_t whole = overlap == 0 ? words : words - 1;
  const struct tvmp_pair *pair = (const struct tvmp_pair *)channels;
  struct tvmp_walk walk = {data, weight};
  int32_t left = outputs;
  TVMP_ROLLED for (; left >= 6; left -= 6) {
    int32_t sum[6];
    for (int32_t i = 0; i < 6; ++i) {
      sum[i] = pair[i / 2].start[i % 2];
    }
    walk.pixel = data;
    tvmp_dot_three_pairs(&walk, whole, joint, sum);
    if (overlap != 0) {
      walk.pixel -= overlap;
      tvmp_dot_three_pairs(&walk, 1, joint, sum);
    }
    tvmp_scale_three_pairs(sum, pair, out, &scale);
    pair += 3;
    out += 6;
  }
  TVMP_ROLLED for (; left > 0; left -= 2) {
    int32_t sum[2] = {pair->start[0], pair->start[1]};
    walk.pixel = data;
    tvmp_dot(&walk, 1, 0, whole, joint, sum);
    if (overlap != 0) {
      walk.pixel -= overlap;
      tvmp_dot(&walk, 1, 0, 1, joint, sum);
    }
    if (left == 1) {
      tvmp_scale_block(sum, 1, 1, pair, out, 0, &scale);
    } else {
      tvmp_scale_block(sum, 1, 2, pair, out, 0, &scale);
    }
    ++pair;
    out += 2;
  }
}

#endif
