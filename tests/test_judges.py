"""The rule judge: which plans it rejects, which it must not, and its call as a TRL reward."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.judges import Judgement, RuleJudge
from cppo_trl.plans import format_plan, normalise_strategy, parse_plan
from cppo_trl.problems import Problem, TestCase

PROBLEM = Problem(
    "stairs",
    "Count the ways to climb n stairs, one or two at a time. Example: 3 gives 3 ways in all.",
    (TestCase("3\n", "3\n"), TestCase("yes\n", "YES\n"), TestCase("4", "1 3 5 7 9 11\n")),
)
GOOD = (
    "Let f(n) = f(n-1) + f(n-2) with f(0) = f(1) = 1; iterate upward and keep two values.",
    "Sum the binomials C(n-j, j) over the number j of double steps.",
    "Raise the matrix [[1, 1], [1, 0]] to the power n by squaring and return its top entry.",
    "Memoise a recursion on the stairs that are left; the answer is 1 when none are.",
)


def reason(*strategies: str, problem: Problem = PROBLEM, judge: RuleJudge | None = None) -> str:
    judgement = (judge or RuleJudge()).judge(problem, strategies)
    assert judgement.valid == (judgement.reason == "")
    return judgement.reason


def test_a_sound_plan_is_valid() -> None:
    assert RuleJudge().judge(PROBLEM, GOOD) == Judgement(True, "")


@pytest.mark.parametrize("count", [0, 1, 27])
def test_too_few_or_too_many_strategies_are_rejected(count: int) -> None:
    assert "from 2 to 26" in reason(*(f"idea {number}" for number in range(count)))


@pytest.mark.parametrize("blank", ["", "  ", "...", "**", '""'])
def test_blank_strategies_are_rejected(blank: str) -> None:
    assert reason(GOOD[0], blank) == "strategy 2 is blank"


def test_length_is_counted_in_words() -> None:
    judge = RuleJudge(max_words=5)
    assert reason("one two three four five", "b", judge=judge) == ""
    assert "6 words; at most 5" in reason("a", "one two three four five six", judge=judge)
    with pytest.raises(ValueError, match="max_words is 0"):
        RuleJudge(max_words=0)


@pytest.mark.parametrize(
    "again",
    [
        "Use a two-pointer scan, on the sorted array.",
        "use a two pointer scan on the   sorted array",
        "**Use** a two-pointer scan on the `sorted` array!",
        "“Use a two-pointer scan on the sorted array.”",
        "\uff35se a two-pointer scan on the sorted array",
    ],
)
def test_repetitions_are_found_through_their_disguise(again: str) -> None:
    first = "Use a two-pointer scan on the sorted array."
    assert reason(first, GOOD[0], again) == "strategy 3 repeats strategy 1"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Sort by a+b.", "Sort by a-b."),
        ("Sort by n-k.", "Sort by n k."),
        ("Round at 0.5.", "Round at 5."),
        ("Multiply x * y.", "Multiply x ** y."),
        ("Keep x < y.", "Keep x > y."),
        ("Sort by start.", "Sort by end."),
    ],
)
def test_different_formulas_are_no_repetition(first: str, second: str) -> None:
    assert "repeats" not in reason(first, second)


@given(st.text())
def test_normalising_twice_changes_nothing_more(strategy: str) -> None:
    once = normalise_strategy(strategy)
    assert normalise_strategy(once) == once


@pytest.mark.parametrize(
    "code",
    [
        "```python\nn = 1\n```",
        "import sys; read all of it",
        "import heapq and keep the smallest on top",
        "from collections import Counter and count",
        "def solve(n): walk up the stairs",
        "class Solution:\n    def climb(self, n): pass",
        "for i in range(n): add the last two",
        "n = int(input()) then loop",
        "keep two values and print(a)",
        "read with sys.stdin.readline and loop",
        "a = 1; b = 1; loop n times",
        "start with dp[0] = 1;",
        "key = lambda x: x[1]",
        "Loop upward\nreturn a + b",
        "#include <vector> and loop",
    ],
)
def test_code_is_rejected(code: str) -> None:
    assert reason(GOOD[0], code) == "strategy 2 contains code"


@pytest.mark.parametrize(
    "prose",
    [
        "Let dp[i] = dp[i-1] + dp[i-2] and walk i from 2 to n.",
        "Use x = (a + b) / 2; it splits the range in halves.",
        "Return the larger of both halves' counts.",
        "Compare a == b; stop at the first difference.",
        "Keep only pairs with a <= b; count them.",
        "Import costs dominate, so minimise the import total by a min-cost flow.",
        "Take input from left to right and print the count at the end.",
        "Define a class of equal remainders: each class counts its members.",
        "Scan for i in increasing order and while the sum is small, extend.",
    ],
)
def test_formulas_and_words_that_look_like_code_pass(prose: str) -> None:
    assert reason(GOOD[1], prose) == ""


@pytest.mark.parametrize(
    "leak",
    [
        "The answer is 42.",
        "Skip the search, simply print 17",
        "Always output YES.",
        "Climb the stairs. The answer is always 3.",
        "Sum the outputs of both halves, then answer 5.",
        "The result is '1 3 5 7 9 11'.",
        "The odd numbers 1 3 5 7 9 11 in this order.",
    ],
)
def test_told_answers_are_rejected(leak: str) -> None:
    assert reason(GOOD[0], leak) == "strategy 2 tells the answer"


@pytest.mark.parametrize(
    "hook",
    [
        "The answer is 1 if n is odd, which follows from parity.",
        "Output YES when the sum is even.",
        "If n is odd, output 0.",
        "Check the parity first, otherwise print YES.",
        "The answer is the number of inversions modulo 2.",
        "Print the 3 largest sums.",
        "Sort 3 times, by each key.",
    ],
)
def test_conditions_and_numbers_in_a_hook_are_no_leak(hook: str) -> None:
    assert reason(GOOD[0], hook) == ""


def test_text_of_the_statement_is_no_leak() -> None:
    shown = Problem(
        "p", "Print the words all good things in order.", (TestCase("", "all good things"),)
    )
    assert reason("Write all good things from a list.", "Join them.", problem=shown) == ""
    hidden = Problem("p", "Print the motto.", shown.tests)
    assert "tells" in reason("Write all good things from a list.", "Join them.", problem=hidden)


@given(st.lists(st.text(), max_size=5))
def test_any_text_gets_a_verdict(strategies: list[str]) -> None:
    assert RuleJudge().judge(PROBLEM, strategies).valid in (True, False)


def test_check_decides_last_and_gives_its_reason() -> None:
    seen = []

    def check(problem: Problem, strategies: tuple[str, ...]) -> str | None:
        seen.append((problem, strategies))
        return "off the topic" if "graph" in strategies[0] else None

    judge = RuleJudge(check=check)
    assert judge.judge(PROBLEM, list(GOOD)).valid
    assert judge.judge(PROBLEM, ("build a graph", "sort")) == Judgement(False, "off the topic")
    assert not judge.judge(PROBLEM, ("sort", "sort")).valid
    assert seen == [(PROBLEM, GOOD), (PROBLEM, ("build a graph", "sort"))]


def test_a_broken_check_is_loud() -> None:
    with pytest.raises(TypeError, match="check gave True"):
        RuleJudge(check=lambda problem, strategies: True).judge(PROBLEM, GOOD)
    with pytest.raises(ZeroDivisionError):
        RuleJudge(check=lambda problem, strategies: 1 / 0).judge(PROBLEM, GOOD)


def test_reward_call_scores_each_row_and_rejects_unparsable_plans() -> None:
    rewards = RuleJudge()(
        prompts=["p"] * 3,
        completions=[format_plan(GOOD), "A: same\nB: Same.", "no plan"],
        problem=[PROBLEM] * 3,
        strategies=[GOOD, ("same", "Same."), None],
        completion_ids=[[1], [2], [3]],
        trainer_state=None,
    )
    assert rewards == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("more", ["E: a fifth idea", "E: five\nF: six", "B: another second"])
def test_plans_with_more_labels_than_strategies_are_rejected(more: str) -> None:
    plan = f"{format_plan(GOOD)}\n{more}"
    completion = [{"role": "assistant", "content": plan}]
    assert parse_plan(plan, 4) == GOOD
    assert RuleJudge()(["p"], [completion], [PROBLEM], [GOOD]) == [0.0]
    assert "labels; a plan of 4 strategies has 4" in RuleJudge().judge(PROBLEM, GOOD, plan).reason


def test_trl_finds_a_name_for_its_metrics() -> None:
    assert RuleJudge().__name__ == "rule_judge"


def test_judgement_that_is_unknown_is_not_a_zero() -> None:
    assert [Judgement(valid).reward for valid in (True, False, None)] == [1.0, 0.0, None]
