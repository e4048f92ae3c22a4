"""A cost model: an estimate of instructions, and trees that learn what it misses.

It predicts a candidate's time as a part of its task's default. Before anything has been measured
that is the estimate alone (:mod:`tvm_patch.tune.estimate`). Gradient-boosted trees over features
learn the rest from every board that they are told of; so what they learn of one network is of use
for another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.errors import ToolMissingError
from tvm_patch.kernel_times import KernelTime
from tvm_patch.tune.features import NAMES, features_of
from tvm_patch.tune.tasks import Candidate

_LEAST_SAMPLES = 16
_ROUNDS = 80
#: Logarithm of the estimate's ratio to the default's: where a sample has it.
_PRIOR = len(NAMES) + NAMES.index("log instructions")
#: Standard deviation of the logarithm of what is measured over what is predicted, at the beginning.
_FIRST_SPREAD = 0.06
_LEAST_SPREAD = 0.01
#: So many samples' worth is the first spread, and so many errors are kept.
_SPREAD_WEIGHT, _MOST_ERRORS = 8, 64

Samples = Sequence[tuple[float, ...]]


class RatioModel:
    """Predicts times as parts of the default's.

    Parameters
    ----------
    seed : int
        Of the trees.
    """

    def __init__(self, seed: int = 0) -> None:
        try:
            import xgboost
        except ImportError as error:
            raise ToolMissingError(
                "the package xgboost is not installed, which the cost model is made by",
                hint="pip install 'tvm-patch[tune]'",
            ) from error
        self._xgboost: Any = xgboost
        self._seed = seed
        self._booster: Any = None
        self._features: list[tuple[float, ...]] = []
        self._missed: list[float] = []
        self._errors: list[float] = []

    @property
    def samples(self) -> int:
        """How many candidates it has been told."""
        return len(self._missed)

    @property
    def spread(self) -> float:
        """How far predictions are off: standard deviation of the logarithm of their error."""
        errors = self._errors[-_MOST_ERRORS:]
        squares = _SPREAD_WEIGHT * _FIRST_SPREAD**2 + math.fsum(e * e for e in errors)
        return max(_LEAST_SPREAD, math.sqrt(squares / (_SPREAD_WEIGHT + len(errors))))

    def learn(self, features: Samples, ratios: Sequence[float]) -> None:
        """Train on more samples.

        Parameters
        ----------
        features : sequence of tuple of float
            Those of a candidate, then those of it less those of its task's default.
        ratios : sequence of float
            Its time over the default's.
        """
        measured = np.log(np.array(ratios, np.float64))
        predicted = np.log(self.ratios(features))
        self._errors += [
            float(error)
            for error, ratio in zip(measured - predicted, ratios, strict=True)
            if ratio != 1.0
        ]
        self._features += features
        self._missed += [float(m - f[_PRIOR]) for m, f in zip(measured, features, strict=True)]
        if self.samples < _LEAST_SAMPLES:
            return
        data = self._xgboost.DMatrix(np.array(self._features), label=np.array(self._missed))
        parameters = {
            "max_depth": 5,
            "eta": 0.2,
            "min_child_weight": 1,
            "subsample": 0.9,
            "base_score": 0.0,
            "objective": "reg:squarederror",
            "tree_method": "exact",
            "nthread": 1,
            "seed": self._seed,
            "verbosity": 0,
        }
        self._booster = self._xgboost.train(parameters, data, num_boost_round=_ROUNDS)

    def ratios(self, features: Samples) -> npt.NDArray[np.float64]:
        """Predicted times over the default's."""
        if not features:
            return np.zeros(0)
        array = np.array(features, np.float64)
        logarithms = array[:, _PRIOR]
        if self._booster is not None:
            missed = self._booster.predict(self._xgboost.DMatrix(array))
            logarithms = logarithms + np.asarray(missed, np.float64)
        return np.exp(logarithms)


def expected_gain(best: float, predicted: float, spread: float) -> float:
    """Expected improvement on the best time by one that is predicted.

    Parameters
    ----------
    best, predicted : float
        Times.
    spread : float
        Standard deviation of the prediction, as a part of it.
    """
    deviation = predicted * spread
    z = (best - predicted) / deviation
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return (best - predicted) * 0.5 * math.erfc(-z / math.sqrt(2)) + deviation * density


def sample_of(candidate: Candidate) -> tuple[float, ...]:
    """A candidate's features, and how they differ from the default's."""
    own = features_of(candidate)
    default = candidate.task.candidate(candidate.task.space.default)
    base = own if default is None else features_of(default)
    return (*own, *(mine - its for mine, its in zip(own, base, strict=True)))


def samples_of(records: Sequence[KernelTime]) -> tuple[list[tuple[float, ...]], list[float]]:
    """Samples of a database: every task whose default has been measured.

    The first record of a task is its default.
    """
    defaults: dict[tuple[str, str], float] = {}
    features, ratios = [], []
    for record in records:
        if record.units is None or len(record.features) != 2 * len(NAMES):
            continue
        base = defaults.setdefault((record.task, record.kernels), record.units)
        features.append(record.features)
        ratios.append(record.units / base)
    return features, ratios
