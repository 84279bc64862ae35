"""Paired tests against enumeration, and against their own promise in simulated experiments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.evaluation import bootstrap_interval, holm, mcnemar, paired_bootstrap

EXPERIMENTS = 1000


def simulated(
    rng: np.random.Generator, seeds: int, problems: int, gain: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes (S, P) of two methods on problems of all difficulties; the first is better."""
    easiness = rng.beta(0.5, 0.8, size=problems)
    skill = rng.normal(0, 0.01, size=(2, seeds, 1))  # training runs differ
    chances = np.clip(easiness + skill + gain * np.array([1, 0])[:, None, None], 0, 1)
    first, second = rng.random((2, seeds, problems)) < chances
    return first, second


# The paired bootstrap


@pytest.mark.parametrize("problems", [4, 6])
def test_the_p_value_is_that_of_all_resamples(problems: int) -> None:
    first, second = np.random.default_rng(0).integers(0, 3, size=(2, problems)) / 2
    differences = first - second
    means = np.array([np.mean(drawn) for drawn in itertools.product(differences, repeat=problems)])
    exact = min(1.0, 2 * min((means <= 1e-9).mean(), (means >= -1e-9).mean()))
    found = paired_bootstrap(first, second, resamples=40_000)
    assert found.difference == pytest.approx(differences.mean())
    assert found.p_value == pytest.approx(exact, abs=0.015)


def test_an_interval_covers_the_truth_in_95_of_100_experiments() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(EXPERIMENTS):
        easiness = rng.beta(0.5, 0.8, size=200)
        chances = np.clip(easiness + rng.normal(0, 0.01, size=(3, 1)), 0, 1)
        outcomes = rng.random((3, 200)) < chances
        _, low, high = bootstrap_interval(outcomes, resamples=1000, seed=trial)
        covered += low <= TRUTH <= high
    assert 0.93 <= covered / EXPERIMENTS <= 0.97


# The mean chance of such problems and runs, by a simulation of its own.
_easiness = np.random.default_rng(9).beta(0.5, 0.8, size=2_000_000)
_noise = np.random.default_rng(10).normal(0, 0.01, size=2_000_000)
TRUTH = np.clip(_easiness + _noise, 0, 1).mean()


@pytest.mark.parametrize(("seeds", "problems"), [(1, 200), (3, 200)])
def test_no_difference_is_called_one_in_5_of_100_experiments(seeds: int, problems: int) -> None:
    rng = np.random.default_rng(2)
    claimed = 0
    for trial in range(EXPERIMENTS):
        first, second = simulated(rng, seeds, problems)
        claimed += paired_bootstrap(first, second, resamples=1000, seed=trial).p_value < 0.05
    # 0.05 and three standard errors of 1,000 experiments.
    assert claimed / EXPERIMENTS <= 0.071


def test_the_interval_of_a_difference_covers_it() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for trial in range(EXPERIMENTS):
        first, second = simulated(rng, 3, 200)
        found = paired_bootstrap(first, second, resamples=1000, seed=trial)
        covered += found.low <= 0 <= found.high
    assert 0.93 <= covered / EXPERIMENTS <= 0.97


def test_a_difference_that_is_there_is_found() -> None:
    first, second = simulated(np.random.default_rng(4), 3, 300, gain=0.15)
    found = paired_bootstrap(first, second)
    assert found.low > 0
    assert found.p_value < 0.001


def test_pairing_by_problem_sees_what_unpaired_intervals_hide() -> None:
    easiness = np.random.default_rng(5).random(100)
    first, second = easiness + 0.02, easiness
    assert paired_bootstrap(first, second).low > 0
    assert bootstrap_interval(first)[1] < bootstrap_interval(second)[2]


def test_the_order_of_the_methods_turns_the_sign_and_nothing_else() -> None:
    first, second = simulated(np.random.default_rng(6), 3, 50)
    one, other = paired_bootstrap(first, second), paired_bootstrap(second, first)
    assert one.difference == -other.difference
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p_value == other.p_value


def test_equal_scores_are_no_difference() -> None:
    assert paired_bootstrap([1, 0, 1], [1, 0, 1]).p_value == 1.0


def test_scores_of_other_problems_are_refused() -> None:
    with pytest.raises(ValueError, match=r"first_SP has shape \(1, 3\) and second_SP \(1, 2\)"):
        paired_bootstrap([1, 0, 1], [1, 0])
    with pytest.raises(ValueError, match="second_SP is nan for seed 0, problem 1"):
        paired_bootstrap([1, 0], [1, float("nan")])


# Single runs


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=9))
def test_mcnemar_is_the_share_of_swaps_that_are_as_uneven(pairs: list[tuple[bool, bool]]) -> None:
    differing = [first - second for first, second in pairs if first != second]
    swaps = [
        abs(sum(sign * value for sign, value in zip(signs, differing, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differing))
    ]
    expected = np.mean([total >= abs(sum(differing)) for total in swaps])
    first, second = zip(*pairs, strict=True) if pairs else ((), ())
    assert mcnemar(first, second) == pytest.approx(expected)


def test_outcomes_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="second_P must hold one true or false"):
        mcnemar([1, 0], [0.5, 0])
    with pytest.raises(ValueError, match="first_P has 2 problems and second_P 1"):
        mcnemar([1, 0], [1])


# Many cells


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_is_the_closed_test_with_bonferroni(p_values: list[float]) -> None:
    cells = range(len(p_values))
    subsets = [s for size in cells for s in itertools.combinations(cells, size + 1)]
    expected = [
        max(
            min(1.0, len(subset) * min(p_values[j] for j in subset))
            for subset in subsets
            if cell in subset
        )
        for cell in cells
    ]
    assert holm(p_values) == pytest.approx(expected)


def test_p_values_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        holm([0.1, 1.2])
    with pytest.raises(ValueError, match="numbers from 0 to 1"):
        holm([float("nan")])
