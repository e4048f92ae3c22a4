#include "line_source.h"

#include <stdio.h>

static FILE *file; /* null: the test pattern */
static uint32_t line_bytes;
static uint32_t lines_read;
static uint32_t lines_total;

bool line_source_open(const char *path, uint32_t rows, uint32_t row_bytes) {
  line_bytes = row_bytes;
  lines_read = 0;
  lines_total = rows;
  file = NULL;
  if (path == NULL) {
    return true;
  }
  file = fopen(path, "rb");
  if (file == NULL) {
    fprintf(stderr, "%s: cannot be read\n", path);
    return false;
  }
  char kind;
  uint32_t width, height, brightest;
  /* One white space ends the header; the pixels come right behind it. */
  if (fscanf(file, "P%c %u %u %u", &kind, &width, &height, &brightest) != 4 ||
      (kind != '5' && kind != '6') || brightest != 255 || fgetc(file) == EOF) {
    fprintf(stderr, "%s: is not a binary PGM or PPM file with 8 bits a sample\n", path);
    return false;
  }
  const uint32_t samples = width * (kind == '6' ? 3 : 1);
  if (samples != row_bytes || height != rows) {
    fprintf(stderr, "%s: has %u rows of %u samples, the network wants %u of %u\n", path, height,
            samples, rows, row_bytes);
    return false;
  }
  return true;
}

bool line_source_read(uint8_t *line) {
  if (lines_read == lines_total) {
    return false;
  }
  if (file != NULL) {
    if (fread(line, 1, line_bytes, file) != line_bytes) {
      return false;
    }
  } else {
    for (uint32_t x = 0; x < line_bytes; ++x) {
      line[x] = (uint8_t)(8 * lines_read + x);
    }
  }
  lines_read++;
  return true;
}
