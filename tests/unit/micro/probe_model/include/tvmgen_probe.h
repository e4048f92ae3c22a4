/* A network that does as it is told, for better or worse: it shows what the runtime makes of
 * networks that fault, hang, fail, or write where they must not. */
#ifndef TVMGEN_PROBE_H
#define TVMGEN_PROBE_H

#include <stdint.h>

#define TVMGEN_PROBE_ARENA_SIZE_BYTES 6021
#define TVMGEN_PROBE_OPERATOR_COUNT 1

struct tvmgen_probe_inputs {
  void *data;
  void *order;
};

struct tvmgen_probe_outputs {
  void *copy;
  void *runs;
};

extern uint8_t tvmgen_probe_arena[TVMGEN_PROBE_ARENA_SIZE_BYTES];

void tvmgen_probe_map_io(struct tvmgen_probe_inputs *inputs, struct tvmgen_probe_outputs *outputs);
int32_t tvmgen_probe_run(struct tvmgen_probe_inputs *inputs, struct tvmgen_probe_outputs *outputs);
void tvmgen_probe_run_operator(uint32_t index);
const char *tvmgen_probe_operator_name(uint32_t index);

#endif
