"""Graphs for planner tests, made without TVM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tvm_patch.plan import Access, Graph, Operator, Scratch, Tensor, Window


class GraphBuilder:
    """A chain with optional branches, operator by operator."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        self.tensors = [Tensor("image", (1, height, width, channels))]
        self.operators: list[Operator] = []

    def _shape(self, name: str) -> tuple[int, ...]:
        return next(t.shape for t in self.tensors if t.name == name)

    def window(
        self, name: str, source: str, window: Window, channels: int, *, pad_value: int = 0
    ) -> str:
        """A convolution-like operator."""
        _, height, width, depth = self._shape(source)
        out_h = (height + window.pad_top + window.pad_bottom - window.span_h) // window.stride_h + 1
        out_w = (width + window.pad_left + window.pad_right - window.span_w) // window.stride_w + 1
        macs = out_h * out_w * channels * window.kernel_h * window.kernel_w * depth
        self.tensors.append(Tensor(name, (1, out_h, out_w, channels)))
        self.operators.append(
            Operator(
                name,
                "conv2d",
                (source,),
                name,
                Access.ROWS,
                window,
                macs,
                pad_value if window.has_padding else None,
            )
        )
        return name

    def conv3(self, name: str, source: str, channels: int, stride: int = 1) -> str:
        """A 3x3 convolution with one pixel of padding on each side."""
        window = Window(3, 3, stride, stride, 1, 1, 1, 1, 1, 1)
        return self.window(name, source, window, channels)

    def conv1(self, name: str, source: str, channels: int, stride: int = 1) -> str:
        """A 1x1 convolution."""
        return self.window(name, source, Window(1, 1, stride, stride), channels)

    def add(self, name: str, lhs: str, rhs: str) -> str:
        """An elementwise operator."""
        self.tensors.append(Tensor(name, self._shape(lhs)))
        self.operators.append(
            Operator(name, "add", (lhs, rhs), name, Access.ROWS, elementwise=True)
        )
        return name

    def resize(self, name: str, source: str, size: tuple[int, int]) -> str:
        """A resize, which picks its rows from a whole map."""
        self.tensors.append(Tensor(name, (1, *size, self._shape(source)[3])))
        self.operators.append(
            Operator(name, "resize", (source,), name, Access.ROWS, whole_inputs=(source,))
        )
        return name

    def total(self, name: str, source: str) -> str:
        """The sum over a map's pixels."""
        self.tensors.append(Tensor(name, (1, 1, 1, self._shape(source)[3]), "int32"))
        self.operators.append(Operator(name, "global_sum", (source,), name, Access.ACCUMULATE))
        return name

    def whole(self, name: str, source: str, shape: Sequence[int]) -> str:
        """An operator that needs its input whole."""
        self.tensors.append(Tensor(name, tuple(shape)))
        self.operators.append(
            Operator(name, "dense", (source,), name, Access.WHOLE, streamable=False)
        )
        return name

    def finish(self, *outputs: str) -> Graph:
        """The graph."""
        return Graph(
            "test", tuple(self.tensors), tuple(self.operators), ("image",), outputs, "0" * 64
        )


def small_chain() -> Graph:
    """Three 3x3 convolutions, the second with stride two, and a head."""
    builder = GraphBuilder(16, 16, 3)
    first = builder.conv3("first", "image", 8)
    second = builder.conv3("second", first, 16, stride=2)
    third = builder.conv3("third", second, 4)
    head = builder.whole("head", third, (1, 10))
    return builder.finish(head)


def pooled_chain() -> Graph:
    """Two 3x3 convolutions, the sum over all pixels, and a head that it is finished in."""
    builder = GraphBuilder(10, 9, 3)
    first = builder.conv3("first", "image", 8)
    second = builder.conv3("second", first, 24, stride=2)
    total = builder.total("total", second)
    builder.tensors.append(Tensor("mean", (1, 24)))
    builder.operators.append(
        Operator(
            "mean", "mean_of_sum", (total,), "mean", Access.WHOLE, elementwise=True,
            streamable=False,
        )
    )  # fmt: skip
    head = builder.whole("head", "mean", (1, 10))
    return builder.finish(head)


def residual_block() -> Graph:
    """A block whose input is added to its output."""
    builder = GraphBuilder(12, 10, 4)
    stem = builder.conv3("stem", "image", 6)
    body = builder.conv3("body", stem, 6)
    joined = builder.add("joined", body, stem)
    last = builder.conv3("last", joined, 2)
    return builder.finish(last)


SCRATCH = Scratch(fixed_bytes=10, block_columns=4, block_bytes=100, most_blocks=3)


def with_scratch(graph: Graph, name: str, scratch: Scratch = SCRATCH) -> Graph:
    """The graph with one operator that wants memory to itself."""
    operators = tuple(
        replace(operator, scratch=scratch) if operator.name == name else operator
        for operator in graph.operators
    )
    return replace(graph, operators=operators)
