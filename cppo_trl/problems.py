"""Problems with tests: the one thing that flows through planning, solving, judging and verifying.

A `Problem` is immutable and checked when it is built, so code that holds one need not check it
again. It travels as a plain dict (`Problem.from_dict`, `Problem.to_dict`), as a line of a JSONL
file (`read_problems`, `write_problems`) and as a row of a `datasets.Dataset`
(`problems_to_dataset`, `problems_from_dataset`).
"""

from __future__ import annotations

import json
import keyword
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datasets import Dataset

IO_MODES = ("stdin", "function", "assertions")


class ProblemError(ValueError):
    """A problem that cannot be used; the message names row, field, value and what is allowed."""


def _refuse(name: str, value: object, allowed: str) -> ProblemError:
    shown = repr(value)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return ProblemError(f"field {name!r} is {shown}; it must be {allowed}")


@dataclass(frozen=True)
class TestCase:
    """One test: what the program gets and what it must give back, both as text.

    For the io mode "stdin", `input` is standard input and `output` the expected standard output.
    For "function", `input` holds one JSON value per line, one line per argument, and `output` is
    one JSON value. For "assertions", both are Python code in the program's namespace: `input`
    runs before it (what it may take for granted; may be empty), `output` after it, and raises where
    the program is wrong.
    """

    __test__ = False  # pytest would collect a class of this name

    input: str
    output: str

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            if not isinstance(getattr(self, name), str):
                raise _refuse(name, getattr(self, name), "text")


@dataclass(frozen=True)
class Problem:
    """One programming problem with its tests.

    `id` is unique within a data set. `statement` may be empty for rows that are only verified,
    never prompted with. `fn_name` is the function (or the method of a `class Solution`) to write,
    absent for the io mode "stdin" and required otherwise: "function" calls it with each test's
    arguments, "assertions" leaves that to each test's code. Prefer "function" where data will do:
    then a program never meets what it is compared with (`cppo_trl.verifier.program` says what that
    means for assertions). `time_limit` is in seconds and
    `memory_limit` in MB, each for one test; None leaves the verifier's default. `metadata` holds
    anything that JSON can hold and takes no part in hashing.

    Raises:
        ProblemError: a field has a type or a value that is not allowed, or there are no tests.
    """

    id: str
    statement: str
    tests: tuple[TestCase, ...]
    io_mode: Literal["stdin", "function", "assertions"] = "stdin"
    fn_name: str | None = None
    starter_code: str = ""
    time_limit: float | None = None
    memory_limit: int | None = None
    difficulty: str | None = None
    source: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise _refuse("id", self.id, "a non-empty string")
        for name in ("statement", "starter_code"):
            if not isinstance(getattr(self, name), str):
                raise _refuse(name, getattr(self, name), "a string")
        for name in ("difficulty", "source"):
            if not isinstance(getattr(self, name), (str, type(None))):
                raise _refuse(name, getattr(self, name), "a string or None")
        listed = isinstance(self.tests, (list, tuple)) and self.tests
        if not listed or not all(isinstance(test, TestCase) for test in self.tests):
            raise _refuse("tests", self.tests, "a tuple of one TestCase or more")
        # A list is what callers naturally write; a tuple keeps the problem immutable and hashable.
        object.__setattr__(self, "tests", tuple(self.tests))
        if self.io_mode not in IO_MODES:
            raise _refuse("io_mode", self.io_mode, f"one of {IO_MODES}")
        if self.io_mode != "stdin":
            named = isinstance(self.fn_name, str) and self.fn_name.isidentifier()
            if not named or keyword.iskeyword(self.fn_name):
                raise _refuse(
                    "fn_name", self.fn_name, f"a Python name when io_mode is {self.io_mode!r}"
                )
        elif self.fn_name is not None:
            raise _refuse("fn_name", self.fn_name, "None when io_mode is 'stdin'")
        if self.io_mode == "assertions":
            for index, test in enumerate(self.tests):
                if not test.output.strip():
                    raise _refuse(f"tests[{index}].output", test.output, "code with assertions")
        for name, kinds in (("time_limit", (int, float)), ("memory_limit", int)):
            value = getattr(self, name)
            number = isinstance(value, kinds) and not isinstance(value, bool)
            if value is not None and not (number and 0 < value < math.inf):
                unit = "seconds" if name == "time_limit" else "whole MB"
                raise _refuse(name, value, f"a positive number of {unit}, or None")
        if not isinstance(self.metadata, Mapping):
            raise _refuse("metadata", self.metadata, "a mapping")

    @classmethod
    def from_dict(cls, row: Mapping[str, Any], where: str = "") -> Problem:
        """Builds a problem from plain data: a JSON object, or a row of a data set.

        Beyond what `to_dict` writes it accepts `tests` as `{"input": [...], "output": [...]}`, a
        whole number as `id`, `metadata` as a JSON string, None for any optional field, and, for the
        io mode "function", an input given as a list of arguments (its output is then a value, not
        text). `io_mode` defaults to "function" when `fn_name` is given. `where` names the row in
        error messages, for example "train.jsonl, line 3".

        Raises:
            ProblemError: an unknown or missing key, or a value that is not allowed.
        """
        try:
            return cls(**_arguments(row))
        except ProblemError as error:
            known = f"problem {row['id']!r}" if isinstance(row, Mapping) and row.get("id") else ""
            place = ", ".join(part for part in (where, known) if part)
            raise ProblemError(f"{place}: {error}" if place else str(error)) from error

    def to_dict(self) -> dict[str, Any]:
        """The problem as plain data, with every field present, which `from_dict` reads back."""
        row = {item.name: getattr(self, item.name) for item in fields(self)}
        row["tests"] = [{"input": test.input, "output": test.output} for test in self.tests]
        row["metadata"] = dict(self.metadata)
        return row


def _arguments(row: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's keyword arguments from one row of plain data."""
    if not isinstance(row, Mapping):
        raise ProblemError(f"a problem must be a mapping of fields, not {type(row).__name__}")
    allowed = [item.name for item in fields(Problem)]
    unknown = sorted(str(name) for name in row if name not in allowed)
    if unknown:
        raise ProblemError(
            f"unknown field {', '.join(map(repr, unknown))}; allowed are {', '.join(allowed)}"
        )
    given = {name: value for name, value in row.items() if value is not None}
    missing = [name for name in ("id", "statement", "tests") if name not in given]
    if missing:
        raise ProblemError(f"field {missing[0]!r} is missing")
    if isinstance(given["id"], int) and not isinstance(given["id"], bool):
        given["id"] = str(given["id"])
    if not given.get("fn_name", True):  # "" is how text-only formats write None
        del given["fn_name"]
    given.setdefault("io_mode", "function" if "fn_name" in given else "stdin")
    given["tests"] = _tests(given["tests"], given["io_mode"])
    if isinstance(given.get("metadata"), str):
        try:
            given["metadata"] = json.loads(given["metadata"])
        except ValueError:
            raise _refuse(
                "metadata", given["metadata"], "a mapping, or a JSON object as text"
            ) from None
    return given


def _tests(tests: object, io_mode: str) -> tuple[TestCase, ...]:
    allowed = "a list of {'input', 'output'} or {'input': [...], 'output': [...]} of equal lengths"
    if isinstance(tests, Mapping):
        columns = [tests.get("input"), tests.get("output")]
        listed = all(isinstance(column, (list, tuple)) for column in columns)
        if set(tests) != {"input", "output"} or not listed or len(columns[0]) != len(columns[1]):
            raise _refuse("tests", tests, allowed)
        tests = [
            {"input": given, "output": expected} for given, expected in zip(*columns, strict=True)
        ]
    if not isinstance(tests, (list, tuple)):
        raise _refuse("tests", tests, allowed)
    cases = []
    for index, test in enumerate(tests):
        if isinstance(test, TestCase):
            cases.append(test)
            continue
        if not isinstance(test, Mapping) or set(test) != {"input", "output"}:
            raise _refuse(f"tests[{index}]", test, "{'input': ..., 'output': ...}")
        given, expected = test["input"], test["output"]
        try:
            if io_mode == "function" and isinstance(given, (list, tuple)):
                # ASCII JSON has no raw line break of any kind, so a line is an argument.
                given, expected = "\n".join(map(json.dumps, given)), json.dumps(expected)
            cases.append(TestCase(given, expected))
        except (ValueError, TypeError) as error:  # ProblemError is a ValueError
            raise ProblemError(f"tests[{index}]: {error}") from error
    return tuple(cases)


def validate_problems(problems: Iterable[Problem]) -> list[Problem]:
    """Checks a set of problems as a whole and returns it as a list.

    Raises:
        ProblemError: there are none, two share an id, or a function's test is not JSON.
    """
    return validate_rows((f"row {row}", problem) for row, problem in enumerate(problems))


def validate_rows(rows: Iterable[tuple[str, Problem]]) -> list[Problem]:
    """As `validate_problems`, for problems that come with their places, as `read_rows` names them.

    Raises:
        ProblemError: as `validate_problems`, naming the place.
    """
    rows = list(rows)
    if not rows:
        raise ProblemError("there are no problems; at least one is needed")
    first: dict[str, str] = {}
    for where, problem in rows:
        if not isinstance(problem, Problem):
            raise ProblemError(
                f"{where} is a {type(problem).__name__}; build it with Problem.from_dict"
            )
        if problem.id in first:
            raise ProblemError(
                f"{where}: field 'id' is {problem.id!r}, as in {first[problem.id]}; "
                "ids must be unique"
            )
        first[problem.id] = where
        if problem.io_mode == "function":
            _check_json(problem, where)
    return [problem for _, problem in rows]


def _check_json(problem: Problem, where: str) -> None:
    for index, test in enumerate(problem.tests):
        place = f"{where}, problem {problem.id!r}: tests[{index}]"
        lines = [("input", line) for line in test.input.split("\n") if line.strip()]
        for name, text in [*lines, ("output", test.output)]:
            try:
                json.loads(
                    text, parse_int=len
                )  # `len`: real tests hold integers too long for `int`
            except (ValueError, RecursionError):
                raise ProblemError(
                    f"{place}: {_refuse(name, text, 'JSON, one value a line')}"
                ) from None


def _metadata_text(problem: Problem) -> str:
    try:
        return json.dumps(dict(problem.metadata))
    except (TypeError, ValueError) as error:
        raise ProblemError(
            f"problem {problem.id!r}: field 'metadata' must fit JSON: {error}"
        ) from error


def problems_to_dataset(problems: Iterable[Problem]) -> Dataset:
    """A `datasets.Dataset` with one row per problem and one column per field.

    `metadata` becomes a JSON string, since Arrow wants one schema for all rows.

    Raises:
        ProblemError: as `validate_problems`, or metadata that JSON cannot hold.
    """
    from datasets import Dataset, Features, Value

    text = Value(
        "large_string"
    )  # hidden tests of one benchmark pass the 2 GB that a `string` column holds
    features = {item.name: text for item in fields(Problem)}
    features["tests"] = [{"input": text, "output": text}]
    features["time_limit"] = Value("float64")
    features["memory_limit"] = Value("int64")
    rows = [
        problem.to_dict() | {"metadata": _metadata_text(problem)}
        for problem in validate_problems(problems)
    ]
    return Dataset.from_list(rows, features=Features(features))


def problems_from_dataset(dataset: Iterable[Mapping[str, Any]]) -> list[Problem]:
    """The problems of a data set (or of any iterable of rows), in order.

    Raises:
        ProblemError: as `Problem.from_dict` and `validate_problems`, naming the row (from 0).
    """
    return validate_problems(
        Problem.from_dict(row, f"row {index}") for index, row in enumerate(dataset)
    )


def read_problems(path: str | Path) -> list[Problem]:
    """The problems of a JSONL file, one JSON object a line; blank lines are skipped.

    Raises:
        ProblemError: as `Problem.from_dict` and `validate_problems`, naming the line (from 1).
        OSError: the file cannot be read.
    """
    return validate_rows((where, Problem.from_dict(row, where)) for where, row in read_rows(path))


def read_rows(path: str | Path) -> Iterator[tuple[str, Any]]:
    """The place (as in "train.jsonl, line 3") and the value of each line of a JSONL file.

    Blank lines are skipped.

    Raises:
        ProblemError: a line is not JSON.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{Path(path).name}, line {number}"
            try:
                yield where, json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise ProblemError(f"{where}: not JSON: {error}") from error


def write_problems(problems: Iterable[Problem], path: str | Path) -> None:
    """Writes problems as JSONL, in order, which `read_problems` reads back.

    Raises:
        ProblemError: as `validate_problems`, or metadata that JSON cannot hold; then no file is
            written.
        OSError: the file cannot be written.
    """
    lines = []
    for problem in validate_problems(problems):
        _metadata_text(problem)
        lines.append(json.dumps(problem.to_dict()) + "\n")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(lines)
