/* A network with more data than sixteen bits can count: it reverses its input. */
#ifndef TVMGEN_BULK_H
#define TVMGEN_BULK_H

#include <stdint.h>

#define TVMGEN_BULK_ARENA_SIZE_BYTES 140000
#define TVMGEN_BULK_OPERATOR_COUNT 1

struct tvmgen_bulk_inputs {
  void *data;
};

struct tvmgen_bulk_outputs {
  void *reversed;
};

extern uint8_t tvmgen_bulk_arena[TVMGEN_BULK_ARENA_SIZE_BYTES];

void tvmgen_bulk_map_io(struct tvmgen_bulk_inputs *inputs, struct tvmgen_bulk_outputs *outputs);
int32_t tvmgen_bulk_run(struct tvmgen_bulk_inputs *inputs, struct tvmgen_bulk_outputs *outputs);
void tvmgen_bulk_run_operator(uint32_t index);
const char *tvmgen_bulk_operator_name(uint32_t index);

#endif
