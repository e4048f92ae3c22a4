"""What is tuned: the distinct kernels of a plan, each weighted by how often it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tvm_patch.analysis import Network
from tvm_patch.lower.kernels import choose_kernels
from tvm_patch.lower.model import constants_of
from tvm_patch.plan import Plan, execution_of
from tvm_patch.schedules import Choice, Instructions, Space, WithScratch, make_variant, space_of
from tvm_patch.schedules.kernel import Constants, Kernel


@dataclass(frozen=True)
class Task:
    """A kernel that can be made in several ways.

    Parameters
    ----------
    space : Space
        The ways, and the key by which databases know it.
    default : Kernel
        As it is made without a tuner.
    constants : dict
        Of one layer that it serves; times do not depend on them.
    calls : float
        In an inference.
    operators : tuple of str
        Layers that it serves.
    model : str
        Their network.
    """

    space: Space
    default: Kernel
    constants: Constants
    calls: float
    operators: tuple[str, ...]
    model: str

    @property
    def key(self) -> str:
        """The space's."""
        return self.space.key

    def candidates(self) -> tuple[Candidate, ...]:
        """All ways that there are, the default first."""
        found = (self.candidate(choice) for choice in self.space.choices())
        return tuple(candidate for candidate in found if candidate is not None)

    def candidate(self, choice: Choice) -> Candidate | None:
        """One way; None where a choice amounts to nothing."""
        kernel = make_variant(self.default, choice)
        return None if kernel is None else Candidate(self, dict(choice), kernel)


@dataclass(frozen=True)
class Candidate:
    """One way of making a task's kernel.

    Parameters
    ----------
    task : Task
        Whose.
    choice : dict of str to str
        A value for each decision.
    kernel : Kernel
        What they amount to.
    """

    task: Task
    choice: dict[str, str]
    kernel: Kernel

    @property
    def scratch_bytes(self) -> int:
        """Memory it needs to itself."""
        kernel = self.kernel
        return kernel.scratch_bytes if isinstance(kernel, WithScratch) else 0

    @property
    def identity(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Task and choice."""
        return (self.task.key, tuple(sorted(self.choice.items())))


def tasks_of(network: Network, plan: Plan, instructions: Instructions) -> tuple[Task, ...]:
    """The tasks of a plan, the one with most multiply-accumulates first.

    Parameters
    ----------
    network : Network
        What is computed.
    plan : Plan
        How.
    instructions : Instructions
        What the core has.
    """
    tasks: dict[str, Task] = {}
    for group in execution_of(network.graph, plan).groups:
        for layout in group.operators:
            kernels = choose_kernels(network, group, layout, instructions)
            detail = network.details.get(layout.operator.name)
            macs = sum(kernel.macs for kernel in kernels)
            for kernel in kernels:
                space = space_of(kernel)
                if space is None or detail is None or macs == 0:
                    continue
                # Inside a column run there are several widths, which take turns.
                calls = group.macs_of(layout) / macs
                name = layout.operator.name
                known = tasks.get(space.key)
                if known is None:
                    constants, model = constants_of(detail), network.graph.name
                    tasks[space.key] = Task(space, kernel, constants, calls, (name,), model)
                else:
                    operators = (*known.operators, name)
                    tasks[space.key] = replace(
                        known, calls=known.calls + calls, operators=operators
                    )
    return tuple(sorted(tasks.values(), key=lambda task: -task.calls * task.default.macs))


def total_choices(tasks: Sequence[Task]) -> int:
    """Candidates of all tasks, defaults included."""
    return sum(len(task.candidates()) for task in tasks)
