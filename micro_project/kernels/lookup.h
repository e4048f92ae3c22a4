/* Functions of int8 by table. */
#ifndef TVMP_LOOKUP_H
#define TVMP_LOOKUP_H

#include "dsp.h"

/* The table goes by the value's byte: 0 to 127, then -128 to -1. The output may be the input. */
TVMP_INLINE void tvmp_lookup(const int8_t *data, const int8_t *table, int8_t *out, int32_t length) {
  const uint8_t *at = (const uint8_t *)data;
  TVMP_ROLLED for (int32_t eights = length / 8; eights != 0; --eights) {
    for (int32_t i = 0; i < 8; ++i) {
      out[i] = table[at[i]];
    }
    at += 8;
    out += 8;
  }
  TVMP_ROLLED for (int32_t rest = length % 8; rest != 0; --rest) {
    *out++ = table[*at++];
  }
}

#endif
