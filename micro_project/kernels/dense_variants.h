/* Fully connected layers in other ways than dense.h: what a tuner chooses among.
 *
 * - Joint weights are loaded three words at once, and expanded where they lie: the product with the
 *   word as it is comes first, so that no register keeps it. Plain weights want one register more,
 *   and are loaded in twos as in dense.h.
 * - The inner loop has `turn` words of four inputs in each of its turns.
 * - The vector may be *gathered* first: expanded to halfwords in scratch memory once, which saves
 *   two instructions for each word and block of six channels and costs four for each word.
 *
 * Weights and channels are packed as for dense.h. */
#ifndef TVMP_DENSE_VARIANTS_H
#define TVMP_DENSE_VARIANTS_H

#include "conv_variants.h"
#include "dense.h"

#if TVMP_HAS_DSP

#define TVMP_DENSE_READ                                                                            \
  "ldr %[x], [%[pixel]], #4\n\t"                                                                   \
  "sxtb16 %[y], %[x]\n\t"                                                                          \
  "sxtb16 %[x], %[x], ror #8\n\t"
#define TVMP_DENSE_GATHERED "ldrd %[y], %[x], [%[pixel]], #8\n\t"

/* The products of half a word's inputs with a pair of channels, whose weights are in a register. */
#define TVMP_DENSE_JOINT(input, w, a, b)                                                           \
  "smlad %[" b "], %[" input "], " w ", %[" b "]\n\t"                                              \
  "sxtb16 " w ", " w "\n\t"                                                                        \
  "smlad %[" a "], %[" input "], " w ", %[" a "]\n\t"
/* A load of several registers wants them in order, so they are named. */
#define TVMP_DENSE_THREE "ldmia %[weight]!, {r4, r5, r6}\n\t"
#define TVMP_DENSE_JOINT_WORD(read)                                                                \
  read TVMP_DENSE_THREE TVMP_DENSE_JOINT("y", "r4", "a0", "b0")                                    \
      TVMP_DENSE_JOINT("x", "r5", "a0", "b0") TVMP_DENSE_JOINT("y", "r6", "a1", "b1")              \
          TVMP_DENSE_THREE TVMP_DENSE_JOINT("x", "r4", "a1", "b1")                                 \
              TVMP_DENSE_JOINT("y", "r5", "a2", "b2") TVMP_DENSE_JOINT("x", "r6", "a2", "b2")

#define TVMP_DENSE_PLAIN(input, w, a, b)                                                           \
  "sxtb16 r6, " w "\n\t"                                                                           \
  "sxtb16 " w ", " w ", ror #8\n\t"                                                                \
  "smlad %[" a "], %[" input "], r6, %[" a "]\n\t"                                                 \
  "smlad %[" b "], %[" input "], " w ", %[" b "]\n\t"
#define TVMP_DENSE_TWO(a, b)                                                                       \
  "ldrd r4, r5, [%[weight]], #8\n\t" TVMP_DENSE_PLAIN("y", "r4", a, b)                             \
      TVMP_DENSE_PLAIN("x", "r5", a, b)
#define TVMP_DENSE_PLAIN_WORD(read)                                                                \
  read TVMP_DENSE_TWO("a0", "b0") TVMP_DENSE_TWO("a1", "b1") TVMP_DENSE_TWO("a2", "b2")

#define TVMP_DENSE_RUN(code, ...)                                                                  \
  do {                                                                                             \
    uint32_t x, y;                                                                                 \
    __asm__ volatile(code                                                                          \
                     : TVMP_OPERANDS_3, [pixel] "+r"(walk->pixel), [weight] "+r"(walk->weight),    \
                       [x] "=&r"(x), [y] "=&r"(y)                                                  \
                     : __VA_ARGS__                                                                 \
                     : "r4", "r5", "r6", "cc", "memory");                                          \
  } while (0)

#define TVMP_DENSE_TURNS(code)                                                                     \
  do {                                                                                             \
    if (words >= 2 * turn) {                                                                       \
      const int8_t *const end = walk->weight + words / turn * turn * 24;                           \
      TVMP_DENSE_RUN(                                                                              \
          "1:\n\t" code "ldr %[x], %[end]\n\tcmp %[weight], %[x]\n\tbne 1b\n\t", [end] "m"(end));  \
    } else if (words >= turn) {                                                                    \
      TVMP_DENSE_RUN(code, );                                                                      \
    }                                                                                              \
  } while (0)

#define TVMP_DENSE_WORDS(word)                                                                     \
  do {                                                                                             \
    if (turn == 16) {                                                                              \
      TVMP_DENSE_TURNS(TVMP_TURN_16(word));                                                        \
    } else if (turn == 8) {                                                                        \
      TVMP_DENSE_TURNS(TVMP_TURN_8(word));                                                         \
    } else if (turn == 4) {                                                                        \
      TVMP_DENSE_TURNS(TVMP_TURN_4(word));                                                         \
    } else {                                                                                       \
      TVMP_DENSE_TURNS(TVMP_TURN_2(word));                                                         \
    }                                                                                              \
    if (words % turn & 8) {                                                                        \
      TVMP_DENSE_RUN(TVMP_TURN_8(word), );                                                         \
    }                                                                                              \
    if (words % turn & 4) {                                                                        \
      TVMP_DENSE_RUN(TVMP_TURN_4(word), );                                                         \
    }                                                                                              \
    if (words % turn & 2) {                                                                        \
      TVMP_DENSE_RUN(TVMP_TURN_2(word), );                                                         \
    }                                                                                              \
    if (words % turn & 1) {                                                                        \
      TVMP_DENSE_RUN(word, );                                                                      \
    }                                                                                              \
  } while (0)

#endif

/* As tvmp_dot_three_pairs, with `turn` words (2, 4, 8 or 16) in each turn of its loop. Of a
 * gathered vector the walk's pixel is its first byte. */
TVMP_INLINE void tvmp_dense_block(struct tvmp_walk *walk, int32_t words, int joint, int gathered,
                                  int32_t turn, int32_t *sum) {
#if TVMP_HAS_DSP
  if (joint && gathered) {
    TVMP_DENSE_WORDS(TVMP_DENSE_JOINT_WORD(TVMP_DENSE_GATHERED));
  } else if (joint) {
    TVMP_DENSE_WORDS(TVMP_DENSE_JOINT_WORD(TVMP_DENSE_READ));
  } else if (gathered) {
    TVMP_DENSE_WORDS(TVMP_DENSE_PLAIN_WORD(TVMP_DENSE_GATHERED));
  } else {
    TVMP_DENSE_WORDS(TVMP_DENSE_PLAIN_WORD(TVMP_DENSE_READ));
  }
#else
  if (!gathered) {
    tvmp_dot_three_pairs(walk, words, joint, sum);
    return;
  }
  for (int32_t word = 0; word < words; ++word, walk->pixel += TVMP_GATHERED_BYTES) {
    for (int32_t pair = 0; pair < 3; ++pair) {
      struct tvmp_walk one = *walk;
      tvmp_dot_variant(&one, 1, 0, 1, joint, 1, turn, sum + 2 * pair);
      walk->weight = one.weight;
    }
  }
#endif
}

TVMP_INLINE void tvmp_dense_in_turns(const int8_t *data, const int8_t *weight,
                                     const int32_t *channels, int8_t *out, int32_t gathered,
                                     int32_t turn, int32_t inputs, int32_t outputs,
                                     const struct tvmp_scale *scale) {
  const int32_t words = (inputs + 3) / 4;
  /* The last word of a gathered vector is one like all others. */
  const int32_t overlap = gathered ? 0 : 4 * words - inputs;
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
    tvmp_dense_block(&walk, whole, scale->joint, gathered, turn, sum);
    if (overlap != 0) {
      walk.pixel -= overlap;
      tvmp_dense_block(&walk, 1, scale->joint, gathered, turn, sum);
    }
    tvmp_scale_three_pairs(sum, pair, out, scale);
    pair += 3;
    out += 6;
  }
  TVMP_ROLLED for (; left > 0; left -= 2) {
    int32_t sum[2] = {pair->start[0], pair->start[1]};
    const int32_t pixel_bytes = 0;
    walk.pixel = data;
    tvmp_dot_variant(&walk, 1, pixel_bytes, whole, scale->joint, gathered, turn, sum);
    if (overlap != 0) {
      walk.pixel -= overlap;
      tvmp_dot_variant(&walk, 1, pixel_bytes, 1, scale->joint, gathered, turn, sum);
    }
    if (left == 1) {
      tvmp_scale_block(sum, 1, 1, pair, out, 0, scale);
    } else {
      tvmp_scale_block(sum, 1, 2, pair, out, 0, scale);
    }
    ++pair;
    out += 2;
  }
}

/* As tvmp_dense, with `turn` words in each turn of the inner loop. */
TVMP_INLINE void tvmp_dense_unrolled(const int8_t *data, const int8_t *weight,
                                     const int32_t *channels, int8_t *out, int32_t turn,
                                     int32_t inputs, int32_t outputs, int32_t joint, int32_t form,
                                     int32_t exponent, int32_t clamp_min, int32_t clamp_max) {
  const struct tvmp_scale scale = tvmp_scale_of(form, joint, exponent, clamp_min, clamp_max);
  tvmp_dense_in_turns(data, weight, channels, out, 0, turn, inputs, outputs, &scale);
}

/* As tvmp_dense, through scratch memory: eight bytes for each word of four inputs, at an address
 * that four divides. */
TVMP_INLINE void tvmp_dense_gathered(const int8_t *data, const int8_t *weight,
                                     const int32_t *channels, int8_t *out, void *scratch,
                                     int32_t turn, int32_t inputs, int32_t outputs, int32_t joint,
                                     int32_t form, int32_t exponent, int32_t clamp_min,
                                     int32_t clamp_max) {
  const struct tvmp_scale scale = tvmp_scale_of(form, joint, exponent, clamp_min, clamp_max);
  int32_t *const gathered = (int32_t *)scratch;
  int32_t *const last = tvmp_gather_words(data, 1, 0, inputs / 4, gathered);
  if (inputs % 4 != 0) {
    tvmp_gather_words(data + inputs - 4, 1, 0, 1, last);
  }
  tvmp_dense_in_turns((const int8_t *)gathered, weight, channels, out, 1, turn, inputs, outputs,
                      &scale);
}

#endif
