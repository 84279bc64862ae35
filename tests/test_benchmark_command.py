"""The command `cppo-trl benchmark`."""

from __future__ import annotations

import json

import pytest

from cppo_trl.benchmarks import BENCHMARKS
from cppo_trl.cli import main
from upstream_rows import ADD, apps_row, codecontests_row, livecodebench_row


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Runs `cppo-trl benchmark check` on rows; returns its status and the rows it wrote."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(name, rows, *options):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        files = ["--path", "rows.jsonl", "--output", "checked.jsonl"]
        status = main(["benchmark", "check", "--benchmark", name, *files, *options])
        output = tmp_path / "checked.jsonl"
        written = output.read_text().splitlines() if output.exists() else []
        return status, [json.loads(line) for line in written]

    return run


def test_the_table_names_every_benchmark(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["benchmark", "list"]) == 0
    shown = capsys.readouterr().out
    for benchmark in BENCHMARKS.values():
        assert benchmark.name in shown
        assert (benchmark.hub_id or "") in shown


def test_problems_where_solutions_fail_are_listed(check, capfd):
    wrong = json.dumps([ADD, "print(3)", "print(3) or 1/0"])
    rows = [apps_row(), apps_row(problem_id=8, solutions=wrong)]
    status, written = check("apps", [*rows, apps_row(problem_id=9, solutions="")])
    shown = capfd.readouterr().out
    assert status == 0
    assert [(row["problem_id"], row["passed"], row["solutions"]) for row in written] == [
        ("7", 1, 1),
        ("8", 1, 3),
    ]
    assert [row["index"] for row in written[1]["failed"]] == [1, 2]
    assert written[1]["failed"][0] | {"message": ""} == {
        "index": 1,
        "status": "wrong_answer",
        "first_failed": 1,
        "message": "",
    }
    assert "1 of 3" in shown
    assert "wrong_answer, test 1" in shown
    assert "2 of 4 solutions pass; of 2 problems with solutions, 1 have one that fails" in shown
    assert "1 have none" in shown


def test_the_benchmarks_own_comparison_is_used_unless_another_is_asked_for(check):
    # "3.0000001" is right for CodeContests only.
    solutions = {"language": [3], "solution": [ADD.replace("a + b", "a + b + 1e-7")]}
    _, near = check("codecontests", [codecontests_row(solutions=solutions)])
    _, exact = check("codecontests", [codecontests_row(solutions=solutions)], "--compare", "exact")
    assert (near[0]["passed"], exact[0]["passed"]) == (1, 0)


def test_a_cap_on_tests_is_printed_and_written(check, capfd):
    _, rows = check("apps", [apps_row()], "--max-tests", "1")
    assert rows[0]["max_tests"] == 1
    assert "AT MOST 1 TESTS A PROBLEM" in capfd.readouterr().out


def test_solutions_can_come_from_a_file(check, tmp_path):
    programs = [
        {"question_id": "abc1_a", "code": ADD, "label": "correct"},
        {"question_id": "abc1_a", "code": "print(3)", "label": "wrong"},
    ]
    text = "".join(json.dumps(row) + "\n" for row in programs)
    (tmp_path / "solutions.jsonl").write_text(text)
    status, rows = check("livecodebench", [livecodebench_row()], "--solutions", "solutions.jsonl")
    assert (status, rows[0]["passed"], rows[0]["solutions"]) == (0, 1, 1)


def test_only_so_many_solutions_are_run_as_asked_for(check):
    row = apps_row(solutions=json.dumps([ADD, ADD + "\n", "print(3)"]))
    assert check("apps", [row], "--max-solutions", "2")[1][0]["solutions"] == 2


@pytest.mark.parametrize(
    ("name", "row", "options", "said"),
    [
        ("appz", {}, (), "apps"),
        ("apps", apps_row(input_output=""), (), "rows.jsonl, line 1"),
        ("livecodebench", livecodebench_row(), (), "no solutions"),
        ("apps", apps_row(), ("--start-date", "2024-01-01"), "no dates"),
        ("apps", apps_row(), ("--fewest-tests", "5"), "no problem is left"),
        ("apps", apps_row(), ("--workers", "0"), "workers"),
        ("apps", apps_row(), ("--solutions", "missing.jsonl"), "missing.jsonl"),
        ("apps", apps_row(), ("--output", "no/such/folder.jsonl"), "folder.jsonl"),
    ],
)
def test_bad_input_gives_status_2_and_one_line(name, row, options, said, check, capfd):
    status, _ = check(name, [row], *options)
    lines = capfd.readouterr().err.splitlines()
    assert (status, len(lines)) == (2, 1)
    assert said in lines[0]
