/* Windows of one or two outputs of four channels, in assembly: what depthwise_direct.h and
 * depthwise_shared.h have in common.
 *
 * The assembler writes out rows and columns, tvmp_row and tvmp_column, the columns from the last to
 * the first. Where both outputs' windows overlap each pixel is read and taken apart once. All of a
 * window is one statement, lest compilers move sums around between one pixel and the next: eight
 * sums, four temporaries and two addresses are all 14 registers.
 *
 * Sums a0 to d0 are the first output's, a1 to d1 the second's. Those of the second begin where they
 * are first added to, with the starts that the first one's hold till then: the last column is under
 * its window alone. */
#ifndef TVMP_DEPTHWISE_WINDOW_H
#define TVMP_DEPTHWISE_WINDOW_H

#include "dsp.h"

#if TVMP_HAS_DSP

/* A pixel in x and y times a tap in u and v, added to the sums of output ``from`` and kept as those
 * of output ``to``. */
#define TVMP_WINDOW_PRODUCTS(to, from)                                                             \
  "smlabb %[a" to "], %[y], %[u], %[a" from "]\n\t"                                                \
  "smlatt %[c" to "], %[y], %[u], %[c" from "]\n\t"                                                \
  "smlabb %[b" to "], %[x], %[v], %[b" from "]\n\t"                                                \
  "smlatt %[d" to "], %[x], %[v], %[d" from "]\n\t"

#define TVMP_WINDOW_EXPAND                                                                         \
  "sxtb16 %[y], %[x]\n\t"                                                                          \
  "sxtb16 %[x], %[x], ror #8\n\t"

/* All rows. ``pixel`` loads x, ``tap`` of a column loads u and v, ``move`` follows each column,
 * ``next`` each row. ``begins``: whether the sums of the second output do in that row. */
/* clang-format off */
#define TVMP_WINDOW_ONE(pixel, tap, move, next)                                                    \
  ".set tvmp_row, 0\n\t"                                                                           \
  ".rept %c[rows]\n\t"                                                                             \
  ".set tvmp_column, %c[kernel_w]\n\t"                                                             \
  ".set tvmp_last, tvmp_column - 1\n\t"                                                            \
  ".rept %c[kernel_w]\n\t"                                                                         \
  ".set tvmp_column, tvmp_column - 1\n\t"                                                          \
  pixel                                                                                            \
  TVMP_WINDOW_EXPAND                                                                               \
  tap("tvmp_column")                                                                               \
  TVMP_WINDOW_PRODUCTS("0", "0")                                                                   \
  move                                                                                             \
  ".endr\n\t"                                                                                      \
  next                                                                                             \
  ".set tvmp_row, tvmp_row + 1\n\t"                                                                \
  ".endr\n\t"

#define TVMP_WINDOW_TWO(pixel, tap, move, next, begins)                                            \
  ".set tvmp_row, 0\n\t"                                                                           \
  ".rept %c[rows]\n\t"                                                                             \
  ".set tvmp_column, %c[kernel_w] + %c[stride]\n\t"                                                \
  ".set tvmp_last, tvmp_column - 1\n\t"                                                            \
  ".rept %c[kernel_w] + %c[stride]\n\t"                                                            \
  ".set tvmp_column, tvmp_column - 1\n\t"                                                          \
  ".if (tvmp_column < %c[kernel_w]) || (tvmp_column >= %c[stride])\n\t"                            \
  pixel                                                                                            \
  TVMP_WINDOW_EXPAND                                                                               \
  ".endif\n\t"                                                                                     \
  ".if tvmp_column >= %c[stride]\n\t"                                                              \
  tap("(tvmp_column - %c[stride])")                                                                \
  ".if (" begins ") && (tvmp_column == tvmp_last)\n\t"                                             \
  TVMP_WINDOW_PRODUCTS("1", "0")                                                                   \
  ".else\n\t"                                                                                      \
  TVMP_WINDOW_PRODUCTS("1", "1")                                                                   \
  ".endif\n\t"                                                                                     \
  ".endif\n\t"                                                                                     \
  ".if tvmp_column < %c[kernel_w]\n\t"                                                             \
  tap("tvmp_column")                                                                               \
  TVMP_WINDOW_PRODUCTS("0", "0")                                                                   \
  ".endif\n\t"                                                                                     \
  move                                                                                             \
  ".endr\n\t"                                                                                      \
  next                                                                                             \
  ".set tvmp_row, tvmp_row + 1\n\t"                                                                \
  ".endr\n\t"
/* clang-format on */

/* Compilers take assembly to be as long as it has lines, for what has to be near: so it has as many
 * as instructions come of it. */
#define TVMP_LINES_16 "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
#define TVMP_LINES_128                                                                             \
  TVMP_LINES_16 TVMP_LINES_16 TVMP_LINES_16 TVMP_LINES_16 TVMP_LINES_16 TVMP_LINES_16              \
      TVMP_LINES_16 TVMP_LINES_16
#define TVMP_LINES_512 TVMP_LINES_128 TVMP_LINES_128 TVMP_LINES_128 TVMP_LINES_128

#define TVMP_WINDOW_SUMS_1                                                                         \
  [a0] "=&r"(sum[0]), [b0] "=&r"(sum[1]), [c0] "=&r"(sum[2]), [d0] "=&r"(sum[3])
#define TVMP_WINDOW_SUMS_2                                                                         \
  TVMP_WINDOW_SUMS_1, [a1] "=&r"(sum[4]), [b1] "=&r"(sum[5]), [c1] "=&r"(sum[6]), [d1] "=&r"(sum[7])

#endif

#endif
