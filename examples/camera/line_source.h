/* Stands in for an image sensor that gives one line at a time: a PGM or PPM file, or a test
 * pattern. On a board these functions start a frame, and wait for the DMA of a line. */
#ifndef LINE_SOURCE_H
#define LINE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

/* Begins a frame of `rows` lines of `row_bytes` samples each. `path` is that of a binary PGM
 * (P5) or PPM (P6) with 8 bits a sample; null gives the test pattern. False if there is no such
 * picture. */
bool line_source_open(const char *path, uint32_t rows, uint32_t row_bytes);

/* Writes the next line, `row_bytes` samples from 0 to 255. False if there is none. */
bool line_source_read(uint8_t *line);

#endif
