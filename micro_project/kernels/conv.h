/* Convolution over data whose padding is in memory: one output row, or a whole map of a 1x1 one. */
#ifndef TVMP_CONV_H
#define TVMP_CONV_H

#include "dot.h"
#include "pair.h"

/* A layer's geometry, in bytes of int8 data. Constants wherever it is used.
 *
 * A window is rows x segments runs of segment_bytes that follow each other in memory; segment_bytes
 * is at least four. A run whose length is no multiple of four ends in a word that overlaps the one
 * before; the weights of the overlap are zero. */
struct tvmp_conv {
  int32_t pixels;        /* outputs of the row */
  int32_t pixel_bytes;   /* from the window of one output to the next */
  int32_t rows;          /* of the window */
  int32_t row_bytes;     /* from one to the next */
  int32_t segments;      /* in a row of the window */
  int32_t segment_step;  /* bytes from one to the next */
  int32_t segment_bytes; /* of one */
  int32_t channels;      /* outputs of one pixel */
  int32_t stride;        /* bytes from one output pixel to the next */
};

/* All numbers as arguments of C functions have them; the groups' outputs follow each other. */
TVMP_INLINE struct tvmp_conv tvmp_conv_of(int32_t pixels, int32_t pixel_bytes, int32_t rows,
                                          int32_t row_bytes, int32_t segments, int32_t segment_step,
                                          int32_t segment_bytes, int32_t group_channels,
                                          int32_t groups) {
  const struct tvmp_conv conv = {
      .pixels = pixels,
      .pixel_bytes = pixel_bytes,
      .rows = rows,
      .row_bytes = row_bytes,
      .segments = segments,
      .segment_step = segment_step,
      .segment_bytes = segment_bytes,
      .channels = group_channels,
      .stride = groups * group_channels,
  };
  return conv;
}

TVMP_INLINE int32_t tvmp_conv_words(const struct tvmp_conv *conv) {
  return (conv->segment_bytes + 3) / 4;
}

TVMP_INLINE int32_t tvmp_conv_pair_bytes(const struct tvmp_conv *conv) {
  return conv->rows * conv->segments * tvmp_conv_words(conv) * 8;
}

/* Words of a run, of some pixels and one pair of channels, or of one pixel and some pairs. */
TVMP_INLINE void tvmp_conv_run(struct tvmp_walk *walk, int32_t pixels, int32_t pairs, int32_t words,
                               const struct tvmp_conv *conv, const struct tvmp_scale *scale,
                               int32_t *sum) {
  if (pairs == 1) {
    tvmp_dot(walk, pixels, conv->pixel_bytes, words, scale->joint, sum);
  } else {
    tvmp_dot_pairs(walk, pairs, tvmp_conv_pair_bytes(conv), words, scale->joint, sum);
  }
}

/* Sums of a whole window. */
TVMP_INLINE void tvmp_conv_window(const int8_t *data, const int8_t *weight, int32_t pixels,
                                  int32_t pairs, const struct tvmp_conv *conv,
                                  const struct tvmp_scale *scale, int32_t *sum) {
  const int32_t words = tvmp_conv_words(conv);
  const int32_t overlap = 4 * words - conv->segment_bytes;
  struct tvmp_walk walk = {data, weight};
  TVMP_ROLLED for (int32_t row = 0; row < conv->rows; ++row) {
    TVMP_ROLLED for (int32_t segment = 0; segment < conv->segments; ++segment) {
      if (overlap == 0) {
        tvmp_conv_run(&walk, pixels, pairs, words, conv, scale, sum);
      } else {
        tvmp_conv_run(&walk, pixels, pairs, words - 1, conv, scale, sum);
        walk.pixel -= overlap;
        tvmp_conv_run(&walk, pixels, pairs, 1, conv, scale, sum);
      }
      walk.pixel += conv->segment_step - conv->segment_bytes;
    }
    walk.pixel += conv->row_bytes - conv->segments * conv->segment_step;
  }
}

/* Windows of one to three neighbouring pixels times two channels, requantised. Returns where the
 * output behind them goes. */
TVMP_INLINE int8_t *tvmp_conv_block(const int8_t *data, const int8_t *weight,
                                    const struct tvmp_pair *pair, int8_t *out, int32_t pixels,
                                    int32_t channels, const struct tvmp_conv *conv,
                                    const struct tvmp_scale *scale) {
  int32_t sum[6];
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    sum[2 * pixel] = pair->start[0];
    sum[2 * pixel + 1] = pair->start[1];
  }
  tvmp_conv_window(data, weight, pixels, 1, conv, scale, sum);
  const int is_crowded = !__builtin_constant_p(conv->stride) || conv->rows * conv->segments > 1 ||
                         conv->segment_bytes % 8 != 0;
  if (is_crowded) {
    return tvmp_scale_crowded_block(sum, pixels, channels, pair, out, conv->stride, scale);
  }
  return tvmp_scale_block(sum, pixels, channels, pair, out, conv->stride, scale);
}

/* The window of one pixel times two or three pairs of channels, requantised. */
TVMP_INLINE void tvmp_conv_pairs(const int8_t *data, const int8_t *weight,
                                 const struct tvmp_pair *pair, int8_t *out, int32_t pairs,
                                 const struct tvmp_conv *conv, const struct tvmp_scale *scale) {
  int32_t sum[6];
  for (int32_t index = 0; index < pairs; ++index) {
    sum[2 * index] = pair[index].start[0];
    sum[2 * index + 1] = pair[index].start[1];
  }
  tvmp_conv_window(data, weight, 1, pairs, conv, scale, sum);
  if (pairs == 3 && scale->form == TVMP_TIES) {
    tvmp_scale_three_pairs(sum, pair, out, scale);
    return;
  }
  for (int32_t index = 0; index < pairs; ++index) {
    tvmp_scale_block(sum + 2 * index, 1, 2, pair + index, out + 2 * index, conv->stride, scale);
  }
}

/* Pairs of channels that are made at once of a pixel that has no neighbours: by three or by two
 * where they come out even. */
TVMP_INLINE int32_t tvmp_conv_pairs_at_once(const struct tvmp_conv *conv) {
  const int32_t pairs = conv->channels / 2, apart = tvmp_conv_pair_bytes(conv);
  if (conv->pixels != 1 && conv->pixels != 4) {
    return 1;
  }
  if (pairs % 3 == 0 && 2 * apart <= TVMP_PAIR_OFFSET) {
    return 3;
  }
  return pairs % 2 == 0 && apart <= TVMP_PAIR_OFFSET ? 2 : 1;
}

/* All pixels of one or two channels, but for ``left_out`` at the end. */
TVMP_INLINE void tvmp_conv_pixels(const int8_t *data, const int8_t *weight,
                                  const struct tvmp_pair *pair, int8_t *out, int32_t channels,
                                  int32_t left_out, const struct tvmp_conv *conv,
                                  const struct tvmp_scale *scale) {
  const int32_t pixels = conv->pixels - left_out, rest = pixels % 3;
  if (pixels >= 3) {
    const int8_t *end = data + (pixels - rest) * conv->pixel_bytes;
    if (pixels >= 6) {
      TVMP_UNKNOWN(end);
    }
    do {
      out = tvmp_conv_block(data, weight, pair, out, 3, channels, conv, scale);
      data += 3 * conv->pixel_bytes;
    } while (data != end);
  }
  if (rest != 0) {
    tvmp_conv_block(data, weight, pair, out, rest, channels, conv, scale);
  }
}

/* All channels of one group. */
TVMP_INLINE void tvmp_conv_group(const int8_t *data, const int8_t *weight,
                                 const struct tvmp_pair *pair, int8_t *out,
                                 const struct tvmp_conv *conv, const struct tvmp_scale *scale) {
  const int32_t pair_bytes = tvmp_conv_pair_bytes(conv);
  const int32_t at_once = tvmp_conv_pairs_at_once(conv);
  const int32_t left_out = at_once > 1 ? 1 : 0;
  if (left_out != 0) {
    const int32_t before = conv->pixels - 1;
    const int8_t *last_weight = weight;
    const struct tvmp_pair *last_pair = pair;
    int8_t *last_out = out + before * conv->stride;
    TVMP_ROLLED for (int32_t count = conv->channels / 2; count != 0; count -= at_once) {
      tvmp_conv_pairs(data + before * conv->pixel_bytes, last_weight, last_pair, last_out, at_once,
                      conv, scale);
      last_weight += at_once * pair_bytes;
      last_out += 2 * at_once;
      last_pair += at_once;
    }
  }
  if (conv->pixels > left_out) {
    for (int32_t count = conv->channels / 2; count != 0; --count) {
      tvmp_conv_pixels(data, weight, pair, out, 2, left_out, conv, scale);
      weight += pair_bytes;
      out += 2;
      ++pair;
    }
  } else {
    weight += conv->channels / 2 * pair_bytes;
    out += conv->channels / 2 * 2;
    pair += conv->channels / 2;
  }
  if (conv->channels % 2 != 0) {
    tvmp_conv_pixels(data, weight, pair, out, 1, 0, conv, scale);
  }
}

/* A whole row.
 *
 * data: the window of the first pixel. weight: packed pair by pair, each group's odd channel paired
 * with zeros. channels: struct tvmp_pair for each pair. out: pixels x groups x channels. All
 * numbers are constants, as in the structures above; the group's inputs and outputs follow each
 * other. */
TVMP_INLINE void tvmp_conv_row(const int8_t *data, const int8_t *weight, const int32_t *channels,
                               int8_t *out, int32_t pixels, int32_t pixel_bytes, int32_t rows,
                               int32_t row_bytes, int32_t segments, int32_t segment_step,
                               int32_t segment_bytes, int32_t group_channels, int32_t groups,
                               int32_t joint, int32_t form, int32_t exponent, int32_t clamp_min,
                               int32_t clamp_max) {
  const struct tvmp_conv conv = tvmp_conv_of(pixels, pixel_bytes, rows, row_bytes, segments,
                                             segment_step, segment_bytes, group_channels, groups);
  const struct tvmp_scale scale = tvmp_scale_of(form, joint, exponent, clamp_min, clamp_max);
  const struct tvmp_pair *pair = (const struct tvmp_pair *)channels;
  const int32_t pairs = (group_channels + 1) / 2;
  for (int32_t group = 0; group < groups; ++group) {
    tvmp_conv_group(data, weight, pair, out, &conv, &scale);
    data += segment_bytes;
    weight += pairs * rows * segments * tvmp_conv_words(&conv) * 8;
    out += group_channels;
    pair += pairs;
  }
}

/* A whole row of at least three pixels and an even number of channels, in little code.
 *
 * As tvmp_conv_row with one group, but pixels and channels need not be constants: layers whose
 * windows agree share one function. Where three pixels do not divide a row its last ones are made
 * two at a time if ``halves``; else there is one body, and the first block and the second overlap.
 */
TVMP_INLINE void tvmp_conv_shared(const int8_t *data, const int8_t *weight, const int32_t *channels,
                                  int8_t *out, int32_t pixels, int32_t channel_count,
                                  int32_t pixel_bytes, int32_t rows, int32_t row_bytes,
                                  int32_t segments, int32_t segment_step, int32_t segment_bytes,
                                  int32_t joint, int32_t form, int32_t exponent, int32_t clamp_min,
                                  int32_t clamp_max, int32_t halves) {
  const struct tvmp_conv conv = tvmp_conv_of(pixels, pixel_bytes, rows, row_bytes, segments,
                                             segment_step, segment_bytes, channel_count, 1);
  const struct tvmp_scale scale = tvmp_scale_of(form, joint, exponent, clamp_min, clamp_max);
  const int32_t pair_bytes = tvmp_conv_pair_bytes(&conv);
  const struct tvmp_pair *pair = (const struct tvmp_pair *)channels;
  const int32_t blocks = (pixels + 2) / 3, missing = 3 * blocks - pixels;
  const int32_t threes = blocks - (halves ? missing : 0), twice = halves ? 0 : missing;
  if (channel_count < 2) {
    /* The compiler need not make a copy for outputs that follow each other. */
    __builtin_unreachable();
  }
  TVMP_ROLLED for (int32_t count = channel_count / 2; count != 0; --count) {
    const int8_t *from = data;
    int8_t *to = out;
    int32_t back = twice;
    TVMP_ROLLED for (int32_t left = threes; left != 0; --left) {
      to = tvmp_conv_block(from, weight, pair, to, 3, 2, &conv, &scale);
      from += 3 * pixel_bytes;
      if (!halves) {
        from -= back * pixel_bytes;
        to -= back * channel_count;
        back = 0;
      }
    }
    if (halves) {
      TVMP_ROLLED for (int32_t left = missing; left != 0; --left) {
        to = tvmp_conv_block(from, weight, pair, to, 2, 2, &conv, &scale);
        from += 2 * pixel_bytes;
      }
    }
    weight += pair_bytes;
    out += 2;
    ++pair;
  }
}

#endif
