/* What a port implements. `port.h`, from the port's own include folder, adds what must be inline.
 */
#ifndef TVM_PATCH_PLATFORM_H
#define TVM_PATCH_PLATFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Clock, link and whatever else the port needs. Called first. */
void tvm_patch_platform_init(void);

/* Waits for bytes and returns how many of `capacity` were taken; 0 when the link is closed. */
size_t tvm_patch_platform_read(uint8_t *data, size_t capacity);

/* Sends all of `data`; returns when it has been handed to the hardware. */
void tvm_patch_platform_write(const uint8_t *data, size_t size);

/* Starts the device anew; does not return. */
_Noreturn void tvm_patch_platform_reset(void);

/* While it is armed, code that runs far longer than any operator ends as one that faults. A port
 * without a watchdog does nothing: the host loses patience. */
void tvm_patch_platform_watchdog(bool armed);

/* A stopwatch. Starting it sets its phase too, so that an emulator, whose time is its
 * instruction count, measures the same number in every run. */
void tvm_patch_platform_timer_start(void);
uint64_t tvm_patch_platform_timer_elapsed(void);

struct tvm_patch_clock {
  uint8_t kind; /* enum tvm_patch_clock_kind */
  uint32_t units_per_tick;
  uint32_t hz; /* of the core where it is known, else 0 */
};

struct tvm_patch_span {
  uint8_t *begin;
  uint32_t size_bytes;
};

struct tvm_patch_platform {
  const char *board;
  struct tvm_patch_clock clock;
  /* Memory reserved for the stack, lowest address first; empty where it cannot be told. */
  struct tvm_patch_span stack;
  /* Bytes before and behind the arena that nobody may touch. */
  struct tvm_patch_span guards[2];
};

/* Valid after tvm_patch_platform_init. */
const struct tvm_patch_platform *tvm_patch_platform(void);

#endif
