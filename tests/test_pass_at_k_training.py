"""Pass@k Training's advantages against all groups of k samples."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from fractions import Fraction
from math import comb, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.advantages import pass_at_k_training_advantages

verdicts = st.sampled_from([0.0, 1.0])


def brute_force(rewards: list[float], k: int) -> list[float]:
    """Each group standardised against all others, its members credited with the mean."""
    groups = list(itertools.combinations(range(len(rewards)), k))
    passed = [float(any(rewards[i] >= 1 for i in group)) for group in groups]
    mean, std = statistics.fmean(passed), statistics.pstdev(passed)
    if std == 0:
        return [0.0] * len(rewards)
    return [
        statistics.fmean(
            (reward - mean) / std
            for reward, group in zip(passed, groups, strict=True)
            if i in group
        )
        for i in range(len(rewards))
    ]


@st.composite
def cases(draw: st.DrawFn, values: st.SearchStrategy[float] = verdicts) -> tuple[list, int]:
    n = draw(st.integers(1, 8))
    return draw(st.lists(values, min_size=n, max_size=n)), draw(st.integers(1, n))


def advantages_of(rewards: list[float], k: int) -> list[float]:
    return pass_at_k_training_advantages(torch.tensor(rewards, dtype=torch.float64), k).tolist()


@given(cases())
def test_advantages_are_those_of_all_groups(case: tuple[list, int]) -> None:
    rewards, k = case
    assert advantages_of(rewards, k) == pytest.approx(brute_force(rewards, k), abs=1e-12)


def test_largest_error_against_all_groups_on_ten_random_cases() -> None:
    assert max(errors_on_random_cases(10)) < 1e-13


def errors_on_random_cases(count: int) -> list[float]:
    """The largest absolute error of each of `count` random cases in which a group fails."""
    draw, errors = random.Random(6), []
    while len(errors) < count:
        n = draw.randint(4, 12)
        k = draw.randint(1, n)
        rewards = [float(draw.random() < 0.4) for _ in range(n)]
        expected = brute_force(rewards, k)
        if any(expected):
            pairs = zip(advantages_of(rewards, k), expected, strict=True)
            errors.append(max(abs(actual - value) for actual, value in pairs))
    return errors


@given(st.integers(1, 12), st.data())
def test_advantages_have_the_closed_forms(n: int, data: st.DataObject) -> None:
    k, c = data.draw(st.integers(1, n)), data.draw(st.integers(0, n))
    mean = 1 - Fraction(comb(n - c, k), comb(n, k))
    advantages = advantages_of([1.0] * c + [0.0] * (n - c), k)
    if mean in (0, 1):
        assert not any(advantages)
        return
    sigma = math.sqrt(mean * (1 - mean))
    others_fail = Fraction(comb(n - c - 1, k - 1), comb(n - 1, k - 1))
    expected = [float(1 - mean) / sigma] * c + [float(1 - mean - others_fail) / sigma] * (n - c)
    assert advantages == pytest.approx(expected, rel=1e-12)


@given(cases(verdicts | st.just(nan)))
def test_advantages_of_a_problem_sum_to_zero(case: tuple[list, int]) -> None:
    assert sum(advantages_of(*case)) == pytest.approx(0, abs=1e-12)


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_the_samples_does_not_matter(case: tuple[list, int], draw: random.Random) -> None:
    rewards, k = case
    order = draw.sample(range(len(rewards)), len(rewards))
    expected = advantages_of(rewards, k)
    assert advantages_of([rewards[i] for i in order], k) == [expected[i] for i in order]


@given(cases(verdicts | st.just(nan)))
def test_unknown_rewards_are_as_if_absent(case: tuple[list, int]) -> None:
    rewards, k = case
    advantages = advantages_of(rewards, k)
    known = [i for i, reward in enumerate(rewards) if not math.isnan(reward)]
    assert all(advantages[i] == 0 for i in range(len(rewards)) if i not in known)
    if len(known) < k:
        assert not any(advantages)
    else:
        assert [advantages[i] for i in known] == advantages_of([rewards[i] for i in known], k)


@given(st.data())
def test_problems_do_not_mix(data: st.DataObject) -> None:
    P, N = data.draw(st.integers(0, 4)), data.draw(st.integers(2, 6))
    row = st.lists(verdicts | st.just(nan), min_size=N, max_size=N)
    rewards = torch.tensor([data.draw(row) for _ in range(P)], dtype=torch.float64).reshape(P, N)
    together = pass_at_k_training_advantages(rewards, 2)
    assert together.shape == (P, N)
    for one, alone in zip(together, rewards, strict=True):
        assert torch.equal(one, pass_at_k_training_advantages(alone, 2))


@pytest.mark.parametrize("k", [1, 4, 100, 512])
@pytest.mark.parametrize("c", [1, 10, 200, 512])
def test_1024_samples_are_exact(c: int, k: int) -> None:
    n = 1024
    passed, *_, failed = advantages_of([1.0] * c + [0.0] * (n - c), k)
    all_fail = Fraction(comb(n - c, k), comb(n, k))
    if all_fail == 0:
        assert passed == failed == 0
        return
    # (1 - Rbar) / sigma = sqrt((1 - Rbar) / Rbar), scaled to a whole number before the root.
    ratio = all_fail / (1 - all_fail)
    expected = math.isqrt(ratio.numerator * 10**600 // ratio.denominator) / 10**300
    others_fail = Fraction(comb(n - c - 1, k - 1), comb(n - 1, k - 1))
    assert passed == pytest.approx(float(expected), rel=1e-10)
    assert failed == pytest.approx(float((all_fail - others_fail) / all_fail) * passed, rel=1e-10)


def test_method_formula_on_a_worked_example() -> None:
    # One of four passes: half of the six pairs hold it, so Rbar = sigma = 1/2.
    assert advantages_of([1.0, 0.0, 0.0, 0.0], 2) == pytest.approx([1, -1 / 3, -1 / 3, -1 / 3])


@pytest.mark.parametrize("rewards", [[0.0] * 6, [1.0] * 6, [1.0] * 5 + [0.0]])
def test_groups_that_all_fare_alike_teach_nothing(rewards: list[float]) -> None:
    assert not any(advantages_of(rewards, 2))


def test_graded_rewards_pass_at_one() -> None:
    assert advantages_of([0.99, 2.0, 0.5, -1.0], 2) == advantages_of([0.0, 1.0, 0.0, 0.0], 2)


@pytest.mark.parametrize(
    "dtype, result",
    [
        (torch.bool, torch.float32),
        (torch.int64, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.float64, torch.float64),
    ],
)
def test_results_have_the_float_type_given(dtype: torch.dtype, result: torch.dtype) -> None:
    assert pass_at_k_training_advantages(torch.tensor([1, 0]).to(dtype), 1).dtype == result


@pytest.mark.parametrize(
    "shape, k, message",
    [
        ((2, 4), 5, "k is 5; a group with 4 samples needs a whole number from 1 to 4"),
        ((4,), 0, "k is 0"),
        ((4,), True, "k is True"),
        ((), 1, r"rewards has shape \(\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(shape: tuple, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pass_at_k_training_advantages(torch.zeros(shape), k)
