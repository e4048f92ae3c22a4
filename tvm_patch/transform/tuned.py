"""Memory for tuned kernels: what ``PatchPartition(database=...)`` asks the layers above for.

What kernels a plan needs, and what their times depend on, is known above this layer. The package
registers who knows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tvm_patch.analysis import Network
from tvm_patch.errors import PlanError
from tvm_patch.plan import Plan


@dataclass(frozen=True)
class Tuning:
    """Where measured times of kernels are.

    Parameters
    ----------
    database : str
        Folder that ``tvm-patch tune`` has filled.
    board : str
        What the times were measured on.
    """

    database: str
    board: str


class PlanTuner(Protocol):
    """Gives the kernels of a plan scratch memory."""

    def __call__(
        self,
        network: Network,
        plan: Plan,
        tuning: Tuning,
        *,
        arena_limit_bytes: int | None,
        algorithm: str,
    ) -> Plan:
        """The plan with memory with which its kernels have been measured to be fastest.

        Raises
        ------
        TuningError
            When the database was made on another core, or by another compiler or TVM.
        """


_registered: list[Callable[[], PlanTuner]] = []


def register_plan_tuner(load: Callable[[], PlanTuner]) -> None:
    """Say who tunes plans; it is loaded when it is needed."""
    _registered[:] = [load]


def plan_tuner() -> PlanTuner:
    """Who tunes plans.

    Raises
    ------
    PlanError
        When nobody has been registered, which ``import tvm_patch`` does.
    """
    if not _registered:
        raise PlanError("nobody here tunes plans", hint="import tvm_patch")
    return _registered[0]()
