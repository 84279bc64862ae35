"""The loaders on real rows, and what the verifier says of programs whose verdict is known.

The data is not part of the repository.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from cppo_trl import CodeVerifier
from cppo_trl.benchmarks import BENCHMARKS, load_benchmark
from cppo_trl.commands.benchmark import check_benchmark

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"real rows are no part of the repository: none in {DATA}"
)


def rows(path):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(DATA / path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def verdicts(name, pairs, time_limit=3):
    benchmark = BENCHMARKS[name]
    graded = {"compare": benchmark.compare, "prelude": benchmark.prelude}
    with CodeVerifier(time_limit=time_limit, **graded) as verifier:
        return verifier.verify_many(*zip(*pairs, strict=True))


def test_apps_is_the_same_in_rows_and_in_folders():
    from_rows = load_benchmark("apps", path=DATA / "apps" / "apps_train5.jsonl")
    from_folders = load_benchmark("apps", "train", DATA / "apps")
    assert [problem.id for problem in from_rows] == ["1", "111", "2287", "2404", "4184"]
    for one, other in zip(from_rows, from_folders, strict=True):
        assert (one.id, one.tests, one.fn_name) == (other.id, other.tests, other.fn_name)
        assert one.metadata == other.metadata


def test_gold_solutions_of_apps_pass(tmp_path):
    path = DATA / "apps" / "apps_train5.jsonl"
    checked = check_benchmark("apps", tmp_path / "checked.jsonl", max_solutions=5, path=path)
    assert [len(item.verdicts) for item in checked] == [5, 1, 5, 5, 5]
    assert not any(item.failed for item in checked)


@pytest.mark.parametrize(
    ("name", "path", "problems"),
    [
        ("humaneval", "humaneval/HumanEval.jsonl.gz", 164),
        ("humaneval", "humaneval/humanevalpack_python.jsonl", 164),
        ("mbpp", "mbpp/mbpp.jsonl", 974),
    ],
)
def test_all_reference_programs_satisfy_their_assertions(name, path, problems, tmp_path):
    # Also MBPP 367 and 927: what their tests set up needs the program, and comes after it.
    checked = check_benchmark(name, tmp_path / "checked.jsonl", path=DATA / path)
    assert len(checked) == problems
    assert [item.problem.id for item in checked if item.failed] == []


def test_all_buggy_programs_of_humanevalpack_fail():
    path = "humaneval/humanevalpack_python.jsonl"
    problems = load_benchmark("humaneval", path=DATA / path)
    codes = [row["prompt"] + row["buggy_solution"] for row in rows(path)]
    found = verdicts("humaneval", list(zip(problems, codes, strict=True)), time_limit=1)
    passed = [item.id for item, verdict in zip(problems, found, strict=True) if verdict.passed]
    assert passed == []


def test_programs_for_codecontests_get_their_label():
    problems = {
        problem.id: problem
        for problem in load_benchmark(
            "codecontests", path=DATA / "codecontests" / "sandboxfusion_train20.jsonl"
        )
    }
    assert len(problems) == 20
    assert [name for name in problems if "errata" in problems[name].metadata] == [
        "1157_C2. Increasing Subsequence (hard version)"
    ]
    labelled = rows("codecontests/own_solutions_train8.jsonl")
    found = verdicts("codecontests", [(problems[row["name"]], row["code"]) for row in labelled])
    for row, verdict in zip(labelled, found, strict=True):
        assert verdict.passed == (row["label"] == "correct"), row["note"]
        assert verdict.tests_total == row["n_tests"]


def test_programs_for_livecodebench_get_their_label():
    path = DATA / "livecodebench" / "sandboxfusion_lcb_v1_3rows.jsonl"
    problems = {problem.id: problem for problem in load_benchmark("livecodebench", path=path)}
    assert [problem.io_mode for problem in problems.values()].count("function") == 1
    labelled = rows("livecodebench/lcb_programs.jsonl")
    pairs = [(problems[row["question_id"].split("/")[-1]], row["code"]) for row in labelled]
    found = [verdict.passed for verdict in verdicts("livecodebench", pairs)]
    assert found == [row["label"] == "correct" for row in labelled]


def test_a_row_of_livecodebench_has_its_public_and_its_packed_tests():
    path = DATA / "livecodebench" / "kaggle_row_verbatim.json"
    (problem,) = load_benchmark("livecodebench", path=path)
    assert (problem.id, len(problem.tests)) == ("1873_A", 1 + 4)
    (code,) = [
        row["code"]
        for row in rows("livecodebench/lcb_programs.jsonl")
        if row["question_id"] == "1873_A" and row["label"] == "correct"
    ]
    assert verdicts("livecodebench", [(problem, code)])[0].passed
