"""Plans: what runs patch by patch, in which tiles, and where every buffer lies.

A plan is data. It is made without TVM, written as JSON, and passes only carry it out; the same
plan gives the same C, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from tvm_patch.compat import StrEnum
from tvm_patch.errors import PlanError
from tvm_patch.plan.json_fields import Fields

PLAN_FORMAT_VERSION = 2


class BufferMode(StrEnum):
    """How much of a tensor is held while its stage runs."""

    FULL = "full"
    """All of it."""

    PATCH = "patch"
    """One tile with its halo, which the next tile computes again."""

    ROWS = "rows"
    """A line buffer along y: rows are kept from step to step."""

    ROWS_COLS = "rows_cols"
    """Line buffers along y and x: whole rows of what the next rows need, and a few columns."""

    COLS = "cols"
    """A line buffer along x only: columns are kept from step to step, rows are computed again."""


class InputMode(StrEnum):
    """Where the network's input lives."""

    RESIDENT = "resident"
    """Whole, in the arena, before the inference starts."""

    ROWS = "rows"
    """Pulled row by row through a callback."""


@dataclass(frozen=True)
class TensorBuffering:
    """The buffer mode of one tensor of a stage."""

    tensor: str
    mode: BufferMode


@dataclass(frozen=True)
class StagePlan:
    """A run of operators executed tile by tile.

    Parameters
    ----------
    operators : tuple of str
        Names, contiguous in execution order; the last one's output is materialised.
    tile_h, tile_w : int
        Rows and columns of the stage's output made in one step. Where buffer modes keep columns,
        runs in front of a stride make as many more of theirs.
    buffering : tuple of TensorBuffering
        One for each tensor that the stage reads or writes.
    """

    operators: tuple[str, ...]
    tile_h: int
    tile_w: int
    buffering: tuple[TensorBuffering, ...]

    def mode_of(self, tensor: str) -> BufferMode:
        """The buffer mode of ``tensor``; FULL when the stage does not name it."""
        return next((b.mode for b in self.buffering if b.tensor == tensor), BufferMode.FULL)

    @property
    def steps_columns(self) -> bool:
        """Whether operators go through rows a few columns at a time, rather than in strips."""
        stepped = (BufferMode.ROWS_COLS, BufferMode.COLS)
        return any(item.mode in stepped for item in self.buffering)


@dataclass(frozen=True)
class MemoryPlan:
    """Where every storage lies in the arena.

    Parameters
    ----------
    algorithm : str
        The packing algorithm that made it.
    arena_bytes : int
        Size of the arena.
    lower_bound_bytes : int
        No packing of these buffers can be smaller.
    offsets_bytes : mapping of str to int
        Offset of each storage by its name.
    """

    algorithm: str
    arena_bytes: int
    lower_bound_bytes: int
    offsets_bytes: Mapping[str, int]


@dataclass(frozen=True)
class Plan:
    """A whole network's plan.

    Parameters
    ----------
    model : str
        Name of the model.
    graph_fingerprint : str
        The graph that it was made for.
    stages : tuple of StagePlan
        In execution order; operators in no stage run layer by layer.
    memory : MemoryPlan
        The packed arena.
    macs : int
        Multiply-accumulates of one inference under this plan.
    mac_overhead : float
        ``macs`` over those of the layer-by-layer network, F in the literature.
    slowdown : float
        Instructions over those of the layer-by-layer network, by the planner's estimate.
    bound_bytes : int
        No plan that was looked for, within the limits that were given, has a smaller arena; 0
        where nothing was looked for.
    input_mode : InputMode
        Where the input lives.
    scratch_bytes : mapping of str to int
        Scratch memory of operators whose kernels were given more than the network asks for.
    """

    model: str
    graph_fingerprint: str
    stages: tuple[StagePlan, ...]
    memory: MemoryPlan
    macs: int
    mac_overhead: float
    slowdown: float = 1.0
    bound_bytes: int = 0
    input_mode: InputMode = InputMode.RESIDENT
    scratch_bytes: Mapping[str, int] = field(default_factory=dict)
    format_version: int = field(default=PLAN_FORMAT_VERSION)

    @property
    def manner(self) -> str:
        """How the network runs, in a word or two."""
        if not self.stages:
            return "layer by layer"
        modes = {item.mode for stage in self.stages for item in stage.buffering}
        return "patched" if BufferMode.PATCH in modes else "streamed"

    def to_json(self) -> str:
        """The plan as JSON, keys in a fixed order."""
        data = asdict(self)
        if not self.scratch_bytes:
            del data["scratch_bytes"]
        return json.dumps(data, indent=2, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str, *, source: str = "plan") -> Plan:
        """Read a plan back.

        Parameters
        ----------
        text : str
            What :meth:`to_json` wrote.
        source : str
            File name for error messages.

        Raises
        ------
        PlanError
            When the text is not a plan of this version.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise PlanError(
                f"{source}: not JSON (line {error.lineno}: {error.msg})",
                hint="make a plan with: tvm-patch plan MODEL --output plan.json",
            ) from error
        version = data.get("format_version") if isinstance(data, dict) else None
        if version != PLAN_FORMAT_VERSION:
            raise PlanError(
                f"{source}: plan format {version!r}, this version reads {PLAN_FORMAT_VERSION}",
                hint="make the plan again with: tvm-patch plan MODEL --output plan.json",
            )
        try:
            return _plan_from_dict(data)
        except ValueError as error:
            raise PlanError(
                f"{source}: malformed plan: {error}",
                hint="make the plan again with: tvm-patch plan MODEL --output plan.json",
            ) from error

    @staticmethod
    def load(path: Path) -> Plan:
        """Read a plan file; :class:`PlanError` names it when it cannot be used."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"{path}: cannot be read ({error})") from error
        return Plan.from_json(text, source=str(path))


def stage_from_dict(data: object, where: str = "stage") -> StagePlan:
    """A stage from its JSON object.

    Raises
    ------
    ValueError
        Naming the entry that is wrong, which lies at ``where`` in the file.
    """
    stage = Fields(data, where, _names(StagePlan))
    buffering = []
    for item, place in stage.items("buffering"):
        tensor = Fields(item, place, _names(TensorBuffering))
        buffering.append(TensorBuffering(tensor.text("tensor"), tensor.choice("mode", BufferMode)))
    return StagePlan(
        operators=stage.texts("operators"),
        tile_h=stage.whole("tile_h", least=1),
        tile_w=stage.whole("tile_w", least=1),
        buffering=tuple(buffering),
    )


def _plan_from_dict(data: object) -> Plan:
    plan = Fields(data, "", _names(Plan))
    memory = Fields(plan.value("memory"), "memory", _names(MemoryPlan))
    return Plan(
        model=plan.text("model"),
        graph_fingerprint=plan.text("graph_fingerprint"),
        stages=tuple(stage_from_dict(item, place) for item, place in plan.items("stages")),
        memory=MemoryPlan(
            algorithm=memory.text("algorithm"),
            arena_bytes=memory.whole("arena_bytes", least=1),
            lower_bound_bytes=memory.whole("lower_bound_bytes", least=0),
            offsets_bytes=memory.whole_by_name("offsets_bytes", least=0),
        ),
        macs=plan.whole("macs", least=0),
        mac_overhead=plan.number("mac_overhead", least=0),
        slowdown=plan.number("slowdown", least=0),
        bound_bytes=plan.whole("bound_bytes", least=0),
        input_mode=plan.choice("input_mode", InputMode),
        scratch_bytes=plan.whole_by_name("scratch_bytes", least=1)
        if "scratch_bytes" in plan
        else {},
        format_version=plan.whole("format_version", least=1),
    )


def _names(record: type) -> tuple[str, ...]:
    return tuple(each.name for each in fields(record))
