/* Rows whose pixels are picked out of another row. */
#ifndef TVMP_RESIZE_H
#define TVMP_RESIZE_H

#include "dsp.h"

/* Pixels at offsets in bytes. The last word of a pixel may overlap the one before. */
TVMP_INLINE void tvmp_pick_pixels(const int8_t *data, const int32_t *offsets, int8_t *out,
                                  int32_t width, int32_t channels) {
  TVMP_ROLLED for (; width != 0; --width) {
    const int8_t *pixel = data + *offsets++;
    if (channels < 4) {
      for (int32_t i = 0; i < channels; ++i) {
        out[i] = pixel[i];
      }
    } else {
      TVMP_UNROLLED for (int32_t i = 0; i < channels / 4; ++i) {
        tvmp_store4(out + 4 * i, tvmp_load4(pixel + 4 * i));
      }
      if (channels % 4 != 0) {
        tvmp_store4(out + channels - 4, tvmp_load4(pixel + channels - 4));
      }
    }
    out += channels;
  }
}

#endif
