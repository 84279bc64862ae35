"""Problem: what it refuses, how it says so, and that no conversion loses anything."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cppo_trl.problems import (
    Problem,
    ProblemError,
    TestCase,
    problems_from_dataset,
    problems_to_dataset,
    read_problems,
    validate_problems,
    write_problems,
)

ROW = {"id": "p1", "statement": "Add two.", "tests": [{"input": "1 2\n", "output": "3\n"}]}
FUNCTION_ROW = {
    "id": "f1",
    "statement": "Add two.",
    "tests": [{"input": "1\n2", "output": "3"}],
    "fn_name": "add",
    "starter_code": "class Solution:\n    def add(self, a, b):\n        ",
    "time_limit": 2.5,
    "memory_limit": 256,
    "difficulty": "easy",
    "source": "handmade",
    "metadata": {"tags": ["math"], "rating": 800, "nested": {"none": None}},
}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
stdin_tests = st.lists(st.builds(TestCase, text, text), min_size=1, max_size=3)


@st.composite
def function_tests(draw: st.DrawFn) -> list[TestCase]:
    calls = draw(st.lists(st.lists(json_values, max_size=3), min_size=1, max_size=3))
    return [TestCase("\n".join(map(json.dumps, call)), json.dumps(draw(text))) for call in calls]


@st.composite
def problem_lists(draw: st.DrawFn) -> list[Problem]:
    problems = []
    for name in draw(st.lists(text.filter(bool), min_size=1, max_size=3, unique=True)):
        function = draw(st.booleans())
        problems.append(
            Problem(
                id=name,
                statement=draw(text),
                tests=tuple(draw(function_tests() if function else stdin_tests)),
                io_mode="function" if function else "stdin",
                fn_name=draw(st.sampled_from(["f", "isPrime"])) if function else None,
                starter_code=draw(text),
                time_limit=draw(st.none() | st.floats(0.5, 60)),
                memory_limit=draw(st.none() | st.integers(1, 4096)),
                difficulty=draw(st.none() | text),
                source=draw(st.none() | text),
                metadata=draw(st.dictionaries(text, json_values, max_size=3)),
            )
        )
    return problems


@given(problem_lists())
@settings(deadline=None)
def test_dict_round_trip_keeps_everything(problems: list[Problem]) -> None:
    assert [Problem.from_dict(problem.to_dict()) for problem in problems] == problems
    assert [Problem.from_dict(json.loads(json.dumps(p.to_dict()))) for p in problems] == problems


@given(problems=problem_lists())
@settings(deadline=None, max_examples=50)
def test_jsonl_round_trip_keeps_everything(
    tmp_path_factory: pytest.TempPathFactory, problems: list[Problem]
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "problems.jsonl"
    write_problems(problems, path)
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(problems)
    assert read_problems(path) == problems


@given(problem_lists())
@settings(deadline=None, max_examples=20)
def test_dataset_round_trip_keeps_everything(problems: list[Problem]) -> None:
    assert problems_from_dataset(problems_to_dataset(problems)) == problems


def test_dataset_schema_does_not_depend_on_the_rows() -> None:
    plain, full = Problem.from_dict(ROW), Problem.from_dict(FUNCTION_ROW)
    assert problems_to_dataset([plain]).features == problems_to_dataset([full]).features


def test_tests_may_be_columns() -> None:
    columns = {"input": ["1\n", "2\n"], "output": ["3\n", "4\n"]}
    tests = (TestCase("1\n", "3\n"), TestCase("2\n", "4\n"))
    assert Problem.from_dict(ROW | {"tests": columns}).tests == tests


def test_argument_lists_become_one_json_line_for_each_argument() -> None:
    tests = [{"input": [[1, 2], "a\nb", None], "output": "x"}, {"input": [], "output": True}]
    problem = Problem.from_dict(ROW | {"fn_name": "f", "tests": tests})
    assert problem.tests == (TestCase('[1, 2]\n"a\\nb"\nnull', '"x"'), TestCase("", "true"))


def test_argument_lists_hold_no_other_line_breaks() -> None:
    tests = {"input": [["a\u2028b\x85c\x0bd"]], "output": [1]}
    (test,) = Problem.from_dict(ROW | {"fn_name": "f", "tests": tests}).tests
    assert len(test.input.splitlines()) == 1


def test_io_mode_follows_from_the_function_name() -> None:
    assert Problem.from_dict(ROW).io_mode == "stdin"
    assert Problem.from_dict(ROW | {"fn_name": ""}).io_mode == "stdin"
    assert Problem.from_dict(FUNCTION_ROW).io_mode == "function"


def test_absent_and_none_are_the_same_for_optional_fields() -> None:
    optional = dict.fromkeys(FUNCTION_ROW.keys() - ROW.keys()) | {"io_mode": None}
    assert Problem.from_dict(ROW | optional) == Problem.from_dict(ROW)


def test_whole_number_ids_and_metadata_text_are_read() -> None:
    problem = Problem.from_dict(ROW | {"id": 7, "metadata": '{"a": [1]}'})
    assert (problem.id, problem.metadata) == ("7", {"a": [1]})


def test_problems_with_metadata_are_hashable() -> None:
    first, second = Problem.from_dict(FUNCTION_ROW), Problem.from_dict(FUNCTION_ROW)
    assert len({first, second}) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": ""}, "id"),
        ({"id": 1.5}, "id"),
        ({"id": None}, "id"),
        ({"statement": None}, "statement"),
        ({"statement": 3}, "statement"),
        ({"tests": []}, "tests"),
        ({"tests": None}, "tests"),
        ({"tests": "1 2"}, "tests"),
        ({"tests": {"input": ["1"], "output": []}}, "tests"),
        ({"tests": {"input": ["1"]}}, "tests"),
        ({"tests": [{"input": "1"}]}, "tests[0]"),
        ({"tests": [{"input": "1", "output": "1", "timeout": 3}]}, "tests[0]"),
        ({"tests": [{"input": "1", "output": "1"}, {"input": 1, "output": "1"}]}, "tests[1]"),
        ({"tests": [{"input": ["1", "2"], "output": "1"}]}, "tests[0]"),
        ({"fn_name": "f", "tests": [{"input": [{1, 2}], "output": 1}]}, "tests[0]"),
        ({"io_mode": "file"}, "io_mode"),
        ({"io_mode": "function"}, "fn_name"),
        ({"io_mode": "stdin", "fn_name": "add"}, "fn_name"),
        ({"fn_name": "os.system"}, "fn_name"),
        ({"fn_name": "lambda"}, "fn_name"),
        ({"time_limit": 0}, "time_limit"),
        ({"time_limit": float("nan")}, "time_limit"),
        ({"time_limit": "2"}, "time_limit"),
        ({"memory_limit": 1.5}, "memory_limit"),
        ({"memory_limit": True}, "memory_limit"),
        ({"starter_code": 1}, "starter_code"),
        ({"difficulty": 3}, "difficulty"),
        ({"metadata": "[1]"}, "metadata"),
        ({"metadata": "{"}, "metadata"),
        ({"statemnt": "x"}, "statemnt"),
    ],
)
def test_bad_rows_are_refused_by_row_and_field(change: dict, field: str) -> None:
    with pytest.raises(ProblemError) as refusal:
        Problem.from_dict(ROW | change, "row 12")
    assert str(refusal.value).startswith("row 12")
    assert field in str(refusal.value)


def test_a_refusal_names_the_value_and_what_is_allowed() -> None:
    with pytest.raises(ProblemError) as refusal:
        Problem.from_dict(ROW | {"io_mode": "file"}, "row 3")
    expected = "row 3, problem 'p1': field 'io_mode' is 'file'; it must be one of"
    assert str(refusal.value) == f"{expected} ('stdin', 'function', 'assertions')"


def test_huge_values_do_not_flood_the_message() -> None:
    with pytest.raises(ProblemError) as refusal:
        Problem.from_dict(ROW | {"tests": "x" * 100_000})
    assert len(str(refusal.value)) < 300


def test_direct_construction_is_checked_too() -> None:
    with pytest.raises(ProblemError, match="'tests' is"):
        Problem(id="a", statement="", tests=())
    with pytest.raises(ProblemError, match="'io_mode' is 'file'"):
        Problem(id="a", statement="", tests=(TestCase("", ""),), io_mode="file")


def test_duplicate_ids_are_refused_with_both_rows() -> None:
    problems = [Problem.from_dict(ROW | {"id": name}) for name in ("a", "b", "a")]
    with pytest.raises(ProblemError, match="row 2: field 'id' is 'a', as in row 0"):
        validate_problems(problems)


def test_no_problems_are_refused() -> None:
    with pytest.raises(ProblemError, match="no problems"):
        validate_problems([])


def test_plain_dicts_are_not_taken_for_problems() -> None:
    with pytest.raises(ProblemError, match="row 0 is a dict"):
        validate_problems([ROW])


@pytest.mark.parametrize("test", [TestCase("1 2", "3"), TestCase("1", "yes"), TestCase("1", "")])
def test_function_tests_that_are_not_json_are_refused(test: TestCase) -> None:
    problem = Problem("a", "", (TestCase("1", "1"), test), io_mode="function", fn_name="f")
    with pytest.raises(ProblemError, match=r"row 0, problem 'a': tests\[1\]"):
        validate_problems([problem])


def test_function_tests_may_hold_integers_of_any_length() -> None:
    digits = "7" * 5000  # past the 4,300 digits that `int` converts
    problem = Problem("a", "", (TestCase(digits, digits),), io_mode="function", fn_name="f")
    assert validate_problems([problem]) == [problem]


def test_a_bad_line_of_a_file_is_named(tmp_path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(ROW) + "\n\n" + json.dumps(ROW | {"id": "b", "tests": []}) + "\n")
    with pytest.raises(ProblemError, match=r"^train\.jsonl, line 3, problem 'b': field 'tests'"):
        read_problems(path)
    path.write_text(json.dumps(ROW) + "\n{oops\n")
    with pytest.raises(ProblemError, match=r"^train\.jsonl, line 2: not JSON"):
        read_problems(path)


def test_a_line_that_does_not_go_with_the_others_is_named(tmp_path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(json.dumps(ROW) + "\n\n" + json.dumps(ROW) + "\n")
    with pytest.raises(ProblemError, match=r"^train\.jsonl, line 3: .* as in .*, line 1;"):
        read_problems(path)
    tests = [{"input": "x", "output": "1"}]
    path.write_text("\n" + json.dumps(ROW | {"fn_name": "f", "tests": tests}) + "\n")
    with pytest.raises(ProblemError, match=r"^train\.jsonl, line 2, problem 'p1': tests\[0\]"):
        read_problems(path)


def test_a_time_limit_may_be_of_any_length() -> None:
    assert Problem.from_dict(ROW | {"time_limit": 10**400}).time_limit == 10**400


def test_metadata_that_json_cannot_hold_leaves_the_file_alone(tmp_path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text("before")
    with pytest.raises(ProblemError, match="'metadata' must fit JSON"):
        write_problems([Problem.from_dict(ROW | {"metadata": {"when": object()}})], path)
    assert path.read_text() == "before"


def test_pure_modules_import_neither_trl_nor_peft_nor_transformers() -> None:
    code = (
        "import sys, cppo_trl.problems, cppo_trl.plans, cppo_trl.prompts, cppo_trl.rewards\n"
        "import cppo_trl.advantages, cppo_trl.judges, cppo_trl.evaluation\n"
        "print([name for name in ('trl', 'peft', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
