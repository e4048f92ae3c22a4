"""``PatchPartition`` as a pass. Run from the top folder: ``python examples/partition.py``."""

import tvm

import tvm_patch

mod = tvm_patch.prepare("examples/digits/digits.tflite").module
mod = tvm.relax.transform.PatchPartition(ram="64KB")(mod)
print(tvm_patch.transform.plan_of(mod))
