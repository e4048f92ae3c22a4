#include "tvmgen_camera.h"

enum { ROWS = 16, ROW_BYTES = 20, LINE_AT = 0, BRIGHTEST_AT = 32 };

uint8_t tvmgen_camera_arena[TVMGEN_CAMERA_ARENA_SIZE_BYTES]
    __attribute__((aligned(16), section(".bss.tvmgen_arena")));

static int8_t *at(uint32_t offset) {
  return (int8_t *)tvmgen_camera_arena + offset;
}

void tvmgen_camera_map_io(struct tvmgen_camera_inputs *inputs,
                          struct tvmgen_camera_outputs *outputs) {
  (void)inputs;
  outputs->brightest = at(BRIGHTEST_AT);
}

void tvmgen_camera_run_operator(uint32_t index) {
  (void)index;
  for (uint32_t y = 0; y < ROWS; ++y) {
    int8_t brightest = -128;
    tvmgen_camera_fetch_rows(0, y, 1, at(LINE_AT));
    for (int x = 0; x < ROW_BYTES; ++x) {
      brightest = at(LINE_AT)[x] > brightest ? at(LINE_AT)[x] : brightest;
    }
    at(BRIGHTEST_AT)[y] = brightest;
  }
}

int32_t tvmgen_camera_run(struct tvmgen_camera_inputs *inputs,
                          struct tvmgen_camera_outputs *outputs) {
  (void)inputs;
  (void)outputs;
  tvmgen_camera_run_operator(0);
  return 0;
}

const char *tvmgen_camera_operator_name(uint32_t index) {
  (void)index;
  return "brightest_of_row";
}
