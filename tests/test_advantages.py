"""Advantages against a plain reference in Python's statistics, and their invariances."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cppo_trl.advantages import planner_advantages, solver_advantages, solver_group_size
from test_pkpo_rewards import brute_force

NAN = math.nan
STDS = ("population", "trl")


def reference(group: list[float], std: str) -> list[float]:
    known = [value for value in group if not math.isnan(value)]
    if len(known) < 2 or len(set(known)) == 1:
        return [0.0] * len(group)
    mean = statistics.fmean(known)
    if std == "population":
        divisor = statistics.pstdev(known)
    else:
        divisor = statistics.stdev(known) + 1e-4
    return [0.0 if math.isnan(value) else (value - mean) / divisor for value in group]


@st.composite
def tensors(draw: st.DrawFn, dims: int, values: st.SearchStrategy[float]) -> torch.Tensor:
    shape = [draw(st.integers(1, 4)) for _ in range(dims)]
    size = math.prod(shape)
    flat = draw(st.lists(values, min_size=size, max_size=size))
    return torch.tensor(flat, dtype=torch.float64).reshape(shape)


coarse = st.integers(-8, 8).map(lambda value: value / 4)  # far apart, or equal
with_unknown = coarse | st.just(NAN)
verdicts = st.sampled_from([0.0, 1.0, NAN])


@given(tensors(2, with_unknown), st.sampled_from(STDS))
@settings(deadline=None)
def test_planner_advantages_equal_the_reference(rewards: torch.Tensor, std: str) -> None:
    expected = torch.tensor([reference(row, std) for row in rewards.tolist()], dtype=torch.float64)
    torch.testing.assert_close(planner_advantages(rewards, std), expected)


@given(tensors(4, verdicts), st.sampled_from(STDS), st.sampled_from(["tuple", "problem"]))
@settings(deadline=None)
def test_solver_groups_equal_the_reference(passed: torch.Tensor, std: str, group: str) -> None:
    advantages = solver_advantages(passed, group, std)
    assert advantages.shape == passed.shape
    P, M, K, L = passed.shape
    for p in range(P):
        members = [(m, k, ell) for m in range(M) for k in range(K) for ell in range(L)]
        groups = [members]
        if group == "tuple":
            groups = [[place for place in members if place[0] == m] for m in range(M)]
        for places in groups:
            expected = reference([passed[(p, *place)].item() for place in places], std)
            actual = [advantages[(p, *place)].item() for place in places]
            assert actual == pytest.approx(expected)


@given(tensors(4, verdicts), st.sampled_from(STDS))
@settings(deadline=None)
def test_strategy_groups_compare_attempts_of_one_strategy(passed: torch.Tensor, std: str) -> None:
    assume(passed.shape[3] >= 2)
    advantages = solver_advantages(passed, "strategy", std).flatten(0, 2).tolist()
    for attempts, actual in zip(passed.flatten(0, 2).tolist(), advantages, strict=True):
        assert actual == pytest.approx(reference(attempts, std))


@given(tensors(4, verdicts), st.sampled_from(["tuple", "problem", "strategy"]), st.data())
@settings(deadline=None)
def test_pass_at_k_advantages_are_what_an_attempt_adds_to_the_best_of_k(
    passed: torch.Tensor, group: str, data: st.DataObject
) -> None:
    _, M, K, L = passed.shape
    size = solver_group_size(group, M, K, L)
    assume(size >= 2)
    k = data.draw(st.integers(2, min(size, 4)))
    groups = passed.reshape(-1, size)[:3]  # enough to be slow
    advantages = solver_advantages(passed, group, pass_k=k).reshape(-1, size)[:3]
    for attempts, actual in zip(groups.tolist(), advantages.tolist(), strict=True):
        known = [verdict for verdict in attempts if not math.isnan(verdict)]
        if len(known) > 10:
            continue
        rewards = brute_force(known, k, "loo-1") if len(known) >= k else [0] * len(known)
        rewards = iter(rewards)
        expected = [
            0.0 if math.isnan(verdict) else float(len(known) * next(rewards))
            for verdict in attempts
        ]
        assert actual == pytest.approx(expected)


def test_pass_at_k_of_a_whole_tuple_teaches_the_lone_solver_alone() -> None:
    passed = torch.tensor([[[0.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]])
    expected = torch.tensor([[[0.0, 4.0, 0.0, 0.0], [0.0] * 4, [0.0] * 4]])
    torch.testing.assert_close(solver_advantages(passed, pass_k=4), expected)


@given(tensors(3, verdicts), st.sampled_from(STDS), st.sampled_from(["tuple", "problem"]))
@settings(deadline=None)
def test_one_attempt_a_strategy_needs_no_fourth_dimension(
    passed: torch.Tensor, std: str, group: str
) -> None:
    with_attempts = solver_advantages(passed.unsqueeze(-1), group, std)
    assert torch.equal(solver_advantages(passed, group, std), with_attempts.squeeze(-1))


@given(tensors(2, with_unknown), st.floats(-1e3, 1e3), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_shift_and_scale_of_the_rewards_do_not_matter(
    rewards: torch.Tensor, shift: float, scale: float
) -> None:
    moved = planner_advantages(rewards * scale + shift)
    torch.testing.assert_close(moved, planner_advantages(rewards), rtol=1e-5, atol=1e-5)


@given(tensors(2, with_unknown), st.sampled_from(STDS))
@settings(deadline=None)
def test_advantages_are_finite_and_sum_to_zero(rewards: torch.Tensor, std: str) -> None:
    advantages = planner_advantages(rewards, std)
    assert torch.isfinite(advantages).all()
    torch.testing.assert_close(advantages.sum(-1), torch.zeros(len(rewards), dtype=torch.float64))


@given(tensors(2, with_unknown))
@settings(deadline=None)
def test_population_advantages_of_known_rewards_have_unit_variance(rewards: torch.Tensor) -> None:
    for row, advantages in zip(rewards, planner_advantages(rewards), strict=True):
        known = ~torch.isnan(row)
        if len(row[known].unique()) > 1:
            assert advantages[known].square().mean().item() == pytest.approx(1)


@given(tensors(2, with_unknown), st.sampled_from(STDS))
@settings(deadline=None)
def test_unknown_rewards_are_as_if_absent(rewards: torch.Tensor, std: str) -> None:
    advantages = planner_advantages(rewards, std)
    assert not advantages[torch.isnan(rewards)].any()
    for row, actual in zip(rewards, advantages, strict=True):
        known = ~torch.isnan(row)
        if known.any():
            alone = planner_advantages(row[known].unsqueeze(0), std)[0]
            torch.testing.assert_close(actual[known], alone)


@given(
    st.floats(-1e6, 1e6, width=32),
    st.integers(1, 64),
    st.sampled_from(STDS),
    st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None)
def test_equal_rewards_give_exact_zeros(
    value: float, size: int, std: str, dtype: torch.dtype
) -> None:
    rewards = torch.full((1, size), value / 3, dtype=dtype)
    assert torch.equal(planner_advantages(rewards, std), torch.zeros(1, size, dtype=dtype))


def test_rounding_noise_is_not_taken_for_variance() -> None:
    nearly = torch.tensor([[0.3, 0.1 + 0.2, 0.3, 0.3]], dtype=torch.float64)
    assert nearly.unique().numel() == 2
    assert not planner_advantages(nearly).any()


def test_one_success_in_a_large_group_still_counts() -> None:
    rewards = torch.zeros(1, 4096)
    rewards[0, 7] = 1
    assert planner_advantages(rewards)[0, 7].item() == pytest.approx(math.sqrt(4095), rel=1e-4)


def test_one_known_reward_gives_zeros() -> None:
    for std in STDS:
        assert not planner_advantages(torch.tensor([[NAN, 1.0, NAN]]), std).any()


def test_method_formula_on_a_worked_example() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    root = math.sqrt(3)
    expected = torch.tensor([[root, -1 / root, -1 / root, -1 / root]])
    torch.testing.assert_close(planner_advantages(rewards), expected)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.bfloat16, torch.float16])
def test_other_types_are_computed_in_float32(dtype: torch.dtype) -> None:
    rewards = torch.tensor([[1, 0, 0, 1]])
    expected = planner_advantages(rewards.float())
    actual = planner_advantages(rewards.to(dtype))
    assert actual.dtype == torch.float32
    assert torch.equal(actual, expected)


def test_inputs_are_left_alone() -> None:
    rewards = torch.tensor([[1.0, NAN, 0.0]])
    before = rewards.clone()
    planner_advantages(rewards)
    solver_advantages(rewards.unsqueeze(0))
    torch.testing.assert_close(rewards, before, equal_nan=True)


@pytest.mark.parametrize(
    ("shape", "arguments", "message"),
    [
        ((2, 2), {}, r"shape \(2, 2\)"),
        ((2, 2, 2), {"group": "branch"}, "group is 'branch'; it must be one of"),
        ((2, 2, 2), {"group": "strategy"}, "L >= 2"),
        ((2, 2, 2, 1), {"group": "strategy"}, "L >= 2"),
        ((2, 2, 2), {"std": "sample"}, "std is 'sample'; it must be one of"),
        ((2, 2, 3), {"pass_k": 4}, "k is 4; .* from 2 to 3"),
        ((2, 2, 3), {"pass_k": 1}, "k is 1; .* from 2 to 3"),
    ],
)
def test_what_cannot_be_meant_is_refused(shape: tuple, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver_advantages(torch.zeros(shape), **arguments)
    with pytest.raises(ValueError, match=r"rewards_PM has shape \(3,\)"):
        planner_advantages(torch.zeros(3))
