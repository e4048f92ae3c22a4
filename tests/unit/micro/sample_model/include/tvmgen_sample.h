/* A network written by hand in the form that the code generator gives. */
#ifndef TVMGEN_SAMPLE_H
#define TVMGEN_SAMPLE_H

#include <stdint.h>

#define TVMGEN_SAMPLE_ARENA_SIZE_BYTES 576
#define TVMGEN_SAMPLE_OPERATOR_COUNT 3

struct tvmgen_sample_inputs {
  void *image;
  void *bias_0;
};

struct tvmgen_sample_outputs {
  void *result;
  void *total;
};

extern uint8_t tvmgen_sample_arena[TVMGEN_SAMPLE_ARENA_SIZE_BYTES];

void tvmgen_sample_map_io(struct tvmgen_sample_inputs *inputs,
                          struct tvmgen_sample_outputs *outputs);
int32_t tvmgen_sample_run(struct tvmgen_sample_inputs *inputs,
                          struct tvmgen_sample_outputs *outputs);
void tvmgen_sample_run_operator(uint32_t index);
const char *tvmgen_sample_operator_name(uint32_t index);

#endif
