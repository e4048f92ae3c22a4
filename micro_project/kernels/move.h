/* Moving rows: what memcpy and memmove do, for targets that begin below their source or apart from
 * it; and filling them, as memset does.
 *
 * Generated code moves every row of a window or a line buffer, often more than once. Libraries take
 * half an instruction a byte for that, one and more where blocks overlap; loading and storing eight
 * registers at once takes an eighth. plan/movement.py knows these figures. */
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

/* A word of four equal bytes, at least four of them. */
__attribute__((naked, noinline, unused)) static void tvmp_fill_bytes(void *to, uint32_t word,
                                                                     int32_t size_bytes) {
  (void)to;
  (void)word;
  (void)size_bytes;
  __asm__ volatile(
      "push {r4-r7, lr}\n\t"
      /* One word at any address, then on from the whole word behind its first byte. */
      "str r1, [r0]\n\t"
      "and r3, r0, #3\n\t"
      "orr r0, r0, #3\n\t"
      "adds r0, r0, #1\n\t"
      "add r2, r2, r3\n\t"
      "subs r2, r2, #36\n\t"
      "blt 2f\n\t"
      "mov r3, r1\n\t"
      "mov r4, r1\n\t"
      "mov r5, r1\n\t"
      "mov r6, r1\n\t"
      "mov r7, r1\n\t"
      "mov r12, r1\n\t"
      "mov lr, r1\n\t"
      "1:\n\t"
      "stm r0!, {r1, r3-r7, r12, lr}\n\t"
      "subs r2, r2, #32\n\t"
      "bhs 1b\n\t"
      /* The lowest five bits are what is left. */
      "2:\n\t"
      "lsls r3, r2, #28\n\t"
      "itttt cs\n\t"
      "strcs r1, [r0], #4\n\t"
      "strcs r1, [r0], #4\n\t"
      "strcs r1, [r0], #4\n\t"
      "strcs r1, [r0], #4\n\t"
      "itt mi\n\t"
      "strmi r1, [r0], #4\n\t"
      "strmi r1, [r0], #4\n\t"
      "lsls r3, r2, #30\n\t"
      "it cs\n\t"
      "strcs r1, [r0], #4\n\t"
      "it mi\n\t"
      "strhmi r1, [r0], #2\n\t"
      "lsls r3, r2, #31\n\t"
      "it mi\n\t"
      "strbmi r1, [r0]\n\t"
      "pop {r4-r7, pc}");
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

/* Makes all bytes the lowest eight bits of a value. */
TVMP_INLINE void tvmp_fill(void *to, int32_t value, int32_t size_bytes) {
#if defined(__thumb2__)
  if (!__builtin_constant_p(size_bytes) || size_bytes > 16) {
    if (size_bytes >= 4) {
      tvmp_fill_bytes(to, (uint32_t)(value & 0xff) * 0x01010101U, size_bytes);
      return;
    }
  }
#endif
  memset(to, value, (size_t)size_bytes);
}

#endif
