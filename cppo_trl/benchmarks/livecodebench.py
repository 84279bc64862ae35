"""LiveCodeBench, code generation: 1,055 problems by date (Jain et al., arXiv 2403.07974).

The problems came in six files. `release_v5` is the first five of them together, `v5` the fifth
alone, `v4_v6` the last three: the names that LiveCodeBench gives them.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
import zlib
from typing import Any

from cppo_trl.problems import Problem, TestCase

from . import sandboxfusion
from .benchmark import Benchmark, Row
from .rows import (
    BROKEN_ENCODING,
    MALFORMED_TESTS,
    MISSING_FIELD,
    NO_TESTS,
    BadRow,
    date_field,
    id_field,
    parse_json,
    records,
    shown,
    text_field,
)
from .source_ids import slug, source_id

_PARTS = ("test.jsonl", *(f"test{number}.jsonl" for number in range(2, 7)))
_SEVERAL = "several outputs are right, and one is expected"
_INTERACTIVE = "interactive: it cannot be graded by tests"
_WRONG = "wrong tests"
# From LiveCodeBench's ERRATA.md and notes on it. Two more problems are said to accept several
# outputs; which, is not known here.
ERRATA = {
    "atcoder/abc311_c": _SEVERAL,
    "atcoder/abc326_d": _SEVERAL,
    "atcoder/abc327_b": _SEVERAL,
    "atcoder/abc333_e": _SEVERAL,
    "atcoder/abc343_e": _SEVERAL,
    "atcoder/abc362_c": _SEVERAL,
    "leetcode/find-words-containing-character": _SEVERAL,
    "leetcode/find-the-peaks": _SEVERAL,
    "leetcode/generate-binary-strings-without-adjacent-zeros": _SEVERAL,
    "atcoder/abc337_e": _INTERACTIVE,
    "atcoder/abc355_e": _INTERACTIVE,
    "atcoder/abc350_c": _WRONG,
    "atcoder/arc189_a": _WRONG,
    "leetcode/apply-operations-to-make-string-empty": _WRONG,
    "leetcode/most-frequent-ids": _WRONG,
}


def to_problem(row: Row, index: int = 0) -> Problem:
    """The problem in one row; raises `BadRow` or `ProblemError`."""
    if sandboxfusion.is_copy(row):
        row = sandboxfusion.livecodebench_row(row, decode(text_field(row, "test"), "field 'test'"))
    question_id = id_field(row, "question_id")
    platform = text_field(row, "platform").lower()
    title = text_field(row, "question_title", default="")
    tests = [
        *_tests(row.get("public_test_cases"), "public_test_cases"),
        *_tests(row.get("private_test_cases"), "private_test_cases"),
    ]
    if not tests:
        raise BadRow(NO_TESTS, "public and private tests are empty")
    kinds = {test.get("testtype") for test in tests}
    if len(kinds) > 1:
        raise BadRow(MALFORMED_TESTS, f"tests of several types: {sorted(map(str, kinds))}")
    is_function = kinds == {"functional"}
    return Problem(
        id=question_id,
        statement=text_field(row, "question_content", default=""),
        tests=tuple(TestCase(test["input"], test["output"]) for test in tests),
        io_mode="function" if is_function else "stdin",
        fn_name=_fn_name(row) if is_function else None,
        starter_code=text_field(row, "starter_code", default=""),
        difficulty=text_field(row, "difficulty", default="") or None,
        source=platform,
        metadata={
            "title": title,
            "date": date_field(row, "contest_date"),
            "contest_id": str(row.get("contest_id") or ""),
            # LeetCode's addresses have the title where the others' have the id.
            "source_id": source_id(
                platform, slug(title) if platform == "leetcode" and title else question_id
            ),
        },
    )


def solutions(row: Row) -> list[str]:
    """None: LiveCodeBench has no solutions."""
    return []


def _fn_name(row: Row) -> str:
    metadata = row.get("metadata")
    if isinstance(metadata, str):
        metadata = parse_json(metadata, "field 'metadata'")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("func_name"), str):
        raise BadRow(MISSING_FIELD, f"field 'metadata' is {shown(metadata)}, without 'func_name'")
    return metadata["func_name"]


def _tests(value: object, column: str) -> list[dict[str, Any]]:
    if isinstance(value, str):
        value = decode(value, f"field {column!r}") if value.strip() else []
    tests = records(value, ("input", "output", "testtype"), f"field {column!r}")
    for test in tests:
        if not isinstance(test["input"], str) or not isinstance(test["output"], str):
            raise BadRow(MALFORMED_TESTS, f"a test in {column!r} is {shown(test)}")
    return tests


class _PlainData(pickle.Unpickler):
    """Reads text and containers; whatever names a class or a function ends it.

    Without a class or a function a pickle can do nothing: all that could run is found by
    `find_class`, and there are no persistent ids.
    """

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and tests are plain data")


def decode(text: str, what: str) -> Any:
    """JSON; or else base64 of zlib's compression of a pickle of JSON text.

    Raises:
        BadRow: it is neither.
    """
    if text.lstrip()[:1] in ("[", "{"):
        return parse_json(text, what)
    try:
        packed = zlib.decompress(base64.b64decode(text, validate=True))
        found = _PlainData(io.BytesIO(packed)).load()
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise BadRow(BROKEN_ENCODING, f"{what} is {shown(text)}: {error}") from None
    except (ValueError, TypeError, LookupError, AttributeError, MemoryError) as error:
        # What the unpickler raises on bytes that are no pickle.
        raise BadRow(BROKEN_ENCODING, f"{what} is no pickle of text: {error}") from None
    return parse_json(found, what) if isinstance(found, str) else found


def _versions() -> dict[str, tuple[str, ...]]:
    last = len(_PARTS)
    releases = {f"release_v{end}": _PARTS[:end] for end in range(1, last + 1)}
    parts = {f"v{part}": (_PARTS[part - 1],) for part in range(1, last + 1)}
    ranges = {
        f"v{start}_v{end}": _PARTS[start - 1 : end]
        for start in range(1, last)
        for end in range(start + 1, last + 1)
    }
    return releases | {"release_latest": _PARTS} | parts | ranges


BENCHMARK = Benchmark(
    name="livecodebench",
    title="LiveCodeBench",
    hub_id="livecodebench/code_generation_lite",
    files={version: {"test": parts} for version, parts in _versions().items()},
    default_version="release_v6",
    to_problem=to_problem,
    solutions=solutions,
    compare="lcb",
    prelude="lcb",
    errata=ERRATA,
    is_dated=True,
)
