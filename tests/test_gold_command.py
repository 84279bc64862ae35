"""The command `cppo-trl gold`, as a user types it."""

from __future__ import annotations

import json

import pytest

from cppo_trl.cli import main
from cppo_trl.judges.labels import read_labels
from cppo_trl.problems import Problem, TestCase, read_problems, write_problems
from cppo_trl.tuples import read_plans
from endpoint_stub import endpoint_stub, said
from evaluation_samples import sample_record
from small_evaluation import K, evaluate_guesses

GOOD = said("A: Sort them.\nB: Count them.")


@pytest.fixture
def problems(tmp_path):
    """A file of two problems: p0 has passed attempts at strategies, p1 has failed ones."""
    found = [Problem(f"p{n}", f"Add {n}.", (TestCase("1 2", "3"),)) for n in range(2)]
    write_problems(found, tmp_path / "problems.jsonl")
    records = [
        sample_record(outcomes, name, plans=True, text="show({place})")
        for name, outcomes in (("p0", "+++-"), ("p1", "----"))
    ]
    (tmp_path / "cppo.jsonl").write_text("".join(record.to_line() for record in records))
    return tmp_path / "problems.jsonl"


def typed(action, problems, *more):
    output = problems.parent / "gold.jsonl"
    return ["gold", action, "--problems", str(problems), "--output", str(output), *more]


def attempts(problems, *more):
    return typed("attempts", problems, "--records", str(problems.parent / "cppo.jsonl"), *more)


def asked(problems, server, *more):
    return typed(
        *("model", problems, "--model", "big", "--base-url", server.url),
        *("--num-strategies", "2", *more),
    )


def test_gold_from_attempts_can_be_labelled_as_gold(problems, tmp_path, capsys):
    assert main(attempts(problems, "--num-strategies", "2", "--per-problem", "5")) == 0
    told = capsys.readouterr().out
    assert "3 gold tuples for 1 of 2 problems" in told
    assert "1 without: fewer than 2 strategies passed" in told
    labels = ["judge", "label", "--gold", "--problems", str(problems)]
    files = ["--plans", str(tmp_path / "gold.jsonl"), "--output", str(tmp_path / "labels.jsonl")]
    assert main([*labels, *files]) == 0
    assert len(read_labels(tmp_path / "labels.jsonl")) == 3


def test_no_tuple_at_all_is_status_1_and_says_why(problems, tmp_path, capsys):
    assert main(attempts(problems)) == 1
    told = capsys.readouterr().out
    assert "0 gold tuples for 0 of 2 problems" in told
    assert "2 without: fewer than 4 strategies passed" in told
    assert (tmp_path / "gold.jsonl").read_text() == ""


def test_the_attempts_of_an_evaluation_can_be_read(qwen3_dir, tmp_path, capsys):
    evaluate_guesses(qwen3_dir, tmp_path, seeds=3, draws=2)
    records = sorted(map(str, tmp_path.glob("out/attempts/*/*.jsonl")))
    assert len(records) == 3
    command = typed("attempts", tmp_path / "guesses.jsonl", "--records", *records)
    # Each problem has one right number, so one strategy that passes.
    assert main([*command, "--num-strategies", "2"]) == 1
    assert "12 without: fewer than 2 strategies passed" in capsys.readouterr().out
    known = {problem.id for problem in read_problems(tmp_path / "guesses.jsonl")}
    planned = [plan for path in records if "cppo" in path for plan in read_plans(path, known)]
    assert {len(plan.strategies) for plan in planned} == {K}
    assert {plan.passed for plan in planned} == {True}


def test_gold_from_a_model_is_read_as_plans_and_asked_for_once(problems, tmp_path, capsys):
    with endpoint_stub(lambda body, n: GOOD) as server:
        for _ in range(2):
            command = asked(problems, server, "--cache", str(tmp_path / "db"))
            assert main([*command, "--temperature", "0.5", "--max-tokens", "99"]) == 0
    assert len(server.requests) == 2
    assert {(body["temperature"], body["max_tokens"]) for body in server.requests} == {(0.5, 99)}
    plans = read_plans(tmp_path / "gold.jsonl", {"p0", "p1"})
    assert [plan.problem_id for plan in plans] == ["p0", "p1"]
    rows = [json.loads(line) for line in (tmp_path / "gold.jsonl").read_text().splitlines()]
    assert {tuple(row) for row in rows} == {("problem_id", "strategies")}
    told = capsys.readouterr()
    assert "20 tokens spent" in told.out
    assert "2/2" in told.err  # the bar


def test_reasons_are_counted_by_their_kind(problems, capsys):
    answers = {"Add 0.": said("A: Sort.\nB: import sys"), "Add 1.": said("A: Sort.\nB: sort")}

    def answer(body, number):
        return answers[body["messages"][0]["content"].partition("\n")[0]]

    with endpoint_stub(answer) as server:
        assert main(asked(problems, server)) == 1
    told = capsys.readouterr().out
    assert "2 without: a plan against the rules (such as: strategy 2 contains code)" in told


def test_an_endpoint_that_refuses_leaves_what_was_there(problems, tmp_path, capsys):
    (tmp_path / "gold.jsonl").write_text("older\n")
    with endpoint_stub(lambda body, n: (401, b"{}", {})) as server:
        assert main(asked(problems, server)) == 1
    assert "status 401" in capsys.readouterr().err
    assert (tmp_path / "gold.jsonl").read_text() == "older\n"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--num-strategies", "1"], "num_strategies is 1; a tuple has from 2 to 26"),
        (["--per-problem", "0"], "per_problem is 0; it must be 1 or more"),
        (["--max-words", "0"], "max_words is 0; it must be 1 or more"),
        (["--records", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--output", "no/such/folder.jsonl"], "no/such/folder.jsonl"),
    ],
)
def test_bad_input_is_named_in_one_line(more, named, problems, capsys):
    assert main(attempts(problems, *more)) == 2
    told = capsys.readouterr().err
    assert named in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--concurrency", "0"], "concurrency is 0; it must be 1 or more"),
        (["--temperature", "-1"], "temperature is -1.0; it must be 0 or more"),
        (["--temperature", "0", "--per-problem", "2"], "temperature is 0.0; it must be above 0"),
        (["--tries", "0"], "tries is 0; it must be 1 or more"),
        (["--output", "no/such/folder.jsonl"], "no/such/folder.jsonl"),
    ],
)
def test_bad_settings_are_named_before_anything_is_asked(more, named, problems, capsys):
    with endpoint_stub(lambda body, n: GOOD) as server:
        assert main(asked(problems, server, *more)) == 2
    assert server.requests == []
    assert named in capsys.readouterr().err


def test_a_record_of_an_unknown_problem_is_named(problems, tmp_path, capsys):
    (tmp_path / "cppo.jsonl").write_text(sample_record("+-", "p7", plans=True).to_line())
    assert main(attempts(problems)) == 2
    said = "cppo.jsonl, line 1: field 'problem_id' is 'p7'; it must be the id of a problem"
    assert said in capsys.readouterr().err


def test_an_output_that_is_read_is_refused(problems, capsys):
    before = problems.read_text()
    assert main(attempts(problems, "--output", str(problems))) == 2
    assert "which is read" in capsys.readouterr().err
    assert problems.read_text() == before
