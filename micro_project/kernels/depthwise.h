/* Depthwise convolution of one output row by square windows of 3, 5 or 7, stride 1 or 2.
 *
 * Four channels at a time, in steps along the row. A step *gathers* the input under its outputs as
 * pairs of int16 that SMLAD takes, then makes the *sums* of each channel, four outputs at once.
 *
 * Gathered data is an array of column pairs. Column pair i holds, for input columns 2i and 2i + 1,
 *
 *   for rows 0 and 1, rows 2 and 3, ...: [channel][column] a word, the upper row in its low half;
 *   for the last row: [channel] a word, column 2i in its low half.
 *
 * A pair of rows serves all columns of the window wherever it stands, so nothing is packed twice;
 * of the last row outputs in odd columns take pairs apart. Weights have the same pairs for each
 * channel: for each two rows those of each column; then the last row's (0, 1), (2, 3), ... and,
 * with stride 1, (1, 2), (3, 4), ..., of which the last has the last column that the first lack;
 * with stride 2 that column alone with a zero. Pairs are int8: a word of four bytes has the low
 * halves of two pairs in bytes 0 and 1, the high ones in bytes 2 and 3, as SXTB16 expands them. An
 * odd pair at the end has zeros beside it.
 *
 * A channel's parameters are bias, multiplier, and shifts: bits 0-7 right by up to 23, bits 8-15
 * left by 1 and what a positive shift of LiteRT is, bit 31 whether ties are rounded away from zero.
 */
#ifndef TVMP_DEPTHWISE_H
#define TVMP_DEPTHWISE_H

#include "dsp.h"

/* Sums of some channels; what is left of a job is one for the channels behind them. */
struct tvmp_depthwise_job {
  const int32_t *pairs; /* the channel's in the first column pair */
  int32_t place;        /* four times the channel's place in its group */
  const int8_t *weight;
  const int32_t *channel;
  int8_t *out;
  int32_t outputs;
  int32_t stride;   /* bytes from one output to the next */
  int32_t rounding; /* 2 * zero point + 1 */
  int32_t clamp_min;
  int32_t clamp_max;
  int32_t count; /* channels */
};

#if TVMP_HAS_DSP
#include "depthwise_dsp.h"
#else

TVMP_INLINE int32_t tvmp_depthwise_pair_words(int32_t kernel) {
  return kernel / 2 * 8 + 4;
}

/* Gather from two columns of four channels at a time, as long as there is room. */
TVMP_INLINE void tvmp_depthwise_gather(int32_t kernel, const int8_t *data, int32_t row_bytes,
                                       int32_t pixel_bytes, int32_t *to, const int32_t *end) {
  for (; to != end; data += 2 * pixel_bytes) {
    const int8_t *row = data;
    for (int32_t y = 0; y + 1 < kernel; y += 2, row += 2 * row_bytes, to += 8) {
      for (int32_t column = 0; column < 2; ++column) {
        uint32_t upper = tvmp_load4(row + column * pixel_bytes);
        uint32_t lower = tvmp_load4(row + row_bytes + column * pixel_bytes);
        uint32_t upper_even = tvmp_sxtb16(upper), upper_odd = tvmp_sxtb16_odd(upper);
        uint32_t lower_even = tvmp_sxtb16(lower), lower_odd = tvmp_sxtb16_odd(lower);
        to[column] = (int32_t)tvmp_pack_low(upper_even, lower_even);
        to[2 + column] = (int32_t)tvmp_pack_low(upper_odd, lower_odd);
        to[4 + column] = (int32_t)tvmp_pack_high(upper_even, lower_even);
        to[6 + column] = (int32_t)tvmp_pack_high(upper_odd, lower_odd);
      }
    }
    uint32_t left = tvmp_load4(row), right = tvmp_load4(row + pixel_bytes);
    *to++ = (int32_t)tvmp_pack_low(tvmp_sxtb16(left), tvmp_sxtb16(right));
    *to++ = (int32_t)tvmp_pack_low(tvmp_sxtb16_odd(left), tvmp_sxtb16_odd(right));
    *to++ = (int32_t)tvmp_pack_high(tvmp_sxtb16(left), tvmp_sxtb16(right));
    *to++ = (int32_t)tvmp_pack_high(tvmp_sxtb16_odd(left), tvmp_sxtb16_odd(right));
  }
}

TVMP_INLINE int8_t tvmp_depthwise_scale(int32_t sum, const struct tvmp_depthwise_job *job,
                                        const int32_t *channel) {
  int32_t right = channel[2] & 0xff;
  int32_t left = (channel[2] >> 8) & 0xff;
  int32_t sign = channel[2] < 0 && sum < 0 ? -1 : 0;
  int32_t rounding = (int32_t)((uint32_t)job->rounding << right) >> 1;
  int32_t scaled = (int32_t)((uint32_t)sum << left);
  int32_t value = tvmp_smmlar(scaled, channel[1], rounding + sign) >> right;
  return (int8_t)(value < job->clamp_min   ? job->clamp_min
                  : value > job->clamp_max ? job->clamp_max
                                           : value);
}

TVMP_INLINE void tvmp_depthwise_sums_of_one(int32_t kernel, int32_t stride,
                                            struct tvmp_depthwise_job *job) {
  const int32_t half = kernel / 2, step = tvmp_depthwise_pair_words(kernel);
  const int32_t last = half * kernel;
  const int32_t count = last + (stride == 1 ? kernel - 1 : half + 1);
  uint32_t weight[28];
  for (int32_t i = 0; i < count; i += 2, job->weight += 4) {
    weight[i] = tvmp_sxtb16(tvmp_load4(job->weight));
    weight[i + 1] = tvmp_sxtb16_odd(tvmp_load4(job->weight));
  }
  const int32_t *last_row = job->pairs - job->place / 4 + half * 8;
  int8_t *out = job->out;
  for (int32_t i = 0, column = 0; i < job->outputs; ++i, column += stride, out += job->stride) {
    int32_t sum = job->channel[0];
    for (int32_t pair = 0; pair < half; ++pair) {
      for (int32_t tap = 0; tap < kernel; ++tap) {
        int32_t at = column + tap;
        uint32_t rows = (uint32_t)job->pairs[at / 2 * step + at % 2 + 8 * pair];
        sum = tvmp_smlad(rows, weight[pair * kernel + tap], sum);
      }
    }
    const int32_t *word = last_row + column / 2 * step;
    if (column % 2 == 0) {
      for (int32_t i = 0; i < half; ++i, word += step) {
        sum = tvmp_smlad((uint32_t)*word, weight[last + i], sum);
      }
      uint32_t alone = stride == 1 ? weight[last + 2 * half - 1] >> 16 : weight[last + half];
      sum = tvmp_smlabb((uint32_t)*word, alone, sum);
    } else {
      sum = tvmp_smlatt((uint32_t)*word, weight[last] << 16, sum);
      for (int32_t i = 0; i < half; ++i) {
        word += step;
        sum = tvmp_smlad((uint32_t)*word, weight[last + half + i], sum);
      }
    }
    *out = tvmp_depthwise_scale(sum, job, job->channel);
  }
  job->pairs += 2;
  job->place += 4;
  job->channel += 3;
  job->out += 1;
}

TVMP_INLINE void tvmp_depthwise_sums(int32_t kernel, int32_t stride,
                                     struct tvmp_depthwise_job *job) {
  for (; job->count != 0; --job->count) {
    tvmp_depthwise_sums_of_one(kernel, stride, job);
  }
}

#define TVMP_DEPTHWISE_GATHER(kernel)                                                              \
  __attribute__((unused)) static void tvmp_depthwise_gather_##kernel(                              \
      const int8_t *data, int32_t row_bytes, int32_t pixel_bytes, int32_t *to, int32_t *end) {     \
    tvmp_depthwise_gather(kernel, data, row_bytes, pixel_bytes, to, end);                          \
  }                                                                                                \
  __attribute__((unused)) static void tvmp_depthwise_keep_##kernel(int32_t *to,                    \
                                                                   const int32_t *from) {          \
    memmove(to, from, kernel / 2 * (kernel / 2 * 8 + 4) * sizeof *to);                             \
  }
#define TVMP_DEPTHWISE_SUMS(kernel, stride, suffix)                                                \
  __attribute__((unused)) static void tvmp_depthwise_sums_##kernel##_##stride##suffix(             \
      struct tvmp_depthwise_job *job) {                                                            \
    tvmp_depthwise_sums(kernel, stride, job);                                                      \
  }

TVMP_DEPTHWISE_GATHER(3)
TVMP_DEPTHWISE_GATHER(5)
TVMP_DEPTHWISE_GATHER(7)
TVMP_DEPTHWISE_SUMS(3, 1, _rectified)
TVMP_DEPTHWISE_SUMS(3, 2, _rectified)
TVMP_DEPTHWISE_SUMS(5, 1, _rectified)
TVMP_DEPTHWISE_SUMS(5, 2, _rectified)
TVMP_DEPTHWISE_SUMS(7, 1, _rectified)
TVMP_DEPTHWISE_SUMS(7, 2, _rectified)
TVMP_DEPTHWISE_SUMS(3, 1, _any)
TVMP_DEPTHWISE_SUMS(3, 2, _any)
TVMP_DEPTHWISE_SUMS(5, 1, _any)
TVMP_DEPTHWISE_SUMS(5, 2, _any)
TVMP_DEPTHWISE_SUMS(7, 1, _any)
TVMP_DEPTHWISE_SUMS(7, 2, _any)

#endif

/* What depends on the window. */
struct tvmp_depthwise_window {
  int32_t kernel;
  int32_t stride;
  void (*gather)(const int8_t *data, int32_t row_bytes, int32_t pixel_bytes, int32_t *to,
                 int32_t *end);
  void (*keep)(int32_t *to, const int32_t *from);
  void (*sums)(struct tvmp_depthwise_job *job);
};

/* A layer. */
struct tvmp_depthwise {
  int32_t blocks;       /* of four outputs, in a step */
  int32_t width;        /* outputs of the row */
  int32_t channels;     /* of the input */
  int32_t multiplicity; /* output channels of each */
  int32_t row_bytes;    /* from one input row to the next */
  int32_t zero_point;
  int32_t clamp_min;
  int32_t clamp_max;
};

/* Columns that a step reads, rounded up to pairs. */
#define TVMP_DEPTHWISE_COLUMNS(kernel, stride, blocks)                                             \
  (((4 * (blocks) - 1) * (stride) + (kernel) + 1) / 2 * 2)
#define TVMP_DEPTHWISE_PAIR_WORDS(kernel) ((kernel) / 2 * 8 + 4)

/* Gathering where there are fewer than four channels: byte by byte, nothing behind them is read. */
__attribute__((noinline, unused)) static void
tvmp_depthwise_gather_few(int32_t kernel, int32_t channels, const int8_t *data, int32_t row_bytes,
                          int32_t pixel_bytes, int32_t *to, const int32_t *end) {
  for (; to != end; data += 2 * pixel_bytes) {
    const int8_t *row = data;
    for (int32_t y = 0; y + 1 < kernel; y += 2, row += 2 * row_bytes, to += 8) {
      for (int32_t channel = 0; channel < channels; ++channel) {
        for (int32_t column = 0; column < 2; ++column) {
          const int8_t *pixel = row + column * pixel_bytes + channel;
          to[2 * channel + column] = (int32_t)tvmp_pair(pixel[0], pixel[row_bytes]);
        }
      }
    }
    for (int32_t channel = 0; channel < channels; ++channel) {
      to[channel] = (int32_t)tvmp_pair(row[channel], row[channel + pixel_bytes]);
    }
    to += 4;
  }
}

/* Columns of one group; the pair of an odd one at the end has that column twice. */
TVMP_INLINE void tvmp_depthwise_gather_columns(const struct tvmp_depthwise_window *window,
                                               const struct tvmp_depthwise *layer,
                                               const int8_t *from, int32_t columns, int32_t *to) {
  int32_t next = layer->channels;
  int32_t *end = to + columns / 2 * TVMP_DEPTHWISE_PAIR_WORDS(window->kernel);
  if (layer->channels < 4) {
    tvmp_depthwise_gather_few(window->kernel, next, from, layer->row_bytes, next, to, end);
  } else if (to != end) {
    window->gather(from, layer->row_bytes, next, to, end);
  }
  if (columns % 2 == 0) {
    return;
  }
  from += (columns - 1) * next;
  to = end;
  end += TVMP_DEPTHWISE_PAIR_WORDS(window->kernel);
  if (layer->channels < 4) {
    tvmp_depthwise_gather_few(window->kernel, next, from, layer->row_bytes, 0, to, end);
  } else {
    window->gather(from, layer->row_bytes, 0, to, end);
  }
}

/* Outputs of a step from gathered columns: count channels of a group, from its place-th on. */
TVMP_INLINE void tvmp_depthwise_step(const struct tvmp_depthwise_window *window,
                                     const struct tvmp_depthwise *layer, const int32_t *pairs,
                                     int32_t place, int32_t count, struct tvmp_depthwise_job *job) {
  if (layer->multiplicity == 1) {
    job->pairs = pairs + 2 * place;
    job->place = 4 * place;
    job->count = count;
    window->sums(job);
    return;
  }
  for (int32_t channel = place; channel < place + count; ++channel) {
    for (int32_t repeat = layer->multiplicity; repeat != 0; --repeat) {
      job->pairs = pairs + 2 * channel;
      job->place = 4 * channel;
      job->count = 1;
      window->sums(job);
    }
  }
}

/* A row, by way of ``pairs``, which has room for a step. */
__attribute__((noinline, unused)) static void
tvmp_depthwise_row(const struct tvmp_depthwise_window *window, const struct tvmp_depthwise *layer,
                   const int8_t *data, const int8_t *weight, const int32_t *channel, int8_t *out,
                   int32_t *pairs) {
  const int32_t stride = window->stride, step = 4 * layer->blocks;
  const int32_t step_columns = TVMP_DEPTHWISE_COLUMNS(window->kernel, stride, layer->blocks);
  const int32_t pair_words = TVMP_DEPTHWISE_PAIR_WORDS(window->kernel);
  const int32_t columns = (layer->width - 1) * stride + window->kernel;
  const int32_t kept = step_columns - step * stride;
  /* Sums of outputs beyond the row read up to here, though nothing was gathered there. */
  pairs[step_columns / 2 * pair_words - 1] = 0;
  struct tvmp_depthwise_job job;
  job.weight = weight;
  job.channel = channel;
  job.stride = layer->channels * layer->multiplicity;
  job.rounding = 2 * layer->zero_point + 1;
  job.clamp_min = layer->clamp_min;
  job.clamp_max = layer->clamp_max;
  for (int32_t missing = layer->channels; missing > 0; missing -= 4, data += 4) {
    int32_t place = 0, count = 4;
    if (missing < 4) {
      /* The last group begins earlier, lest it reach beyond the pixel. */
      count = missing;
      place = layer->channels >= 4 ? 4 - missing : 0;
      data -= place;
    }
    job.out = out;
    if (layer->width <= step) {
      tvmp_depthwise_gather_columns(window, layer, data, columns, pairs);
      job.outputs = layer->width;
      tvmp_depthwise_step(window, layer, pairs, place, count, &job);
    } else {
      weight = job.weight;
      channel = job.channel;
      tvmp_depthwise_gather_columns(window, layer, data, step_columns, pairs);
      for (int32_t x = 0, gathered = step_columns;; x += step) {
        job.weight = weight;
        job.channel = channel;
        job.out = out + x * job.stride;
        job.outputs = layer->width - x < step ? layer->width - x : step;
        tvmp_depthwise_step(window, layer, pairs, place, count, &job);
        if (x + step >= layer->width) {
          break;
        }
        window->keep(pairs, pairs + step * stride / 2 * pair_words);
        int32_t fresh = columns - gathered < step * stride ? columns - gathered : step * stride;
        tvmp_depthwise_gather_columns(window, layer, data + gathered * layer->channels, fresh,
                                      pairs + kept / 2 * pair_words);
        gathered += fresh;
      }
    }
    out += count * layer->multiplicity;
  }
}

#define TVMP_DEPTHWISE(kernel, stride, suffix)                                                     \
  TVMP_INLINE void tvmp_depthwise_##kernel##_##stride##suffix(                                     \
      const int8_t *data, const int8_t *weight, const int32_t *channel, int8_t *out,               \
      void *scratch, int32_t blocks, int32_t width, int32_t channels, int32_t multiplicity,        \
      int32_t row_bytes, int32_t zero_point, int32_t clamp_min, int32_t clamp_max) {               \
    static const struct tvmp_depthwise_window window = {                                           \
        kernel,                                                                                    \
        stride,                                                                                    \
        tvmp_depthwise_gather_##kernel,                                                            \
        tvmp_depthwise_keep_##kernel,                                                              \
        tvmp_depthwise_sums_##kernel##_##stride##suffix,                                           \
    };                                                                                             \
    const struct tvmp_depthwise layer = {                                                          \
        blocks, width, channels, multiplicity, row_bytes, zero_point, clamp_min, clamp_max,        \
    };                                                                                             \
    tvmp_depthwise_row(&window, &layer, data, weight, channel, out, (int32_t *)scratch);           \
  }

TVMP_DEPTHWISE(3, 1, _rectified)
TVMP_DEPTHWISE(3, 2, _rectified)
TVMP_DEPTHWISE(5, 1, _rectified)
TVMP_DEPTHWISE(5, 2, _rectified)
TVMP_DEPTHWISE(7, 1, _rectified)
TVMP_DEPTHWISE(7, 2, _rectified)
TVMP_DEPTHWISE(3, 1, _any)
TVMP_DEPTHWISE(3, 2, _any)
TVMP_DEPTHWISE(5, 1, _any)
TVMP_DEPTHWISE(5, 2, _any)
TVMP_DEPTHWISE(7, 1, _any)
TVMP_DEPTHWISE(7, 2, _any)

#endif
