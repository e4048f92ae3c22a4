"""Which candidates are tried next."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.unit.tune.fakes import digits_tasks
from tvm_patch.tune.choosing import Offer, any_of_them, most_promising
from tvm_patch.tune.cost_model import RatioModel, expected_gain, sample_of
from tvm_patch.tune.estimate import instructions_of
from tvm_patch.tune.tasks import Task


def offer(task: Task, ratios: list[float], *, calls: float, known: bool = True) -> Offer:
    default, *others = task.candidates()
    base = 1000.0
    ranked = [(each, base * ratio) for each, ratio in zip(others, ratios, strict=False)]
    return Offer(task, calls, None if known else default, ranked, base)


def test_trials_go_where_most_is_to_be_gained() -> None:
    often, seldom = digits_tasks()[:2]
    offers = [offer(seldom, [0.7, 0.9], calls=1), offer(often, [0.8, 0.9], calls=100)]
    chosen = most_promising(offers, 0.05, 4)
    assert [each.task.key for each in chosen[:2]] == [often.key, seldom.key]
    assert len({each.identity for each in chosen}) == 4


def test_a_second_try_is_compared_with_the_first() -> None:
    one, other = digits_tasks()[:2]
    # What gains nothing beside a better one waits for what gains a little elsewhere.
    offers = [offer(one, [0.7, 0.71], calls=10), offer(other, [0.97], calls=10)]
    chosen = most_promising(offers, 0.01, 3)
    assert [each.task.key for each in chosen] == [one.key, other.key, one.key]


def test_a_default_comes_before_its_rivals() -> None:
    task = digits_tasks()[0]
    offers = [offer(task, [0.7, 0.8], calls=1, known=False)]
    default, first, second = task.candidates()[:3]
    assert most_promising(offers, 0.05, 9) == [default, first, second]
    assert most_promising(offers, 0.05, 1) == [default]
    for seed in range(5):
        chosen = any_of_them(offers, np.random.default_rng(seed), 9)
        assert chosen[0] == default
        assert {c.identity for c in chosen} == {c.identity for c in (default, first, second)}


def test_a_default_that_promises_nothing_comes_last_but_comes() -> None:
    one, other = digits_tasks()[:2]
    offers = [offer(one, [], calls=1e6, known=False), offer(other, [0.99], calls=1)]
    assert [each.task.key for each in most_promising(offers, 0.05, 9)] == [other.key, one.key]


@pytest.mark.parametrize("predicted", [50.0, 100.0, 150.0])
def test_expected_gain_is_that_of_a_normal_distribution(predicted: float) -> None:
    rng = np.random.default_rng(3)
    times = rng.normal(predicted, 0.2 * predicted, 400_000)
    sampled = float(np.maximum(100.0 - times, 0.0).mean())
    assert expected_gain(100.0, predicted, 0.2) == pytest.approx(sampled, rel=0.05, abs=0.05)


def test_a_model_that_knows_nothing_says_what_is_estimated() -> None:
    task = digits_tasks()[0]
    candidates = task.candidates()
    predicted = RatioModel().ratios([sample_of(candidate) for candidate in candidates])
    base = instructions_of(task.default)
    expected = [instructions_of(candidate.kernel) / base for candidate in candidates]
    np.testing.assert_allclose(predicted, expected, rtol=1e-3)


def test_a_model_learns_what_the_estimate_misses() -> None:
    model, samples, ratios = RatioModel(), [], []
    for task in digits_tasks():
        base = instructions_of(task.default)
        for candidate in task.candidates():
            # Gathering is twice as slow here as it is estimated.
            factor = 2.0 if candidate.choice.get("form") == "gathered" else 1.0
            samples.append(sample_of(candidate))
            ratios.append(factor * instructions_of(candidate.kernel) / base)
    before = model.spread
    model.learn(samples, ratios)
    errors = np.abs(np.log(model.ratios(samples) / np.array(ratios)))
    assert float(errors.max()) < 0.1 < math.log(2)
    assert model.spread > before, "it was further off than it thought"
