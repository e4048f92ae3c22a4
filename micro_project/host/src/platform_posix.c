/* Port to a POSIX process: the same protocol over standard input and output. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tvm_patch/platform.h"
#include "tvm_patch/protocol.h"

static const struct tvm_patch_platform platform = {
    .board = "host",
    .clock = {.kind = TVM_PATCH_CLOCK_NANOSECONDS, .units_per_tick = 1},
};

static struct timespec started;

void tvm_patch_platform_init(void) {
}

const struct tvm_patch_platform *tvm_patch_platform(void) {
  return &platform;
}

size_t tvm_patch_platform_read(uint8_t *data, size_t capacity) {
  for (;;) {
    const ssize_t size = read(STDIN_FILENO, data, capacity);
    if (size >= 0) {
      return (size_t)size;
    }
    if (errno != EINTR) {
      exit(EXIT_FAILURE);
    }
  }
}

void tvm_patch_platform_write(const uint8_t *data, size_t size) {
  while (size != 0) {
    const ssize_t written = write(STDOUT_FILENO, data, size);
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      exit(EXIT_FAILURE);
    }
    data += written;
    size -= (size_t)written;
  }
}

void tvm_patch_platform_reset(void) {
  /* The same process and pipes, with memory as at the start. */
  execl("/proc/self/exe", "firmware", (char *)NULL);
  _exit(EXIT_FAILURE);
}

/* The signal ends the process. */
void tvm_patch_platform_watchdog(bool armed) {
  enum { PATIENCE_S = 10 };
  alarm(armed ? PATIENCE_S : 0);
}

void tvm_patch_platform_timer_start(void) {
  clock_gettime(CLOCK_MONOTONIC, &started);
}

uint64_t tvm_patch_platform_timer_elapsed(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)(now.tv_sec - started.tv_sec) * 1000000000u + (uint64_t)now.tv_nsec -
         (uint64_t)started.tv_nsec;
}
