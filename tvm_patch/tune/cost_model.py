"""A cost model that learns from every board it has seen: gradient-boosted trees over features.

It predicts a candidate's time as a part of its task's default. So what it learns of one network is
of use for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_patch.errors import ToolMissingError
from tvm_patch.kernel_times import KernelTime
from tvm_patch.tune.features import NAMES, features_of
from tvm_patch.tune.tasks import Candidate

_LEAST_SAMPLES = 24
_ROUNDS = 120


class RatioModel:
    """Predicts times as parts of the default's.

    Parameters
    ----------
    seed : int
        Of the trees, and of guesses before there are enough samples.
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
        self._random = np.random.default_rng(seed)
        self._booster: Any = None
        self._features: list[tuple[float, ...]] = []
        self._ratios: list[float] = []

    @property
    def samples(self) -> int:
        """How many candidates it has been told."""
        return len(self._ratios)

    def learn(self, features: Sequence[tuple[float, ...]], ratios: Sequence[float]) -> None:
        """Train on more samples.

        Parameters
        ----------
        features : sequence of tuple of float
            Those of a candidate less those of its task's default, behind its own.
        ratios : sequence of float
            Its time over the default's.
        """
        self._features += features
        self._ratios += ratios
        if self.samples < _LEAST_SAMPLES:
            return
        data = self._xgboost.DMatrix(np.array(self._features), label=np.log(np.array(self._ratios)))
        parameters = {
            "max_depth": 6,
            "eta": 0.2,
            "min_child_weight": 1,
            "subsample": 0.9,
            "objective": "reg:squarederror",
            "tree_method": "exact",
            "nthread": 1,
            "seed": self._seed,
            "verbosity": 0,
        }
        self._booster = self._xgboost.train(parameters, data, num_boost_round=_ROUNDS)

    def ratios(self, features: Sequence[tuple[float, ...]]) -> npt.NDArray[np.float64]:
        """Predicted times over the default's; guesses as long as little is known."""
        if not features:
            return np.zeros(0)
        if self._booster is None:
            return self._random.uniform(0.5, 1.5, len(features))
        data = self._xgboost.DMatrix(np.array(features))
        predicted = np.asarray(self._booster.predict(data), np.float64)
        return np.exp(predicted)


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
