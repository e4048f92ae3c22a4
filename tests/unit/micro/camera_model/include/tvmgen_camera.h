/* A network written by hand in the form that the code generator gives where the only input is
 * fetched by rows. */
#ifndef TVMGEN_CAMERA_H
#define TVMGEN_CAMERA_H

#include <stdint.h>

#define TVMGEN_CAMERA_ARENA_SIZE_BYTES 48
#define TVMGEN_CAMERA_OPERATOR_COUNT 1

struct tvmgen_camera_inputs {
  char unused;
};

struct tvmgen_camera_outputs {
  void *brightest;
};

extern uint8_t tvmgen_camera_arena[TVMGEN_CAMERA_ARENA_SIZE_BYTES];

/* The user's: writes row_count rows of the input. */
extern void tvmgen_camera_fetch_rows(uint32_t input, uint32_t first_row, uint32_t row_count,
                                     void *rows);

void tvmgen_camera_map_io(struct tvmgen_camera_inputs *inputs,
                          struct tvmgen_camera_outputs *outputs);
int32_t tvmgen_camera_run(struct tvmgen_camera_inputs *inputs,
                          struct tvmgen_camera_outputs *outputs);
void tvmgen_camera_run_operator(uint32_t index);
const char *tvmgen_camera_operator_name(uint32_t index);

#endif
