"""Choosing where the first stage ends and how it is cut, by what USMP will make of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tvm_patch.errors import DoesNotFitError, PlanError
from tvm_patch.memory import Allocation, lower_bound_bytes
from tvm_patch.plan import (
    BufferMode,
    InputMode,
    MemoryPlan,
    Operator,
    Plan,
    StagePlan,
    first_stage_ends,
    patch_stage,
)
from tvm_patch.relay.kernels import KernelNetwork, is_windowed
from tvm_patch.relay.reader import Network
from tvm_patch.relay.tiles import patch_of, tile_blocks
from tvm_patch.relay.workspace import KernelStage, pack_as_usmp, workspace_problem

MOST_TILES = 6
"""Tiles along each axis that a search tries; each patch is written out, so code grows with them."""

DEFAULT_MAX_OVERHEAD = 1.5
_WORTH_MORE_PATCHES = 0.98


@dataclass(frozen=True)
class Cut:
    """A stage, cut into tiles, with its cost.

    Parameters
    ----------
    stage : StagePlan
        Of Relay calls.
    kernels : KernelStage
        The same stage as TVM runs it.
    mac_overhead : float
        F of the whole network.
    """

    stage: StagePlan
    kernels: KernelStage
    mac_overhead: float

    @property
    def patches(self) -> int:
        """How many patches there are."""
        return sum(len(row) for row in self.kernels.tiles)


class Chooser:
    """Costs of stages of one network.

    Parameters
    ----------
    network : Network
        As it was written.
    kernels : KernelNetwork
        As TVM runs it.
    algorithm : str
        Of USMP.
    io_in_workspace : bool
        Whether USMP plans inputs and outputs too.
    """

    def __init__(
        self, network: Network, kernels: KernelNetwork, algorithm: str, *, io_in_workspace: bool
    ) -> None:
        self.network = network
        self.algorithm = algorithm
        self._io_in_workspace = io_in_workspace
        self._kernels = kernels

    @cached_property
    def layer_by_layer(self) -> Allocation:
        """The workspace without patches."""
        return self._pack(None)

    def cuts(self, end: int) -> Iterator[Cut]:
        """All cuts of the stage that ends with an operator, those with fewest patches first."""
        output = self.network.graph.tensor[self.network.graph.operators[end].output]
        grids = {
            (-(-output.height // rows), -(-output.width // cols))
            for rows in range(1, min(MOST_TILES, output.height) + 1)
            for cols in range(1, min(MOST_TILES, output.width) + 1)
        }
        counted = sorted(
            (-(-output.height // h) * -(-output.width // w), -w, h, w) for h, w in grids
        )
        for patches, _, tile_h, tile_w in counted:
            if patches > 1:
                yield self.cut(end, tile_h, tile_w)

    def cut(self, end: int, tile_h: int, tile_w: int) -> Cut:
        """The stage that ends with an operator, in tiles of one size."""
        graph = self.network.graph
        stage = patch_stage(graph.operators[: end + 1], tile_h, tile_w)
        operators = self._kernel_stage(end)
        tiles = tuple(tuple(row) for row in tile_blocks(graph, stage))
        macs = sum(
            patch_of(graph, graph.operators[: end + 1], tile).macs for row in tiles for tile in row
        )
        whole = sum(operator.macs for operator in graph.operators[: end + 1])
        total = graph.macs
        pixel_bytes = graph.tensor[graph.operators[end].output].pixel_bytes
        return Cut(
            stage,
            KernelStage(operators, tiles, pixel_bytes, self.joins_apart(end)),
            (total - whole + macs) / total if total else 1.0,
        )

    def joins_apart(self, end: int) -> bool:
        """Whether patches of a stage are best joined by kernels of their own."""
        last = self._kernel_stage(end)[-1]
        return not self._kernels.kernels[last.name].is_blocked

    def pack(self, cut: Cut) -> Allocation:
        """The workspace with a stage in patches."""
        return self._pack(cut.kernels)

    def rest_bytes(self, end: int) -> int:
        """What no cut of a stage can be below: the workspace of what comes behind it."""
        operators = self._kernel_stage(end)
        output = self.network.graph.tensor[self.network.graph.operators[end].output]
        nothing = KernelStage(operators, (), output.pixel_bytes)
        return lower_bound_bytes(
            workspace_problem(self._kernels, nothing, io_in_workspace=self._io_in_workspace)
        )

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """Operators at which a stage may end, that no elementwise operator alone follows.

        Raises
        ------
        PlanError
            If there are none, with what is in the way.
        """
        graph = self.network.graph
        ends = [end for end in first_stage_ends(graph) if self._is_natural(end)]
        stopper = self._stopper()
        if not ends:
            because = f": {stopper}" if stopper else ""
            raise PlanError(
                f"{graph.name} has no first stage that could run in patches{because}",
                hint="a stage begins at the network's input and has at least two operators with "
                "windows, such as convolutions and pools",
            )
        return tuple(ends)

    def warn_of_unknown(self) -> None:
        """Say at which operator stages end because the pass does not know it."""
        stopper = self._stopper()
        if stopper is not None and not self._is_usual_end():
            warnings.warn(f"stages of {self.network.graph.name} end before {stopper}", stacklevel=4)

    def _stopper(self) -> str | None:
        reasons = self.network.reasons
        operator = self._first_outside()
        if operator is None or operator.name not in reasons:
            return None
        return f"operator {operator.name} ({operator.kind}), because {reasons[operator.name]}"

    def _first_outside(self) -> Operator | None:
        return next((op for op in self.network.graph.operators if not op.streamable), None)

    def _is_usual_end(self) -> bool:
        operator = self._first_outside()
        assert operator is not None
        usual = (
            "global_",
            "adaptive_",
            "mean",
            "reshape",
            "squeeze",
            "flatten",
            "dense",
            "softmax",
        )
        return any(word in operator.kind for word in usual)

    def _is_natural(self, end: int) -> bool:
        graph = self.network.graph
        operator = graph.operators[end]
        readers = [graph.operators[i] for i in graph.consumers[operator.output]]
        if operator.kind == "nn.pad" or not readers:
            return False
        if len(readers) == 1 and readers[0].elementwise and readers[0].inputs == (operator.output,):
            return False
        try:
            self._kernel_stage(end)
        except PlanError:
            return False
        return True

    def _kernel_stage(self, end: int) -> tuple[Operator, ...]:
        """The kernels of a stage that ends with an operator."""
        if end not in self._stages:
            graph, kernels = self.network.graph, self._kernels
            operators = graph.operators[: end + 1]
            wanted = sum(is_windowed(operator.kind) for operator in operators)
            done, found = 0, []
            for i, operator in enumerate(kernels.graph.operators):
                done += kernels.kernels[operator.name].windows
                if done > wanted:
                    break
                if done == wanted and i in self._kernel_ends and self._same_size(operator, end):
                    found.append(i)
            if found:
                # Several where what follows without a window is a kernel of its own. One that
                # casts for the next layer makes other bytes than the stage.
                exact = [i for i in found if self._same_bytes(kernels.graph.operators[i], end)]
                self._stages[end] = kernels.graph.operators[: (exact or found)[0] + 1]
        if end not in self._stages:
            raise PlanError(
                f"TVM has no kernel that ends with operator {graph.operators[end].name}",
                hint="end the stage at another operator: tvm_patch.relay.stage_ends(mod)",
            )
        return self._stages[end]

    def _same_size(self, kernel: Operator, end: int) -> bool:
        graph = self.network.graph
        output = graph.tensor[graph.operators[end].output]
        made = self._kernels.graph.tensor[kernel.output]
        return made.is_map and (made.height, made.width) == (output.height, output.width)

    def _same_bytes(self, kernel: Operator, end: int) -> bool:
        graph = self.network.graph
        output = graph.tensor[graph.operators[end].output]
        return self._kernels.graph.tensor[kernel.output].size_bytes == output.size_bytes

    @cached_property
    def _stages(self) -> dict[int, tuple[Operator, ...]]:
        return {}

    @cached_property
    def _kernel_ends(self) -> frozenset[int]:
        return frozenset((0, *first_stage_ends(self._kernels.graph)))

    def _pack(self, stage: KernelStage | None) -> Allocation:
        problem = workspace_problem(self._kernels, stage, io_in_workspace=self._io_in_workspace)
        return pack_as_usmp(problem, self.algorithm)

    def plan(self, cut: Cut | None, memory: Allocation) -> Plan:
        """Write a choice down."""
        graph = self.network.graph
        overhead = 1.0 if cut is None else cut.mac_overhead
        return Plan(
            model=graph.name,
            graph_fingerprint=graph.fingerprint,
            stages=() if cut is None else (cut.stage,),
            memory=MemoryPlan(
                algorithm=memory.algorithm,
                arena_bytes=max(1, memory.arena_bytes),
                lower_bound_bytes=memory.lower_bound_bytes,
                offsets_bytes=dict(memory.offsets_bytes),
            ),
            macs=round(graph.macs * overhead),
            mac_overhead=overhead,
        )


def least_memory(chooser: Chooser, max_overhead: float) -> Plan:
    """The least workspace at an overhead; of nearly equal ones that with fewest patches."""
    best: tuple[Cut | None, Allocation] = (None, chooser.layer_by_layer)
    rests = {end: chooser.rest_bytes(end) for end in chooser.ends}
    for end in sorted(rests, key=lambda end: rests[end]):
        for cut in chooser.cuts(end):
            if rests[end] >= best[1].arena_bytes * _WORTH_MORE_PATCHES:
                break
            if cut.mac_overhead > max_overhead:
                continue
            memory = chooser.pack(cut)
            if memory.arena_bytes < best[1].arena_bytes * _WORTH_MORE_PATCHES:
                best = (cut, memory)
    return chooser.plan(*best)


def fewest_macs(chooser: Chooser, limit_bytes: int, max_overhead: float | None) -> Plan:
    """The fewest MACs that fit a limit; of equal ones that with fewest patches.

    Raises
    ------
    DoesNotFitError
        When nothing fits, with the least workspace found.
    """
    if chooser.layer_by_layer.arena_bytes <= limit_bytes:
        return chooser.plan(None, chooser.layer_by_layer)
    most = float("inf") if max_overhead is None else max_overhead
    cuts = [
        cut
        for end in chooser.ends
        if chooser.rest_bytes(end) <= limit_bytes
        for cut in chooser.cuts(end)
        if cut.mac_overhead <= most
    ]
    least = chooser.layer_by_layer.arena_bytes
    for cut in sorted(cuts, key=lambda cut: (cut.mac_overhead, cut.patches)):
        memory = chooser.pack(cut)
        if memory.arena_bytes <= limit_bytes:
            return chooser.plan(cut, memory)
        least = min(least, memory.arena_bytes)
    if not cuts:
        least = least_memory(chooser, most).memory.arena_bytes
    raise DoesNotFitError(
        f"{chooser.network.graph.name} does not fit {limit_bytes} bytes of workspace: the best "
        f"plan found needs {least}",
        required_bytes=least,
        available_bytes=limit_bytes,
        hint=f"allow {-(-least // 1024)}K or more, or build with tir.usmp.algorithm hill_climb "
        "and say so: PatchPartition(algorithm='hill_climb')",
    )


def planned_cut(chooser: Chooser, plan: Plan) -> Cut | None:
    """The cut that a plan describes.

    Raises
    ------
    PlanError
        When the plan is for another network, or is none that Relay can express.
    """
    graph = chooser.network.graph
    if plan.graph_fingerprint != graph.fingerprint:
        raise PlanError(
            f"the plan was made for {plan.model} ({plan.graph_fingerprint[:12]}), this is "
            f"{graph.name} ({graph.fingerprint[:12]})",
            hint="make a plan for this module with PatchPartition(ram=...) and plan_of(mod)",
        )
    if not plan.stages:
        return None
    stage = plan.stages[0]
    modes = {item.mode for item in stage.buffering}
    if len(plan.stages) > 1 or not modes <= {BufferMode.FULL, BufferMode.PATCH}:
        raise PlanError(
            "Relay has no loops, so only one stage of patches can be written in it",
            hint="make a plan with PatchPartition(ram=...), or go over to tvm.relax",
        )
    if plan.input_mode is not InputMode.RESIDENT:
        raise PlanError("in Relay the network's input is resident")
    names = tuple(operator.name for operator in graph.operators[: len(stage.operators)])
    if names != stage.operators:
        raise PlanError(
            "the plan's stage does not begin at the network's input",
            hint="only a network's first stage can be written as patches",
        )
    return chooser.cut(len(names) - 1, stage.tile_h, stage.tile_w)
