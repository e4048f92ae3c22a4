/* Loops of known timing, written by hand: each operator is one of them. */
#ifndef TVMGEN_TIMED_H
#define TVMGEN_TIMED_H

#include <stdint.h>

#define TVMGEN_TIMED_ARENA_SIZE_BYTES 64

struct tvmgen_timed_inputs {
  void *turns;
};

struct tvmgen_timed_outputs {
  void *scratch;
};

extern uint8_t tvmgen_timed_arena[TVMGEN_TIMED_ARENA_SIZE_BYTES];

#define TVMGEN_TIMED_OPERATOR_COUNT 17

void tvmgen_timed_map_io(struct tvmgen_timed_inputs *inputs, struct tvmgen_timed_outputs *outputs);
int32_t tvmgen_timed_run(struct tvmgen_timed_inputs *inputs, struct tvmgen_timed_outputs *outputs);
void tvmgen_timed_run_operator(uint32_t index);
const char *tvmgen_timed_operator_name(uint32_t index);

#endif
