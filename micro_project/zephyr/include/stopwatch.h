/* What counts while a network runs. One of the stopwatch_*.c files is built, as Kconfig says. */
#ifndef TVM_PATCH_STOPWATCH_H
#define TVM_PATCH_STOPWATCH_H

#include <stdint.h>

#include "tvm_patch/platform.h"

void tvm_patch_stopwatch_init(void);
struct tvm_patch_clock tvm_patch_stopwatch_clock(void);

void tvm_patch_stopwatch_start(void);
uint64_t tvm_patch_stopwatch_elapsed(void);

#endif
