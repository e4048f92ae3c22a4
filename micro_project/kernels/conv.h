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

TVMP_INLINE int32_t tvmp_conv_words(const struct tvmp_conv *conv) {
  return (conv->segment_bytes + 3) / 4;
}

/* Windows of one to three neighbouring pixels times two channels, requantised. */
TVMP_INLINE void tvmp_conv_block(const int8_t *data, const int8_t *weight,
                                 const struct tvmp_pair *pair, int8_t *out, int32_t pixels,
                                 int32_t channels, const struct tvmp_conv *conv,
                                 const struct tvmp_scale *scale) {
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
        tvmp_dot(&walk, pixels, conv->pixel_bytes, words, scale->joint, sum);
      } else {
        tvmp_dot(&walk, pixels, conv->pixel_bytes, words - 1, scale->joint, sum);
        walk.pixel -= overlap;
        tvmp_dot(&walk, pixels, conv->pixel_bytes, 1, scale->joint, sum);
      }
      walk.pixel += conv->segment_step - conv->segment_bytes;
    }
    walk.pixel += conv->row_bytes - conv->segments * conv->segment_step;
  }
  tvmp_scale_block(sum, pixels, channels, pair, out, conv->stride, scale);
}

/* All pixels of one or two channels. */
TVMP_INLINE void tvmp_conv_pixels(const int8_t *data, const int8_t *weight,
                                  const struct tvmp_pair *pair, int8_t *out, int32_t channels,
                                  const struct tvmp_conv *conv, const struct tvmp_scale *scale) {
  const int32_t rest = conv->pixels % 3;
  const int8_t *const end = data + (conv->pixels - rest) * conv->pixel_bytes;
  while (data != end) {
    tvmp_conv_block(data, weight, pair, out, 3, channels, conv, scale);
    data += 3 * conv->pixel_bytes;
    out += 3 * conv->stride;
  }
  if (rest != 0) {
    tvmp_conv_block(data, weight, pair, out, rest, channels, conv, scale);
  }
}

/* All channels of one group. */
TVMP_INLINE void tvmp_conv_group(const int8_t *data, const int8_t *weight,
                                 const struct tvmp_pair *pair, int8_t *out,
                                 const struct tvmp_conv *conv, const struct tvmp_scale *scale) {
  const int32_t pair_bytes = conv->rows * conv->segments * tvmp_conv_words(conv) * 8;
  for (int32_t count = conv->channels / 2; count != 0; --count) {
    tvmp_conv_pixels(data, weight, pair, out, 2, conv, scale);
    weight += pair_bytes;
    out += 2;
    ++pair;
  }
  if (conv->channels % 2 != 0) {
    tvmp_conv_pixels(data, weight, pair, out, 1, conv, scale);
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
  const struct tvmp_scale scale = {
      .form = (enum tvmp_pair_form)form,
      .joint = joint,
      .exponent = exponent,
      .clamp_min = clamp_min,
      .clamp_max = clamp_max,
  };
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
 * windows agree share one function. There is one body, of three pixels: where they do not come out
 * even, the first block and the second overlap. */
TVMP_INLINE void tvmp_conv_shared(const int8_t *data, const int8_t *weight, const int32_t *channels,
                                  int8_t *out, int32_t pixels, int32_t channel_count,
                                  int32_t pixel_bytes, int32_t rows, int32_t row_bytes,
                                  int32_t segments, int32_t segment_step, int32_t segment_bytes,
                                  int32_t joint, int32_t form, int32_t exponent, int32_t clamp_min,
                                  int32_t clamp_max) {
  const struct tvmp_conv conv = {
      .pixels = pixels,
      .pixel_bytes = pixel_bytes,
      .rows = rows,
      .row_bytes = row_bytes,
      .segments = segments,
      .segment_step = segment_step,
      .segment_bytes = segment_bytes,
      .channels = channel_count,
      .stride = channel_count,
  };
  const struct tvmp_scale scale = {
      .form = (enum tvmp_pair_form)form,
      .joint = joint,
      .exponent = exponent,
      .clamp_min = clamp_min,
      .clamp_max = clamp_max,
  };
  const int32_t pair_bytes = rows * segments * tvmp_conv_words(&conv) * 8;
  const struct tvmp_pair *pair = (const struct tvmp_pair *)channels;
  const int32_t blocks = (pixels + 2) / 3;
  TVMP_ROLLED for (int32_t count = channel_count / 2; count != 0; --count) {
    const int8_t *from = data;
    int8_t *to = out;
    int32_t advance = pixels - 3 * (blocks - 1);
    TVMP_ROLLED for (int32_t left = blocks; left != 0; --left) {
      tvmp_conv_block(from, weight, pair, to, 3, 2, &conv, &scale);
      from += advance * pixel_bytes;
      to += advance * channel_count;
      advance = 3;
    }
    weight += pair_bytes;
    out += 2;
    ++pair;
  }
}

#endif
