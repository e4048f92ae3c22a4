"""Which kernels TVM makes of a network, and what memory each one takes.

How Relay's optimiser casts, fuses and lays out differs between targets and versions of TVM; so it
is asked. The network is optimised for its target and every kernel is lowered once, whole. From that
follows what a kernel needs for a patch: bytes for each pixel that it writes, and that it reads.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import tvm
from tvm import relay
from tvm.relay.backend import te_compiler

from tvm_patch.compat import zip_strict
from tvm_patch.plan import Access, Graph, Operator, Tensor, Window
from tvm_patch.relay.lowered import Usage, element_bytes, usage_of
from tvm_patch.relay.operators import attribute_names, op_name, padding_of, window_from
from tvm_patch.relay.scratch import Scratch, scratch_like
from tvm_patch.relay.shared_kernels import tells_live_bytes

# Both evaluate constants and rewrite scalars, which takes most of the time and moves no buffer.
_PASSES_LEFT_OUT = ["FoldConstant", "SimplifyExpr"]
_ELEMENTWISE_PATTERNS = (0, 1)
_VIEWS = frozenset({"reshape", "nn.batch_flatten", "expand_dims", "squeeze"})
_CHATTY_LOGGERS = ("strategy", "autotvm", "te_compiler", "topi")


@dataclass(frozen=True)
class Kernel:
    """What the planner does not know of an operator that stands for a kernel.

    Parameters
    ----------
    scratch : tuple of Scratch
        What it allocates.
    phases : int
        A kernel runs in phases, one for each of its outermost loops. USMP looks into kernels: what
        is read in the first phase only, to pad it for example, is free in the second.
    last_reads : tuple of int
        The last phase that reads each input.
    first_write : int
        The first phase that writes the output.
    pixelwise : tuple of str
        Inputs read at the place that is written, beside those under a window.
    windows : int
        How many convolutions and pools there are in it.
    is_pad : bool
        Whether it does nothing but pad, and compute elementwise.
    moves_only : bool
        Whether it reads each pixel at the place that it writes, so that a slice becomes part of it.
    holds_slices : bool
        Whether it is a concatenation, which holds a slice of its input while it runs.
    is_view : bool
        Whether it is a reshape, for which nothing is allocated.
    is_blocked : bool
        Whether its map has its channels in blocks (NCHWc).
    function_hash : int
        Equal for those calls of which TVM makes one function; 0 where there is none.
    """

    scratch: tuple[Scratch, ...] = ()
    phases: int = 1
    last_reads: tuple[int, ...] = ()
    first_write: int = 0
    pixelwise: tuple[str, ...] = ()
    windows: int = 0
    is_pad: bool = False
    moves_only: bool = False
    holds_slices: bool = False
    is_view: bool = False
    is_blocked: bool = False
    function_hash: int = 0


@dataclass(frozen=True)
class KernelNetwork:
    """A network as TVM runs it.

    Parameters
    ----------
    graph : Graph
        One operator for each kernel. Maps have their bytes for a pixel as int8 channels.
    kernels : mapping of str to Kernel
        By operator.
    tells_live_bytes : bool
        Whether TVM writes on each kernel how many bytes are live where it is called. Kernels that
        are equal otherwise are one function only if these bytes are equal too.
    """

    graph: Graph
    kernels: Mapping[str, Kernel]
    tells_live_bytes: bool = False


def read_kernels(
    mod: tvm.IRModule, inputs: Mapping[str, Tensor], target: Any, opt_level: int = 3
) -> KernelNetwork:
    """Optimise a network without building it, and lower its kernels.

    Parameters
    ----------
    mod : IRModule
        The network in ``main``.
    inputs : mapping of str to Tensor
        Its activations; other parameters are taken for weights.
    target : tvm.target.Target
        Kernels differ from target to target.
    opt_level : int
        That of the build to come.
    """
    config = dict(tvm.transform.PassContext.current().config)
    keeps_apart = tells_live_bytes()
    context = tvm.transform.PassContext(
        opt_level=opt_level, config=config, disabled_pass=_PASSES_LEFT_OUT
    )
    with _quiet(), context, target:
        functions = {
            variable: _OwnAttributes().visit(function)
            for variable, function in mod.functions.items()
        }
        optimised, _ = relay.optimize(tvm.IRModule(functions, mod.type_definitions), target=target)
        network = _KernelReader(inputs, target).read(optimised["main"])
    return replace(network, tells_live_bytes=keeps_apart)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without advice to tune operators, which would come once for each."""
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip_strict(loggers, levels):
            logger.setLevel(level)


class _OwnAttributes(relay.ExprMutator):  # type: ignore[misc]  # TVM is not typed
    """Copies attributes that TVM fills in where they stand: the given module stays as it is."""

    def visit_call(self, call: Any) -> Any:
        """Copy requantisations; all other calls as they are."""
        made = super().visit_call(call)
        if op_name(call) != "qnn.requantize":
            return made
        values = {name: call.attrs[name] for name in attribute_names(call.attrs)}
        attrs = tvm.ir.make_node("relay.attrs.RequantizeAttrs", **values)
        return relay.Call(made.op, made.args, attrs, made.type_args, made.span)


class _KernelReader:
    def __init__(self, inputs: Mapping[str, Tensor], target: Any) -> None:
        self._inputs = inputs
        self._target = target
        self._names: dict[Any, str] = {}
        self._tensors: dict[str, Tensor] = {}
        self._operators: list[Operator] = []
        self._kernels: dict[str, Kernel] = {}

    def read(self, function: Any) -> KernelNetwork:
        for parameter in function.params:
            name = str(parameter.name_hint)
            if name in self._inputs:
                tensor = self._inputs[name]
                self._names[parameter] = name
                self._tensors[name] = _in_bytes(name, tensor.shape, tensor.size_bytes)
        relay.analysis.post_order_visit(function.body, self._visit)
        outputs = [self._names[field] for field in _opened(function.body) if field in self._names]
        graph = Graph(
            name="kernels",
            tensors=tuple(self._tensors.values()),
            operators=tuple(self._operators),
            inputs=tuple(name for name in self._inputs if name in self._tensors),
            outputs=tuple(outputs),
            fingerprint="",
        )
        return KernelNetwork(graph, self._kernels)

    def _visit(self, expression: Any) -> None:
        if isinstance(expression, relay.TupleGetItem):
            if expression.tuple_value in self._names:
                self._names[expression] = self._names[expression.tuple_value]
            return
        if not isinstance(expression, relay.Call):
            return
        arguments = [field for argument in expression.args for field in _opened(argument)]
        inputs = tuple(
            dict.fromkeys(self._names[field] for field in arguments if field in self._names)
        )
        if not inputs:
            return
        name = f"kernel_{len(self._operators)}"
        self._names[expression] = name
        operator, kernel = self._kernel(name, expression, inputs)
        self._operators.append(operator)
        self._kernels[name] = kernel

    def _kernel(self, name: str, call: Any, inputs: tuple[str, ...]) -> tuple[Operator, Kernel]:
        calls = _calls_in(call.op) if isinstance(call.op, relay.Function) else [call]
        names = [op_name(inner) for inner in calls]
        size_bytes = _bytes_of(call.checked_type)
        window, anchor = self._window(calls)
        places = self._places(call, inputs)
        under = _under_window(call, anchor)
        maps = [
            self._tensors[tensor]
            for tensor, at in zip_strict(inputs, places)
            if self._tensors[tensor].is_map and (under is None or under.intersection(at))
        ]
        written = None
        if window is not None and maps and _has_axes(call.checked_type, _after(window, maps[0])):
            written = _after(window, maps[0])
        is_view = set(names) <= _VIEWS
        usage = Usage() if is_view else self._usage(call, [i for at in places for i in at])
        last_reads = tuple(
            max(usage.last_reads.get(i, usage.phases - 1) for i in at) for at in places
        )
        kernel = Kernel(
            phases=usage.phases,
            last_reads=last_reads,
            first_write=usage.first_write,
            windows=_windows(names),
            function_hash=(
                tvm.ir.structural_hash(call.op) if isinstance(call.op, relay.Function) else 0
            ),
        )
        if window is None or written is None:
            self._tensors[name] = Tensor(name, (size_bytes,))
            operator = Operator(name, "kernel", inputs, name, Access.WHOLE, streamable=False)
            scratch = tuple(
                Scratch(
                    fixed_bytes=size,
                    first_phase=first,
                    last_phase=last,
                    name=variable,
                    whole_bytes=size,
                )
                for variable, size, first, last in usage.allocated
            )
            return operator, replace(kernel, scratch=scratch, is_view=is_view)
        self._tensors[name] = _in_bytes(name, (1, *written, 1), size_bytes)
        beside = [tensor for tensor in inputs if self._tensors[tensor] not in maps]
        pixelwise = tuple(x for x in beside if self._tensors[x].shape[1:3] == written)
        whole = tuple(
            x
            for x in inputs
            if x not in pixelwise and self._tensors[x].shape[1:3] != maps[0].shape[1:3]
        )
        operator = Operator(
            name,
            "kernel",
            inputs,
            name,
            Access.ROWS,
            window=window,
            whole_inputs=whole,
        )
        reads = window.rows_read(written[0]) * window.columns_read(written[1])
        padded = (maps[0].height + window.pad_top + window.pad_bottom) * (
            maps[0].width + window.pad_left + window.pad_right
        )
        scratch = tuple(
            replace(
                scratch_like(variable, size, reads, padded, prod(written)),
                first_phase=first,
                last_phase=last,
                name=variable,
                whole_bytes=size,
            )
            for variable, size, first, last in usage.allocated
        )
        kernel = replace(
            kernel,
            scratch=scratch,
            pixelwise=pixelwise,
            is_pad="nn.pad" in names and not _windows(names),
            moves_only=not _windows(names) and not {"nn.pad", "concatenate"} & set(names),
            holds_slices="concatenate" in names,
            is_blocked=len(call.checked_type.shape) == 5,
        )
        return operator, kernel

    def _places(self, call: Any, inputs: tuple[str, ...]) -> list[list[int]]:
        """Which parameters of a kernel take each input."""
        arguments = [field for argument in call.args for field in _opened(argument)]
        return [
            [i for i, field in enumerate(arguments) if self._names.get(field) == name]
            for name in inputs
        ]

    @staticmethod
    def _window(calls: Sequence[Any]) -> tuple[Window | None, Any]:
        """What a kernel reads for a pixel, None where that is not known; the call that reads so."""
        window, anchor = Window(), None
        for call in calls:
            name = op_name(call)
            if is_windowed(name):
                found = _window_of(call)
            elif name == "nn.pad":
                found = _pad_of(call)
            elif name in ("layout_transform", "concatenate") or _is_elementwise(call):
                continue
            else:
                return None, None
            if found is None or anchor is not None:
                return None, None
            window, anchor = found, call
        return window, anchor

    def _usage(self, call: Any, activations: Collection[int]) -> Usage:
        """When a kernel uses its buffers; ``activations`` are those of its parameters."""
        if not isinstance(call.op, relay.Function):
            return Usage()
        function = _without_constant_parts(call.op, activations)
        lowered = te_compiler.get().lower(function, self._target)
        primitives = list(lowered.funcs.functions.values())
        return usage_of(primitives[0]) if len(primitives) == 1 else Usage()


def _without_constant_parts(function: Any, activations: Collection[int]) -> Any:
    """The kernel as it is where TVM has folded what depends on weights only.

    Parameters keep their places; what would have been folded comes behind them.
    """
    folding = _Folding([function.params[i] for i in activations])
    body = folding.visit(function.body)
    if not folding.folded:
        return function
    parameters = [*function.params, *folding.folded]
    changed = relay.Function(parameters, body, function.ret_type, attrs=function.attrs)
    typed = relay.transform.InferType()(tvm.IRModule.from_expr(changed))
    return typed["main"]


class _Folding(relay.ExprMutator):  # type: ignore[misc]  # TVM is not typed
    """Puts a parameter in place of each call that depends on no activation."""

    def __init__(self, activations: Collection[Any]) -> None:
        super().__init__()
        self._activations = activations
        self.folded: list[Any] = []

    def visit_call(self, call: Any) -> Any:
        """A call as it is, or a parameter in its place."""
        if any(variable in self._activations for variable in relay.analysis.free_vars(call)):
            return super().visit_call(call)
        self.folded.append(relay.Var(f"folded_{len(self.folded)}", call.checked_type))
        return self.folded[-1]


def _under_window(call: Any, anchor: Any) -> frozenset[int] | None:
    """The parameters of a kernel that its window reads; None where all are."""
    if anchor is None or not isinstance(call.op, relay.Function):
        return None
    found: list[Any] = []

    def visit(expression: Any) -> None:
        if isinstance(expression, relay.Var):
            found.append(expression)

    relay.analysis.post_order_visit(anchor.args[0], visit)
    return frozenset(i for i, parameter in enumerate(call.op.params) if parameter in found)


def _after(window: Window, tensor: Tensor) -> tuple[int, int]:
    """Rows and columns that a window makes of a map."""
    height = tensor.height + window.pad_top + window.pad_bottom
    width = tensor.width + window.pad_left + window.pad_right
    return (
        (height - window.span_h) // window.stride_h + 1,
        (width - window.span_w) // window.stride_w + 1,
    )


def _has_axes(kind: Any, size: tuple[int, int]) -> bool:
    if not isinstance(kind, relay.TensorType):
        return False
    shape = [int(extent) for extent in kind.shape]
    return any(tuple(shape[i : i + 2]) == size for i in (1, 2)) and len(shape) in (4, 5)


def _in_bytes(name: str, shape: Sequence[int], size_bytes: int) -> Tensor:
    """A tensor with the bytes of a pixel as its channels."""
    if len(shape) != 4 or size_bytes % (shape[1] * shape[2]):
        return Tensor(name, (size_bytes,))
    return Tensor(name, (1, shape[1], shape[2], size_bytes // (shape[1] * shape[2])))


def _calls_in(function: Any) -> list[Any]:
    calls: list[Any] = []

    def visit(expression: Any) -> None:
        if isinstance(expression, relay.Call):
            calls.append(expression)

    relay.analysis.post_order_visit(function.body, visit)
    # Arithmetic of parameters alone moves no activation.
    return [call for call in calls if _depends_on_map(call)]


def _depends_on_map(call: Any) -> bool:
    kind = call.checked_type
    return not isinstance(kind, relay.TensorType) or len(kind.shape) > 1


def is_windowed(name: str) -> bool:
    """Whether an operator slides a window over a map, whatever TVM made of it."""
    if "global" in name or "adaptive" in name:
        return False
    return ("conv2d" in name and "transpose" not in name) or name.endswith("pool2d")


def _windows(names: Sequence[str]) -> int:
    return sum(is_windowed(name) for name in names)


def _is_elementwise(call: Any) -> bool:
    return (
        isinstance(call.op, tvm.ir.Op) and call.op.get_attr("TOpPattern") in _ELEMENTWISE_PATTERNS
    )


def _window_of(call: Any) -> Window | None:
    attrs = call.attrs
    keys = attribute_names(attrs)
    kernel = attrs["kernel_size"] if "kernel_size" in keys else attrs["pool_size"]
    if kernel is None or "strides" not in keys:
        return None
    dilation = attrs["dilation"] if "dilation" in keys else [1, 1]
    return window_from(kernel, attrs.strides, dilation, padding_of(attrs))


def _pad_of(call: Any) -> Window | None:
    widths = [[int(width) for width in pair] for pair in call.attrs.pad_width]
    shape = [int(extent) for extent in call.checked_type.shape]
    rows = 2 if len(widths) == 5 or (len(widths) == 4 and widths[1] == [0, 0]) else 1
    if len(shape) not in (4, 5):
        return None
    (top, bottom), (left, right) = widths[rows], widths[rows + 1]
    return Window(pad_top=top, pad_left=left, pad_bottom=bottom, pad_right=right)


def _opened(expression: Any) -> list[Any]:
    if isinstance(expression, relay.Tuple):
        return [field for item in expression.fields for field in _opened(item)]
    return [expression]


def _bytes_of(kind: Any) -> int:
    if isinstance(kind, tvm.ir.TupleType):
        return sum(_bytes_of(field) for field in kind.fields)
    return prod(int(extent) for extent in kind.shape) * element_bytes(str(kind.dtype))
