/* Products of gathered columns and weights for depthwise.h, in assembly: for each window and stride
 * those of two rows and of the last one, for four outputs and, TWO, for two. */
#ifndef TVMP_DEPTHWISE_PRODUCTS_H
#define TVMP_DEPTHWISE_PRODUCTS_H

#include "depthwise_gather.h"

#if TVMP_HAS_DSP

/* clang-format off */

/* r0: the first column pair, r1-r4: four accumulators, r5-r11: weights, r12 and lr: two columns.
 * FIRST and SECOND multiply a column's pair of rows, BOTH a column pair of the last row, the others a
 * half of either. */
#define TVMP_DW_A0 "r1"
#define TVMP_DW_A1 "r2"
#define TVMP_DW_A2 "r3"
#define TVMP_DW_A3 "r4"
#define TVMP_DW_W0 "r5"
#define TVMP_DW_W1 "r6"
#define TVMP_DW_W2 "r7"
#define TVMP_DW_W3 "r8"
#define TVMP_DW_W4 "r9"
#define TVMP_DW_W5 "r10"
#define TVMP_DW_W6 "r11"
#define TVMP_DW_MULTIPLY(operation, a, column, w) \
  TVMP_DW_LINE(operation " " TVMP_DW_A##a ", " column ", " TVMP_DW_W##w ", " TVMP_DW_A##a)
#define TVMP_DW_FIRST(a, w) TVMP_DW_MULTIPLY("smlad", a, "r12", w)
#define TVMP_DW_SECOND(a, w) TVMP_DW_MULTIPLY("smlad", a, "lr", w)
#define TVMP_DW_BOTH(a, w) TVMP_DW_MULTIPLY("smlad", a, "r12", w)
#define TVMP_DW_LOW(a, w) TVMP_DW_MULTIPLY("smlabb", a, "r12", w)
#define TVMP_DW_LOW_BY_HIGH(a, w) TVMP_DW_MULTIPLY("smlabt", a, "r12", w)
#define TVMP_DW_HIGH_BY_LOW(a, w) TVMP_DW_MULTIPLY("smlatb", a, "r12", w)
#define TVMP_DW_COLUMNS(kernel, pair, index) \
  TVMP_DW_LINE("ldrd r12, lr, [r0, #(" #kernel "/2*32+16)*" #index "+32*" #pair "]")
/* r11 is short of the last row by one word, see LAST_BASE. */
#define TVMP_DW_WORD(kernel, index) \
  TVMP_DW_LINE("ldr r12, [r11, #(" #kernel "/2*32+16)*" #index "+" #kernel "/2*32+4]")

#define TVMP_DW_PAIR_3_1(pair) \
  TVMP_DW_COLUMNS(3, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) TVMP_DW_SECOND(1, 0) \
  TVMP_DW_COLUMNS(3, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 1) TVMP_DW_FIRST(2, 0) \
    TVMP_DW_SECOND(1, 2) TVMP_DW_SECOND(2, 1) TVMP_DW_SECOND(3, 0) \
  TVMP_DW_COLUMNS(3, pair, 2) TVMP_DW_FIRST(2, 2) TVMP_DW_FIRST(3, 1) TVMP_DW_SECOND(3, 2)

#define TVMP_DW_LAST_3_1 \
  TVMP_DW_WORD(3, 0) TVMP_DW_BOTH(0, 3) TVMP_DW_HIGH_BY_LOW(1, 3) \
  TVMP_DW_WORD(3, 1) TVMP_DW_LOW_BY_HIGH(0, 4) TVMP_DW_BOTH(1, 4) TVMP_DW_BOTH(2, 3) \
    TVMP_DW_HIGH_BY_LOW(3, 3) \
  TVMP_DW_WORD(3, 2) TVMP_DW_LOW_BY_HIGH(2, 4) TVMP_DW_BOTH(3, 4)

#define TVMP_DW_LAST_3_2 \
  TVMP_DW_WORD(3, 0) TVMP_DW_BOTH(0, 3) \
  TVMP_DW_WORD(3, 1) TVMP_DW_LOW(0, 4) TVMP_DW_BOTH(1, 3) \
  TVMP_DW_WORD(3, 2) TVMP_DW_LOW(1, 4) TVMP_DW_BOTH(2, 3) \
  TVMP_DW_WORD(3, 3) TVMP_DW_LOW(2, 4) TVMP_DW_BOTH(3, 3) \
  TVMP_DW_WORD(3, 4) TVMP_DW_LOW(3, 4)

#define TVMP_DW_PAIR_5_1(pair) \
  TVMP_DW_COLUMNS(5, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) TVMP_DW_SECOND(1, 0) \
  TVMP_DW_COLUMNS(5, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 1) TVMP_DW_FIRST(2, 0) \
    TVMP_DW_SECOND(0, 3) TVMP_DW_SECOND(1, 2) TVMP_DW_SECOND(2, 1) TVMP_DW_SECOND(3, 0) \
  TVMP_DW_COLUMNS(5, pair, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 3) TVMP_DW_FIRST(2, 2) \
    TVMP_DW_FIRST(3, 1) TVMP_DW_SECOND(1, 4) TVMP_DW_SECOND(2, 3) TVMP_DW_SECOND(3, 2) \
  TVMP_DW_COLUMNS(5, pair, 3) TVMP_DW_FIRST(2, 4) TVMP_DW_FIRST(3, 3) TVMP_DW_SECOND(3, 4)

#define TVMP_DW_LAST_5_1 \
  TVMP_DW_WORD(5, 0) TVMP_DW_BOTH(0, 0) TVMP_DW_HIGH_BY_LOW(1, 0) \
  TVMP_DW_WORD(5, 1) TVMP_DW_BOTH(0, 1) TVMP_DW_BOTH(1, 2) TVMP_DW_BOTH(2, 0) \
    TVMP_DW_HIGH_BY_LOW(3, 0) \
  TVMP_DW_WORD(5, 2) TVMP_DW_LOW_BY_HIGH(0, 3) TVMP_DW_BOTH(1, 3) TVMP_DW_BOTH(2, 1) \
    TVMP_DW_BOTH(3, 2) \
  TVMP_DW_WORD(5, 3) TVMP_DW_LOW_BY_HIGH(2, 3) TVMP_DW_BOTH(3, 3)

#define TVMP_DW_PAIR_5_2(pair) \
  TVMP_DW_COLUMNS(5, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) \
  TVMP_DW_COLUMNS(5, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 0) TVMP_DW_SECOND(0, 3) \
    TVMP_DW_SECOND(1, 1) \
  TVMP_DW_COLUMNS(5, pair, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 2) TVMP_DW_FIRST(2, 0) \
    TVMP_DW_SECOND(1, 3) TVMP_DW_SECOND(2, 1) \
  TVMP_DW_COLUMNS(5, pair, 3) TVMP_DW_FIRST(1, 4) TVMP_DW_FIRST(2, 2) TVMP_DW_FIRST(3, 0) \
    TVMP_DW_SECOND(2, 3) TVMP_DW_SECOND(3, 1) \
  TVMP_DW_COLUMNS(5, pair, 4) TVMP_DW_FIRST(2, 4) TVMP_DW_FIRST(3, 2) TVMP_DW_SECOND(3, 3) \
  TVMP_DW_COLUMNS(5, pair, 5) TVMP_DW_FIRST(3, 4)

#define TVMP_DW_LAST_5_2 \
  TVMP_DW_WORD(5, 0) TVMP_DW_BOTH(0, 0) \
  TVMP_DW_WORD(5, 1) TVMP_DW_BOTH(0, 1) TVMP_DW_BOTH(1, 0) \
  TVMP_DW_WORD(5, 2) TVMP_DW_LOW(0, 2) TVMP_DW_BOTH(1, 1) TVMP_DW_BOTH(2, 0) \
  TVMP_DW_WORD(5, 3) TVMP_DW_LOW(1, 2) TVMP_DW_BOTH(2, 1) TVMP_DW_BOTH(3, 0) \
  TVMP_DW_WORD(5, 4) TVMP_DW_LOW(2, 2) TVMP_DW_BOTH(3, 1) \
  TVMP_DW_WORD(5, 5) TVMP_DW_LOW(3, 2)

#define TVMP_DW_PAIR_7_1(pair) \
  TVMP_DW_COLUMNS(7, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) TVMP_DW_SECOND(1, 0) \
  TVMP_DW_COLUMNS(7, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 1) TVMP_DW_FIRST(2, 0) \
    TVMP_DW_SECOND(0, 3) TVMP_DW_SECOND(1, 2) TVMP_DW_SECOND(2, 1) TVMP_DW_SECOND(3, 0) \
  TVMP_DW_COLUMNS(7, pair, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 3) TVMP_DW_FIRST(2, 2) \
    TVMP_DW_FIRST(3, 1) TVMP_DW_SECOND(0, 5) TVMP_DW_SECOND(1, 4) TVMP_DW_SECOND(2, 3) \
    TVMP_DW_SECOND(3, 2) \
  TVMP_DW_COLUMNS(7, pair, 3) TVMP_DW_FIRST(0, 6) TVMP_DW_FIRST(1, 5) TVMP_DW_FIRST(2, 4) \
    TVMP_DW_FIRST(3, 3) TVMP_DW_SECOND(1, 6) TVMP_DW_SECOND(2, 5) TVMP_DW_SECOND(3, 4) \
  TVMP_DW_COLUMNS(7, pair, 4) TVMP_DW_FIRST(2, 6) TVMP_DW_FIRST(3, 5) TVMP_DW_SECOND(3, 6)

#define TVMP_DW_LAST_7_1 \
  TVMP_DW_WORD(7, 0) TVMP_DW_BOTH(0, 0) TVMP_DW_HIGH_BY_LOW(1, 0) \
  TVMP_DW_WORD(7, 1) TVMP_DW_BOTH(0, 1) TVMP_DW_BOTH(1, 3) TVMP_DW_BOTH(2, 0) \
    TVMP_DW_HIGH_BY_LOW(3, 0) \
  TVMP_DW_WORD(7, 2) TVMP_DW_BOTH(0, 2) TVMP_DW_BOTH(1, 4) TVMP_DW_BOTH(2, 1) TVMP_DW_BOTH(3, 3) \
  TVMP_DW_WORD(7, 3) TVMP_DW_LOW_BY_HIGH(0, 5) TVMP_DW_BOTH(1, 5) TVMP_DW_BOTH(2, 2) \
    TVMP_DW_BOTH(3, 4) \
  TVMP_DW_WORD(7, 4) TVMP_DW_LOW_BY_HIGH(2, 5) TVMP_DW_BOTH(3, 5)

#define TVMP_DW_PAIR_7_2(pair) \
  TVMP_DW_COLUMNS(7, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) \
  TVMP_DW_COLUMNS(7, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 0) TVMP_DW_SECOND(0, 3) \
    TVMP_DW_SECOND(1, 1) \
  TVMP_DW_COLUMNS(7, pair, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 2) TVMP_DW_FIRST(2, 0) \
    TVMP_DW_SECOND(0, 5) TVMP_DW_SECOND(1, 3) TVMP_DW_SECOND(2, 1) \
  TVMP_DW_COLUMNS(7, pair, 3) TVMP_DW_FIRST(0, 6) TVMP_DW_FIRST(1, 4) TVMP_DW_FIRST(2, 2) \
    TVMP_DW_FIRST(3, 0) TVMP_DW_SECOND(1, 5) TVMP_DW_SECOND(2, 3) TVMP_DW_SECOND(3, 1) \
  TVMP_DW_COLUMNS(7, pair, 4) TVMP_DW_FIRST(1, 6) TVMP_DW_FIRST(2, 4) TVMP_DW_FIRST(3, 2) \
    TVMP_DW_SECOND(2, 5) TVMP_DW_SECOND(3, 3) \
  TVMP_DW_COLUMNS(7, pair, 5) TVMP_DW_FIRST(2, 6) TVMP_DW_FIRST(3, 4) TVMP_DW_SECOND(3, 5) \
  TVMP_DW_COLUMNS(7, pair, 6) TVMP_DW_FIRST(3, 6)

#define TVMP_DW_LAST_7_2 \
  TVMP_DW_WORD(7, 0) TVMP_DW_BOTH(0, 0) \
  TVMP_DW_WORD(7, 1) TVMP_DW_BOTH(0, 1) TVMP_DW_BOTH(1, 0) \
  TVMP_DW_WORD(7, 2) TVMP_DW_BOTH(0, 2) TVMP_DW_BOTH(1, 1) TVMP_DW_BOTH(2, 0) \
  TVMP_DW_WORD(7, 3) TVMP_DW_LOW(0, 3) TVMP_DW_BOTH(1, 2) TVMP_DW_BOTH(2, 1) TVMP_DW_BOTH(3, 0) \
  TVMP_DW_WORD(7, 4) TVMP_DW_LOW(1, 3) TVMP_DW_BOTH(2, 2) TVMP_DW_BOTH(3, 1) \
  TVMP_DW_WORD(7, 5) TVMP_DW_LOW(2, 3) TVMP_DW_BOTH(3, 2) \
  TVMP_DW_WORD(7, 6) TVMP_DW_LOW(3, 3)

#define TVMP_DW_TWO_PAIR_3_1(pair) \
  TVMP_DW_COLUMNS(3, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) TVMP_DW_SECOND(1, 0) \
  TVMP_DW_COLUMNS(3, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 1) TVMP_DW_SECOND(1, 2)

#define TVMP_DW_TWO_LAST_3_1 \
  TVMP_DW_WORD(3, 0) TVMP_DW_BOTH(0, 3) TVMP_DW_HIGH_BY_LOW(1, 3) \
  TVMP_DW_WORD(3, 1) TVMP_DW_LOW_BY_HIGH(0, 4) TVMP_DW_BOTH(1, 4)

#define TVMP_DW_TWO_PAIR_3_2(pair) \
  TVMP_DW_COLUMNS(3, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) \
  TVMP_DW_COLUMNS(3, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 0) TVMP_DW_SECOND(1, 1) \
  TVMP_DW_COLUMNS(3, pair, 2) TVMP_DW_FIRST(1, 2)

#define TVMP_DW_TWO_LAST_3_2 \
  TVMP_DW_WORD(3, 0) TVMP_DW_BOTH(0, 3) \
  TVMP_DW_WORD(3, 1) TVMP_DW_LOW(0, 4) TVMP_DW_BOTH(1, 3) \
  TVMP_DW_WORD(3, 2) TVMP_DW_LOW(1, 4)

#define TVMP_DW_TWO_PAIR_5_1(pair) \
  TVMP_DW_COLUMNS(5, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) TVMP_DW_SECOND(1, 0) \
  TVMP_DW_COLUMNS(5, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 1) TVMP_DW_SECOND(0, 3) \
    TVMP_DW_SECOND(1, 2) \
  TVMP_DW_COLUMNS(5, pair, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 3) TVMP_DW_SECOND(1, 4)

#define TVMP_DW_TWO_LAST_5_1 \
  TVMP_DW_WORD(5, 0) TVMP_DW_BOTH(0, 0) TVMP_DW_HIGH_BY_LOW(1, 0) \
  TVMP_DW_WORD(5, 1) TVMP_DW_BOTH(0, 1) TVMP_DW_BOTH(1, 2) \
  TVMP_DW_WORD(5, 2) TVMP_DW_LOW_BY_HIGH(0, 3) TVMP_DW_BOTH(1, 3)

#define TVMP_DW_TWO_PAIR_5_2(pair) \
  TVMP_DW_COLUMNS(5, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) \
  TVMP_DW_COLUMNS(5, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 0) TVMP_DW_SECOND(0, 3) \
    TVMP_DW_SECOND(1, 1) \
  TVMP_DW_COLUMNS(5, pair, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 2) TVMP_DW_SECOND(1, 3) \
  TVMP_DW_COLUMNS(5, pair, 3) TVMP_DW_FIRST(1, 4)

#define TVMP_DW_TWO_LAST_5_2 \
  TVMP_DW_WORD(5, 0) TVMP_DW_BOTH(0, 0) \
  TVMP_DW_WORD(5, 1) TVMP_DW_BOTH(0, 1) TVMP_DW_BOTH(1, 0) \
  TVMP_DW_WORD(5, 2) TVMP_DW_LOW(0, 2) TVMP_DW_BOTH(1, 1) \
  TVMP_DW_WORD(5, 3) TVMP_DW_LOW(1, 2)

#define TVMP_DW_TWO_PAIR_7_1(pair) \
  TVMP_DW_COLUMNS(7, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) TVMP_DW_SECOND(1, 0) \
  TVMP_DW_COLUMNS(7, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 1) TVMP_DW_SECOND(0, 3) \
    TVMP_DW_SECOND(1, 2) \
  TVMP_DW_COLUMNS(7, pair, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 3) TVMP_DW_SECOND(0, 5) \
    TVMP_DW_SECOND(1, 4) \
  TVMP_DW_COLUMNS(7, pair, 3) TVMP_DW_FIRST(0, 6) TVMP_DW_FIRST(1, 5) TVMP_DW_SECOND(1, 6)

#define TVMP_DW_TWO_LAST_7_1 \
  TVMP_DW_WORD(7, 0) TVMP_DW_BOTH(0, 0) TVMP_DW_HIGH_BY_LOW(1, 0) \
  TVMP_DW_WORD(7, 1) TVMP_DW_BOTH(0, 1) TVMP_DW_BOTH(1, 3) \
  TVMP_DW_WORD(7, 2) TVMP_DW_BOTH(0, 2) TVMP_DW_BOTH(1, 4) \
  TVMP_DW_WORD(7, 3) TVMP_DW_LOW_BY_HIGH(0, 5) TVMP_DW_BOTH(1, 5)

#define TVMP_DW_TWO_PAIR_7_2(pair) \
  TVMP_DW_COLUMNS(7, pair, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) \
  TVMP_DW_COLUMNS(7, pair, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 0) TVMP_DW_SECOND(0, 3) \
    TVMP_DW_SECOND(1, 1) \
  TVMP_DW_COLUMNS(7, pair, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 2) TVMP_DW_SECOND(0, 5) \
    TVMP_DW_SECOND(1, 3) \
  TVMP_DW_COLUMNS(7, pair, 3) TVMP_DW_FIRST(0, 6) TVMP_DW_FIRST(1, 4) TVMP_DW_SECOND(1, 5) \
  TVMP_DW_COLUMNS(7, pair, 4) TVMP_DW_FIRST(1, 6)

#define TVMP_DW_TWO_LAST_7_2 \
  TVMP_DW_WORD(7, 0) TVMP_DW_BOTH(0, 0) \
  TVMP_DW_WORD(7, 1) TVMP_DW_BOTH(0, 1) TVMP_DW_BOTH(1, 0) \
  TVMP_DW_WORD(7, 2) TVMP_DW_BOTH(0, 2) TVMP_DW_BOTH(1, 1) \
  TVMP_DW_WORD(7, 3) TVMP_DW_LOW(0, 3) TVMP_DW_BOTH(1, 2) \
  TVMP_DW_WORD(7, 4) TVMP_DW_LOW(1, 3)

/* The first two rows. Outputs begin with the bias where it lies, before it is added to: where registers
 * are free for columns 2 and 3, in these. */
#define TVMP_DW_BEGINNING(kernel)                                                                 \
  TVMP_DW_LINE("ldrd r10, r11, [r0, #" #kernel "/2*32+16]")                                       \
  TVMP_DW_LINE("smlad r3, r10, r5, r1")                                                           \
  TVMP_DW_LINE("smlad r4, r11, r5, r1")                                                           \
  TVMP_DW_COLUMNS(kernel, 0, 0)                                                                   \
  TVMP_DW_LINE("smlad r2, lr, r5, r1")                                                            \
  TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1)                                                        \
  TVMP_DW_MULTIPLY("smlad", 0, "r10", 2) TVMP_DW_MULTIPLY("smlad", 1, "r10", 1)                   \
  TVMP_DW_MULTIPLY("smlad", 1, "r11", 2) TVMP_DW_MULTIPLY("smlad", 2, "r11", 1)
#define TVMP_DW_BEGIN_3_1                                                                         \
  TVMP_DW_LINE("ldm sp, {r1, r5-r9}")                                                             \
  TVMP_DW_BEGINNING(3)                                                                            \
  TVMP_DW_COLUMNS(3, 0, 2) TVMP_DW_FIRST(2, 2) TVMP_DW_FIRST(3, 1) TVMP_DW_SECOND(3, 2)
#define TVMP_DW_BEGIN_5_1                                                                         \
  TVMP_DW_LINE("ldm sp, {r1, r5-r9}")                                                             \
  TVMP_DW_BEGINNING(5) TVMP_DW_MULTIPLY("smlad", 0, "r11", 3)                                     \
  TVMP_DW_COLUMNS(5, 0, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 3) TVMP_DW_FIRST(2, 2)            \
    TVMP_DW_FIRST(3, 1) TVMP_DW_SECOND(1, 4) TVMP_DW_SECOND(2, 3) TVMP_DW_SECOND(3, 2)            \
  TVMP_DW_COLUMNS(5, 0, 3) TVMP_DW_FIRST(2, 4) TVMP_DW_FIRST(3, 3) TVMP_DW_SECOND(3, 4)
/* Strides and windows that leave no register free begin with a column that is under several outputs. */
#define TVMP_DW_START(a, w) TVMP_DW_LINE("smlad " TVMP_DW_A##a ", r12, " TVMP_DW_W##w ", r1")
#define TVMP_DW_BEGIN_3_2                                                                         \
  TVMP_DW_LINE("ldm sp, {r1, r5-r9}")                                                             \
  TVMP_DW_COLUMNS(3, 0, 2) TVMP_DW_START(1, 2) TVMP_DW_START(2, 0) TVMP_DW_SECOND(2, 1)           \
  TVMP_DW_COLUMNS(3, 0, 3) TVMP_DW_START(3, 0) TVMP_DW_FIRST(2, 2) TVMP_DW_SECOND(3, 1)           \
  TVMP_DW_COLUMNS(3, 0, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1)                               \
  TVMP_DW_COLUMNS(3, 0, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 0) TVMP_DW_SECOND(1, 1)           \
  TVMP_DW_COLUMNS(3, 0, 4) TVMP_DW_FIRST(3, 2)
#define TVMP_DW_BEGIN_5_2                                                                         \
  TVMP_DW_LINE("ldm sp, {r1, r5-r9}")                                                             \
  TVMP_DW_COLUMNS(5, 0, 3) TVMP_DW_START(1, 4) TVMP_DW_START(2, 2) TVMP_DW_START(3, 0)            \
    TVMP_DW_SECOND(2, 3) TVMP_DW_SECOND(3, 1)                                                     \
  TVMP_DW_COLUMNS(5, 0, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1)                               \
  TVMP_DW_COLUMNS(5, 0, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 0) TVMP_DW_SECOND(0, 3)           \
    TVMP_DW_SECOND(1, 1)                                                                          \
  TVMP_DW_COLUMNS(5, 0, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 2) TVMP_DW_FIRST(2, 0)            \
    TVMP_DW_SECOND(1, 3) TVMP_DW_SECOND(2, 1)                                                     \
  TVMP_DW_COLUMNS(5, 0, 4) TVMP_DW_FIRST(2, 4) TVMP_DW_FIRST(3, 2) TVMP_DW_SECOND(3, 3)           \
  TVMP_DW_COLUMNS(5, 0, 5) TVMP_DW_FIRST(3, 4)
#define TVMP_DW_BEGIN_7_1                                                                         \
  TVMP_DW_LINE("ldm sp, {r1, r5-r11}")                                                            \
  TVMP_DW_COLUMNS(7, 0, 2) TVMP_DW_START(1, 3) TVMP_DW_START(2, 2) TVMP_DW_START(3, 1)            \
    TVMP_DW_FIRST(0, 4) TVMP_DW_SECOND(0, 5) TVMP_DW_SECOND(1, 4) TVMP_DW_SECOND(2, 3)            \
    TVMP_DW_SECOND(3, 2)                                                                          \
  TVMP_DW_COLUMNS(7, 0, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1) TVMP_DW_SECOND(1, 0)          \
  TVMP_DW_COLUMNS(7, 0, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 1) TVMP_DW_FIRST(2, 0)            \
    TVMP_DW_SECOND(0, 3) TVMP_DW_SECOND(1, 2) TVMP_DW_SECOND(2, 1) TVMP_DW_SECOND(3, 0)           \
  TVMP_DW_COLUMNS(7, 0, 3) TVMP_DW_FIRST(0, 6) TVMP_DW_FIRST(1, 5) TVMP_DW_FIRST(2, 4)            \
    TVMP_DW_FIRST(3, 3) TVMP_DW_SECOND(1, 6) TVMP_DW_SECOND(2, 5) TVMP_DW_SECOND(3, 4)            \
  TVMP_DW_COLUMNS(7, 0, 4) TVMP_DW_FIRST(2, 6) TVMP_DW_FIRST(3, 5) TVMP_DW_SECOND(3, 6)
#define TVMP_DW_BEGIN_7_2                                                                         \
  TVMP_DW_LINE("ldm sp, {r1, r5-r11}")                                                            \
  TVMP_DW_COLUMNS(7, 0, 3) TVMP_DW_START(1, 4) TVMP_DW_START(2, 2) TVMP_DW_START(3, 0)            \
    TVMP_DW_FIRST(0, 6) TVMP_DW_SECOND(1, 5) TVMP_DW_SECOND(2, 3) TVMP_DW_SECOND(3, 1)            \
  TVMP_DW_COLUMNS(7, 0, 0) TVMP_DW_FIRST(0, 0) TVMP_DW_SECOND(0, 1)                               \
  TVMP_DW_COLUMNS(7, 0, 1) TVMP_DW_FIRST(0, 2) TVMP_DW_FIRST(1, 0) TVMP_DW_SECOND(0, 3)           \
    TVMP_DW_SECOND(1, 1)                                                                          \
  TVMP_DW_COLUMNS(7, 0, 2) TVMP_DW_FIRST(0, 4) TVMP_DW_FIRST(1, 2) TVMP_DW_FIRST(2, 0)            \
    TVMP_DW_SECOND(0, 5) TVMP_DW_SECOND(1, 3) TVMP_DW_SECOND(2, 1)                                \
  TVMP_DW_COLUMNS(7, 0, 4) TVMP_DW_FIRST(1, 6) TVMP_DW_FIRST(2, 4) TVMP_DW_FIRST(3, 2)            \
    TVMP_DW_SECOND(2, 5) TVMP_DW_SECOND(3, 3)                                                     \
  TVMP_DW_COLUMNS(7, 0, 5) TVMP_DW_FIRST(2, 6) TVMP_DW_FIRST(3, 4) TVMP_DW_SECOND(3, 5)           \
  TVMP_DW_COLUMNS(7, 0, 6) TVMP_DW_FIRST(3, 6)

/* clang-format on */

#endif

#endif
