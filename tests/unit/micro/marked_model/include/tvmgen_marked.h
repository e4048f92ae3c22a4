/* Two operators whose loops are of known length, called in turns as in a stage: it shows what the
 * runtime books between marks. */
#ifndef TVMGEN_MARKED_H
#define TVMGEN_MARKED_H

#include <stdint.h>

#define TVMGEN_MARKED_ARENA_SIZE_BYTES 16
#define TVMGEN_MARKED_OPERATOR_COUNT 2

struct tvmgen_marked_inputs {
  void *turns;
};

struct tvmgen_marked_outputs {
  void *runs;
};

extern uint8_t tvmgen_marked_arena[TVMGEN_MARKED_ARENA_SIZE_BYTES];

void tvmgen_marked_map_io(struct tvmgen_marked_inputs *inputs,
                          struct tvmgen_marked_outputs *outputs);
int32_t tvmgen_marked_run(struct tvmgen_marked_inputs *inputs,
                          struct tvmgen_marked_outputs *outputs);
void tvmgen_marked_run_operator(uint32_t index);
const char *tvmgen_marked_operator_name(uint32_t index);

#endif
