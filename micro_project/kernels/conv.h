/* Convolution over data whose padding is in memory: one output row, or a whole map of a 1x1 one. */
#ifndef TVMP_CONV_H
#define TVMP_CONV_H

#include "dot.h"
#include "requantise.h"

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
  int joint;             /* form of the weights, see dot.h */
};

/* A pair of output channels: what accumulators start from, and the scale of each. */
struct tvmp_pair {
  int32_t start[2];
  int32_t multiplier[2];
  int32_t exponent[2];
};

TVMP_INLINE int32_t tvmp_conv_words(const struct tvmp_conv *conv) {
  return (conv->segment_bytes + 3) / 4;
}

/* Windows of one to three neighbouring pixels times two channels, requantised. */
TVMP_INLINE void tvmp_conv_block(const int8_t *data, const int8_t *weight,
                                 const struct tvmp_pair *pair, int8_t *out, int32_t pixels,
                                 int32_t channels, const struct tvmp_conv *conv,
                                 const struct tvmp_requantisation *requantisation) {
  const int32_t words = tvmp_conv_words(conv);
  const int32_t overlap = 4 * words - conv->segment_bytes;
  struct tvmp_walk walk = {data, weight};
  int32_t sum[6];
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    sum[2 * pixel] = pair->start[0];
    sum[2 * pixel + 1] = pair->start[1];
  }
  TVMP_ROLLED for (int32_t row = 0; row < conv->rows; ++row) {
    TVMP_ROLLED for (int32_t segment = 0; segment < conv->segments; ++segment) {
      if (overlap == 0) {
        tvmp_dot(&walk, pixels, conv->pixel_bytes, words, conv->joint, sum);
      } else {
        tvmp_dot(&walk, pixels, conv->pixel_bytes, words - 1, conv->joint, sum);
        walk.pixel -= overlap;
        tvmp_dot(&walk, pixels, conv->pixel_bytes, 1, conv->joint, sum);
      }
      walk.pixel += conv->segment_step - conv->segment_bytes;
    }
    walk.pixel += conv->row_bytes - conv->segments * conv->segment_step;
  }
  /* Read once: the compiler cannot know that the output does not lie over them. */
  const struct tvmp_pair scale = *pair;
  const int is_double = requantisation->scaling == TVMP_DOUBLE_FAST;
  for (int32_t pixel = 0; pixel < pixels; ++pixel) {
    int32_t first = sum[2 * pixel];
    int32_t second = sum[2 * pixel + 1];
    /* Twice the sums, as TVMP_DOUBLE_FAST takes them. */
    if (conv->joint) {
      second = (int32_t)((uint32_t)second - (uint32_t)first) >> (is_double ? 7 : 8);
    } else if (is_double) {
      second = (int32_t)((uint32_t)second << 1);
    }
    int32_t first_sign = first;
    if (is_double) {
      first = (int32_t)((uint32_t)first << 1);
    }
    int8_t *target = out + pixel * conv->stride;
    target[0] = (int8_t)tvmp_requantise(first, first_sign, scale.multiplier[0], scale.exponent[0],
                                        requantisation);
    if (channels == 2) {
      target[1] = (int8_t)tvmp_requantise(second, second, scale.multiplier[1], scale.exponent[1],
                                          requantisation);
    }
  }
}

/* All pixels of one or two channels. */
TVMP_INLINE void tvmp_conv_pixels(const int8_t *data, const int8_t *weight,
                                  const struct tvmp_pair *pair, int8_t *out, int32_t channels,
                                  const struct tvmp_conv *conv,
                                  const struct tvmp_requantisation *requantisation) {
  const int32_t rest = conv->pixels % 3;
  const int8_t *const end = data + (conv->pixels - rest) * conv->pixel_bytes;
  while (data != end) {
    tvmp_conv_block(data, weight, pair, out, 3, channels, conv, requantisation);
    data += 3 * conv->pixel_bytes;
    out += 3 * conv->stride;
  }
  if (rest != 0) {
    tvmp_conv_block(data, weight, pair, out, rest, channels, conv, requantisation);
  }
}

/* All channels of one group. */
TVMP_INLINE void tvmp_conv_group(const int8_t *data, const int8_t *weight,
                                 const struct tvmp_pair *pair, int8_t *out,
                                 const struct tvmp_conv *conv,
                                 const struct tvmp_requantisation *requantisation) {
  const int32_t pair_bytes = conv->rows * conv->segments * tvmp_conv_words(conv) * 8;
  for (int32_t count = conv->channels / 2; count != 0; --count) {
    tvmp_conv_pixels(data, weight, pair, out, 2, conv, requantisation);
    weight += pair_bytes;
    out += 2;
    ++pair;
  }
  if (conv->channels % 2 != 0) {
    tvmp_conv_pixels(data, weight, pair, out, 1, conv, requantisation);
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
                               int32_t joint, int32_t scaling, int32_t shift, int32_t zero_point,
                               int32_t clamp_min, int32_t clamp_max) {
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
      .joint = joint,
  };
  const struct tvmp_requantisation requantisation = {
      .scaling = (enum tvmp_scaling)scaling,
      .zero_point = zero_point,
      .clamp_min = clamp_min,
      .clamp_max = clamp_max,
      .shift = shift,
  };
  const struct tvmp_pair *pair = (const struct tvmp_pair *)channels;
  const int32_t pairs = (group_channels + 1) / 2;
  for (int32_t group = 0; group < groups; ++group) {
    tvmp_conv_group(data, weight, pair, out, &conv, &requantisation);
    data += segment_bytes;
    weight += pairs * rows * segments * tvmp_conv_words(&conv) * 8;
    out += group_channels;
    pair += pairs;
  }
}

#endif
