"""Gold tuples hold K different routes, all of which passed; what is doubtful gives none."""

from __future__ import annotations

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.endpoint import Endpoint, EndpointError
from cppo_trl.evaluation.diversity import normalise_program
from cppo_trl.evaluation.records import AttemptRecord, Record
from cppo_trl.judges import RuleJudge
from cppo_trl.planner_sft.gold import gold_from_attempts, gold_from_model
from cppo_trl.plans import format_plan, normalise_strategy, parse_plan
from cppo_trl.problems import Problem, TestCase
from endpoint_stub import endpoint_stub, said

PROBLEMS = {
    name: Problem(name, f"Add the numbers of {name}.", (TestCase("1 2", "3"),)) for name in "abc"
}
TEXTS = [
    *("Sort them first.", "sort them first", "Sort **them** first", "Count up from one."),
    *("Use a heap of pairs.", "Walk the graph.", "Guess and\ncheck.", "Add them in binary."),
    *("import sys", "The answer is 3.", "word " * 46, " ", "so </think> what"),
]
PROGRAMS = [
    *("x = 1\nprint(x)", "y = 1\nprint(y)  # the same", "print(2)", "print(3)", "print(4)"),
    *("print(5)", "print(6)", "print(7)", "for", "print(8)"),
]


def record(attempts, problem="a"):
    """A record of (strategy, program, status)."""
    return Record(
        seed=0,
        draw=0,
        problem_id=problem,
        strategies=tuple(text for text, *_ in attempts),
        attempts=tuple(
            AttemptRecord(f"```python\n{program}\n```", program, status, 0, 1, 0.1)
            for _, program, status in attempts
        ),
        spent={},
    )


STATUS = st.sampled_from(["pass", "pass", "pass", "wrong_answer", "infrastructure"])
ATTEMPT = st.tuples(st.sampled_from(TEXTS), st.sampled_from(PROGRAMS), STATUS)
RECORDS = st.lists(
    st.builds(record, st.lists(ATTEMPT, min_size=1, max_size=8), st.sampled_from("abc")),
    max_size=8,
)


def programs_that_passed(records, problem):
    """The programs by which each normalised strategy passed, normalised."""
    found = {}
    for one in records:
        if one.problem_id == problem:
            for text, attempt in zip(one.strategies, one.attempts, strict=True):
                if attempt.passed:
                    program = normalise_program(attempt.program)
                    found.setdefault(normalise_strategy(text), set()).add(program)
    return found


@given(RECORDS, st.integers(2, 4), st.integers(1, 4), st.integers(0, 3))
def test_every_tuple_has_k_strategies_that_passed_by_programs_of_their_own(records, k, per, seed):
    for plan in gold_from_attempts(records, PROBLEMS, k, per, seed).plans:
        passed = programs_that_passed(records, plan.problem_id)
        plain = [normalise_strategy(text) for text in plan.strategies]
        assert len(set(plain)) == len(plain) == k
        assert set(plain) <= passed.keys()
        for first, second in itertools.combinations(plain, 2):
            assert passed[first].isdisjoint(passed[second])


@given(RECORDS, st.integers(2, 4), st.integers(1, 4))
def test_every_tuple_keeps_to_the_rules_and_is_read_in_its_own_plan_text(records, k, per):
    for plan in gold_from_attempts(records, PROBLEMS, k, per).plans:
        text = format_plan(plan.strategies)
        assert parse_plan(text, k) == plan.strategies
        assert RuleJudge().judge(PROBLEMS[plan.problem_id], plan.strategies, text).valid


@given(RECORDS, st.integers(2, 4), st.integers(1, 5))
def test_tuples_of_a_problem_hold_different_strategies_and_are_no_more_than_asked(records, k, per):
    found = gold_from_attempts(records, PROBLEMS, k, per).plans
    for name in PROBLEMS:
        own = [frozenset(plan.strategies) for plan in found if plan.problem_id == name]
        assert len(set(own)) == len(own) <= per


@given(RECORDS, st.integers(2, 4))
def test_a_problem_has_tuples_or_a_reason_for_none(records, k):
    gold = gold_from_attempts(records, PROBLEMS, k)
    assert {plan.problem_id for plan in gold.plans} | gold.without.keys() == PROBLEMS.keys()
    assert not {plan.problem_id for plan in gold.plans} & gold.without.keys()
    for name in PROBLEMS:
        if len(programs_that_passed(records, name)) < k:
            assert name in gold.without


@given(RECORDS, st.integers(0, 3))
def test_the_draw_depends_on_the_seed_and_the_problem_alone(records, seed):
    together = gold_from_attempts(records, PROBLEMS, 2, 3, seed).plans
    alone = [
        plan
        for name, problem in PROBLEMS.items()
        for plan in gold_from_attempts(records, {name: problem}, 2, 3, seed).plans
    ]
    assert together == alone


@given(st.integers(2, 6), st.integers(1, 20))
def test_there_are_as_many_tuples_as_asked_while_there_are_different_ones(routes, per):
    solved = record([(f"Route {n}.", f"print({n})", "pass") for n in range(routes)])
    found = gold_from_attempts([solved], PROBLEMS, 2, per).plans
    assert len(found) == min(per, math.comb(routes, 2))


def test_another_seed_draws_other_tuples():
    solved = record([(f"Route {n}.", f"print({n})", "pass") for n in range(20)])
    drawn = {gold_from_attempts([solved], PROBLEMS, 4, seed=seed).plans[0] for seed in range(5)}
    assert len(drawn) > 1


def test_of_strategies_that_led_to_the_same_program_the_first_is_kept():
    solved = record(
        [
            ("First.", "x = 1\nprint(x)", "pass"),
            ("Second.", "y = 1\nprint(y)", "pass"),
            ("Third.", "print(3)", "pass"),
        ]
    )
    (plan,) = gold_from_attempts([solved], PROBLEMS, 2, per_problem=9).plans
    assert set(plan.strategies) == {"First.", "Third."}


@pytest.mark.parametrize(
    ("attempts", "reason"),
    [
        ([], "no attempt at a strategy"),
        ([("One.", "print(1)", "pass")], "fewer than 2 strategies passed"),
        (
            [("One.", "print(1)", "pass"), ("Two.", "print(2)", "infrastructure")],
            "fewer than 2 strategies passed, and some have no verdict",
        ),
        (
            [("One.", "print(1)", "pass"), ("import sys", "print(2)", "pass")],
            "fewer than 2 of the strategies that passed keep to the rules",
        ),
        (
            [("One.", "print(1)", "pass"), ("Two.", "print(1)  # too", "pass")],
            "fewer than 2 of the strategies that passed led to different programs",
        ),
    ],
)
def test_the_reason_for_no_tuple_is_what_was_missing_first(attempts, reason):
    records = [record(attempts)] if attempts else []
    assert gold_from_attempts(records, PROBLEMS, 2).without["a"] == reason


def test_a_strategy_of_several_lines_is_gold_on_one():
    solved = record([("First.\n\nB: Then.", "print(1)", "pass"), ("Two.", "print(2)", "pass")])
    (plan,) = gold_from_attempts([solved], PROBLEMS, 2).plans
    assert set(plan.strategies) == {"First. B: Then.", "Two."}


def test_attempts_that_follow_no_strategies_are_passed_over():
    attempt = AttemptRecord("", "print(1)", "pass", 1, 1, 0.1)
    direct = Record(0, 0, "a", None, (attempt,) * 4, {})
    assert gold_from_attempts([direct], PROBLEMS, 2).without["a"] == "no attempt at a strategy"


@pytest.mark.parametrize(("k", "per", "named"), [(1, 1, "num_strategies"), (2, 0, "per_problem")])
def test_a_number_out_of_range_is_named(k, per, named):
    with pytest.raises(ValueError, match=f"{named} is {(k, per)[named == 'per_problem']}"):
        gold_from_attempts([], PROBLEMS, k, per)


# From a model.

FAST = {"timeout": 5.0, "retries": 0, "temperature": 0.9}
SUM = PROBLEMS["a"]


def endpoint(server, **settings):
    return Endpoint("m", server.url, **{**FAST, **settings})


def numbered(body, number):
    return said(f"A: Sort by key {number}.\nB: Count to {number} by hand.")


def test_the_model_is_asked_what_the_planner_is_asked():
    with endpoint_stub(numbered) as server:
        gold = gold_from_model([SUM], 2, endpoint(server))
    assert [plan.strategies for plan in gold.plans] == [("Sort by key 0.", "Count to 0 by hand.")]
    (message,) = server.requests[0]["messages"]
    assert "Write 2 different strategies" in message["content"]


def test_each_tuple_of_a_problem_is_an_answer_of_its_own_and_asked_for_once(tmp_path):
    with endpoint_stub(numbered) as server:
        for per, asked in ((2, 2), (3, 3), (3, 3)):
            one = endpoint(server, cache=tmp_path / "gold.db")
            gold = gold_from_model([SUM], 2, one, per_problem=per)
            assert len({plan.strategies for plan in gold.plans}) == per
            assert len(server.requests) == asked


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would rather not.", "no plan of 2 strategies: 'I would rather not.'"),
        ("", "no plan of 2 strategies: ''"),
        ("A: Sort them.", "no plan of 2 strategies"),
        ("A: Sort them.\nB: sort them", "against the rules: strategy 2 repeats strategy 1"),
        ("A: Sort them.\nB: Write print(3)", "against the rules: strategy 2 contains code"),
        ("A: Sort.\nB: Add.\nC: Guess.", "against the rules: 3 labels"),
        ("A: Sort.\nB: " + "word " * 46, "against the rules: strategy 2 has 46 words"),
    ],
)
def test_what_is_no_valid_plan_is_asked_anew_and_then_left_out(text, reason):
    with endpoint_stub(lambda body, n: said(text)) as server:
        gold = gold_from_model([SUM], 2, endpoint(server), tries=3)
    assert gold.plans == []
    assert reason in gold.without["a"]
    assert len(server.requests) == 3


def test_a_plan_that_comes_at_last_is_taken():
    answers = [said("No."), said("A: Sort.\nB: print(3)"), said("A: Sort.\nB: Count.")]
    with endpoint_stub(lambda body, n: answers[n]) as server:
        gold = gold_from_model([SUM], 2, endpoint(server), tries=3)
    assert [plan.strategies for plan in gold.plans] == [("Sort.", "Count.")]


def test_a_tuple_that_repeats_another_in_any_order_is_asked_anew():
    answers = [
        said("A: Sort.\nB: Count."),
        said("A: count\nB: **Sort**"),
        said("A: Hash.\nB: Add."),
    ]
    with endpoint_stub(lambda body, n: answers[n]) as server:
        gold = gold_from_model([SUM], 2, endpoint(server, concurrency=1), per_problem=2)
    assert [plan.strategies for plan in gold.plans] == [("Sort.", "Count."), ("Hash.", "Add.")]


def test_a_model_that_repeats_itself_gives_one_tuple():
    with endpoint_stub(lambda body, n: said("A: Sort.\nB: Count.")) as server:
        gold = gold_from_model([SUM], 2, endpoint(server), per_problem=3, tries=2)
    assert len(gold.plans) == 1
    assert not gold.without
    assert len(server.requests) == 1 + 2 * 2


def test_a_plan_that_was_cut_is_none():
    status, body, headers = said("A: Sort them by.\nB: Count the")
    cut = status, body.replace(b'"stop"', b'"length"'), headers
    with endpoint_stub(lambda body, n: cut) as server:
        gold = gold_from_model([SUM], 2, endpoint(server, max_tokens=9))
    assert gold.plans == []
    assert gold.without == {"a": "the answer was cut: max_tokens is 9"}


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [((500, b"", {}), "status 500"), ((200, b"{", {}), "no JSON"), ((200, b"[]", {}), "no chat")],
    ids=["down", "half", "another thing"],
)
def test_trouble_with_one_problem_leaves_the_others(trouble, reason):
    def answer(body, number):
        return trouble if "numbers of b" in body["messages"][0]["content"] else numbered(body, 1)

    with endpoint_stub(answer) as server:
        gold = gold_from_model(list(PROBLEMS.values()), 2, endpoint(server))
    assert [plan.problem_id for plan in gold.plans] == ["a", "c"]
    assert gold.without.keys() == {"b"}
    assert reason in gold.without["b"]


def test_an_endpoint_that_is_not_there_gives_no_tuple():
    gold = gold_from_model([SUM], 2, Endpoint("m", "http://127.0.0.1:9/v1", **FAST))
    assert (gold.plans, gold.without) == ([], {"a": "Connection error."})


def test_an_endpoint_that_refuses_stops_everything():
    with (
        endpoint_stub(lambda body, n: (401, b"{}", {})) as server,
        pytest.raises(EndpointError, match="status 401"),
    ):
        gold_from_model(list(PROBLEMS.values()), 2, endpoint(server))


def test_no_more_questions_are_asked_than_the_budget_allows():
    with endpoint_stub(numbered) as server:
        gold = gold_from_model(list(PROBLEMS.values()), 2, endpoint(server, max_calls=2))
    assert len(server.requests) == len(gold.plans) == 2
    assert list(gold.without.values()) == ["the budget of calls is used up"]


def test_an_answer_that_a_stricter_rule_refuses_is_asked_for_again(tmp_path):
    texts = ["A: Sort all of them.\nB: Count.", "A: Sort.\nB: Count."]
    with endpoint_stub(lambda body, n: said(texts[n])) as server:
        for words in (45, 2):
            one = endpoint(server, cache=tmp_path / "gold.db")
            (plan,) = gold_from_model([SUM], 2, one, max_words=words).plans
            assert max(len(re.findall(r"\w+", text)) for text in plan.strategies) <= words
    assert len(server.requests) == 2


def test_several_tuples_without_a_temperature_are_refused():
    with pytest.raises(ValueError, match=r"temperature is 0\.0; it must be above 0"):
        gold_from_model([SUM], 2, Endpoint("m", "http://localhost/v1"), per_problem=2)
