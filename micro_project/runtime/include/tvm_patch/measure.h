/* Times inferences and finds out how much stack they use. What happens while the network waits
 * for rows of its input (rows.h) is in neither figure. */
#ifndef TVM_PATCH_MEASURE_H
#define TVM_PATCH_MEASURE_H

#include <stdint.h>

#include "tvm_patch/model.h"
#include "tvm_patch/platform.h"

struct tvm_patch_measurement {
  int32_t result; /* of the model; 0 is success */
  uint64_t ticks;
  uint64_t fetch_ticks; /* spent on rows of the input, and not in `ticks` */
  uint32_t stack_bytes; /* TVM_PATCH_UNKNOWN where the port cannot tell */
};

/* One inference on whatever the arena holds. The stack counts from the stack pointer of the
 * caller of `model->run`, so neither the runtime nor its buffers are in the figure. */
struct tvm_patch_measurement tvm_patch_measure_run(const struct tvm_patch_model *model);

/* Ticks of operator `index` alone. */
uint64_t tvm_patch_measure_operator(const struct tvm_patch_model *model, uint32_t index);

/* Ticks of the measurement under way so far. */
uint64_t tvm_patch_measure_elapsed(void);

#endif
