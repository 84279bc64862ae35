"""The stand-in for a large model knows what words mean, and not which reading is hidden."""

from __future__ import annotations

import json
import random
import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl import Problem, TestCase
from cppo_trl.benchmarks.coordination_gap import belongs, make_problems
from cppo_trl.benchmarks.coordination_gap.teacher import reply, teacher
from cppo_trl.benchmarks.coordination_gap.world import RULES, hidden_variants, rule_of
from cppo_trl.endpoint import Endpoint
from cppo_trl.judges import EndpointJudge, RuleJudge, StrategyTuple
from cppo_trl.planner_sft.gold import gold_from_model
from cppo_trl.plans import format_plan, parse_plan
from cppo_trl.prompts import DEFAULT_JUDGE, Prompts

PROBLEMS = [
    problem
    for split in ("train", "development", "held_out")
    for problem in make_problems(64, split=split)
]
UNKNOWN = Problem("u", "Sort the letters of a word.", (TestCase("ba", "ab"),))
problems = st.sampled_from(PROBLEMS)


@pytest.fixture(scope="module")
def url():
    with teacher() as address:
        yield address


def judged(problem, strategies):
    plan = format_plan(strategies)
    asked = DEFAULT_JUDGE.format(statement=problem.statement, plan=plan, k=len(strategies))
    return json.loads(reply(asked))


def planned(problem):
    (message,) = Prompts().plan_messages(problem, 4)
    return parse_plan(reply(message["content"]), 4)


@st.composite
def tuples(draw):
    """A problem, and four strategies: some of its readings, others', or of no meaning at all."""
    problem = draw(problems)
    own = st.sampled_from([RULES[name].strategy for name in problem.metadata["readings"]])
    others = st.sampled_from([rule.strategy for rule in RULES.values()])
    free = st.sampled_from(["think hard", "add the number", "use a table"])
    some = draw(st.sampled_from([own, own | others, own | others | free]))
    return problem, tuple(draw(st.lists(some, min_size=4, max_size=4)))


@given(tuples())
def test_verdict_is_the_rule_of_the_world(drawn):
    problem, strategies = drawn
    rules = [rule_of(strategy) for strategy in strategies]
    is_valid = belongs(problem, strategies) is None and len(set(rules)) == len(rules)
    found = judged(problem, strategies)
    assert found["verdict"] == ("pass" if is_valid else "fail")
    assert found["reason"]


@given(problems)
def test_four_readings_in_any_order_pass(problem):
    strategies = [RULES[name].strategy for name in problem.metadata["readings"]]
    random.Random(problem.id).shuffle(strategies)
    assert judged(problem, strategies)["verdict"] == "pass"


@given(problems)
def test_gold_tuple_is_four_different_readings(problem):
    strategies = planned(problem)
    assert belongs(problem, strategies) is None
    assert len({rule_of(strategy).name for strategy in strategies}) == 4


@given(tuples())
def test_answers_do_not_depend_on_the_hidden_reading(drawn):
    problem, strategies = drawn
    variants = hidden_variants(problem)
    assert len({variant.metadata["hidden"] for variant in variants}) == 4
    assert len({planned(variant) for variant in variants}) == 1
    assert len({str(judged(variant, strategies)) for variant in variants}) == 1


def test_hidden_reading_has_no_place_of_its_own_in_gold_tuples():
    places = [0] * 4
    for problem in PROBLEMS:
        names = [rule_of(strategy).name for strategy in planned(problem)]
        places[names.index(problem.metadata["hidden"])] += 1
    assert min(places) > len(PROBLEMS) / 8  # of an expected quarter each


def test_an_unknown_statement_has_no_answer():
    with pytest.raises(ValueError, match="no statement of the coordination gap"):
        reply(UNKNOWN.statement)


def test_it_judges_behind_the_judge_of_endpoints(url):
    problem = PROBLEMS[0]
    good = tuple(RULES[name].strategy for name in problem.metadata["readings"])
    twice = (good[0], good[0], good[1], good[2])
    judge = EndpointJudge("teacher", url)
    found = judge.judge_many([StrategyTuple(problem, plan) for plan in (good, twice)])
    assert [one.valid for one in found] == [True, False]
    assert "same program" in found[1].reason


def test_it_writes_gold_that_keeps_to_the_rules(url):
    gold = gold_from_model(PROBLEMS[:20], 4, Endpoint("teacher", url, temperature=0.9))
    assert not gold.without
    by_id = {problem.id: problem for problem in PROBLEMS}
    for plan in gold.plans:
        assert RuleJudge(check=belongs).judge(by_id[plan.problem_id], plan.strategies).valid


def test_an_unknown_statement_is_status_400_and_stays_unknown(url):
    body = json.dumps({"model": "teacher", "messages": [{"content": UNKNOWN.statement}]})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{url}/chat/completions", body.encode())
    assert refusal.value.code == 400
    refusal.value.close()
    found = EndpointJudge("teacher", url).judge(UNKNOWN, ("a", "b", "c", "d"))
    assert (found.valid, found.reason[:10]) == (None, "status 400")
    gold = gold_from_model([UNKNOWN], 4, Endpoint("teacher", url, temperature=0.9))
    assert gold.plans == []
    assert gold.without["u"].startswith("status 400")
