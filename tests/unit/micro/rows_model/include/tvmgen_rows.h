/* A network written by hand in the form that the code generator gives where an input is fetched
 * by rows; its second input lies in the arena. */
#ifndef TVMGEN_ROWS_H
#define TVMGEN_ROWS_H

#include <stdint.h>

#define TVMGEN_ROWS_ARENA_SIZE_BYTES 4500
#define TVMGEN_ROWS_OPERATOR_COUNT 2

struct tvmgen_rows_inputs {
  void *bias;
};

struct tvmgen_rows_outputs {
  void *result;
  void *total;
};

extern uint8_t tvmgen_rows_arena[TVMGEN_ROWS_ARENA_SIZE_BYTES];

/* The user's: writes row_count rows of the input. */
extern void tvmgen_rows_fetch_rows(uint32_t input, uint32_t first_row, uint32_t row_count,
                                   void *rows);

void tvmgen_rows_map_io(struct tvmgen_rows_inputs *inputs, struct tvmgen_rows_outputs *outputs);
int32_t tvmgen_rows_run(struct tvmgen_rows_inputs *inputs, struct tvmgen_rows_outputs *outputs);
void tvmgen_rows_run_operator(uint32_t index);
const char *tvmgen_rows_operator_name(uint32_t index);

#endif
