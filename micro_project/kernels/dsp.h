/* Instructions of the Arm DSP extension (Cortex-M4, M7, M33) as inline functions.
 *
 * Elsewhere the same functions are plain C, so that kernels are tested on any machine. Packed
 * operands hold two int16 halves or four int8 bytes in an uint32_t, lowest first. All arithmetic
 * wraps. */
#ifndef TVMP_DSP_H
#define TVMP_DSP_H

#include <stdint.h>
#include <string.h>

#define TVMP_INLINE static inline __attribute__((always_inline, unused))

/* Before a loop: leave it a loop. Unrolled bodies would cost flash and win next to nothing. */
#define TVMP_ROLLED _Pragma("GCC unroll 1")

/* The same where a loop of few turns might be spelled out all the same: how many is not known. */
#if defined(__GNUC__)
#define TVMP_UNKNOWN(variable) __asm__("" : "+r"(variable))
#else
#define TVMP_UNKNOWN(variable)
#endif

/* Before a loop of few turns, whose number is constant: write them out. */
#define TVMP_UNROLLED _Pragma("GCC unroll 8")

/* Before a loop of many short turns: a branch every few of them. */
#define TVMP_BY_FOUR _Pragma("GCC unroll 4")

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define TVMP_HAS_DSP 1
#else
#define TVMP_HAS_DSP 0
#endif

/* Four bytes at any address. */
TVMP_INLINE uint32_t tvmp_load4(const void *address) {
  uint32_t word;
  memcpy(&word, address, sizeof word);
  return word;
}

/* Two bytes at any address, written. */
TVMP_INLINE void tvmp_store2(void *address, uint32_t halfword) {
  uint16_t value = (uint16_t)halfword;
  memcpy(address, &value, sizeof value);
}

/* Four bytes at any address, written. */
TVMP_INLINE void tvmp_store4(void *address, uint32_t word) {
  memcpy(address, &word, sizeof word);
}

/* The two halves of a word as signed numbers. */
TVMP_INLINE int32_t tvmp_low(uint32_t pair) {
  return (int16_t)(pair & 0xffffu);
}

TVMP_INLINE int32_t tvmp_high(uint32_t pair) {
  return (int16_t)(pair >> 16);
}

/* Two signed halves in one word. */
TVMP_INLINE uint32_t tvmp_pair(int32_t low, int32_t high) {
  return ((uint32_t)low & 0xffffu) | ((uint32_t)high << 16);
}

TVMP_INLINE uint32_t tvmp_ror8(uint32_t word) {
  return (word >> 8) | (word << 24);
}

/* SXTB16: bytes 0 and 2, sign-extended to halves. */
TVMP_INLINE uint32_t tvmp_sxtb16(uint32_t bytes) {
#if TVMP_HAS_DSP
  uint32_t halves;
  __asm__("sxtb16 %0, %1" : "=r"(halves) : "r"(bytes));
  return halves;
#else
  return tvmp_pair((int8_t)(bytes & 0xffu), (int8_t)((bytes >> 16) & 0xffu));
#endif
}

/* SXTB16 with ROR #8: bytes 1 and 3, sign-extended to halves. */
TVMP_INLINE uint32_t tvmp_sxtb16_odd(uint32_t bytes) {
#if TVMP_HAS_DSP
  uint32_t halves;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(bytes));
  return halves;
#else
  return tvmp_sxtb16(tvmp_ror8(bytes));
#endif
}

/* SADD16 of a word and itself: both halves doubled. */
TVMP_INLINE uint32_t tvmp_double16(uint32_t halves) {
#if TVMP_HAS_DSP
  uint32_t doubled;
  __asm__("sadd16 %0, %1, %1" : "=r"(doubled) : "r"(halves));
  return doubled;
#else
  return tvmp_pair(2 * tvmp_low(halves), 2 * tvmp_high(halves));
#endif
}

/* SXTAB16: both halves of a word plus bytes 0 and 2, or, with ROR #8, bytes 1 and 3. */
TVMP_INLINE uint32_t tvmp_sxtab16(uint32_t halves, uint32_t bytes) {
#if TVMP_HAS_DSP
  uint32_t sums;
  __asm__("sxtab16 %0, %1, %2" : "=r"(sums) : "r"(halves), "r"(bytes));
  return sums;
#else
  return tvmp_pair(tvmp_low(halves) + (int8_t)(bytes & 0xffu),
                   tvmp_high(halves) + (int8_t)((bytes >> 16) & 0xffu));
#endif
}

TVMP_INLINE uint32_t tvmp_sxtab16_odd(uint32_t halves, uint32_t bytes) {
#if TVMP_HAS_DSP
  uint32_t sums;
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(sums) : "r"(halves), "r"(bytes));
  return sums;
#else
  return tvmp_sxtab16(halves, tvmp_ror8(bytes));
#endif
}

/* UXTB16: bytes 0 and 2 as halves. */
TVMP_INLINE uint32_t tvmp_uxtb16(uint32_t bytes) {
#if TVMP_HAS_DSP
  uint32_t halves;
  __asm__("uxtb16 %0, %1" : "=r"(halves) : "r"(bytes));
  return halves;
#else
  return bytes & 0x00ff00ffu;
#endif
}

/* SADD16: both halves of a sum. */
TVMP_INLINE uint32_t tvmp_sadd16(uint32_t a, uint32_t b) {
#if TVMP_HAS_DSP
  uint32_t sums;
  __asm__("sadd16 %0, %1, %2" : "=r"(sums) : "r"(a), "r"(b));
  return sums;
#else
  return tvmp_pair(tvmp_low(a) + tvmp_low(b), tvmp_high(a) + tvmp_high(b));
#endif
}

/* SSUB8 and SEL: the greater, or the lesser, of each two signed bytes. */
TVMP_INLINE uint32_t tvmp_max4(uint32_t a, uint32_t b) {
#if TVMP_HAS_DSP
  uint32_t difference;
  __asm__("ssub8 %1, %0, %2\n\tsel %0, %0, %2" : "+r"(a), "=&r"(difference) : "r"(b) : "cc");
  return a;
#else
  uint32_t greater = 0;
  for (int32_t bit = 0; bit < 32; bit += 8) {
    uint32_t byte = (int8_t)(a >> bit) >= (int8_t)(b >> bit) ? a >> bit : b >> bit;
    greater |= (byte & 0xffu) << bit;
  }
  return greater;
#endif
}

TVMP_INLINE uint32_t tvmp_min4(uint32_t a, uint32_t b) {
#if TVMP_HAS_DSP
  uint32_t difference;
  __asm__("ssub8 %1, %0, %2\n\tsel %0, %2, %0" : "+r"(a), "=&r"(difference) : "r"(b) : "cc");
  return a;
#else
  return ~tvmp_max4(~a, ~b);
#endif
}

/* SMULBB and SMULTT: the product of the low, or of the high, halves. */
TVMP_INLINE int32_t tvmp_smulbb(uint32_t a, uint32_t b) {
#if TVMP_HAS_DSP
  int32_t result;
  __asm__("smulbb %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
  return result;
#else
  return tvmp_low(a) * tvmp_low(b);
#endif
}

TVMP_INLINE int32_t tvmp_smultt(uint32_t a, uint32_t b) {
#if TVMP_HAS_DSP
  int32_t result;
  __asm__("smultt %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
  return result;
#else
  return tvmp_high(a) * tvmp_high(b);
#endif
}

/* SMLAD: sum + low * low + high * high. */
TVMP_INLINE int32_t tvmp_smlad(uint32_t a, uint32_t b, int32_t sum) {
#if TVMP_HAS_DSP
  __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
#else
  uint32_t low = (uint32_t)(tvmp_low(a) * tvmp_low(b));
  uint32_t high = (uint32_t)(tvmp_high(a) * tvmp_high(b));
  return (int32_t)((uint32_t)sum + low + high);
#endif
}

/* SMLABB and SMLATT: sum + product of the low, or of the high, halves. */
TVMP_INLINE int32_t tvmp_smlabb(uint32_t a, uint32_t b, int32_t sum) {
#if TVMP_HAS_DSP
  __asm__("smlabb %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(tvmp_low(a) * tvmp_low(b)));
#endif
}

TVMP_INLINE int32_t tvmp_smlatt(uint32_t a, uint32_t b, int32_t sum) {
#if TVMP_HAS_DSP
  __asm__("smlatt %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(tvmp_high(a) * tvmp_high(b)));
#endif
}

/* SMLAWB and SMLAWT: sum + the product of a word and a low, or a high, half, shifted right by 16.
 */
TVMP_INLINE int32_t tvmp_smlawb(int32_t a, uint32_t b, int32_t sum) {
#if TVMP_HAS_DSP
  int32_t result;
  __asm__("smlawb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(((int64_t)a * tvmp_low(b)) >> 16));
#endif
}

TVMP_INLINE int32_t tvmp_smlawt(int32_t a, uint32_t b, int32_t sum) {
#if TVMP_HAS_DSP
  int32_t result;
  __asm__("smlawt %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(((int64_t)a * tvmp_high(b)) >> 16));
#endif
}

/* PKHBT and PKHTB: the low half of a below the low half of b; the high half of b above that of a.
 */
TVMP_INLINE uint32_t tvmp_pack_low(uint32_t a, uint32_t b) {
#if TVMP_HAS_DSP
  uint32_t pair;
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pair) : "r"(a), "r"(b));
  return pair;
#else
  return (a & 0xffffu) | (b << 16);
#endif
}

TVMP_INLINE uint32_t tvmp_pack_high(uint32_t a, uint32_t b) {
#if TVMP_HAS_DSP
  uint32_t pair;
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pair) : "r"(b), "r"(a));
  return pair;
#else
  return (a >> 16) | (b & 0xffff0000u);
#endif
}

/* SMMLA: sum + the product's upper 32 bits, rounded down. */
TVMP_INLINE int32_t tvmp_smmla(int32_t a, int32_t b, int32_t sum) {
#if TVMP_HAS_DSP
  int32_t result;
  __asm__("smmla %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(((int64_t)a * b) >> 32));
#endif
}

/* SMMLAR: sum + the product's upper 32 bits, rounded to nearest, halves up. */
TVMP_INLINE int32_t tvmp_smmlar(int32_t a, int32_t b, int32_t sum) {
#if TVMP_HAS_DSP
  int32_t result;
  __asm__("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
  return result;
#else
  return (int32_t)((uint32_t)sum + (uint32_t)(((int64_t)a * b + 0x80000000ll) >> 32));
#endif
}

/* SSAT #8 of a value shifted right by a constant in [1, 31]. */
#if TVMP_HAS_DSP
#define tvmp_ssat8_asr(value, shift)                                                               \
  __extension__({                                                                                  \
    int32_t saturated_;                                                                            \
    __asm__("ssat %0, #8, %1, asr %2" : "=r"(saturated_) : "r"(value), "I"(shift));                \
    saturated_;                                                                                    \
  })
#else
TVMP_INLINE int32_t tvmp_ssat8_asr(int32_t value, int32_t shift) {
  int32_t shifted = value >> shift;
  return shifted < -128 ? -128 : shifted > 127 ? 127 : shifted;
}
#endif

#endif
