"""An evaluation is the same whether or not it was killed on the way, and makes nothing twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from cppo_trl import Problem, TestCase
from cppo_trl.evaluation.records import RecordError
from cppo_trl.evaluation.runner import run_method
from cppo_trl.methods import Attempted, Spent
from cppo_trl.verifier import CodeVerifier, Status, Verdict

PROBLEMS = [Problem(f"p{n}", "", (TestCase("", f"{n % 3}"),)) for n in range(7)]


class Guess:
    """Two attempts at a problem: programs that print a number drawn by torch."""

    num_attempts = 2

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def attempt(self, problems: Sequence[Problem], seed: int = 0) -> list[Attempted]:
        self.calls.append([problem.id for problem in problems])
        drawn = torch.randint(3, (len(problems), 2)).tolist()
        return [
            Attempted(
                problem,
                ("low", "high"),
                tuple(f"```python\nprint({number})\n```" for number in numbers),
                Spent(1, 5, 2, 20),
            )
            for problem, numbers in zip(problems, drawn, strict=True)
        ]


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def verifier():
    with CodeVerifier() as made:
        yield made


@pytest.fixture(scope="module")
def whole(verifier, tmp_path_factory) -> Path:
    """The file of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "guess.jsonl"
    run(path, verifier.verify_completions)
    return path


def run(path: Path, verify, method: Guess | None = None, seeds: int = 2, **settings) -> list:
    settings = {"draws": 2, "batch_size": 3} | settings
    return run_method("guess", [method or Guess()] * seeds, PROBLEMS, verify, path, **settings)


def without_time(path: Path) -> list[dict]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        assert row.pop("seconds") > 0
        assert all(attempt.pop("cpu_seconds") >= 0 for attempt in row["attempts"])
    return rows


def test_there_is_a_record_for_each_seed_draw_and_problem_in_order(whole):
    rows = without_time(whole)
    assert [(row["seed"], row["draw"], row["problem_id"]) for row in rows] == [
        (seed, draw, problem.id) for seed in (0, 1) for draw in (0, 1) for problem in PROBLEMS
    ]


def test_a_record_holds_what_was_said_its_verdict_and_what_was_spent(whole):
    row = without_time(whole)[1]
    number = row["attempts"][0]["program"].strip()[6]
    assert row["strategies"] == ["low", "high"]
    assert row["spent"] == {
        "planner_calls": 1,
        "planner_tokens": 5,
        "solver_calls": 2,
        "solver_tokens": 20,
    }
    assert row["attempts"][0] == {
        "completion": f"```python\nprint({number})\n```",
        "program": f"print({number})\n",
        "status": "pass" if number == "1" else "wrong_answer",
        "tests_passed": int(number == "1"),
        "tests_total": 1,
        "first_failed": None if number == "1" else 0,
        "message": "" if number == "1" else f"got '{number}\\n', expected '1'",
    }


def test_seeds_and_draws_differ(whole):
    rows = without_time(whole)
    said = [
        tuple(a["program"] for row in rows[start : start + 7] for a in row["attempts"])
        for start in range(0, 28, 7)
    ]
    assert len(set(said)) == 4


@pytest.mark.parametrize("batches", [1, 4, 9])
def test_a_killed_run_goes_on_where_it_was_and_ends_the_same(batches, whole, verifier, tmp_path):
    path, left = tmp_path / "guess.jsonl", batches

    def verify(problems, completions):
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        return verifier.verify_completions(problems, completions)

    with pytest.raises(Killed):
        run(path, verify)
    again = Guess()
    run(path, verifier.verify_completions, again)
    assert len(again.calls) == 12 - batches  # 7 problems in batches of 3, 4 times
    assert without_time(path) == without_time(whole)


@pytest.mark.parametrize("cut", [1, 300, 2000])
def test_a_file_that_a_kill_cut_in_a_line_is_mended(cut, whole, verifier, tmp_path):
    path = tmp_path / "guess.jsonl"
    path.write_bytes(whole.read_bytes()[:-cut])
    run(path, verifier.verify_completions)
    assert without_time(path) == without_time(whole)


def test_a_finished_run_is_read_and_not_made_again(whole, verifier):
    method = Guess()
    before = whole.read_bytes()
    records = run(whole, None, method)
    assert (len(records), method.calls, whole.read_bytes()) == (28, [], before)


def test_the_random_state_of_the_process_plays_no_part_and_is_left_alone(whole, verifier, tmp_path):
    torch.manual_seed(123)
    expected = torch.random.get_rng_state()
    run(tmp_path / "guess.jsonl", verifier.verify_completions)
    assert torch.equal(torch.random.get_rng_state(), expected)
    assert without_time(tmp_path / "guess.jsonl") == without_time(whole)


def test_attempts_without_a_verdict_are_verified_again_and_not_made_again(
    whole, verifier, tmp_path
):
    path = tmp_path / "guess.jsonl"

    def trouble(problems, completions):
        verdicts = verifier.verify_completions(problems, completions)
        return [Verdict(Status.INFRASTRUCTURE, 0, 1), *verdicts[1:]]

    records = run(path, trouble)
    assert [attempt.passed for attempt in records[0].attempts].count(None) == 1
    method = Guess()
    run(path, verifier.verify_completions, method)
    assert method.calls == []
    assert without_time(path) == without_time(whole)


def test_attempts_that_a_broken_plan_used_up_are_failures(verifier, tmp_path):
    class Broken(Guess):
        def attempt(self, problems, seed=0):
            return [Attempted(problem, None, (None, None), Spent(1, 9)) for problem in problems]

    records = run(tmp_path / "broken.jsonl", verifier.verify_completions, Broken())
    assert {attempt.passed for record in records for attempt in record.attempts} == {False}
    assert {attempt.status for record in records for attempt in record.attempts} == {"no_code"}


def test_a_seed_is_the_same_whatever_comes_after_and_more_can_be_added(whole, verifier, tmp_path):
    path = tmp_path / "guess.jsonl"
    run(path, verifier.verify_completions, seeds=1)
    assert without_time(path) == without_time(whole)[:14]
    method = Guess()
    run(path, verifier.verify_completions, method)
    assert len(method.calls) == 6
    assert without_time(path) == without_time(whole)


@pytest.mark.parametrize("settings", [{"seeds": 1}, {"draws": 1}])
def test_the_records_of_another_run_are_refused(settings, whole, verifier, tmp_path):
    path = tmp_path / "guess.jsonl"
    path.write_bytes(whole.read_bytes())
    with pytest.raises(RecordError, match=r"line \d+: seed, draw and problem are \("):
        run(path, verifier.verify_completions, **settings)
    assert path.read_bytes() == whole.read_bytes()


def test_what_is_no_record_is_named_by_its_line(verifier, tmp_path):
    path = tmp_path / "guess.jsonl"
    path.write_text('{"seed": 0}\n')
    with pytest.raises(RecordError, match=r"guess\.jsonl, line 1: no record"):
        run(path, verifier.verify_completions)


@pytest.mark.parametrize("setting", ["draws", "batch_size"])
def test_numbers_below_one_are_refused(setting, tmp_path):
    with pytest.raises(ValueError, match=f"{setting} is 0"):
        run(tmp_path / "guess.jsonl", None, **{setting: 0})
