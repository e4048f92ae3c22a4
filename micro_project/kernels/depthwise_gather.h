/* Gathering for depthwise.h on cores with the DSP extension, in assembly: what a step along the row
 * reads, as pairs of the same channel. */
#ifndef TVMP_DEPTHWISE_GATHER_H
#define TVMP_DEPTHWISE_GATHER_H

#include "dsp.h"

#if TVMP_HAS_DSP

/* clang-format off */

#define TVMP_DW_LINE(text) text "\n\t"

/* r0: pixel in the first row, r1: bytes from row to row, r2: from pixel to pixel, r3: where
 * the pairs go. One column of two rows: words of four channels become pairs of the same channel. */
#define TVMP_DW_GATHER_COLUMN(c0, c1, c2, c3)      \
  TVMP_DW_LINE("sxtb16 " c2 ", r12")               \
  TVMP_DW_LINE("sxtb16 " c3 ", lr")                \
  TVMP_DW_LINE("pkhbt " c0 ", " c2 ", " c3 ", lsl #16") \
  TVMP_DW_LINE("pkhtb " c2 ", " c3 ", " c2 ", asr #16") \
  TVMP_DW_LINE("sxtb16 r12, r12, ror #8")          \
  TVMP_DW_LINE("sxtb16 lr, lr, ror #8")            \
  TVMP_DW_LINE("pkhbt " c1 ", r12, lr, lsl #16")   \
  TVMP_DW_LINE("pkhtb " c3 ", lr, r12, asr #16")

/* Two columns of two rows: from the left one on, where the last pair of rows is, and in between from left
 * to right and back, which spares going back to the left one. */
#define TVMP_DW_GATHER_PAIR                        \
  TVMP_DW_LINE("ldr r12, [r0]")                    \
  TVMP_DW_LINE("ldr lr, [r0, r1]")                 \
  TVMP_DW_LINE("add r0, r0, r2")                   \
  TVMP_DW_GATHER_COLUMN("r4", "r6", "r8", "r10")   \
  TVMP_DW_LINE("ldr r12, [r0]")                    \
  TVMP_DW_LINE("ldr lr, [r0, r1]")                 \
  TVMP_DW_LINE("sub r0, r0, r2")                   \
  TVMP_DW_GATHER_COLUMN("r5", "r7", "r9", "r11")   \
  TVMP_DW_LINE("stm r3!, {r4-r11}")                \
  TVMP_DW_LINE("add r0, r0, r1, lsl #1")
#define TVMP_DW_GATHER_TO_THE_RIGHT                \
  TVMP_DW_LINE("ldr r12, [r0]")                    \
  TVMP_DW_LINE("ldr lr, [r0, r1]")                 \
  TVMP_DW_LINE("add r0, r0, r2")                   \
  TVMP_DW_GATHER_COLUMN("r4", "r6", "r8", "r10")   \
  TVMP_DW_LINE("ldr r12, [r0]")                    \
  TVMP_DW_LINE("ldr lr, [r0, r1]")                 \
  TVMP_DW_GATHER_COLUMN("r5", "r7", "r9", "r11")   \
  TVMP_DW_LINE("stm r3!, {r4-r11}")                \
  TVMP_DW_LINE("add r0, r0, r1, lsl #1")
#define TVMP_DW_GATHER_BACK                        \
  TVMP_DW_LINE("ldr r12, [r0]")                    \
  TVMP_DW_LINE("ldr lr, [r0, r1]")                 \
  TVMP_DW_LINE("sub r0, r0, r2")                   \
  TVMP_DW_GATHER_COLUMN("r5", "r7", "r9", "r11")   \
  TVMP_DW_LINE("ldr r12, [r0]")                    \
  TVMP_DW_LINE("ldr lr, [r0, r1]")                 \
  TVMP_DW_GATHER_COLUMN("r4", "r6", "r8", "r10")   \
  TVMP_DW_LINE("stm r3!, {r4-r11}")                \
  TVMP_DW_LINE("add r0, r0, r1, lsl #1")

/* Two columns of the last row, which are a pair of each channel themselves. */
#define TVMP_DW_GATHER_LAST                        \
  TVMP_DW_LINE("ldr r12, [r0]")                    \
  TVMP_DW_LINE("ldr lr, [r0, r2]")                 \
  TVMP_DW_GATHER_COLUMN("r4", "r5", "r6", "r7")    \
  TVMP_DW_LINE("stm r3!, {r4-r7}")                 \
  TVMP_DW_LINE("add r0, r0, r2, lsl #1")

#define TVMP_DW_GATHER(name, pairs, back)                                                            \
  __attribute__((naked, noinline, unused)) static void name(                                      \
      const int8_t *data, int32_t row_bytes, int32_t pixel_bytes, int32_t *to, int32_t *end) {    \
    (void)data;                                                                                   \
    (void)row_bytes;                                                                              \
    (void)pixel_bytes;                                                                            \
    (void)to;                                                                                     \
    (void)end;                                                                                    \
    __asm__ volatile(TVMP_DW_LINE("push {r4-r11, lr}")                                               \
                     "1:\n\t"                                                                     \
                     pairs TVMP_DW_GATHER_LAST back                                                  \
                     TVMP_DW_LINE("ldr r4, [sp, #36]")                                               \
                     TVMP_DW_LINE("cmp r3, r4")                                                      \
                     TVMP_DW_LINE("bne 1b")                                                          \
                     "pop {r4-r11, pc}");                                                         \
  }

TVMP_DW_GATHER(tvmp_depthwise_gather_3, TVMP_DW_GATHER_PAIR, TVMP_DW_LINE("sub r0, r0, r1, lsl #1"))
TVMP_DW_GATHER(tvmp_depthwise_gather_5, TVMP_DW_GATHER_TO_THE_RIGHT TVMP_DW_GATHER_BACK,
            TVMP_DW_LINE("sub r0, r0, r1, lsl #2"))
TVMP_DW_GATHER(tvmp_depthwise_gather_7,
            TVMP_DW_GATHER_TO_THE_RIGHT TVMP_DW_GATHER_BACK TVMP_DW_GATHER_PAIR,
            TVMP_DW_LINE("sub r0, r0, r1, lsl #2") TVMP_DW_LINE("sub r0, r0, r1, lsl #1"))

/* The last column pairs of a step are the first of the next. */
#define TVMP_DW_KEEP(name, times, registers)                                                         \
  __attribute__((naked, noinline, unused)) static void name(int32_t *to, const int32_t *from) {   \
    (void)to;                                                                                     \
    (void)from;                                                                                   \
    __asm__ volatile(TVMP_DW_LINE("push {r4-r11, lr}")                                               \
                     ".rept " #times "\n\t"                                                       \
                     TVMP_DW_LINE("ldm r1!, {" registers "}")                                        \
                     TVMP_DW_LINE("stm r0!, {" registers "}")                                        \
                     ".endr\n\t"                                                                  \
                     "pop {r4-r11, pc}");                                                         \
  }

TVMP_DW_KEEP(tvmp_depthwise_keep_3, 1, "r2-r12, lr")
TVMP_DW_KEEP(tvmp_depthwise_keep_5, 4, "r2-r11")
TVMP_DW_KEEP(tvmp_depthwise_keep_7, 7, "r2-r12, lr")

/* clang-format on */

#endif

#endif
