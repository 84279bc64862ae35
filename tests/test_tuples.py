"""Tuples in a file: they survive it, and an evaluation's attempts are such a file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.tuples import Plan, PlanError, read_plans, write_plans
from evaluation_samples import sample_record

PROBLEMS = {"p0": None, "p1": None}
PLANS = st.lists(
    st.builds(
        Plan,
        st.sampled_from(["p0", "p1"]),
        st.lists(st.text(max_size=5), min_size=2, max_size=4).map(tuple),
        st.sampled_from([True, False, None]),
    ),
    min_size=1,
    max_size=5,
)


@given(PLANS)
def test_tuples_survive_their_file(tmp_path_factory, plans):
    path = tmp_path_factory.mktemp("plans") / "plans.jsonl"
    write_plans(plans, path)
    assert read_plans(path, PROBLEMS) == plans


@pytest.mark.parametrize(
    ("outcomes", "passed"),
    [("+-", True), ("--", False), ("?-", None), ("??", None), ("?+", True)],
)
def test_an_attempted_tuple_passed_if_any_attempt_did(outcomes, passed, tmp_path):
    record = sample_record(outcomes, "p0", plans=True)
    (tmp_path / "cppo.jsonl").write_text(record.to_line())
    assert read_plans(tmp_path / "cppo.jsonl", PROBLEMS) == [Plan("p0", record.strategies, passed)]


def test_attempts_without_strategies_are_left_out_and_repetitions_stay(tmp_path):
    kept, direct = sample_record("+-", "p0", plans=True), sample_record("+-", "p1")
    unparsed = sample_record("!!", "p1", plans=True)
    lines = [one.to_line() for one in (direct, kept, unparsed, kept)]
    (tmp_path / "all.jsonl").write_text("".join(lines))
    assert read_plans(tmp_path / "all.jsonl", PROBLEMS) == [Plan("p0", kept.strategies, True)] * 2


def test_a_file_of_attempts_without_any_strategies_has_no_plans(tmp_path):
    (tmp_path / "direct.jsonl").write_text(sample_record("+-", "p0").to_line())
    with pytest.raises(PlanError, match="has no plans"):
        read_plans(tmp_path / "direct.jsonl", PROBLEMS)


GOOD = json.loads(sample_record("+-", "p0", plans=True).to_line())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([], "must be an object"),
        ({"problem_id": ["p0"], "strategies": ["a", "b"]}, r"'problem_id' is \['p0'\]; it must"),
        ({"problem_id": "p0", "strategies": None}, "'strategies' is None; it must be a list of 2"),
        (GOOD | {"problem_id": "p9"}, "'problem_id' is 'p9'; it must be the id of a problem"),
        (GOOD | {"problem_id": 1}, "'problem_id' is 1; it must be a text"),
        (GOOD | {"attempts": 3}, "'attempts' is 3; it must be a list of attempts"),
        (GOOD | {"attempts": [{"status": "fine"}] * 2}, "'attempts' is"),
        (GOOD | {"attempts": [{"status": "pass", "program": None}] * 2}, "'attempts' is"),
        (GOOD | {"strategies": ["a"]}, "'strategies' is .*one for each attempt"),
        (GOOD | {"more": 1}, "no record of an evaluation"),
        ({name: value for name, value in GOOD.items() if name != "seed"}, "no record"),
    ],
)
def test_a_row_that_is_no_tuple_is_named(row, said, tmp_path):
    good = '{"problem_id": "p0", "strategies": ["a", "b"]}\n'
    (tmp_path / "plans.jsonl").write_text(good + json.dumps(row) + "\n")
    with pytest.raises(PlanError, match=f"^plans.jsonl, line 2: .*{said}"):
        read_plans(tmp_path / "plans.jsonl", PROBLEMS)
