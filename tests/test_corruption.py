"""A corrupted tuple is invalid for the reason that its operator has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.judges import RuleJudge
from cppo_trl.judges.corruption import OPERATORS, corrupt
from cppo_trl.plans import format_plan, normalise_strategy, parse_plan
from cppo_trl.problems import Problem, TestCase

PROBLEM = Problem("sum", "Add two numbers on one line.", (TestCase("1 2", "3"),))
VALID = (
    "Split the line; convert both parts; add them.",
    "Count upward from the first number, as many steps as the second says.",
    "Add the digits from the right with a carry.",
    "Sum the numbers with the built-in sum over a generator.",
)
OTHERS = (
    "Sort the words and compare neighbours.",
    "Walk the tree in post-order.",
    "Keep a heap of the k largest values.",
    "Binary search on the answer.",
    "Reverse the list in place.",
)


def by_operator(problem=PROBLEM, strategies=VALID, others=OTHERS, seed=0):
    return {item.operator: item.strategies for item in corrupt(problem, strategies, others, seed)}


def changed(strategies):
    return [text for text in strategies if text not in VALID]


def test_every_operator_applies_to_an_ordinary_tuple():
    assert list(by_operator()) == list(OPERATORS)


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "dropped"])
@pytest.mark.parametrize("seed", range(5))
def test_the_number_of_strategies_stays_but_where_one_is_dropped(operator, seed):
    made = by_operator(seed=seed)
    assert len(made[operator]) == len(VALID)
    assert set(made[operator]) != set(VALID)
    assert set(made["dropped"]) < set(VALID)
    assert len(made["dropped"]) == len(VALID) - 1


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        ("duplicated", "repeats strategy"),
        ("leaked_code", "contains code"),
        ("leaked_answer", "tells the answer"),
    ],
)
@pytest.mark.parametrize("seed", range(10))
def test_what_rules_can_see_the_rule_judge_rejects(operator, reason, seed):
    strategies = by_operator(seed=seed)[operator]
    assert reason in RuleJudge().judge(PROBLEM, strategies).reason


def test_a_rewording_says_the_same_again():
    strategies = by_operator()["reworded"]
    (again,) = changed(strategies)
    core = [text.rstrip(".").lower() for text in strategies if text in VALID]
    assert any(text in again.lower() for text in core)


def test_a_swapped_tuple_is_another_problems_and_a_mixed_one_has_one_of_its_strategies():
    made = by_operator()
    assert set(made["swapped"]) <= set(OTHERS)
    assert [text in OTHERS for text in made["mixed"]].count(True) == 1


def test_a_workflow_is_one_strategy_in_steps():
    steps = by_operator()["workflow"]
    assert [text.split(":")[0] for text in steps] == [f"Step {n}" for n in range(1, 5)]


def test_the_same_seed_gives_the_same_tuples():
    assert by_operator(seed=3) == by_operator(seed=3) != by_operator(seed=4)


def test_without_other_problems_nothing_is_swapped_in():
    assert not {"swapped", "mixed"} & by_operator(others=()).keys()
    assert not {"swapped", "mixed"} & by_operator(others=VALID).keys()


@pytest.mark.parametrize("output", ["", "x" * 41])
def test_an_answer_is_leaked_only_where_it_is_short(output):
    problem = Problem("long", "Print.", (TestCase("1", output),))
    assert "leaked_answer" not in by_operator(problem=problem)


def test_code_of_assertions_is_no_answer():
    problem = Problem("f", "Add.", (TestCase("", "assert f(1) == 2"),), "assertions", "f")
    assert "leaked_answer" not in by_operator(problem=problem)


def test_one_strategy_cannot_be_corrupted():
    with pytest.raises(ValueError, match="strategies has 1 entries"):
        corrupt(PROBLEM, VALID[:1], OTHERS)


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip()),
        min_size=2,
        max_size=6,
        unique_by=normalise_strategy,
    ),
    st.integers(0, 3),
)
def test_any_tuple_can_be_corrupted_and_written_as_a_plan(strategies, seed):
    for item in corrupt(PROBLEM, strategies, OTHERS, seed):
        assert len(item.strategies) == len(strategies) - (item.operator == "dropped")
        if len(item.strategies) > 1:
            plan = format_plan(item.strategies)
            assert parse_plan(plan, len(item.strategies)) is not None or "</think>" in plan
