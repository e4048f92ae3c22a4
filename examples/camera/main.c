/* Runs a network on lines as a sensor gives them: no whole image is ever in memory. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include MODEL_HEADER
#include "line_source.h"

/* A model of your own has one name: write tvmgen_<model>_run and so on. */
#define JOIN_(prefix, name) prefix##name
#define JOIN(prefix, name) JOIN_(prefix, name)
#define MODEL(name) JOIN(MODEL_PREFIX, name)

static uint32_t next_row;
static int lines_missing;

/* Quantises in place what the sensor wrote. Inputs that stand for 0 to 1 or for -1 to 1 have
 * their zero point such that sample 0 is -128 and sample 255 is 127. */
static void quantise(uint8_t *row) {
  for (uint32_t x = 0; x < ROW_BYTES; ++x) {
    row[x] ^= 0x80; /* sample - 128, as int8 */
  }
}

/* The generated code calls this while it runs: for every row once, from the top down, so that a
 * sensor's lines are taken in the order in which they come. */
void MODEL(fetch_rows)(uint32_t input, uint32_t first_row, uint32_t row_count, void *rows) {
  uint8_t *row = rows;
  if (input != 0 || first_row != next_row) {
    abort();
  }
  for (uint32_t i = 0; i < row_count; ++i, row += ROW_BYTES) {
    if (!line_source_read(row)) {
      /* There is no way to stop an inference: it goes on with black, and is not used. */
      memset(row, 0, ROW_BYTES);
      lines_missing = 1;
    }
    quantise(row);
  }
  next_row += row_count;
}

int main(int count, char **arguments) {
  struct MODEL(inputs) inputs = {0};
  struct MODEL(outputs) outputs = {0};
  if (!line_source_open(count > 1 ? arguments[1] : NULL, ROWS, ROW_BYTES)) {
    return EXIT_FAILURE;
  }
  MODEL(map_io)(&inputs, &outputs);
  next_row = 0;
  const int32_t result = MODEL(run)(&inputs, &outputs);
  if (result != 0 || next_row != ROWS || lines_missing) {
    fprintf(stderr, "the inference failed: result %d, %u of %u rows taken%s\n", (int)result,
            next_row, (uint32_t)ROWS, lines_missing ? ", not all of them there" : "");
    return EXIT_FAILURE;
  }
  const int8_t *output = outputs.MODEL_OUTPUT;
  for (uint32_t i = 0; i < OUTPUT_BYTES; ++i) {
    printf("%d\n", output[i]);
  }
  return EXIT_SUCCESS;
}
