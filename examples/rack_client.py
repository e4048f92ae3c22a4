"""Measures on two boards at once, with nothing but TVM.

Build a firmware and start a rack first::

    tvm-patch build examples/digits/digits.tflite --board qemu_cortex_m7 -o out/digits
    tvm-patch rack --boards qemu_cortex_m7:2
    python examples/rack_client.py 127.0.0.1:9190 qemu_cortex_m7 out/digits/firmware.tar

``firmware.tar`` is what ``build`` and ``deploy`` leave beside the firmware.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tvm
from tvm import rpc


def measure(tracker: tuple[str, int], key: str, artifact: str, seed: int) -> dict[str, object]:
    """Run one inference on whichever board is free."""
    # Waits in the tracker's queue until a board of that key is free.
    remote = rpc.connect_tracker(*tracker).request(key, priority=1, session_timeout=120)
    remote.upload(artifact, target="firmware.tar")
    firmware = remote.load_module("firmware.tar")  # flashes it
    info = json.loads(firmware["info"]())

    device = remote.cpu()
    generator = np.random.default_rng(seed)
    for index, tensor in enumerate(info["inputs"]):
        values = generator.integers(-128, 128, tensor["shape"]).astype(tensor["dtype"])
        firmware["set_input"](index, tvm.runtime.tensor(values, device))
    firmware["run"]()
    output = firmware["get_output"](0).numpy()

    # Memory and time, as the device itself reports them.
    measured = json.loads(firmware["measure"](1))
    return {"output": output.ravel().tolist(), "board": info["board"], **measured}


def main() -> None:
    """Measure on two boards of one key."""
    address, key, artifact = sys.argv[1:]
    host, port = address.rsplit(":", 1)
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(measure, (host, int(port)), key, artifact, seed) for seed in (0, 1)]
        for job in jobs:
            result = job.result()
            unit = next(u for u in ("instructions", "cycles", "nanoseconds") if result[u])
            print(f"{result['board']}: {result[unit]:,} {unit}, output {result['output']}")


if __name__ == "__main__":
    main()
