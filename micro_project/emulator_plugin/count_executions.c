/* Counts how often an emulator executes what, for tvm_patch/cycles.
 *
 * Copyright (C) 2026 the tvm-patch authors
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * This program is free software; you can redistribute it and/or modify it under the terms of the
 * GNU General Public License as published by the Free Software Foundation; either version 2 of the
 * License, or (at your option) any later version. It is loaded by QEMU, which is under the GPL, and
 * is no part of any firmware; the rest of the project neither includes nor links it.
 *
 *   qemu-system-arm ... -plugin ./count_executions.so,out=FILE,begin=ADDRESS,end=ADDRESS
 *
 *   out=FILE         where counts go
 *   begin=ADDRESS    an instruction that opens a region; may be given several times
 *   end=ADDRESS      one that closes it, before it is counted
 *   flash=LOW:HIGH   where reads are counted apart, HIGH excluded
 *   spans=LOW:BYTES:COUNT   an array of the firmware: a write to its element i says that all since
 *                    the last such write was done for i. What follows the last one is for 0
 *
 * For each region a line "region", then lines "span address instructions executions
 * taken reads misaligned", and "end". A block is what QEMU translates at once: a run of
 * instructions that is entered at its first one. `taken` says how often what came next was not what
 * stands behind it; `reads` are its accesses to flash; `misaligned` are cycles that a Cortex-M3 or
 * M4 needs more for accesses that are not aligned: one per access that is split in two, two if in
 * three. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_include)
#if __has_include(<qemu-plugin.h>)
#include <qemu-plugin.h>
#define HAVE_QEMU_PLUGIN_H
#endif
#endif

#ifdef HAVE_QEMU_PLUGIN_H
#define EXPORT QEMU_PLUGIN_EXPORT
#else
/* Debian's QEMU 7.2 loads plugins and comes without the header. This is the part of version 1 of
 * its interface (docs/devel/tcg-plugins.rst) that is used here. */
#define EXPORT __attribute__((visibility("default")))
#define QEMU_PLUGIN_VERSION 1

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_MEM_RW };
typedef void (*qemu_plugin_vcpu_tb_trans_cb_t)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*qemu_plugin_vcpu_udata_cb_t)(unsigned, void *);
typedef void (*qemu_plugin_vcpu_mem_cb_t)(unsigned, qemu_plugin_meminfo_t, uint64_t, void *);

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, qemu_plugin_vcpu_tb_trans_cb_t);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, qemu_plugin_vcpu_udata_cb_t,
                                          enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, qemu_plugin_vcpu_udata_cb_t,
                                            enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, qemu_plugin_vcpu_mem_cb_t,
                                      enum qemu_plugin_cb_flags, enum qemu_plugin_mem_rw, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
unsigned qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t);
#endif

EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count,
                               char **arguments);

enum { MAX_MARKS = 8, BUCKETS = 4096 };

struct counters {
  uint64_t executions, taken, reads, misaligned;
};

struct block {
  uint64_t address;
  uint64_t behind; /* the address of what stands behind it */
  uint32_t instructions;
  uint32_t number;
  struct block *next; /* in its bucket */
  struct counters now;
  bool is_touched; /* since the last write to a span */
};

static struct {
  FILE *out;
  uint64_t begin[MAX_MARKS], end[MAX_MARKS];
  size_t begin_count, end_count;
  uint64_t flash_low, flash_high;
  uint64_t spans_low, span_bytes, span_count;
} options;

static struct block *buckets[BUCKETS];
static struct block **blocks; /* by number */
static struct block **touched;
static size_t block_count, block_capacity, touched_count;
/* Totals of a region: by span and block; null where a span has none. */
static struct counters **totals;
static size_t *totals_capacity;
static bool counting;
static struct block *latest;

static void *checked(void *memory) {
  if (memory == NULL) {
    fputs("count_executions: out of memory\n", stderr);
    exit(EXIT_FAILURE);
  }
  return memory;
}

static struct block *find_block(uint64_t address, uint32_t instructions) {
  struct block **place = &buckets[(address >> 1) % BUCKETS];
  for (; *place != NULL; place = &(*place)->next) {
    if ((*place)->address == address && (*place)->instructions == instructions) {
      return *place;
    }
  }
  if (block_count == block_capacity) {
    block_capacity = block_capacity == 0 ? 1024 : 2 * block_capacity;
    blocks = checked(realloc(blocks, block_capacity * sizeof(*blocks)));
    touched = checked(realloc(touched, block_capacity * sizeof(*touched)));
  }
  struct block *block = checked(calloc(1, sizeof(*block)));
  block->address = address;
  block->instructions = instructions;
  block->number = (uint32_t)block_count;
  blocks[block_count++] = block;
  *place = block;
  return block;
}

static void touch(struct block *block) {
  if (!block->is_touched) {
    block->is_touched = true;
    touched[touched_count++] = block;
  }
}

/* What was done since the last call was done for `span`. */
static void book(size_t span) {
  for (size_t i = 0; i < touched_count; ++i) {
    struct block *block = touched[i];
    if (block->number >= totals_capacity[span]) {
      const size_t before = totals_capacity[span];
      totals_capacity[span] = block_capacity;
      totals[span] = checked(realloc(totals[span], block_capacity * sizeof(**totals)));
      memset(totals[span] + before, 0, (block_capacity - before) * sizeof(**totals));
    }
    struct counters *total = &totals[span][block->number];
    total->executions += block->now.executions;
    total->taken += block->now.taken;
    total->reads += block->now.reads;
    total->misaligned += block->now.misaligned;
    block->now = (struct counters){0};
    block->is_touched = false;
  }
  touched_count = 0;
}

static void write_region(void) {
  fputs("region\n", options.out);
  for (size_t span = 0; span < options.span_count; ++span) {
    for (size_t i = 0; i < totals_capacity[span] && i < block_count; ++i) {
      const struct counters *total = &totals[span][i];
      if (total->executions != 0 || total->taken != 0) {
        fprintf(options.out,
                "%zu %" PRIx64 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                span, blocks[i]->address, blocks[i]->instructions, total->executions, total->taken,
                total->reads, total->misaligned);
      }
    }
    free(totals[span]);
    totals[span] = NULL;
    totals_capacity[span] = 0;
  }
  /* Whoever waits for the firmware's answer finds the region whole. */
  fputs("end\n", options.out);
  fflush(options.out);
}

/* QEMU 7.2 takes the first half of an instruction that begins at the very end of a page for a part
 * of the one before it; the smallest page of a Cortex-M has 1,024 bytes. */
static bool stands_behind(const struct block *block, uint64_t address) {
  return address == block->behind || (block->behind % 1024 == 0 && address + 2 == block->behind);
}

static void on_block(unsigned cpu, void *data) {
  (void)cpu;
  struct block *block = data;
  if (!counting) {
    return;
  }
  if (latest != NULL && !stands_behind(latest, block->address)) {
    latest->now.taken++;
    touch(latest); /* it may have been booked in between */
  }
  block->now.executions++;
  touch(block);
  latest = block;
}

static void on_begin(unsigned cpu, void *data) {
  struct block *block = data;
  if (!counting) {
    counting = true;
    latest = NULL;
    on_block(cpu, block);
  }
}

static void on_end(unsigned cpu, void *data) {
  (void)cpu;
  struct block *block = data;
  if (counting) {
    counting = false;
    block->now.executions--;
    book(0);
    write_region();
  }
}

static void on_memory(unsigned cpu, qemu_plugin_meminfo_t access, uint64_t address, void *data) {
  (void)cpu;
  struct block *block = data;
  if (!counting) {
    return;
  }
  const unsigned size_log2 = qemu_plugin_mem_size_shift(access);
  const bool is_store = qemu_plugin_mem_is_store(access);
  if (size_log2 == 2 && address % 4 != 0) {
    block->now.misaligned += address % 2 == 0 ? 1 : 2;
  } else if (size_log2 == 1 && address % 2 != 0) {
    block->now.misaligned++;
  }
  if (!is_store && address >= options.flash_low && address < options.flash_high) {
    block->now.reads++;
  }
  if (is_store && options.span_bytes != 0 && address >= options.spans_low &&
      address < options.spans_low + options.span_bytes * options.span_count) {
    book((size_t)((address - options.spans_low) / options.span_bytes));
  }
}

static bool contains(const uint64_t *addresses, size_t count, uint64_t address) {
  for (size_t i = 0; i < count; ++i) {
    if (addresses[i] == address) {
      return true;
    }
  }
  return false;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(tb);
  struct block *block = find_block(qemu_plugin_tb_vaddr(tb), (uint32_t)count);
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_NO_REGS, block);
  for (size_t i = 0; i < count; ++i) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, i);
    const uint64_t address = qemu_plugin_insn_vaddr(instruction);
    block->behind = address + qemu_plugin_insn_size(instruction);
    if (contains(options.begin, options.begin_count, address)) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_begin, QEMU_PLUGIN_CB_NO_REGS, block);
    }
    if (contains(options.end, options.end_count, address)) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_end, QEMU_PLUGIN_CB_NO_REGS, block);
    }
    qemu_plugin_register_vcpu_mem_cb(instruction, on_memory, QEMU_PLUGIN_CB_NO_REGS,
                                     QEMU_PLUGIN_MEM_RW, block);
  }
}

static bool add_address(uint64_t *addresses, size_t *count, const char *text) {
  if (*count == MAX_MARKS) {
    return false;
  }
  addresses[(*count)++] = strtoull(text, NULL, 0);
  return true;
}

static bool take_option(const char *text) {
  if (strncmp(text, "out=", 4) == 0) {
    options.out = fopen(text + 4, "w");
    return options.out != NULL;
  }
  if (strncmp(text, "begin=", 6) == 0) {
    return add_address(options.begin, &options.begin_count, text + 6);
  }
  if (strncmp(text, "end=", 4) == 0) {
    return add_address(options.end, &options.end_count, text + 4);
  }
  if (strncmp(text, "flash=", 6) == 0) {
    return sscanf(text + 6, "%" SCNi64 ":%" SCNi64, (int64_t *)&options.flash_low,
                  (int64_t *)&options.flash_high) == 2;
  }
  if (strncmp(text, "spans=", 6) == 0) {
    return sscanf(text + 6, "%" SCNi64 ":%" SCNi64 ":%" SCNi64, (int64_t *)&options.spans_low,
                  (int64_t *)&options.span_bytes, (int64_t *)&options.span_count) == 3 &&
           options.span_count > 0;
  }
  return false;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int count, char **arguments) {
  (void)info;
  options.span_count = 1;
  for (int i = 0; i < count; ++i) {
    if (!take_option(arguments[i])) {
      fprintf(stderr, "count_executions: %s: cannot be used\n", arguments[i]);
      return -1;
    }
  }
  if (options.out == NULL || options.begin_count == 0 || options.end_count == 0) {
    fputs("count_executions: out, begin and end are needed\n", stderr);
    return -1;
  }
  totals = checked(calloc(options.span_count, sizeof(*totals)));
  totals_capacity = checked(calloc(options.span_count, sizeof(*totals_capacity)));
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  return 0;
}
