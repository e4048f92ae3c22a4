"""Random networks of the integer dialect, built operator by operator without a model file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import IRModule, relax

from tvm_patch import qnn


class IntegerNetwork:
    """Builds ``main`` of qnn operators with random constants.

    Parameters
    ----------
    shape : sequence of int
        Of the input, [1, H, W, C].
    seed : int
        Same seed, same constants.
    """

    def __init__(self, shape: Sequence[int], seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._builder = relax.BlockBuilder()
        self.input = relax.Var("image", relax.TensorType(list(shape), "int8"))
        self._bindings: list[tuple[str, Any]] = []
        self._function = self._builder.function("main", [self.input])
        self._function.__enter__()
        self._dataflow = self._builder.dataflow()
        self._dataflow.__enter__()

    def _requantisation(self, channels: int, taps: int) -> dict[str, Any]:
        """Constants that spread accumulators over the int8 range, some far off."""
        spread = np.sqrt(taps) * 64 * 64
        real = 40.0 / spread * self._random.uniform(0.3, 3.0, channels)
        pairs = [qnn.arithmetic.quantize_multiplier(float(value)) for value in real]
        return {
            "bias": self._random.integers(-2000, 2000, channels),
            "multiplier": np.array([pair[0] for pair in pairs]),
            "shift": np.array([pair[1] for pair in pairs]),
        }

    def _zero_point(self) -> int:
        return int(self._random.integers(-128, 128))

    def _emit(self, call: Any, name: str) -> Any:
        return self._builder.emit(call, name_hint=name)

    def conv2d(
        self,
        data: Any,
        channels: int,
        kernel: tuple[int, int],
        *,
        strides: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        zero_point: int = 0,
        name: str = "conv",
    ) -> Any:
        """A convolution; ``zero_point`` is its input's, which padding reads as."""
        depth = int(data.ty.shape[3])
        weight = self._random.integers(-127, 128, (channels, *kernel, depth))
        call = qnn.ops.conv2d(
            data,
            weight,
            **self._requantisation(channels, kernel[0] * kernel[1] * depth),
            strides=strides,
            padding=padding,
            dilation=dilation,
            input_zero_point=zero_point,
            output_zero_point=self._zero_point(),
        )
        return self._emit(call, name)

    def depthwise(
        self,
        data: Any,
        kernel: tuple[int, int],
        *,
        strides: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        zero_point: int = 0,
        name: str = "depthwise",
    ) -> Any:
        """A depthwise convolution of multiplier one."""
        channels = int(data.ty.shape[3])
        call = qnn.ops.depthwise_conv2d(
            data,
            self._random.integers(-127, 128, (*kernel, channels)),
            **self._requantisation(channels, kernel[0] * kernel[1]),
            strides=strides,
            padding=padding,
            dilation=dilation,
            input_zero_point=zero_point,
            output_zero_point=self._zero_point(),
        )
        return self._emit(call, name)

    def emit(self, call: Any, name: str) -> Any:
        """Any other operator's call."""
        return self._emit(call, name)

    def finish(self, *outputs: Any) -> IRModule:
        """The module."""
        result = outputs[0] if len(outputs) == 1 else relax.Tuple(list(outputs))
        output = self._builder.emit_output(result)
        self._dataflow.__exit__(None, None, None)
        self._builder.emit_func_output(output)
        self._function.__exit__(None, None, None)
        return self._builder.get()
