/* Moving rows: what memcpy and memmove do, for targets that begin below their source or apart from
 * it.
 *
 * Generated code moves every row of a window or a line buffer, often more than once. Libraries take
 * half an instruction a byte for that, one and more where blocks overlap; loading and storing eight
 * registers at once takes an eighth. */
#ifndef TVMP_MOVE_H
#define TVMP_MOVE_H

#include "dsp.h"

#if defined(__thumb2__)

/* clang-format off */
__attribute__((naked, noinline, unused)) static void tvmp_move_bytes(void *to, const void *from,
                                                                     int32_t size_bytes) {
  (void)to;
  (void)from;
  (void)size_bytes;
  __asm__ volatile(
      "push {r4-r9, lr}\n\t"
      "orr r3, r0, r1\n\t"
      "lsls r3, r3, #30\n\t"
      "bne 5f\n\t"
      /* Both at whole words: 32 bytes at once. */
      "subs r2, r2, #32\n\t"
      "blo 2f\n\t"
      "1:\n\t"
      "ldm r1!, {r3-r9, r12}\n\t"
      "stm r0!, {r3-r9, r12}\n\t"
      "subs r2, r2, #32\n\t"
      "bhs 1b\n\t"
      /* The lowest five bits are what is left. */
      "2:\n\t"
      "lsls r3, r2, #28\n\t"
      "bcc 3f\n\t"
      "ldm r1!, {r4-r7}\n\t"
      "stm r0!, {r4-r7}\n\t"
      "3:\n\t"
      "bpl 4f\n\t"
      "ldm r1!, {r4, r5}\n\t"
      "stm r0!, {r4, r5}\n\t"
      "4:\n\t"
      "lsls r3, r2, #30\n\t"
      "itt cs\n\t"
      "ldrcs r4, [r1], #4\n\t"
      "strcs r4, [r0], #4\n\t"
      "itt mi\n\t"
      "ldrhmi r4, [r1], #2\n\t"
      "strhmi r4, [r0], #2\n\t"
      "lsls r3, r2, #31\n\t"
      "itt mi\n\t"
      "ldrbmi r4, [r1]\n\t"
      "strbmi r4, [r0]\n\t"
      "pop {r4-r9, pc}\n\t"
      /* At any address: words one by one. */
      "5:\n\t"
      "subs r2, r2, #16\n\t"
      "blo 7f\n\t"
      "6:\n\t"
      "ldr r3, [r1]\n\t"
      "ldr r4, [r1, #4]\n\t"
      "ldr r5, [r1, #8]\n\t"
      "ldr r6, [r1, #12]\n\t"
      "adds r1, r1, #16\n\t"
      "str r3, [r0]\n\t"
      "str r4, [r0, #4]\n\t"
      "str r5, [r0, #8]\n\t"
      "str r6, [r0, #12]\n\t"
      "adds r0, r0, #16\n\t"
      "subs r2, r2, #16\n\t"
      "bhs 6b\n\t"
      "7:\n\t"
      "lsls r3, r2, #29\n\t"
      "bcc 8f\n\t"
      "ldr r4, [r1], #4\n\t"
      "ldr r5, [r1], #4\n\t"
      "str r4, [r0], #4\n\t"
      "str r5, [r0], #4\n\t"
      "8:\n\t"
      "b 4b");
}
/* clang-format on */

#endif

/* Moves bytes to an address below, or to where they do not overlap. */
TVMP_INLINE void tvmp_move(void *to, const void *from, int32_t size_bytes) {
#if defined(__thumb2__)
  if (!__builtin_constant_p(size_bytes) || size_bytes > 16) {
    tvmp_move_bytes(to, from, size_bytes);
    return;
  }
#endif
  memmove(to, from, (size_t)size_bytes);
}

#endif
