"""PKPO's rewards against all subsets in exact fractions, and unbiased by enumeration."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction
from math import comb, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.advantages import pkpo_rewards

BASELINES = ("none", "loo", "loo-1")
# (n, k) that a baseline allows
LEAST_K = {"none": 1, "loo": 1, "loo-1": 2}
SPARE = {"none": 0, "loo": 1, "loo-1": 0}

graded = st.integers(-6, 6).map(lambda value: value / 4) | st.sampled_from([0.0, 1.0, 0.3, -1e3])


def brute_force(rewards: list[float], k: int, baseline: str) -> list[Fraction]:
    """The definition: the mean over all k-subsets of their maximum, credited to their members."""
    exact = [Fraction(value) for value in rewards]
    n = len(exact)

    def rho(values: list[Fraction], size: int) -> Fraction:
        subsets = list(itertools.combinations(values, size))
        return sum(map(max, subsets)) / Fraction(len(subsets))

    results = []
    for i in range(n):
        holding = [subset for subset in itertools.combinations(range(n), k) if i in subset]
        s = sum(max(exact[j] for j in subset) for subset in holding) / Fraction(comb(n, k))
        others = exact[:i] + exact[i + 1 :]
        if baseline == "loo":
            s -= Fraction(k, n - 1) * rho(others, k)
        elif baseline == "loo-1":
            s -= Fraction(k, n) * rho(others, k - 1)
        results.append(s)
    return results


def by_formula(rewards: list[Fraction], k: int, baseline: str) -> list[Fraction]:
    """METHOD's formulas in fractions, for k >= 2 and an n that is too large for all subsets."""
    n = len(rewards)
    order = sorted(range(n), key=rewards.__getitem__)
    g = [rewards[i] for i in order]

    def sums(size: int, shift: int) -> list[Fraction]:
        """Over the first j places, the rewards times the subsets of `size` places before them."""
        terms = (comb(j - shift, size) * g[j] if j >= shift else 0 for j in range(n))
        return list(itertools.accumulate(terms, initial=Fraction(0)))

    def rho_without_each(size: int) -> list[Fraction]:
        """The maximum is the last member; the place of i is empty for those after it."""
        before, after = sums(size - 1, 0), sums(size - 1, 1)
        return [(before[i] + after[n] - after[i + 1]) / comb(n - 1, size) for i in range(n)]

    later = sums(k - 2, 1)
    s = [(comb(i, k - 1) * g[i] + later[n] - later[i + 1]) / comb(n, k) for i in range(n)]
    if baseline == "loo":
        s = [a - Fraction(k, n - 1) * b for a, b in zip(s, rho_without_each(k), strict=True)]
    elif baseline == "loo-1":
        s = [a - Fraction(k, n) * b for a, b in zip(s, rho_without_each(k - 1), strict=True)]
    return [value for _, value in sorted(zip(order, s, strict=True))]


@st.composite
def cases(draw: st.DrawFn, values: st.SearchStrategy[float] = graded) -> tuple[list, int, str]:
    baseline = draw(st.sampled_from(BASELINES))
    k = draw(st.integers(LEAST_K[baseline], 5))
    n = draw(st.integers(k + SPARE[baseline], 8))
    return draw(st.lists(values, min_size=n, max_size=n)), k, baseline


def values_of(rewards: list[float], k: int, baseline: str) -> list[float]:
    return pkpo_rewards(torch.tensor(rewards, dtype=torch.float64), k, baseline).tolist()


@given(cases())
def test_rewards_are_those_of_all_subsets(case: tuple[list, int, str]) -> None:
    rewards, k, baseline = case
    expected = [float(value) for value in brute_force(rewards, k, baseline)]
    scale = max(map(abs, rewards))
    assert values_of(rewards, k, baseline) == pytest.approx(expected, rel=1e-13, abs=1e-14 * scale)


def test_largest_error_against_all_subsets_on_ten_random_cases() -> None:
    assert max(errors_on_random_cases(10)) < 1e-14


def errors_on_random_cases(count: int) -> list[float]:
    """The largest absolute error of each of `count` random cases, graded and of both signs."""
    draw, errors = random.Random(6), []
    for _ in range(count):
        baseline = draw.choice(BASELINES)
        n = draw.randint(4, 12)
        k = draw.randint(LEAST_K[baseline], n - SPARE[baseline])
        rewards = [round(draw.uniform(-1, 1), 1) for _ in range(n)]  # some are equal
        expected = brute_force(rewards, k, baseline)
        actual = values_of(rewards, k, baseline)
        pairs = zip(actual, expected, strict=True)
        errors.append(float(max(abs(Fraction(value) - exact) for value, exact in pairs)))
    return errors


@given(st.integers(1, 9), st.data())
def test_binary_rewards_have_the_closed_forms(n: int, data: st.DataObject) -> None:
    k, c = data.draw(st.integers(1, n)), data.draw(st.integers(0, n))
    rewards = [1.0] * c + [0.0] * (n - c)
    if c < n:
        rho = 1 - Fraction(comb(n - 1 - c, k - 1), comb(n - 1, k - 1))
        expected = [k / n] * c + [float(Fraction(k, n) * rho)] * (n - c)
        assert values_of(rewards, k, "none") == pytest.approx(expected, abs=1e-15)
    if k >= 2:
        passed = Fraction(k, n) * Fraction(comb(n - c, k - 1), comb(n - 1, k - 1))
        expected = [float(passed)] * c + [0.0] * (n - c)
        assert values_of(rewards, k, "loo-1") == pytest.approx(expected, rel=1e-14, abs=0)


@pytest.mark.parametrize(("n", "k"), [(3, 2), (4, 2), (4, 3), (5, 2)])
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("values", [(0.0, 1.0, 1.0), (-1.5, 0.25, 2.0)])
def test_expected_sum_is_the_gradient_of_the_best_of_k(
    values: tuple[float, ...], baseline: str, n: int, k: int
) -> None:
    """Over all n-tuples of a categorical policy with three outcomes, no sampling involved."""
    rewards = torch.tensor(values, dtype=torch.float64)
    logits = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
    logps = logits.log_softmax(0)

    best_of_k = torch.tensor(list(itertools.product(range(3), repeat=k)))
    chances = logps[best_of_k].sum(1).exp()
    objective = (chances * rewards[best_of_k].amax(1)).sum()
    (expected,) = torch.autograd.grad(objective, logits, retain_graph=True)

    draws = torch.tensor(list(itertools.product(range(3), repeat=n)))
    surrogate = (pkpo_rewards(rewards[draws], k, baseline) * logps[draws]).sum(1)
    mean = (logps[draws].sum(1).exp().detach() * surrogate).sum()
    (actual,) = torch.autograd.grad(mean, logits)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_the_samples_does_not_matter(
    case: tuple[list, int, str], draw: random.Random
) -> None:
    rewards, k, baseline = case
    order = draw.sample(range(len(rewards)), len(rewards))
    shuffled = values_of([rewards[i] for i in order], k, baseline)
    expected = values_of(rewards, k, baseline)
    assert shuffled == [expected[i] for i in order]


@given(cases())
def test_equal_rewards_get_exactly_equal_values(case: tuple[list, int, str]) -> None:
    rewards, k, baseline = case
    values = values_of(rewards, k, baseline)
    assert len(set(zip(rewards, values, strict=True))) == len(set(rewards))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -7.3])
def test_equal_rewards_get_exactly_nothing_from_loo_1(value: float) -> None:
    for n, k in [(2, 2), (8, 3), (8, 8), (1024, 16)]:
        assert not pkpo_rewards(torch.full((n,), value), k, "loo-1").any()


@given(cases(graded | st.just(nan)))
def test_unknown_rewards_are_as_if_absent(case: tuple[list, int, str]) -> None:
    rewards, k, baseline = case
    values = values_of(rewards, k, baseline)
    known = [i for i, reward in enumerate(rewards) if not math.isnan(reward)]
    assert all(values[i] == 0 for i in range(len(rewards)) if i not in known)
    if len(known) < k + SPARE[baseline]:
        assert not any(values)
    else:
        alone = values_of([rewards[i] for i in known], k, baseline)
        assert [values[i] for i in known] == alone


@given(st.data())
def test_problems_do_not_mix(data: st.DataObject) -> None:
    P, N = data.draw(st.integers(0, 4)), data.draw(st.integers(3, 6))
    row = st.lists(graded | st.just(nan), min_size=N, max_size=N)
    rewards = torch.tensor([data.draw(row) for _ in range(P)], dtype=torch.float64).reshape(P, N)
    for baseline in BASELINES:
        together = pkpo_rewards(rewards, 2, baseline)
        assert together.shape == (P, N)
        for one, alone in zip(together, rewards, strict=True):
            assert torch.equal(one, pkpo_rewards(alone, 2, baseline))


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("k", [2, 4, 100, 512, 1023])
@pytest.mark.parametrize("kind", ["binary", "graded"])
def test_1024_samples_are_exact(kind: str, k: int, baseline: str) -> None:
    draw = random.Random(k)
    grades = [0, 1] if kind == "binary" else [Fraction(step, 8) for step in range(-8, 9)]
    rewards = [Fraction(draw.choice(grades)) for _ in range(1024)]
    expected = [float(value) for value in by_formula(rewards, k, baseline)]
    actual = values_of([float(value) for value in rewards], k, baseline)
    rel = 1e-11 if baseline == "loo-1" else 0  # no terms cancel: even tiny values are exact
    assert actual == pytest.approx(expected, rel=rel, abs=1e-13 if not rel else 1e-290)


def test_reference_for_many_samples_is_the_definition() -> None:
    rewards = [0.5, -1.0, 0.5, 0.0, 2.0, 2.0]
    for baseline in BASELINES:
        exact = [Fraction(value) for value in rewards]
        assert by_formula(exact, 3, baseline) == brute_force(rewards, 3, baseline)


def test_best_of_one_shares_the_rewards_out() -> None:
    assert values_of([1.0, 0.0, 3.0, -2.0], 1, "none") == pytest.approx([0.25, 0.0, 0.75, -0.5])


@pytest.mark.parametrize(
    "dtype, result",
    [
        (torch.bool, torch.float32),
        (torch.int64, torch.float32),
        (torch.bfloat16, torch.bfloat16),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_results_have_the_float_type_given(dtype: torch.dtype, result: torch.dtype) -> None:
    values = pkpo_rewards(torch.tensor([1, 0, 0, 1]).to(dtype), 2)
    assert values.dtype == result
    expected = torch.tensor([1 / 2, 1 / 3, 1 / 3, 1 / 2]).to(result)
    torch.testing.assert_close(values, expected)


@pytest.mark.parametrize(
    "shape, k, baseline, message",
    [
        ((4,), 5, "none", r"k is 5; baseline='none' with 4 samples needs .* from 1 to 4"),
        ((3, 4), 4, "loo", r"k is 4; baseline='loo' with 4 samples needs .* from 1 to 3"),
        ((4,), 1, "loo-1", r"k is 1; baseline='loo-1' .* from 2 to 4"),
        ((1,), 2, "loo-1", "k is 2; baseline='loo-1' with 1 samples needs 2 or more"),
        ((4,), 0, "none", "k is 0"),
        ((4,), 2.0, "none", "k is 2.0"),
        ((4,), 2, "mean", "baseline is 'mean'; it must be one of"),
        ((1, 2, 4), 2, "none", r"rewards has shape \(1, 2, 4\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    shape: tuple, k: object, baseline: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pkpo_rewards(torch.zeros(shape), k, baseline)


def test_rewards_given_are_left_alone() -> None:
    rewards = torch.tensor([1.0, nan, 0.0])
    before = rewards.clone()
    pkpo_rewards(rewards, 2)
    torch.testing.assert_close(rewards, before, equal_nan=True, rtol=0, atol=0)
