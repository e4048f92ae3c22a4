"""Which part of each tensor one tile of a stage needs: receptive fields as affine spans.

Walking a stage backwards, output rows ``[a, b)`` of an operator with stride s, span k (dilated
kernel) and padding p need input rows ``[a*s - p, (b-1)*s - p + k)``. With tiles of one size all
such intervals are affine in the tile's first row, and so of one static size per tensor.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tvm_patch.errors import PlanError
from tvm_patch.plan.graph import Graph, Operator
from tvm_patch.plan.layout.columns import ColumnRun, ColumnSteps


@dataclass(frozen=True)
class Span:
    """An interval along one axis that moves at an even pace.

    At position ``t`` it is ``[scale*t - offset, scale*t - offset + extent)``, which may reach
    outside the image. Along x a position is the first output column of a tile; along y it counts
    how often an operator has run.
    """

    scale: int
    offset: int
    extent: int

    @property
    def end(self) -> int:
        """Where it ends at position 0."""
        return self.extent - self.offset

    def start(self, tile_start: int) -> int:
        """First row (or column) for the tile that starts at ``tile_start``."""
        return self.scale * tile_start - self.offset

    def inside(self, tile_start: int, size: int) -> int:
        """How many of its rows (or columns) lie in ``[0, size)``."""
        start = self.start(tile_start)
        return max(0, min(size, start + self.extent) - max(0, start))

    def touching(self, positions: range, size: int) -> range:
        """The positions at which it has rows (or columns) in ``[0, size)``."""
        if not self.extent or not size:
            return range(0)
        first = -((self.extent - 1 - self.offset) // self.scale)
        last = (size - 1 + self.offset) // self.scale
        begin, end = max(positions.start, first), min(positions.stop, last + 1)
        return range(begin, end) if begin < end else range(0)

    def total_inside(self, positions: range, size: int) -> int:
        """Rows (or columns) in ``[0, size)`` at all positions together."""
        touching = self.touching(positions, size)
        total = self.extent * len(touching)
        for position in touching:
            if self.start(position) >= 0:
                break
            total += self.start(position)
        for position in reversed(touching):
            beyond = self.start(position) + self.extent - size
            if beyond <= 0:
                break
            total -= beyond
        return total

    def within(self, tile_starts: Sequence[int], size: int) -> Span:
        """The part that lies in ``[0, size)`` for at least one tile.

        ``tile_starts`` ascend; a range has a step of one.
        """
        if isinstance(tile_starts, range):
            touching = self.touching(tile_starts, size)
            starts = [self.start(touching[i]) for i in ((0, -1) if touching else ())]
        else:
            starts = [self.start(t) for t in tile_starts if self.inside(t, size)]
        first = min((max(0, -start) for start in starts), default=0)
        end = max((min(self.extent, size - start) for start in starts), default=0)
        return Span(self.scale, self.offset - first, end - first)

    def through(self, *, stride: int, span: int, pad: int, ratio: int = 1) -> Span:
        """The input span that a window reads to make this output span.

        ``ratio`` is how often the input moves on for each time that the output does; the result
        is told in the input's positions, at the last of which the output follows.
        """
        pace = self.scale * stride // ratio
        return Span(
            scale=pace,
            offset=self.offset * stride + pad + pace * (ratio - 1),
            extent=(self.extent - 1) * stride + span if self.extent else 0,
        )

    def union(self, other: Span) -> Span:
        """The smallest span that covers both; :class:`ValueError` where they drift apart."""
        if self.scale != other.scale:
            raise ValueError("branches of different stride meet")
        offset = max(self.offset, other.offset)
        return Span(self.scale, offset, offset + max(self.end, other.end))


@dataclass(frozen=True)
class Region:
    """The rows and columns of a tensor that one tile needs."""

    rows: Span
    cols: Span

    def through(self, operator: Operator, ratio: int = 1) -> Region:
        """The region of ``operator``'s inputs that makes this region of its output."""
        w = operator.window
        return Region(
            self.rows.through(stride=w.stride_h, span=w.span_h, pad=w.pad_top, ratio=ratio),
            self.cols.through(stride=w.stride_w, span=w.span_w, pad=w.pad_left),
        )

    def union(self, other: Region) -> Region:
        """The smallest region that covers both."""
        return Region(self.rows.union(other.rows), self.cols.union(other.cols))


@dataclass(frozen=True)
class Tiling:
    """Tiles of one size over an output of ``height`` x ``width``.

    Tiles step by their height along y, and rows outside are skipped. Along x the last tile is moved
    back to end with the image, so that no column of the output lies outside.

    Parameters
    ----------
    first_step : int
        Number of the first tile along y: zero, or less where line buffers have to fill before the
        first output row can be made.
    """

    height: int
    width: int
    tile_h: int
    tile_w: int
    first_step: int = 0

    @property
    def steps(self) -> range:
        """Numbers of the tiles along y; tile ``i`` begins with output row ``i * tile_h``."""
        return range(self.first_step, -(-self.height // self.tile_h))

    @property
    def tiles_x(self) -> int:
        """Tiles along x."""
        return -(-self.width // self.tile_w)

    @property
    def col_starts(self) -> tuple[int, ...]:
        """First output column of each tile."""
        last = self.width - self.tile_w
        return tuple(min(i * self.tile_w, last) for i in range(self.tiles_x))


@dataclass(frozen=True)
class Holding:
    """What a stage holds of a tensor, and what of it is new each time its operator runs.

    Parameters
    ----------
    region : Region
        Held; inside a column run its columns are those of the run's first step.
    computed : Region
        The part that is computed; the rest is padding or was left by the time before.
    kept_rows : int
        Rows that stay from one time to the next.
    rate : int
        How often the operator runs for each tile.
    """

    region: Region
    computed: Region
    kept_rows: int
    rate: int = 1


def stage_holdings(
    graph: Graph,
    operators: Sequence[Operator],
    tiling: Tiling,
    line_buffered: Collection[str] = (),
    runs: Sequence[ColumnRun] = (),
    steps: Mapping[str, ColumnSteps] | None = None,
) -> tuple[Mapping[str, Holding], Tiling]:
    """What a stage holds of each tensor that it reads or writes.

    A line-buffered tensor computes only rows that no earlier tile had, so what it reads is new
    rows' windows and nothing more: a chain of line buffers holds about a kernel's height of rows
    each. Its rows are made before the tile that needs them, so the stage begins with tiles above
    the image in which only buffers fill. Where every tensor inside is line-buffered, an operator in
    front of strides runs as often for each tile as rows are needed, ``tile_h`` rows at a time.

    What lies outside a tensor in every tile is padding, which nobody computes; so a region reaches
    beyond the image by its own readers' padding at most, however many layers follow.

    Parameters
    ----------
    graph : Graph
        The network.
    operators : sequence of Operator
        The stage in execution order; the last one's output is tiled, or the map that it adds up.
    tiling : Tiling
        Tiles of that map.
    line_buffered : collection of str
        Tensors of which rows are kept: modes ROWS and ROWS_COLS.
    runs : sequence of ColumnRun
        Operators that go through a row together; tiles are then as wide as the output.
    steps : mapping of str to ColumnSteps
        Of the operators of these runs.

    Returns
    -------
    (mapping of str to Holding, Tiling)
        By tensor name, and the tiling with the tiles that fill line buffers.

    Raises
    ------
    PlanError
        When branches of different total stride meet inside the stage.
    """
    kept = frozenset(line_buffered)
    many_rates = bool(kept) and all(
        operator.output in kept or any(place in run and place < run.last for run in runs)
        for place, operator in enumerate(operators[:-1])
    )
    walk = _Walk(graph, tiling, kept, tuple(runs), steps or {}, many_rates, clips=True)
    if kept:
        # Without clipping first, to know how far above the image the stage has to begin.
        unclipped = replace(walk, clips=False)
        holdings = unclipped.back(operators)
        leads = _leads(graph, operators, holdings, kept)
        if leads:
            walk = replace(walk, leads=leads)
            holdings = replace(unclipped, leads=leads).back(operators)
        tiling = replace(tiling, first_step=_first_step(holdings))
        walk = replace(walk, tiling=tiling)
    return walk.back(operators), tiling


def _leads(
    graph: Graph,
    operators: Sequence[Operator],
    holdings: Mapping[str, Holding],
    line_buffered: Collection[str],
) -> Mapping[str, int]:
    """Rows by which operators run ahead of their readers, by what they make.

    Where a tensor has several readers, one that is wanted later than the others makes old rows
    stay. If its own rows are smaller it runs as soon as the others do, and its rows wait instead.
    """
    leads: dict[str, int] = {}
    readers: dict[str, list[Operator]] = {}
    for operator in operators:
        for name in set(operator.inputs).difference(operator.whole_inputs):
            readers.setdefault(name, []).append(operator)
    for name, several in readers.items():
        if len(several) == 1:
            continue
        rate = holdings[name].rate
        reads = {}
        for reader in several:
            made, window = holdings[reader.output], reader.window
            reads[reader.output] = made.computed.rows.through(
                stride=window.stride_h,
                span=window.span_h,
                pad=window.pad_top,
                ratio=max(1, rate // made.rate),
            )
        for reader in several:
            others = [rows for output, rows in reads.items() if output != reader.output]
            own, alone = reads[reader.output], len(set(reader.inputs)) == 1
            if reader.output not in line_buffered or not alone or not others:
                continue
            behind = max(rows.end for rows in others) - own.end
            longer = own.offset - max(rows.offset for rows in others)
            stride = reader.window.stride_h
            lead = min(behind // stride, -(-longer // stride))
            freed = min(lead * stride, longer) * graph.tensor[name].row_bytes
            if lead > 0 and freed > lead * graph.tensor[reader.output].row_bytes:
                leads[reader.output] = lead
    return leads


def _first_step(holdings: Mapping[str, Holding]) -> int:
    """The latest tile before which no buffer has a row of the image."""
    first = 0
    for holding in holdings.values():
        rows = holding.region.rows
        if holding.kept_rows:
            position = 1 + (rows.offset - rows.extent) // rows.scale
            first = min(first, position // holding.rate)
    return first


@dataclass(frozen=True)
class _Need:
    """What later operators read of a tensor.

    Parameters
    ----------
    region : Region
        In positions of ``rate``.
    rate : int
        How often its operator runs for each tile.
    """

    region: Region
    rate: int

    def union(self, other: _Need | None) -> _Need:
        """What two readers need; :class:`ValueError` where they drift apart."""
        if other is None:
            return self
        if self.rate != other.rate:
            raise ValueError("branches of different stride meet")
        return _Need(self.region.union(other.region), self.rate)


@dataclass(frozen=True)
class _Walk:
    """Walks backwards from a stage's output tile to its inputs."""

    graph: Graph
    tiling: Tiling
    line_buffered: frozenset[str]
    runs: tuple[ColumnRun, ...]
    steps: Mapping[str, ColumnSteps]
    many_rates: bool
    clips: bool
    leads: Mapping[str, int] = field(default_factory=dict)

    def back(self, operators: Sequence[Operator]) -> Mapping[str, Holding]:
        """Holdings of all tensors."""
        tile_h, tile_w = self.tiling.tile_h, self.tiling.tile_w
        # A single tile along x does not move, so strides cannot tell branches apart there.
        moves = 1 if self.tiling.tiles_x > 1 else 0
        tile = Region(Span(tile_h, 0, tile_h), Span(moves, 0, tile_w))
        needed = {operators[-1].output: _Need(tile, 1)}
        holdings: dict[str, Holding] = {}
        last_of_run = {run.last: run for run in self.runs}
        place = len(operators) - 1
        while place >= 0:
            operator = operators[place]
            if operator.output not in needed:
                raise PlanError(
                    f"operator {operator.name} makes nothing that its stage needs",
                    hint="end the stage where only one tensor is handed on",
                )
            run = last_of_run.get(place)
            if run is not None:
                self._run(operators[run.first : run.last + 1], needed, holdings)
                place = run.first - 1
                continue
            need = self._ahead(operator.output, needed[operator.output])
            if set(operator.inputs) <= set(operator.whole_inputs):
                # What brings rows from outside, or picks them from a whole map, brings them whole.
                whole = Span(need.region.cols.scale, 0, self.graph.tensor[operator.output].width)
                need = _Need(Region(need.region.rows, need.region.cols.union(whole)), need.rate)
            holding = self._holding(operator.output, need, operator.paced_by)
            holdings[operator.output] = holding
            ratio = operator.window.stride_h if self.many_rates else 1
            reads = _Need(holding.computed.through(operator, ratio), need.rate * ratio)
            for name in dict.fromkeys(operator.inputs):
                if name not in operator.whole_inputs:
                    _add(needed, name, reads, operator)
            place -= 1
        for name, need in needed.items():
            if name not in holdings:
                holdings[name] = self._holding(name, need)
        return holdings

    def _run(
        self,
        operators: Sequence[Operator],
        needed: dict[str, _Need],
        holdings: dict[str, Holding],
    ) -> None:
        """Walk through a column run: positions are those of its last operator throughout."""
        last = operators[-1].output
        need = self._ahead(last, needed[last])
        holdings[last] = self._holding(last, need)
        made = {operator.output for operator in operators[:-1]}
        inside = {last: _Need(holdings[last].computed, need.rate)}
        for operator in reversed(operators):
            if operator.output not in inside:
                raise PlanError(
                    f"operator {operator.name} makes nothing that its column run needs",
                    hint="end the stage where only one tensor is handed on",
                )
            own = inside[operator.output]
            if operator.output != last:
                own = self._ahead(operator.output, own)
            if operator.output != last:
                step = self.steps[operator.name]
                cols = Span(0, -step.starts[0], step.extent)
                held = self._holding(
                    operator.output, _Need(Region(own.region.rows, cols), own.rate)
                )
                whole = Span(0, 0, self.graph.tensor[operator.output].width)
                computed = Region(held.computed.rows, whole)
                holdings[operator.output] = Holding(held.region, computed, held.kept_rows, own.rate)
            reads = holdings[operator.output].computed.through(operator)
            for name in dict.fromkeys(operator.inputs):
                if name in operator.whole_inputs:
                    continue
                if name in made:
                    _add(inside, name, _Need(reads, need.rate), operator)
                    continue
                rows, ratio = reads.rows, 1
                if self.many_rates:
                    # The operator in front runs as often as rows are needed.
                    ratio = rows.scale // holdings[last].computed.rows.scale
                    rows = rows.through(stride=1, span=1, pad=0, ratio=ratio)
                _add(needed, name, _Need(Region(rows, reads.cols), need.rate * ratio), operator)

    def _ahead(self, name: str, need: _Need) -> _Need:
        """What is needed of a tensor, and the rows that its operator is ahead."""
        region, rows = need.region, need.region.rows
        rows = replace(rows, extent=rows.extent + self.leads.get(name, 0))
        return _Need(replace(region, rows=rows), need.rate)

    def _holding(self, name: str, need: _Need, paced_by: str | None = None) -> Holding:
        region, rows = need.region, need.region.rows
        tensor = self.graph.tensor[paced_by or name]
        cols = region.cols.within(self.tiling.col_starts, tensor.width)
        if name in self.line_buffered:
            new_rows = min(rows.extent, rows.scale)
            kept_rows = rows.extent - new_rows
            new = Span(rows.scale, rows.offset - kept_rows, new_rows)
            return Holding(region, Region(new, cols), kept_rows, need.rate)
        computed = rows.within(self._positions(need.rate), tensor.height) if self.clips else rows
        return Holding(region, Region(computed, cols), 0, need.rate)

    def _positions(self, rate: int) -> range:
        steps = self.tiling.steps
        return range(steps.start * rate, steps.stop * rate)


def _add(needed: dict[str, _Need], name: str, reads: _Need, operator: Operator) -> None:
    """Add what an operator reads to what is needed of a tensor."""
    try:
        needed[name] = reads.union(needed.get(name))
    except ValueError as error:
        raise PlanError(
            f"operator {operator.name}: {error} at tensor {name}",
            hint="end the stage before the branch",
        ) from error
