"""Which part of every tensor one tile of a stage needs, with nothing outside the image.

Relay has no loops that a patch could be a turn of: each patch is written out. So, unlike the
planner's uniform tiles, a patch at the border computes just what lies in the image.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tvm_patch.plan import Graph, Operator, StagePlan, Tensor, Window
from tvm_patch.plan.layout.region import Region, Span


@dataclass(frozen=True)
class Interval:
    """Rows (or columns) ``[start, stop)`` of a tensor."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many there are."""
        return self.stop - self.start


@dataclass(frozen=True)
class Block:
    """A block of rows and columns of a tensor."""

    rows: Interval
    cols: Interval

    @property
    def size(self) -> tuple[int, int]:
        """How many rows and columns it has."""
        return self.rows.size, self.cols.size

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return self.rows.size * self.cols.size


@dataclass(frozen=True)
class Padding:
    """Rows and columns that a window reads outside the image."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def is_none(self) -> bool:
        """Whether the window stays inside."""
        return not (self.top or self.left or self.bottom or self.right)


@dataclass(frozen=True)
class Read:
    """What an operator of a patch reads of one kind of input: a block, and padding around it."""

    block: Block
    padding: Padding


@dataclass(frozen=True)
class Patch:
    """One patch of a stage.

    Parameters
    ----------
    held : mapping of str to Block
        Of every tensor that is computed in the patch, and of the stage's inputs. It may be more
        than what is read of it, the stage's output included: never less than a pixel of the image.
    reads : mapping of str to Read
        By operator; through its window.
    macs : int
        Multiply-accumulates of the patch.
    """

    held: Mapping[str, Block]
    reads: Mapping[str, Read]
    macs: int


def tile_blocks(graph: Graph, stage: StagePlan) -> Iterator[list[Block]]:
    """The blocks of the stage's output, one list for each row of tiles."""
    last = graph.operators[graph.operator_index[stage.operators[-1]]]
    output = graph.tensor[last.output]
    columns = list(_cut(output.width, stage.tile_w))
    for rows in _cut(output.height, stage.tile_h):
        yield [Block(rows, cols) for cols in columns]


def patch_of(
    graph: Graph,
    operators: Sequence[Operator],
    tile: Block,
    pixelwise: Mapping[str, Collection[str]] | None = None,
) -> Patch:
    """What one patch holds and reads.

    Parameters
    ----------
    graph : Graph
        The network.
    operators : sequence of Operator
        The stage in execution order.
    tile : Block
        Of the last operator's output.
    pixelwise : mapping of str to collection of str
        Inputs that an operator does not read through its window, but at the place that it writes:
        what a kernel adds to its convolution.
    """
    needed = {operators[-1].output: _region(tile)}
    held: dict[str, Block] = {}
    reads: dict[str, Read] = {}
    macs = 0
    for operator in reversed(operators):
        beside = (pixelwise or {}).get(operator.name, ())
        skipped = (*operator.whole_inputs, *beside)
        maps = [name for name in operator.inputs if name not in skipped]
        size = graph.tensor[maps[0]]
        block = _reaching_inside(_block(needed[operator.output]), operator.window, size)
        held[operator.output] = block
        output = graph.tensor[operator.output]
        macs += operator.macs * block.pixels // (output.height * output.width)
        region = _region(block).through(operator)
        inside = Region(region.rows.within((0,), size.height), region.cols.within((0,), size.width))
        reads[operator.name] = Read(_block(inside), _padding(region, _block(inside)))
        for name, part in [*((n, inside) for n in maps), *((n, _region(block)) for n in beside)]:
            needed[name] = needed[name].union(part) if name in needed else part
    for name, region in needed.items():
        held.setdefault(name, _block(region))
    return Patch(held, reads, macs)


def _cut(size: int, tile: int) -> Iterator[Interval]:
    for start in range(0, size, tile):
        yield Interval(start, min(start + tile, size))


def _reaching_inside(block: Block, window: Window, size: Tensor) -> Block:
    """The block, larger where its windows would see nothing but padding.

    Relay has no maps without rows: what is too much is sliced off by who reads it.
    """
    return Block(
        _reaching(block.rows, window.span_h, window.stride_h, window.pad_top, size.height),
        _reaching(block.cols, window.span_w, window.stride_w, window.pad_left, size.width),
    )


def _reaching(made: Interval, span: int, stride: int, pad: int, size: int) -> Interval:
    first_inside_stop = -(-(1 + pad - span) // stride) + 1
    last_inside_start = (size - 1 + pad) // stride
    return Interval(min(made.start, last_inside_start), max(made.stop, first_inside_stop))


def _region(block: Block) -> Region:
    # A single patch stands still, so its spans have no pace.
    return Region(
        Span(0, -block.rows.start, block.rows.size), Span(0, -block.cols.start, block.cols.size)
    )


def _block(region: Region) -> Block:
    rows, cols = region.rows, region.cols
    return Block(
        Interval(rows.start(0), rows.start(0) + rows.extent),
        Interval(cols.start(0), cols.start(0) + cols.extent),
    )


def _padding(region: Region, inside: Block) -> Padding:
    outside = _block(region)
    return Padding(
        top=inside.rows.start - outside.rows.start,
        left=inside.cols.start - outside.cols.start,
        bottom=outside.rows.stop - inside.rows.stop,
        right=outside.cols.stop - inside.cols.stop,
    )
