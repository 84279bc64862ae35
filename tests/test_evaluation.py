"""pass@k against brute force, and the bootstrap against enumeration and its own promise."""

from __future__ import annotations

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.evaluation import bootstrap_interval, pass_at_k


@st.composite
def samples(draw: st.DrawFn, most: int) -> tuple[int, int, int]:
    n = draw(st.integers(1, most))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@given(samples(most=8))
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(nck: tuple[int, int, int]) -> None:
    n, c, k = nck
    subsets = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@given(samples(most=5000))
def test_pass_at_k_is_stable_for_many_samples(nck: tuple[int, int, int]) -> None:
    n, c, k = nck
    exact = 1 - comb(n - c, k) / comb(n, k)  # exact integers, one rounding
    assert pass_at_k(n, c, k) == pytest.approx(exact, abs=1e-10)


def test_pass_at_k_is_unbiased() -> None:
    n, k, p = 7, 3, 0.3
    mean = sum(comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert mean == pytest.approx(1 - (1 - p) ** k)


def test_pass_at_k_broadcasts() -> None:
    c, k = np.arange(5), np.arange(1, 5)
    grid = pass_at_k(4, c[:, None], k[None, :])
    assert grid.shape == (5, 4)
    assert grid.tolist() == [[pass_at_k(4, int(a), int(b)) for b in k] for a in c]
    assert isinstance(pass_at_k(4, 1, 2), float)
    assert pass_at_k(4, [], 2).shape == (0,)


@pytest.mark.parametrize(
    ("n", "c", "k", "message"),
    [
        (0, 0, 1, "n must be 1 or more"),
        (4, 5, 1, r"c must be from 0 to n; given n, c, k = \(4, 5, 1\)"),
        (4, -1, 1, "c must be"),
        (4, 1, 0, "k must be"),
        (4, [1, 1], [4, 5], r"k must be from 1 to n; given n, c, k = \(4, 1, 5\)"),
        (4, 1.5, 1, "c must hold whole numbers"),
    ],
)
def test_impossible_counts_are_refused(n: object, c: object, k: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pass_at_k(n, c, k)


def all_resample_means(values_SP: np.ndarray) -> np.ndarray:
    """Means of all equally likely resamples: of problems, and of seeds for what sets them apart."""
    seeds, problems = values_SP.shape
    between = analysis_of_variance(values_SP) if seeds > 1 else 0.0
    effects_S = values_SP.mean(1) - values_SP.mean()
    scale = np.sqrt(between / np.mean(effects_S**2)) if between else 0.0
    return np.array(
        [
            np.mean([values_SP[s, p] for s in range(seeds) for p in drawn_P])
            + scale * np.mean([effects_S[s] for s in drawn_S])
            for drawn_S in itertools.product(range(seeds), repeat=seeds)
            for drawn_P in itertools.product(range(problems), repeat=problems)
        ]
    )


def analysis_of_variance(values_SP: np.ndarray) -> float:
    """The variance between seeds, from the mean squares of a two-way table without replication."""
    seeds, problems = values_SP.shape
    mean, rows, columns = values_SP.mean(), values_SP.mean(1), values_SP.mean(0)
    of_seeds = problems * sum((row - mean) ** 2 for row in rows) / (seeds - 1)
    if problems == 1:
        return of_seeds
    residual = [
        values_SP[s, p] - rows[s] - columns[p] + mean for s in range(seeds) for p in range(problems)
    ]
    of_noise = sum(r**2 for r in residual) / ((seeds - 1) * (problems - 1))
    return max(0.0, (of_seeds - of_noise) / problems)


@pytest.mark.parametrize("shape", [(1, 4), (2, 3), (3, 1), (3, 3)])
@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_interval_ends_are_quantiles_of_all_resamples(shape: tuple[int, int], apart: float) -> None:
    values = np.random.default_rng(3).random(shape) + apart * np.arange(shape[0])[:, None]
    exact = all_resample_means(values)
    for level in (0.5, 0.8, 0.95):
        mean, low, high = bootstrap_interval(values, resamples=40_000, level=level)
        assert mean == pytest.approx(values.mean())
        tail = (1 - level) / 2
        for end, share in ((low, tail), (high, 1 - tail)):
            # The distribution has atoms: the share of resamples below and up to the end must
            # enclose the level, but for the noise of 40,000 draws (3 standard errors < 0.008).
            assert np.mean(exact < end - 1e-9) <= share + 0.008
            assert np.mean(exact <= end + 1e-9) >= share - 0.008


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    trials, truth = 400, 0.3
    covered = 0
    for trial in range(trials):
        values = rng.random(150) < truth
        _, low, high = bootstrap_interval(values, resamples=400, level=0.9, seed=trial)
        covered += low <= truth <= high
    # 0.9 plus or minus 3 standard errors of 400 trials, and a little for discreteness.
    assert 0.85 <= covered / trials <= 0.95


def test_interval_covers_the_truth_when_problems_are_shared_by_the_seeds() -> None:
    rng = np.random.default_rng(1)
    trials, covered = 300, 0
    for trial in range(trials):
        # Problems differ far more than seeds: to treat the 5 x 60 scores as independent, or to
        # draw problems anew for each seed, would give intervals about half as wide.
        values = (
            rng.normal(size=60) + 0.1 * rng.normal(size=(5, 1)) + 0.1 * rng.normal(size=(5, 60))
        )
        _, low, high = bootstrap_interval(values, resamples=400, level=0.9, seed=trial)
        covered += low <= 0 <= high
    assert 0.84 <= covered / trials <= 0.96


def test_seeds_that_differ_widen_the_interval() -> None:
    same = np.tile(np.linspace(0, 1, 50), (3, 1))
    _, low, high = bootstrap_interval(same)
    _, wide_low, wide_high = bootstrap_interval(same + np.array([[-0.5], [0], [0.5]]))
    assert wide_low < low < high < wide_high


def test_one_seed_is_the_plain_bootstrap() -> None:
    values = np.random.default_rng(5).random(30)
    assert bootstrap_interval(values) == bootstrap_interval(values[None])


def test_intervals_are_reproducible_and_depend_on_the_seed() -> None:
    values = np.random.default_rng(5).random((3, 30))
    assert bootstrap_interval(values) == bootstrap_interval(values.tolist())
    assert bootstrap_interval(values) != bootstrap_interval(values, seed=1)


def test_equal_scores_give_a_point() -> None:
    assert bootstrap_interval(np.ones((3, 10))) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        ([], {}, r"shape \(0,\)"),
        (3.0, {}, r"shape \(\)"),
        (np.zeros((2, 2, 2)), {}, r"shape \(2, 2, 2\)"),
        ([[1, 2], [3, float("nan")]], {}, "nan for seed 1, problem 1"),
        ([1, 2], {"resamples": 0}, "resamples is 0"),
        ([1, 2], {"level": 1}, "level is 1"),
    ],
)
def test_unusable_scores_are_refused(values: object, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **arguments)
