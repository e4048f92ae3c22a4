/* float32 to int8 and back, at the edge of a model that keeps float inputs or outputs. */
#ifndef TVMP_BOUNDARY_H
#define TVMP_BOUNDARY_H

#include "dsp.h"

/* The number rounded towards zero, limited to int16. */
TVMP_INLINE int32_t tvmp_truncate16(float value) {
#if TVMP_HAS_DSP && defined(__ARM_FP) && (__ARM_FP & 4)
  int32_t whole;
  /* Saturates, which casts in C need not do. */
  __asm__("vcvt.s32.f32 %0, %0" : "+t"(value));
  __asm__("vmov %0, %1" : "=r"(whole) : "t"(value));
  __asm__("ssat %0, #16, %0" : "+r"(whole));
  return whole;
#else
  return value >= 32767.0f ? 32767 : value <= -32768.0f ? -32768 : (int32_t)value;
#endif
}

/* Rounded to nearest, halves away from zero. ``half_scale`` is half of the scale, so what is left
 * of a quotient without its fraction still tells a half: a step of twice the number. */
TVMP_INLINE int8_t tvmp_quantize_one(float value, float half_scale, int32_t zero_point) {
  const int32_t twice = tvmp_truncate16(value / half_scale);
  return (int8_t)tvmp_ssat8_asr(twice + (twice >> 31) + (2 * zero_point + 1), 1);
}

/* The output may begin where the input does. */
TVMP_INLINE void tvmp_quantize(const float *data, const float *half_scale, int8_t *out,
                               int32_t length, int32_t zero_point) {
  const float step = *half_scale;
  TVMP_BY_FOUR for (int32_t i = 0; i < length; ++i) {
    out[i] = tvmp_quantize_one(data[i], step, zero_point);
  }
}

TVMP_INLINE void tvmp_dequantize(const int8_t *data, const float *scale, float *out, int32_t length,
                                 int32_t zero_point) {
  const float step = *scale;
  TVMP_BY_FOUR for (int32_t i = 0; i < length; ++i) {
    out[i] = step * (float)(data[i] - zero_point);
  }
}

#endif
