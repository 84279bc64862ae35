"""The loaders of benchmarks, on rows made here in the upstream encodings, good and bad ones."""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
import zlib
from datetime import datetime

import pytest
from datasets import Dataset

from cppo_trl import CodeVerifier, TestCase
from cppo_trl.benchmarks import BENCHMARKS, BadRow, BenchmarkError, load_benchmark
from cppo_trl.benchmarks.apps import to_problem as apps_problem
from cppo_trl.benchmarks.codecontests import to_problem as codecontests_problem
from cppo_trl.benchmarks.humaneval import to_problem as humaneval_problem
from cppo_trl.benchmarks.livecodebench import BENCHMARK as LIVECODEBENCH
from cppo_trl.benchmarks.livecodebench import to_problem as livecodebench_problem
from cppo_trl.benchmarks.source_ids import source_id_of_url
from cppo_trl.benchmarks.taco import to_problem as taco_problem
from cppo_trl.problems import write_problems
from upstream_rows import (
    ROWS,
    SQUARE_STARTER,
    apps_function_row,
    apps_row,
    codecontests_row,
    humaneval_row,
    leetcode_row,
    livecodebench_function_row,
    livecodebench_row,
    mbpp_row,
    packed,
    taco_row,
)

HUGE = "9" * 5000  # digits; CPython converts 4,300 unless told otherwise


@pytest.fixture
def write(tmp_path):
    """Writes rows, or lines of text, to a file and gives its path."""

    def to_file(*rows, name="rows.jsonl"):
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "wt") as file:
            file.write("\n".join(lines) + "\n")
        return path

    return to_file


@pytest.fixture(scope="module")
def verifier():
    with CodeVerifier(workers=1) as verifier:
        yield verifier


# Good rows


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmarks_own_solution_passes_and_another_program_does_not(name, write, verifier):
    (problem,) = load_benchmark(name, path=write(ROWS[name]()), with_solutions=True)
    (solution,) = problem.metadata["solutions"] or ["print(sum(map(int, input().split())))"]
    assert verifier.verify(problem, solution).passed
    other = "print(4)\nclass Solution:\n    def square(self, x): return 1\ndef square(x): return 1"
    assert not verifier.verify(problem, other).passed


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "json", "parquet"])
def test_every_kind_of_file_gives_the_same_problems(name, suffix, write, tmp_path):
    row = ROWS[name]()
    expected = load_benchmark(name, path=write(row))
    path = tmp_path / f"other.{suffix}"
    if suffix == "parquet":
        Dataset.from_list([row]).to_parquet(path)
    else:
        write(row, name=path.name)
    assert load_benchmark(name, path=path, progress=False) == expected


def test_a_hub_folder_is_read_by_split_and_version(write, tmp_path):
    for number, name in enumerate(("test.jsonl", "test2.jsonl", "test3.jsonl"), start=1):
        write(livecodebench_row(question_id=f"p{number}"), name=f"lcb/{name}")
    folder = tmp_path / "lcb"

    def ids(version):
        return [p.id for p in load_benchmark("livecodebench", path=folder, version=version)]

    assert ids("release_v2") == ["p1", "p2"]
    assert ids("v2") == ["p2"]
    assert ids("v2_v3") == ["p2", "p3"]
    with pytest.raises(BenchmarkError, match=r"test4\.jsonl"):
        ids("release_v6")


def test_every_release_and_window_of_livecodebench_has_its_files():
    files = {version: splits["test"] for version, splits in LIVECODEBENCH.files.items()}
    rows = dict(zip(files["release_v6"], (400, 111, 101, 101, 167, 175), strict=True))
    counts = {version: sum(map(rows.get, names)) for version, names in files.items()}
    assert [counts[f"release_v{n}"] for n in range(1, 7)] == [400, 511, 612, 713, 880, 1055]
    assert [counts[f"v{n}"] for n in range(1, 7)] == [400, 111, 101, 101, 167, 175]
    assert (counts["v4_v6"], counts["release_latest"], len(files)) == (443, 1055, 6 + 6 + 15 + 1)


def test_the_folders_of_apps_give_what_its_rows_give(write, tmp_path):
    row = apps_row()
    folder = tmp_path / "APPS" / "test" / "0007"
    folder.mkdir(parents=True)
    (folder / "question.txt").write_text(row["question"])
    for column in ("solutions", "input_output"):
        (folder / f"{column}.json").write_text(row[column])
    described = {name: row[name] for name in ("difficulty", "url")}
    (folder / "metadata.json").write_text(json.dumps(described))
    expected = load_benchmark("apps", path=write(row))
    for path in (tmp_path / "APPS", folder.parent):
        assert load_benchmark("apps", path=path) == expected


@pytest.mark.parametrize(
    ("outputs", "starter_code", "expected"),
    [
        ([0, 1, 4], SQUARE_STARTER, ["0", "1", "4"]),
        ([[0], [1], [4]], "def square(x):\n\t", ["0", "1", "4"]),
        ([[[0]], [[1]]], "def square(x):\n\t", ["[0]", "[1]"]),
        ([[0], [1, 2]], "def square(x):\n\t", ["[0]", "[1, 2]"]),
        ([[0], [1]], "class Solution:\n    def square(self, x) -> List[int]:", ["[0]", "[1]"]),
    ],
)
def test_results_of_apps_are_taken_out_of_their_lists(outputs, starter_code, expected):
    problem = apps_problem(apps_function_row(outputs, starter_code))
    assert [test.output for test in problem.tests] == expected
    assert (problem.io_mode, problem.fn_name) == ("function", "square")


def test_the_id_of_apps_may_be_called_id():
    row = apps_row()
    row["id"] = row.pop("problem_id")
    assert apps_problem(row).id == "7"


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, None),
        ({"seconds": 0, "nanos": 500_000_000}, 0.5),
        ({"seconds": 2, "nanos": None}, 2.0),
        ({"seconds": 0, "nanos": 0}, None),
    ],
)
def test_a_time_limit_of_codecontests_may_be_none(limit, expected):
    assert codecontests_problem(codecontests_row(time_limit=limit)).time_limit == expected


def test_missing_time_limits_are_counted(write):
    row = codecontests_row(name="2_B. Other", time_limit=None)
    problems = load_benchmark("codecontests", path=write(row, codecontests_row()))
    assert "1 without a time limit" in problems.describe()


def test_text_that_is_not_utf_8_is_a_bad_row(write):
    path = write(apps_row())
    path.write_bytes(path.read_bytes() + json.dumps(apps_row()).encode().replace(b"sum", b"\xff"))
    assert load_benchmark("apps", path=path, on_bad_row="skip").skipped == {"malformed JSON": 1}


def test_codecontests_uses_all_its_tests_public_first():
    tests = {"input": ["5 6\n"], "output": ["11\n"]}
    problem = codecontests_problem(codecontests_row(generated_tests=tests))
    assert [test.output for test in problem.tests] == ["3\n", "7\n", "11\n"]
    assert (problem.source, problem.difficulty, problem.memory_limit) == ("codeforces", "A", 244)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2.0 seconds", 2.0), ("1 second", 1.0), ("0.5 - 1 seconds", 0.5), (None, None), ("?", None)],
)
def test_limits_of_taco_are_read_from_text(text, seconds):
    problem = taco_problem(taco_row(time_limit=text), index=3)
    assert (problem.id, problem.time_limit, problem.memory_limit) == ("3", seconds, 256)


@pytest.mark.parametrize("date", ["2024-08-31T00:00:00", "2024-08-31", datetime(2024, 8, 31)])
def test_a_date_may_be_text_or_a_datetime(date):
    assert livecodebench_problem(livecodebench_row(contest_date=date)).metadata["date"] == (
        "2024-08-31"
    )


def test_tests_of_livecodebench_may_be_a_list_or_text_or_packed():
    tests = [{"input": "3 4\n", "output": "7\n", "testtype": "stdin"}]
    for private in (tests, json.dumps(tests), packed(json.dumps(tests)), packed(tests)):
        problem = livecodebench_problem(livecodebench_row(private_test_cases=private))
        assert problem.tests == (TestCase("1 2", "3"), TestCase("3 4\n", "7\n"))


def test_functions_of_livecodebench_have_their_name_from_the_metadata():
    problem = livecodebench_problem(livecodebench_function_row())
    assert (problem.io_mode, problem.fn_name) == ("function", "square")
    assert problem.metadata["source_id"] == "leetcode/square"


def test_integers_of_any_length_are_kept_digit_for_digit(write, verifier):
    tests = {"fn_name": "same", "inputs": [["HUGE"]], "outputs": [["HUGE"]]}
    text = json.dumps(tests).replace('"HUGE"', HUGE)
    row = apps_row(input_output=text)
    limit = sys.get_int_max_str_digits()
    (problem,) = load_benchmark("apps", path=write(row))
    assert sys.get_int_max_str_digits() == limit
    assert problem.tests == (TestCase(HUGE, HUGE),)
    assert verifier.verify(problem, "def same(x):\n    return x").passed


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://codeforces.com/problemset/problem/1036/B", "codeforces/1036_b"),
        ("http://www.codeforces.com/contest/1036/problem/B", "codeforces/1036_b"),
        ("https://atcoder.jp/contests/arc063/tasks/arc063_c", "atcoder/arc063_c"),
        ("https://leetcode.com/problems/two-sum/", "leetcode/two-sum"),
        ("https://www.codechef.com/JAN20/problems/A3", "codechef/a3"),
        ("https://open.kattis.com/problems/hello", "kattis/problems/hello"),
        ("", None),
    ],
)
def test_a_url_gives_the_source_id(url, expected):
    assert source_id_of_url(url) == expected


def test_the_same_problem_has_one_source_id_in_all_benchmarks():
    ids = {
        apps_problem(apps_row()).metadata["source_id"],
        taco_problem(taco_row()).metadata["source_id"],
        codecontests_problem(codecontests_row()).metadata["source_id"],
        livecodebench_problem(livecodebench_row(platform="codeforces", question_id="1_A")).metadata[
            "source_id"
        ],
    }
    assert ids == {"codeforces/1_a"}


def test_a_completed_function_alone_is_graded_as_the_whole_prompt(verifier):
    problem = humaneval_problem(humaneval_row())
    assert verifier.verify(problem, "def square(x):\n    return x * x").passed
    assert not verifier.verify(problem, "def square(x):\n    return 9").passed


# Bad rows

GARBAGE = base64.b64encode(zlib.compress(b"no pickle")).decode()
BAD_ROWS = [
    ("apps", apps_row(input_output=""), "no tests"),
    ("apps", apps_row(input_output=None), "no tests"),
    ("apps", apps_row(input_output='{"inputs": [], "outputs": []}'), "no tests"),
    ("apps", apps_row(input_output='{"inputs": ["1"], '), "malformed JSON"),
    ("apps", apps_row(input_output='{"inputs": ["1"], "outputs": ["1", "2"]}'), "malformed tests"),
    ("apps", apps_row(question=None), "missing field"),
    ("apps", apps_row(problem_id=None), "missing field"),
    ("apps", "{", "malformed JSON"),
    ("apps", "[1]", "invalid problem"),
    ("taco", taco_row(input_output=""), "no tests"),
    (
        "codecontests",
        codecontests_row(public_tests=None, private_tests={"input": [], "output": []}),
        "no tests",
    ),
    (
        "codecontests",
        codecontests_row(public_tests={"input": ["1"], "output": []}),
        "malformed tests",
    ),
    ("codecontests", codecontests_row(name=None), "missing field"),
    (
        "livecodebench",
        livecodebench_row(public_test_cases="[]", private_test_cases=""),
        "no tests",
    ),
    ("livecodebench", livecodebench_row(private_test_cases="eJx!broken"), "broken encoding"),
    ("livecodebench", livecodebench_row(private_test_cases="YWJj"), "broken encoding"),
    ("livecodebench", livecodebench_row(private_test_cases=GARBAGE), "broken encoding"),
    ("livecodebench", livecodebench_row(private_test_cases=packed(os.getcwd)), "broken encoding"),
    ("livecodebench", livecodebench_row(public_test_cases="[{"), "malformed JSON"),
    ("livecodebench", livecodebench_function_row() | {"metadata": "{}"}, "missing field"),
    ("humaneval", humaneval_row(test=""), "no tests"),
    ("humaneval", humaneval_row(prompt="def ("), "invalid problem"),
    ("mbpp", mbpp_row(test_list=[], challenge_test_list=[]), "no tests"),
    ("mbpp", mbpp_row(test_list="assert"), "malformed tests"),
    ("mbpp", mbpp_row(test_list=["assert True"]), "invalid problem"),
    ("leetcode", leetcode_row(test=""), "no tests"),
    ("leetcode", leetcode_row(entry_point="Solution().class"), "invalid problem"),
    ("jsonl", {"id": "a", "statement": "", "tests": []}, "no tests"),
    ("jsonl", {"id": "a", "statement": "", "tests": [{"input": 1}]}, "invalid problem"),
]


@pytest.mark.parametrize(("name", "row", "reason"), BAD_ROWS)
def test_a_bad_row_is_named_or_counted(name, row, reason, write):
    path = write(ROWS[name](), row)
    with pytest.raises(BadRow) as refusal:
        load_benchmark(name, path=path)
    assert refusal.value.reason == reason
    said = str(refusal.value)
    assert said.startswith(f"{BENCHMARKS[name].title}: rows.jsonl, line 2")
    assert reason in said
    assert len(said) < 400
    problems = load_benchmark(name, path=path, on_bad_row="skip")
    assert (len(problems), dict(problems.skipped)) == (1, {reason: 1})
    assert f"1 bad rows skipped ({reason}: 1)" in problems.describe()


def test_a_row_with_the_id_of_another_is_bad(write):
    path = write(apps_row(), apps_row())
    with pytest.raises(BadRow, match=r"duplicate id.*line 1"):
        load_benchmark("apps", path=path)
    assert load_benchmark("apps", path=path, on_bad_row="skip").skipped == {"duplicate id": 1}


def test_a_pickle_is_never_executed(tmp_path):
    class Touch:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    for value in (Touch(), [Touch()], {"input_output": Touch()}):
        with pytest.raises(BadRow, match="plain data"):
            livecodebench_problem(livecodebench_row(private_test_cases=packed(value)))
    assert not (tmp_path / "executed").exists()


# What is asked for


FILTERED = [
    ({"difficulty": "hard"}, ["b"]),
    ({"difficulty": ["hard", "easy"]}, ["a", "b", "c"]),
    ({"platform": "leetcode"}, ["c"]),
    ({"io_mode": "function"}, ["c"]),
    ({"start_date": "2024-09-01"}, ["b"]),
    ({"start_date": "2024-01-01", "end_date": "2024-08-31"}, ["a"]),
    ({"num_tests": (2, 2)}, ["a", "c"]),
    ({"num_tests": (3, None)}, ["b"]),
    ({"ids": ["c", "a"]}, ["a", "c"]),
]


@pytest.mark.parametrize(("asked", "expected"), FILTERED)
def test_filters_keep_what_is_asked_for(asked, expected, write):
    three = [{"input": "1 2", "output": "3", "testtype": "stdin"}] * 2
    path = write(
        livecodebench_row(question_id="a"),
        livecodebench_row(
            question_id="b",
            difficulty="hard",
            contest_date="2025-01-01",
            public_test_cases=json.dumps(three),
        ),
        livecodebench_function_row() | {"question_id": "c", "contest_date": None},
    )
    problems = load_benchmark("livecodebench", path=path, **asked)
    assert [problem.id for problem in problems] == expected
    assert problems.filtered.total() == 3 - len(expected)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("appz", {}, "apps"),
        ("apps", {"split": "valid", "path": None}, "train, test"),
        ("livecodebench", {"version": "v7", "path": None}, "release_v6"),
        ("apps", {"version": "v1", "path": None}, "no versions"),
        ("jsonl", {"path": None}, "give its path"),
        ("apps", {"path": "missing.jsonl"}, "missing.jsonl"),
        ("apps", {"path": __file__}, ".parquet"),
        ("apps", {"start_date": "2024-01-01"}, "no dates"),
        ("taco", {"start_date": "31.8.2024"}, "2024-08-31"),
        ("apps", {"difficulty": "hard"}, "introductory"),
        ("apps", {"ids": ["7", "8"]}, "8"),
        ("apps", {"io_mode": "files"}, "stdin"),
        ("apps", {"num_tests": (3, 2)}, "num_tests"),
        ("apps", {"max_tests": 0}, "max_tests"),
        ("apps", {"errata": "fix"}, "mark, drop"),
        ("apps", {"on_bad_row": "warn"}, "error, skip"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_can(name, options, said, write):
    row = ROWS.get(name, apps_row)()
    with pytest.raises(BenchmarkError, match=said.replace(".", r"\.")):
        load_benchmark(name, **{"path": write(row), **options})


def test_all_tests_are_used_unless_a_cap_is_asked_for_and_told(write):
    path = write(apps_row())
    problems = load_benchmark("apps", path=path)
    assert (len(problems[0].tests), problems.max_tests) == (2, None)
    assert "all tests" in problems.describe()
    capped = load_benchmark("apps", path=path, max_tests=1)
    assert (len(capped[0].tests), capped.max_tests) == (1, 1)
    assert capped[0].metadata["num_tests"] == 2
    assert "AT MOST 1 TESTS" in capped.describe()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("codecontests", codecontests_row(name="1157_C2. Increasing Subsequence")),
        ("livecodebench", livecodebench_row(question_id="abc337_e")),
        ("livecodebench", livecodebench_row(platform="leetcode", question_title="Find the Peaks")),
    ],
)
def test_known_errata_are_marked_or_left_out(name, row, write):
    path = write(row, ROWS[name](name="2_B. Other", question_id="abc2_b"))
    marked = load_benchmark(name, path=path)
    assert ["errata" in problem.metadata for problem in marked] == [True, False]
    assert "1 with known errata" in marked.describe()
    dropped = load_benchmark(name, path=path, errata="drop")
    assert (len(dropped), dropped.dropped_errata) == (1, 1)


def test_problems_of_a_benchmark_can_be_written_for_training(write, tmp_path):
    problems = load_benchmark("livecodebench", path=write(livecodebench_row()))
    write_problems(problems, tmp_path / "problems.jsonl")
    assert load_benchmark("jsonl", path=tmp_path / "problems.jsonl") == problems


def test_progress_is_shown_where_loading_takes_long(write, capfd, monkeypatch):
    from cppo_trl.benchmarks import load

    monkeypatch.setattr(load, "BAR_DELAY", 0.0)
    load_benchmark("apps", path=write(apps_row()))
    assert "load apps" in capfd.readouterr().err
    load_benchmark("apps", path=write(apps_row()), progress=False)
    assert capfd.readouterr().err == ""
