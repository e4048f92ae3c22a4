#include "tvmgen_timed.h"

#include <string.h>

enum { TURNS_AT = 0, SCRATCH_AT = 16 };

uint8_t tvmgen_timed_arena[TVMGEN_TIMED_ARENA_SIZE_BYTES]
    __attribute__((aligned(16), section(".bss.tvmgen_arena")));

static const uint32_t in_flash[4] = {1, 2, 3, 4};

/* A loop over `body`: r0 counts down, r1 and r2 point into SRAM, r3 into flash; r4 to r7 and r12
 * are free. */
#define LOOP(name, body)                                                                           \
  __attribute__((naked, noinline)) static void name(uint32_t turns, void *sram, void *same,        \
                                                    const void *flash) {                           \
    (void)turns;                                                                                   \
    (void)sram;                                                                                    \
    (void)same;                                                                                    \
    (void)flash;                                                                                   \
    __asm__ volatile("push {r4-r7, lr}\n\t"                                                        \
                     "movs r6, #0\n\t"                                                             \
                     "movs r7, #3\n\t"                                                             \
                     ".p2align 2\n"                                                                \
                     "1:\n\t" body "subs.n r0, #1\n\t"                                             \
                     "bne.n 1b\n\t"                                                                \
                     "pop {r4-r7, pc}");                                                           \
  }

LOOP(nothing, "")
LOOP(arithmetic, "smlad r4, r6, r7, r4\n\tsmull r4, r5, r6, r7\n\tsmmulr r4, r6, r7\n\t"
                 "mla r4, r6, r7, r4\n\tssat r5, #8, r4\n\tpkhbt r4, r6, r7, lsl #16\n\t"
                 "sxtb16 r5, r4, ror #8\n\tadds r4, r5, r6\n\t")
LOOP(one_load, "ldr r4, [r1]\n\tadds r5, r6, r7\n\t")
LOOP(four_loads, "ldr r4, [r1]\n\tldr r5, [r1, #4]\n\tldr r4, [r2]\n\tldr r5, [r1, r6]\n\t")
LOOP(chased_loads, "str r1, [r1]\n\tldr r4, [r1]\n\tldr r4, [r4]\n\tldr r4, [r4]\n\t")
LOOP(stores, "str r4, [r1]\n\tstrb r4, [r1, #4]\n\tstrh r4, [r2, #8]\n\t")
LOOP(store_register_offset, "str r4, [r1, r6]\n\tldr r4, [r1]\n\tstr r4, [r1, r6]\n\t")
LOOP(load_store_load, "ldr r4, [r1]\n\tstr r4, [r1, #4]\n\tldr r5, [r1, #8]\n\t")
LOOP(pairs, "ldrd r4, r5, [r1]\n\tstrd r4, r5, [r1]\n\t")
LOOP(multiple, "ldm r1, {r4, r5, r6, r7, r12}\n\tpush {r4-r7}\n\tpop {r4-r7}\n\tmovs r6, #0\n\t")
LOOP(address_computed, "adds r4, r1, r6\n\tldr r5, [r4]\n\t")
LOOP(branches, "cmp r6, #1\n\tbeq.n 2f\n\tb.n 3f\n\t2: nop\n\t.p2align 2\n\t3:\n\tcbz r6, 4f\n\t"
               "nop\n\t.p2align 2\n\t4:\n\t")
LOOP(branch_to_split, "b.n 2f\n\t.p2align 2\n\tnop\n\t2: add.w r4, r4, #1\n\tnop\n\t")
LOOP(misaligned,
     "ldr r4, [r1, #2]\n\tnop\n\tldr r4, [r1, #1]\n\tnop\n\tldrh r4, [r1, #1]\n\tnop\n\t")
LOOP(flash_reads, "ldr r4, [r3]\n\tldr r5, [r3, #4]\n\tldrd r4, r5, [r3, #8]\n\t")
LOOP(divisions, "sdiv r4, r6, r7\n\tudiv r4, r6, r7\n\t")
LOOP(conditional, "cmp r6, #1\n\tite eq\n\tmoveq r4, #1\n\tmovne r4, #2\n\t")

static const struct {
  const char *name;
  void (*run)(uint32_t turns, void *sram, void *same, const void *flash);
} loops[TVMGEN_TIMED_OPERATOR_COUNT] = {
    {"nothing", nothing},
    {"arithmetic", arithmetic},
    {"one_load", one_load},
    {"four_loads", four_loads},
    {"chased_loads", chased_loads},
    {"stores", stores},
    {"store_register_offset", store_register_offset},
    {"load_store_load", load_store_load},
    {"pairs", pairs},
    {"multiple", multiple},
    {"address_computed", address_computed},
    {"branches", branches},
    {"branch_to_split", branch_to_split},
    {"misaligned", misaligned},
    {"flash_reads", flash_reads},
    {"divisions", divisions},
    {"conditional", conditional},
};

void tvmgen_timed_map_io(struct tvmgen_timed_inputs *inputs, struct tvmgen_timed_outputs *outputs) {
  inputs->turns = tvmgen_timed_arena + TURNS_AT;
  outputs->scratch = tvmgen_timed_arena + SCRATCH_AT;
}

void tvmgen_timed_run_operator(uint32_t index) {
  uint32_t turns;
  memcpy(&turns, tvmgen_timed_arena + TURNS_AT, sizeof(turns));
  uint8_t *scratch = tvmgen_timed_arena + SCRATCH_AT;
  loops[index].run(turns, scratch, scratch, in_flash);
}

int32_t tvmgen_timed_run(struct tvmgen_timed_inputs *inputs, struct tvmgen_timed_outputs *outputs) {
  (void)inputs;
  (void)outputs;
  for (uint32_t i = 0; i < TVMGEN_TIMED_OPERATOR_COUNT; ++i) {
    tvmgen_timed_run_operator(i);
  }
  return 0;
}

const char *tvmgen_timed_operator_name(uint32_t index) {
  return loops[index].name;
}
