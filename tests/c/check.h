/* The little that the tests of the runtime need: a check that names itself when it fails. */
#ifndef TVM_PATCH_TESTS_CHECK_H
#define TVM_PATCH_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                           \
  do {                                                                                             \
    if (!(condition)) {                                                                            \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                              \
      exit(EXIT_FAILURE);                                                                          \
    }                                                                                              \
  } while (0)

/* Numbers that are the same in every run (xorshift32, Marsaglia 2003). */
static inline unsigned next_random(unsigned *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

#endif
