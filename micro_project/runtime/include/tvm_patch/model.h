/* What the runtime knows of a network: filled in by the generated model binding. */
#ifndef TVM_PATCH_MODEL_H
#define TVM_PATCH_MODEL_H

#include <stdint.h>

/* One input or output of the network. `data` is valid once `tvm_patch_model.bind` has run. */
struct tvm_patch_tensor {
  const char *name;
  void *data; /* null where there is none: the network fetches the input by rows */
  uint32_t size_bytes;
  uint32_t row_bytes; /* of an input that is fetched by rows, otherwise 0 */
};

struct tvm_patch_profile;

struct tvm_patch_model {
  const char *name;
  const char *fingerprint;

  uint8_t *arena;
  uint32_t arena_size_bytes;

  struct tvm_patch_tensor *inputs;
  uint16_t input_count;
  struct tvm_patch_tensor *outputs;
  uint16_t output_count;
  uint16_t operator_count;

  /* Looks up where the tensors live in the arena. Called once, before anything else. */
  void (*bind)(void);
  /* One inference; 0 on success. Inputs may be overwritten: they live in the arena. */
  int32_t (*run)(void);
  /* Operators 0 .. operator_count - 1, called in order, are one inference. */
  void (*run_operator)(uint32_t index);
  const char *(*operator_name)(uint32_t index);

  /* Filled by every run of a profiling build (profile.h); otherwise null. */
  struct tvm_patch_profile *profile;
};

extern const struct tvm_patch_model tvm_patch_model;

#endif
