/* Inputs on demand: the host sends rows of them while the network runs. */
#ifndef TVM_PATCH_ROWS_H
#define TVM_PATCH_ROWS_H

#include <stdint.h>

/* What the generated `tvmgen_<model>_fetch_rows` comes to: writes rows
 * `first_row` .. `first_row + row_count - 1` of an input to `rows`. The stopwatch stands still
 * meanwhile, and the stack that it takes is not counted, this function's own frame apart.
 * Does not return if the host has turned to something else. */
void tvm_patch_fetch_rows(uint32_t input, uint32_t first_row, uint32_t row_count, void *rows);

/* The transfer by itself. */
void tvm_patch_rows_transfer(uint32_t input, uint32_t first_row, uint32_t row_count, uint8_t *rows);

#endif
