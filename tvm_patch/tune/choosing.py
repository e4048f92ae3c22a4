"""Which candidates an image takes: trials go to the tasks with most instructions left to gain."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tvm_patch.tune.cost_model import expected_gain
from tvm_patch.tune.tasks import Candidate, Task


@dataclass(frozen=True)
class Offer:
    """What a task has to be measured.

    Parameters
    ----------
    task : Task
        Whose.
    calls : float
        In an inference.
    default : Candidate or None
        Its default where that has not been measured: no other one is without it.
    ranked : sequence of (Candidate, float)
        Others and their predicted times, the fastest first.
    best_units : float
        The best time that is known, or the default's as estimated.
    """

    task: Task
    calls: float
    default: Candidate | None
    ranked: Sequence[tuple[Candidate, float]]
    best_units: float


def most_promising(offers: Sequence[Offer], spread: float, count: int) -> list[Candidate]:
    """Candidates by what an inference may be expected to gain by a trial.

    Each task's next one is compared with the best that is known or already chosen. A default that
    has to be measured first halves what its task promises.

    Parameters
    ----------
    offers : sequence of Offer
        One for each task.
    spread : float
        Of the predictions, as a part of them.
    count : int
        How many are wanted.
    """
    heap: list[tuple[float, int, int, float]] = []

    def push(number: int, at: int, best: float) -> None:
        offer = offers[number]
        alone = at == 0 and offer.default is not None
        if at < len(offer.ranked):
            gain = expected_gain(best, offer.ranked[at][1], spread)
        elif alone:
            gain = 0.0
        else:
            return
        heapq.heappush(heap, (-offer.calls * gain / (2 if alone else 1), number, at, best))

    for number, offer in enumerate(offers):
        push(number, 0, offer.best_units)
    chosen: list[Candidate] = []
    while heap and len(chosen) < count:
        _, number, at, best = heapq.heappop(heap)
        offer = offers[number]
        if at == 0 and offer.default is not None:
            chosen.append(offer.default)
        if at < len(offer.ranked):
            candidate, predicted = offer.ranked[at]
            chosen.append(candidate)
            push(number, at + 1, min(best, predicted))
    return chosen[:count]


def any_of_them(
    offers: Sequence[Offer], random: np.random.Generator, count: int
) -> list[Candidate]:
    """Candidates by chance, each behind its task's default."""
    everything = [
        (offer, candidate)
        for offer in offers
        for candidate, _ in (*offer.ranked, *([(offer.default, 0.0)] if offer.default else ()))
    ]
    chosen: dict[tuple[str, tuple[tuple[str, str], ...]], Candidate] = {}
    for at in random.permutation(len(everything)):
        if len(chosen) >= count:
            break
        offer, candidate = everything[at]
        if offer.default is not None:
            chosen.setdefault(offer.default.identity, offer.default)
        chosen.setdefault(candidate.identity, candidate)
    return list(chosen.values())[:count]
