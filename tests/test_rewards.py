"""Rewards of tuples, against enumeration of what an unknown or a choice could have been."""

from __future__ import annotations

import asyncio
import itertools
import math
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cppo_trl.rewards import call_reward_function, outcome_rewards, planner_rewards

NAN = math.nan


@st.composite
def verdicts(draw: st.DrawFn, values: tuple[float, ...], most: int = 3) -> torch.Tensor:
    shape = [draw(st.integers(1, most)) for _ in range(4)]
    flat = st.lists(st.sampled_from(values), min_size=math.prod(shape), max_size=math.prod(shape))
    return torch.tensor(draw(flat)).reshape(shape)


def any_of_one_attempt_each(strategies: list[list[float]]) -> float:
    """The mean of the pass@K indicator over all choices of one attempt for each strategy."""
    choices = list(itertools.product(*strategies))
    return sum(any(verdict >= 1 for verdict in choice) for choice in choices) / len(choices)


@given(verdicts((0.0, 1.0)))
@settings(deadline=None)
def test_outcome_is_the_mean_over_choices_of_one_attempt_each(passed: torch.Tensor) -> None:
    expected = [[any_of_one_attempt_each(tuple_) for tuple_ in row] for row in passed.tolist()]
    torch.testing.assert_close(outcome_rewards(passed), torch.tensor(expected))


@given(verdicts((0.0, 1.0)))
@settings(deadline=None)
def test_one_attempt_a_strategy_is_the_indicator_exactly(passed: torch.Tensor) -> None:
    passed_PMK = passed[..., 0]
    assert torch.equal(outcome_rewards(passed_PMK), passed_PMK.amax(-1))
    assert torch.equal(outcome_rewards(passed_PMK), outcome_rewards(passed_PMK.unsqueeze(-1)))


@given(verdicts((0.0, 1.0, NAN)))
@settings(deadline=None)
def test_unknown_attempts_are_left_out_of_their_strategy(passed: torch.Tensor) -> None:
    outcome = outcome_rewards(passed).tolist()
    for row, rewards in zip(passed.tolist(), outcome, strict=True):
        for tuple_, reward in zip(row, rewards, strict=True):
            known = [[v for v in attempts if not math.isnan(v)] for attempts in tuple_]
            # What the whole tuple gives if the strategies of which nothing is known all fail, pass.
            low, high = (
                any_of_one_attempt_each([attempts or [fill] for attempts in known])
                for fill in (0.0, 1.0)
            )
            if low == high:
                assert reward == pytest.approx(low)
            else:
                assert math.isnan(reward)


def test_partial_scores_do_not_pass() -> None:
    assert outcome_rewards(torch.tensor([[[0.99, 0.5]]])).item() == 0


def test_other_ranks_are_refused_with_their_shape() -> None:
    with pytest.raises(ValueError, match=r"passed_PMKL has shape \(2, 3\)"):
        outcome_rewards(torch.zeros(2, 3))


def test_whole_numbers_are_verdicts_too() -> None:
    assert outcome_rewards(torch.tensor([[[0, 1], [0, 0]]])).tolist() == [[1, 0]]


def test_product_is_zero_as_soon_as_one_side_is_known_to_be() -> None:
    valid = torch.tensor([[1, 1, 0, 0, 0, NAN, NAN, NAN, 1]])
    outcome = torch.tensor([[1, 0, 1, 0, NAN, 0, 1, NAN, NAN]])
    expected = torch.tensor([[1, 0, 0, 0, 0, 0, NAN, NAN, NAN]])
    torch.testing.assert_close(planner_rewards(valid, outcome), expected, equal_nan=True)


@given(st.lists(st.tuples(st.sampled_from((0.0, 1.0, NAN)), st.floats(0, 1)), min_size=1))
@settings(deadline=None)
def test_each_kind_is_its_formula(pairs: list[tuple[float, float]]) -> None:
    valid, outcome = torch.tensor(pairs, dtype=torch.float64).T.unsqueeze(1)
    for kind, formula in {
        "judge": lambda v, o: v,
        "outcome": lambda v, o: o,
        "sum": lambda v, o: v + o,
        "product": lambda v, o: 0.0 if o == 0 else v * o,
    }.items():
        expected = torch.tensor([[formula(v, o) for v, o in pairs]], dtype=torch.float64)
        rewards = planner_rewards(valid, outcome, kind)
        torch.testing.assert_close(rewards, expected, equal_nan=True)


def test_only_the_judge_kind_does_without_an_outcome() -> None:
    valid = torch.tensor([[1.0, 0.0]])
    assert planner_rewards(valid, None, "judge").tolist() == [[1, 0]]
    for kind in ("product", "outcome", "sum"):
        with pytest.raises(ValueError, match="outcome_PM has shape None"):
            planner_rewards(valid, None, kind)


def test_rewards_do_not_share_memory_with_their_inputs() -> None:
    valid, outcome = torch.ones(1, 2), torch.zeros(1, 2)
    for kind in ("judge", "outcome", "product", "sum"):
        planner_rewards(valid, outcome, kind).fill_(9)
    assert valid.tolist() == [[1, 1]]
    assert outcome.tolist() == [[0, 0]]


def test_unknown_kinds_and_shapes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="kind is 'max'; it must be one of"):
        planner_rewards(torch.zeros(1, 2), torch.zeros(1, 2), "max")
    with pytest.raises(ValueError, match=r"outcome_PM has shape \(1, 3\)"):
        planner_rewards(torch.zeros(1, 2), torch.zeros(1, 3))


def test_reward_functions_that_could_not_tell_give_nan() -> None:
    def score(prompts: list, completions: list, weight: list) -> list[float | None]:
        return [None if value < 0 else value for value in weight]

    rewards = call_reward_function(score, ["p"] * 3, ["c"] * 3, weight=[1, -1, 0.5])
    assert rewards == pytest.approx([1.0, NAN, 0.5], nan_ok=True)


def test_async_reward_functions_run_on_the_loop_given() -> None:
    async def score(prompts: list, completions: list) -> list[float]:
        await asyncio.sleep(0)
        return [float(threading.current_thread() is thread)] * len(completions)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        assert call_reward_function(score, ["p"], ["c"], loop=loop) == [1.0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_an_async_reward_function_without_a_loop_is_refused() -> None:
    async def score(prompts: list, completions: list) -> list[float]:
        return [1.0]

    with pytest.raises(ValueError, match="is async"):
        call_reward_function(score, ["p"], ["c"])


def test_a_reward_function_that_skips_completions_is_refused() -> None:
    with pytest.raises(ValueError, match="returned 1 rewards for 2 completions"):
        call_reward_function(lambda prompts, completions: [1.0], ["p"] * 2, ["c"] * 2)
