/* Sums of depthwise.h on cores with the DSP extension: assembly, by square windows of 3, 5 and 7
 * and strides of 1 and 2. See depthwise.h for what the functions do; the C there does the same.
 *
 * Assembly, because compilers spill: four accumulators, up to seven weights, two columns and a
 * pointer take all 14 registers. */
#ifndef TVMP_DEPTHWISE_DSP_H
#define TVMP_DEPTHWISE_DSP_H

#include "depthwise_products.h"

#if TVMP_HAS_DSP

struct tvmp_depthwise_job;

/* clang-format off */

/* The frame: bias, weights, then
 *   what END reads: multiplier, rounding, right shift, out, outputs left, left shift, stride;
 *   the next channel's: pairs, place, weight, channel, out;
 *   outputs of each channel, 2 * zero point + 1, channels left.
 * Above it lies the address of the job. */
#define TVMP_DW_FRAME_SIZE(weights) "#4+4*(" weights "+15)"
#define TVMP_DW_FRAME(at) "[sp, #4+4*(" at ")]"
#define TVMP_DW_JOB(weights) "[sp, #4+4*(" weights "+15)]"
#define TVMP_DW_LOAD(first, registers)       \
  TVMP_DW_LINE("add r12, sp, #4+4*(" first ")") \
  TVMP_DW_LINE("ldm r12, " registers)
#define TVMP_DW_LOAD_TWO(registers)          \
  TVMP_DW_LINE("ldm sp, {r1, " registers "}") \
  TVMP_DW_LINE("mov r2, r1")
/* The place is the next channel's. */
#define TVMP_DW_LAST_BASE(weights)           \
  TVMP_DW_LINE("ldr r11, " TVMP_DW_FRAME(weights "+8")) \
  TVMP_DW_LINE("sub r11, r0, r11")

/* Four bytes of weights are two pairs of int16, see depthwise.h. */
#define TVMP_DW_EXPAND(low, high)               \
  TVMP_DW_LINE("sxtb16 " low ", " high)         \
  TVMP_DW_LINE("sxtb16 " high ", " high ", ror #8")
#define TVMP_DW_EXPAND_4                        \
  TVMP_DW_LINE("ldm r2!, {r5, r7, r9, r11}")    \
  TVMP_DW_EXPAND("r4", "r5") TVMP_DW_EXPAND("r6", "r7") \
  TVMP_DW_EXPAND("r8", "r9") TVMP_DW_EXPAND("r10", "r11") \
  TVMP_DW_LINE("stm r12!, {r4-r11}")
#define TVMP_DW_EXPAND_3                        \
  TVMP_DW_LINE("ldm r2!, {r5, r7, r9}")         \
  TVMP_DW_EXPAND("r4", "r5") TVMP_DW_EXPAND("r6", "r7") TVMP_DW_EXPAND("r8", "r9") \
  TVMP_DW_LINE("stm r12!, {r4-r9}")
#define TVMP_DW_EXPAND_2                        \
  TVMP_DW_LINE("ldm r2!, {r5, r7}")             \
  TVMP_DW_EXPAND("r4", "r5") TVMP_DW_EXPAND("r6", "r7") \
  TVMP_DW_LINE("stm r12!, {r4-r7}")
#define TVMP_DW_EXPAND_1                        \
  TVMP_DW_LINE("ldr r5, [r2], #4")              \
  TVMP_DW_EXPAND("r4", "r5")                    \
  TVMP_DW_LINE("strd r4, r5, [r12]")

/* Requantisation where the clamp has no work but saturation, and negative values come out as its lower
 * end however they are rounded; and in general. r5: multiplier, r6: rounding, r7 and r10: shifts. */
#define TVMP_DW_SCALE_RECTIFIED(a)              \
  TVMP_DW_LINE("lsl " a ", " a ", r10")         \
  TVMP_DW_LINE("smmlar " a ", " a ", r5, r6")   \
  TVMP_DW_LINE("asr " a ", " a ", r7")          \
  TVMP_DW_LINE("ssat " a ", #8, " a)
#define TVMP_DW_SCALE_ANY(a)                    \
  TVMP_DW_LINE("lsl " a ", " a ", r10")         \
  TVMP_DW_LINE("and lr, r12, " a ", asr #31")   \
  TVMP_DW_LINE("add lr, lr, r6")                \
  TVMP_DW_LINE("smmlar " a ", " a ", r5, lr")   \
  TVMP_DW_LINE("asr " a ", " a ", r7")
#define TVMP_DW_CLAMP(a)                        \
  TVMP_DW_LINE("cmp " a ", r12")                \
  TVMP_DW_LINE("it lt")                         \
  TVMP_DW_LINE("movlt " a ", r12")              \
  TVMP_DW_LINE("cmp " a ", lr")                 \
  TVMP_DW_LINE("it gt")                         \
  TVMP_DW_LINE("movgt " a ", lr")
#define TVMP_DW_LOAD_CLAMP(weights)             \
  TVMP_DW_LINE("ldr r12, " TVMP_DW_JOB(weights)) \
  TVMP_DW_LINE("ldrd r12, lr, [r12, #32]")
#define TVMP_DW_FOUR_RECTIFIED(weights)         \
  TVMP_DW_SCALE_RECTIFIED("r1") TVMP_DW_SCALE_RECTIFIED("r2") \
  TVMP_DW_SCALE_RECTIFIED("r3") TVMP_DW_SCALE_RECTIFIED("r4")
#define TVMP_DW_TWO_RECTIFIED(weights)          \
  TVMP_DW_SCALE_RECTIFIED("r1") TVMP_DW_SCALE_RECTIFIED("r2")
#define TVMP_DW_FOUR_ANY(weights)               \
  TVMP_DW_LINE("asr r12, r7, #31")              \
  TVMP_DW_SCALE_ANY("r1") TVMP_DW_SCALE_ANY("r2") TVMP_DW_SCALE_ANY("r3") TVMP_DW_SCALE_ANY("r4") \
  TVMP_DW_LOAD_CLAMP(weights)                   \
  TVMP_DW_CLAMP("r1") TVMP_DW_CLAMP("r2") TVMP_DW_CLAMP("r3") TVMP_DW_CLAMP("r4")
#define TVMP_DW_TWO_ANY(weights)                \
  TVMP_DW_LINE("asr r12, r7, #31")              \
  TVMP_DW_SCALE_ANY("r1") TVMP_DW_SCALE_ANY("r2") \
  TVMP_DW_LOAD_CLAMP(weights)                   \
  TVMP_DW_CLAMP("r1") TVMP_DW_CLAMP("r2")

/* The job into the frame; for each channel its parameters and weights, and the next one's pointers. */
#define TVMP_DW_ENTER(weights, expand)                                                            \
  TVMP_DW_LINE("push {r0, r4-r11, lr}")                                                           \
  TVMP_DW_LINE("sub sp, sp, " TVMP_DW_FRAME_SIZE(weights))                                        \
  TVMP_DW_LINE("ldm r0, {r1-r8}")                                                                 \
  TVMP_DW_LINE("ldr r9, [r0, #40]")                                                               \
  TVMP_DW_LINE("str r7, " TVMP_DW_FRAME(weights "+6"))                                            \
  TVMP_DW_LINE("add r12, sp, #4+4*(" weights "+7)")                                               \
  TVMP_DW_LINE("stm r12, {r1-r6, r8, r9}")                                                        \
  "0:\n\t"                                                                                        \
  TVMP_DW_LOAD(weights "+7", "{r0-r4, r10}")                                                      \
  TVMP_DW_LINE("ldm r3!, {r5, r6, r8}")                                                           \
  TVMP_DW_LINE("ldr r7, " TVMP_DW_FRAME(weights "+13"))                                           \
  TVMP_DW_LINE("lsl r7, r7, r8")                                                                  \
  TVMP_DW_LINE("asr r7, r7, #1")                                                                  \
  TVMP_DW_LINE("asr r11, r8, #8")                                                                 \
  TVMP_DW_LINE("mov r9, r4")                                                                      \
  TVMP_DW_LINE("str r5, [sp]")                                                                    \
  TVMP_DW_LINE("add r12, sp, #4+4*(" weights ")")                                                 \
  TVMP_DW_LINE("stm r12, {r6-r11}")                                                               \
  TVMP_DW_LINE("add r5, r0, #8")                                                                  \
  TVMP_DW_LINE("adds r1, r1, #4")                                                                 \
  TVMP_DW_LINE("adds r4, r4, #1")                                                                 \
  TVMP_DW_LINE("strd r5, r1, " TVMP_DW_FRAME(weights "+7"))                                       \
  TVMP_DW_LINE("strd r3, r4, " TVMP_DW_FRAME(weights "+10"))                                      \
  TVMP_DW_LINE("add r12, sp, #4")                                                                 \
  expand                                                                                          \
  TVMP_DW_LINE("str r2, " TVMP_DW_FRAME(weights "+9"))                                            \
  TVMP_DW_LINE("ldr r4, " TVMP_DW_FRAME(weights "+12"))                                           \
  TVMP_DW_LINE("cmp r4, #2")                                                                      \
  TVMP_DW_LINE("bls 4f")

/* Four outputs requantised and written, of the last ones those that there are; again while more than
 * two are left; then one or two of their own; then the next channel. r8: out, r9: left, r11: stride. */
#define TVMP_DW_LEAVE(kernel, stride, weights, form, two)                                         \
  TVMP_DW_LOAD(weights, "{r5-r11}")                                                               \
  TVMP_DW_FOUR_##form(weights)                                                                    \
  TVMP_DW_LINE("subs r9, r9, #4")                                                                 \
  TVMP_DW_LINE("blo 2f")                                                                          \
  TVMP_DW_LINE("strb r1, [r8]")                                                                   \
  TVMP_DW_LINE("strb r2, [r8, r11]")                                                              \
  TVMP_DW_LINE("strb r3, [r8, r11, lsl #1]")                                                      \
  TVMP_DW_LINE("add r8, r8, r11, lsl #1")                                                         \
  TVMP_DW_LINE("strb r4, [r8, r11]")                                                              \
  TVMP_DW_LINE("add r8, r8, r11, lsl #1")                                                         \
  TVMP_DW_LINE("strd r8, r9, " TVMP_DW_FRAME(weights "+3"))                                       \
  TVMP_DW_LINE("add r0, r0, #2*(" #kernel "/2*32+16)*" #stride)                                   \
  TVMP_DW_LINE("cmp r9, #2")                                                                      \
  TVMP_DW_LINE("bhi 1b")                                                                          \
  TVMP_DW_LINE("cmp r9, #0")                                                                      \
  TVMP_DW_LINE("beq 3f")                                                                          \
  "4:\n\t"                                                                                        \
  two                                                                                             \
  TVMP_DW_LOAD(weights, "{r5-r11}")                                                               \
  TVMP_DW_TWO_##form(weights)                                                                     \
  TVMP_DW_LINE("strb r1, [r8]")                                                                   \
  TVMP_DW_LINE("cmp r9, #1")                                                                      \
  TVMP_DW_LINE("it ne")                                                                           \
  TVMP_DW_LINE("strbne r2, [r8, r11]")                                                            \
  TVMP_DW_LINE("b 3f")                                                                            \
  "2:\n\t"                                                                                        \
  TVMP_DW_LINE("strb r1, [r8]")                                                                   \
  TVMP_DW_LINE("adds r9, r9, #3")                                                                 \
  TVMP_DW_LINE("beq 3f")                                                                          \
  TVMP_DW_LINE("strb r2, [r8, r11]")                                                              \
  TVMP_DW_LINE("subs r9, r9, #1")                                                                 \
  TVMP_DW_LINE("it ne")                                                                           \
  TVMP_DW_LINE("strbne r3, [r8, r11, lsl #1]")                                                    \
  "3:\n\t"                                                                                        \
  TVMP_DW_LINE("ldr r1, " TVMP_DW_FRAME(weights "+14"))                                           \
  TVMP_DW_LINE("subs r1, r1, #1")                                                                 \
  TVMP_DW_LINE("str r1, " TVMP_DW_FRAME(weights "+14"))                                           \
  TVMP_DW_LINE("bne 0b")                                                                          \
  TVMP_DW_LOAD(weights "+9", "{r1-r3}")                                                           \
  TVMP_DW_LINE("ldr r0, " TVMP_DW_JOB(weights))                                                   \
  TVMP_DW_LINE("strd r1, r2, [r0, #8]")                                                           \
  TVMP_DW_LINE("str r3, [r0, #16]")                                                               \
  TVMP_DW_LINE("add sp, sp, " TVMP_DW_FRAME_SIZE(weights))                                        \
  "pop {r0, r4-r11, pc}"

#define TVMP_DW_SUMS(kernel, stride, weights, expand, suffix, form, four, two)                    \
  __attribute__((naked, noinline, unused)) static void                                            \
      tvmp_depthwise_sums_##kernel##_##stride##suffix(struct tvmp_depthwise_job *job) {           \
    (void)job;                                                                                    \
    __asm__ volatile(TVMP_DW_ENTER(weights, expand) "1:\n\t" four                                 \
                         TVMP_DW_LEAVE(kernel, stride, weights, form, two));                      \
  }

/* Sums of a block, after what begins the first two rows: SUMS_5 and SUMS_7 with the registers that the
 * last row's weights go to. */
#define TVMP_DW_SUMS_3(two, stride) TVMP_DW_LAST_BASE("6") TVMP_DW_##two##LAST_3_##stride
#define TVMP_DW_SUMS_5(two, stride, last)                                                         \
  TVMP_DW_LOAD("5", "{r5-r9}") TVMP_DW_##two##PAIR_5_##stride(1)                                  \
  TVMP_DW_LOAD("10", last) TVMP_DW_LAST_BASE("14") TVMP_DW_##two##LAST_5_##stride
#define TVMP_DW_SUMS_7(two, stride, weights, last)                                                \
  TVMP_DW_LOAD("7", "{r5-r11}") TVMP_DW_##two##PAIR_7_##stride(1)                                 \
  TVMP_DW_LOAD("14", "{r5-r11}") TVMP_DW_##two##PAIR_7_##stride(2)                                \
  TVMP_DW_LOAD("21", last) TVMP_DW_LAST_BASE(weights) TVMP_DW_##two##LAST_7_##stride

#define TVMP_DW_EXPAND_7_WORDS TVMP_DW_EXPAND_4 TVMP_DW_EXPAND_3
#define TVMP_DW_EXPAND_13_WORDS TVMP_DW_EXPAND_4 TVMP_DW_EXPAND_4 TVMP_DW_EXPAND_4 TVMP_DW_EXPAND_1
#define TVMP_DW_EXPAND_14_WORDS TVMP_DW_EXPAND_4 TVMP_DW_EXPAND_4 TVMP_DW_EXPAND_4 TVMP_DW_EXPAND_2

/* The third argument is the number of a channel's pairs of weights, made even. */
#define TVMP_DW_ALL_SUMS(suffix, form)                                                            \
  TVMP_DW_SUMS(3, 1, "6", TVMP_DW_EXPAND_3, suffix, form,                                         \
               TVMP_DW_BEGIN_3_1 TVMP_DW_SUMS_3(, 1),                                             \
               TVMP_DW_LOAD_TWO("r5-r9") TVMP_DW_TWO_PAIR_3_1(0) TVMP_DW_SUMS_3(TWO_, 1))         \
  TVMP_DW_SUMS(3, 2, "6", TVMP_DW_EXPAND_3, suffix, form,                                         \
               TVMP_DW_BEGIN_3_2 TVMP_DW_SUMS_3(, 2),               \
               TVMP_DW_LOAD_TWO("r5-r9") TVMP_DW_TWO_PAIR_3_2(0) TVMP_DW_SUMS_3(TWO_, 2))         \
  TVMP_DW_SUMS(5, 1, "14", TVMP_DW_EXPAND_7_WORDS, suffix, form,                                  \
               TVMP_DW_BEGIN_5_1 TVMP_DW_SUMS_5(, 1, "{r5-r8}"),                                  \
               TVMP_DW_LOAD_TWO("r5-r9") TVMP_DW_TWO_PAIR_5_1(0)                                  \
                   TVMP_DW_SUMS_5(TWO_, 1, "{r5-r8}"))                                            \
  TVMP_DW_SUMS(5, 2, "14", TVMP_DW_EXPAND_7_WORDS, suffix, form,                                  \
               TVMP_DW_BEGIN_5_2 TVMP_DW_SUMS_5(, 2, "{r5-r7}"),    \
               TVMP_DW_LOAD_TWO("r5-r9") TVMP_DW_TWO_PAIR_5_2(0)                                  \
                   TVMP_DW_SUMS_5(TWO_, 2, "{r5-r7}"))                                            \
  TVMP_DW_SUMS(7, 1, "28", TVMP_DW_EXPAND_14_WORDS, suffix, form,                                 \
               TVMP_DW_BEGIN_7_1                                   \
                   TVMP_DW_SUMS_7(, 1, "28", "{r5-r10}"),                                         \
               TVMP_DW_LOAD_TWO("r5-r11") TVMP_DW_TWO_PAIR_7_1(0)                                 \
                   TVMP_DW_SUMS_7(TWO_, 1, "28", "{r5-r10}"))                                     \
  TVMP_DW_SUMS(7, 2, "26", TVMP_DW_EXPAND_13_WORDS, suffix, form,                                 \
               TVMP_DW_BEGIN_7_2                                   \
                   TVMP_DW_SUMS_7(, 2, "26", "{r5-r8}"),                                          \
               TVMP_DW_LOAD_TWO("r5-r11") TVMP_DW_TWO_PAIR_7_2(0)                                 \
                   TVMP_DW_SUMS_7(TWO_, 2, "26", "{r5-r8}"))

TVMP_DW_ALL_SUMS(_rectified, RECTIFIED)
TVMP_DW_ALL_SUMS(_any, ANY)

/* clang-format on */

#endif

#endif
