"""Where candidates come from: evolution ranked by a cost model, or a shuffled list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tvm_patch.kernel_times import KernelTime
from tvm_patch.tune.cost_model import RatioModel, sample_of
from tvm_patch.tune.tasks import Candidate, Task

_Identity = tuple[str, tuple[tuple[str, str], ...]]

#: Spaces with no more left than this are ranked as they are.
_MOST_RANKED = 32
_POPULATION = 16
_PARENTS = 4
_GENERATIONS = 3
_CROSSED_SHARE = 0.3


class Proposals(Protocol):
    """Candidates of one task that are worth measuring."""

    def offers(self) -> Sequence[tuple[Candidate, float]]:
        """Some that have not been measured, with their times over the default's as predicted.

        None when all have been measured.
        """

    def measured(self, record: KernelTime) -> None:
        """Take note of what came of one."""


class ShuffledProposals:
    """All that there are, all alike.

    Parameters
    ----------
    task : Task
        Whose.
    known : sequence of KernelTime
        Measured before.
    """

    def __init__(self, task: Task, known: Sequence[KernelTime]) -> None:
        self._left = {candidate.identity: candidate for candidate in task.candidates()}
        for record in known:
            self.measured(record)

    def offers(self) -> Sequence[tuple[Candidate, float]]:
        """Those left."""
        return [(candidate, 1.0) for candidate in self._left.values()]

    def measured(self, record: KernelTime) -> None:
        """Leave it out."""
        self._left.pop(record.identity[:2], None)


class EvolvedProposals:
    """Evolution: the fittest of several generations, bred from the best that have been measured.

    Parameters
    ----------
    task : Task
        Whose.
    model : RatioModel
        Says who is fit.
    known : sequence of KernelTime
        Measured before.
    seed : int
        The same one breeds the same.
    """

    def __init__(
        self, task: Task, model: RatioModel, known: Sequence[KernelTime], *, seed: int
    ) -> None:
        self._task = task
        self._model = model
        self._known = {record.identity[:2]: record for record in known}
        self._candidates = {each.identity: each for each in task.candidates()}
        self._samples: dict[_Identity, tuple[float, ...]] = {}
        digest = sum(task.key.encode())
        self._random = np.random.default_rng((seed, digest))

    def offers(self) -> Sequence[tuple[Candidate, float]]:
        """A population that has not been measured, the fittest first."""
        left = [c for i, c in self._candidates.items() if i not in self._known]
        if len(left) <= _MOST_RANKED:
            return self._ranked(left)
        population = self._first()
        for _ in range(_GENERATIONS):
            children = [self._child(population) for _ in range(_POPULATION)]
            population = self._fittest([*population, *(c for c in children if c is not None)])
        fresh = [each for each, _ in self._ranked(population) if each.identity not in self._known]
        if not fresh:
            fresh.append(left[int(self._random.integers(len(left)))])
        return self._ranked(list({each.identity: each for each in fresh}.values()))

    def measured(self, record: KernelTime) -> None:
        """A parent, if it is fast."""
        self._known[record.identity[:2]] = record

    def _first(self) -> list[Candidate]:
        """The fastest measured, and some that nobody has chosen."""
        ranked = sorted(
            (r for r in self._known.values() if r.units is not None),
            key=lambda record: record.units or 0.0,
        )
        parents = [self._candidates.get(record.identity[:2]) for record in ranked[:_PARENTS]]
        everybody = list(self._candidates.values())
        picked = self._random.permutation(len(everybody))[: _POPULATION - _PARENTS]
        found = [each for each in parents if each is not None]
        return [*found, *(everybody[at] for at in picked)]

    def _child(self, population: Sequence[Candidate]) -> Candidate | None:
        """One decision changed, or decisions of two mixed; None where that is no kernel."""
        parent = population[int(self._random.integers(len(population)))]
        choice = dict(parent.choice)
        if self._random.random() < _CROSSED_SHARE:
            other = population[int(self._random.integers(len(population)))].choice
            for name in choice:
                if self._random.integers(2):
                    choice[name] = other[name]
        else:
            names = [name for name, values in self._task.space.decisions.items() if values[1:]]
            name = names[int(self._random.integers(len(names)))]
            values = self._task.space.decisions[name]
            choice[name] = values[int(self._random.integers(len(values)))]
        return self._candidates.get((self._task.key, tuple(sorted(choice.items()))))

    def _sample(self, candidate: Candidate) -> tuple[float, ...]:
        if candidate.identity not in self._samples:
            self._samples[candidate.identity] = sample_of(candidate)
        return self._samples[candidate.identity]

    def _fittest(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        distinct = list({each.identity: each for each in candidates}.values())
        return [candidate for candidate, _ in self._ranked(distinct)[:_POPULATION]]

    def _ranked(self, candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
        ratios = self._model.ratios([self._sample(candidate) for candidate in candidates])
        pairs = zip(candidates, map(float, ratios), strict=True)
        return sorted(pairs, key=lambda pair: pair[1])
