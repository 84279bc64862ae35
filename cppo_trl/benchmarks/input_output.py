"""The field `input_output` of APPS and TACO -> tests.

It is JSON text: `{"inputs": [...], "outputs": [...]}`, with `fn_name` where a function is called.
Standard input and output are text or lists of lines; arguments are lists, results the value or a
list of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cppo_trl.problems import TestCase

from .rows import MALFORMED_TESTS, NO_TESTS, BadRow, parse_json, shown, text_field, to_json

_RETURNS_LIST = re.compile(
    r"->\s*[\"']?(?:typing\.)?(?:Optional\[)?(?:list|tuple)\b", re.IGNORECASE
)


def read_tests(
    row: Mapping[str, Any], starter_code: str
) -> tuple[tuple[TestCase, ...], str | None]:
    """The tests and the name of the function, None for standard input and output.

    Raises:
        BadRow: there are none, or they are malformed.
    """
    text = text_field(row, "input_output", default="")
    if not text.strip():
        raise BadRow(NO_TESTS, "field 'input_output' is empty")
    tests = parse_json(text, "field 'input_output'")
    if not isinstance(tests, dict):
        raise BadRow(MALFORMED_TESTS, f"field 'input_output' is {shown(tests)}, not an object")
    inputs, outputs = tests.get("inputs") or [], tests.get("outputs") or []
    if not inputs or not outputs:
        raise BadRow(NO_TESTS, "field 'input_output' has no inputs or no outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise BadRow(MALFORMED_TESTS, f"'inputs' and 'outputs' do not fit: {shown(tests)}")
    fn_name = tests.get("fn_name")
    if fn_name is None:
        return tuple(map(TestCase, map(_lines, inputs), map(_lines, outputs))), None
    for given in inputs:
        if not isinstance(given, list):
            raise BadRow(MALFORMED_TESTS, f"arguments are {shown(given)}, not a list")
    if _are_wrapped(outputs, starter_code):
        outputs = [output[0] for output in outputs]
    arguments = ["\n".join(map(to_json, given)) for given in inputs]
    return tuple(map(TestCase, arguments, map(to_json, outputs))), fn_name


def _are_wrapped(outputs: list[Any], starter_code: str) -> bool:
    """Whether each result stands in a list of one; the graders take it as it is, or out of it.

    LeetCode's stand as they are: there the starter code says whether a list is given back. For the
    others, one result that is not in such a list says that none is.
    """
    if _RETURNS_LIST.search(starter_code):
        return False
    return all(isinstance(output, list) and len(output) == 1 for output in outputs)


def _lines(value: object) -> str:
    if isinstance(value, list):
        return "\n".join(map(_lines, value))
    return value if isinstance(value, str) else to_json(value)


def read_solutions(row: Mapping[str, Any]) -> list[str]:
    """The field `solutions`: JSON text of a list of programs, or empty."""
    text = text_field(row, "solutions", default="")
    if not text.strip():
        return []
    programs = parse_json(text, "field 'solutions'")
    if not isinstance(programs, list) or not all(isinstance(code, str) for code in programs):
        raise BadRow(MALFORMED_TESTS, f"field 'solutions' is {shown(programs)}, not programs")
    return programs
