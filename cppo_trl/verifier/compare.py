"""Is this the expected output?

Both sides are untrusted text or plain JSON data; nothing of the program's own is ever compared.

| mode         | what counts as equal                                       | source              |
|--------------|------------------------------------------------------------|---------------------|
| lcb          | strip both; the same number of lines; each line, stripped, | LiveCodeBench,      |
|              | equal as text or else as a list of exact decimal numbers   | testing_util.py     |
| codecontests | split at white space, lower case; each token equal as text | code_contests,      |
|              | or as a number, less than 1e-5 apart                       | tester_sandboxer.cc |
| tokens       | split at white space; each token equal as text             | -                   |
| exact        | the text itself, but for one line break at the end         | -                   |

Where `codecontests` differs from its source: two whole numbers are compared exactly (there,
integers beyond 32 bits pass when their floating-point values are within 1e-5), and white space is
Unicode's.

Values of function problems are compared as JSON data: null, true and false, numbers, strings,
arrays and objects are different kinds, so `true` is never 1. A number is a number: 2 equals 2.0,
as in LiveCodeBench's `prediction == expected`. `codecontests` allows 1e-5 where either number is
not whole; the other modes compare exactly.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

FLOAT_TOLERANCE = 1e-5
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LONGEST_INT = 4000  # digits; beyond 4300 CPython refuses to convert


def outputs_match(mode: str, expected: str, actual: str) -> bool:
    """Whether the standard output `actual` is right, in one of `COMPARE_MODES`."""
    return _TEXT_MODES[mode](expected, actual)


def values_match(mode: str, expected: Any, actual: Any) -> bool:
    """Whether two values of plain JSON data (as `parse_json` gives them) are the same."""
    try:
        if json.dumps(expected) == json.dumps(actual):  # the common case, in C
            return True
    except (TypeError, RecursionError):  # a Decimal; deep nesting
        pass
    tolerance = FLOAT_TOLERANCE if mode == "codecontests" else 0.0
    pairs = [(expected, actual)]
    while pairs:  # a loop: data may be nested deeper than Python recurses
        one, other = pairs.pop()
        if isinstance(one, list):
            if not isinstance(other, list) or len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, dict):
            if not isinstance(other, dict) or one.keys() != other.keys():
                return False
            pairs.extend((value, other[key]) for key, value in one.items())
        elif _is_number(one) and _is_number(other):
            if not _numbers_match(one, other, tolerance):
                return False
        elif type(one) is not type(other) or one != other:
            return False
    return True


def parse_json(text: str) -> Any:
    """The value of JSON text; integers too long for `int` become `Decimal`.

    Raises:
        ValueError: the text is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # CPython's limit of digits; lifting it would change the whole process
        return json.loads(text, parse_int=_long_int)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _long_int(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= _LONGEST_INT else Decimal(digits)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def _numbers_match(one: Any, other: Any, tolerance: float) -> bool:
    if one == other or (one != one and other != other):  # NaN is what was asked for, if it was
        return True
    if not tolerance or not (isinstance(one, float) or isinstance(other, float)):
        return False
    try:
        return abs(float(one) - float(other)) < tolerance
    except OverflowError:  # a whole number beyond the range of floats
        return False


def _lcb(expected: str, actual: str) -> bool:
    expected_lines = [line.strip() for line in expected.strip().split("\n")]
    actual_lines = [line.strip() for line in actual.strip().split("\n")]
    return len(expected_lines) == len(actual_lines) and all(
        one == other or _same_decimals(one, other)
        for one, other in zip(expected_lines, actual_lines, strict=True)
    )


def _same_decimals(one: str, other: str) -> bool:
    first, second = one.split(), other.split()
    if len(first) != len(second):
        return False
    try:
        return all(Decimal(a) == Decimal(b) for a, b in zip(first, second, strict=True))
    except (InvalidOperation, ValueError):  # not a number, or a signalling NaN
        return False


def _codecontests(expected: str, actual: str) -> bool:
    first, second = expected.lower().split(), actual.lower().split()
    return len(first) == len(second) and all(
        a == b or _close_tokens(a, b) for a, b in zip(first, second, strict=True)
    )


def _close_tokens(one: str, other: str) -> bool:
    if _INTEGER.fullmatch(one) and _INTEGER.fullmatch(other):
        return Decimal(one) == Decimal(other)
    if "_" in one or "_" in other:  # Python's own, not a number in any output format
        return False
    try:
        first, second = float(one), float(other)
    except ValueError:
        return False
    # What overflows is not known well enough to be the same.
    return math.isfinite(first) and math.isfinite(second) and abs(first - second) < FLOAT_TOLERANCE


def _tokens(expected: str, actual: str) -> bool:
    return expected.split() == actual.split()


def _exact(expected: str, actual: str) -> bool:
    return expected.removesuffix("\n") == actual.removesuffix("\n")


_TEXT_MODES: dict[str, Callable[[str, str], bool]] = {
    "lcb": _lcb,
    "codecontests": _codecontests,
    "exact": _exact,
    "tokens": _tokens,
}
COMPARE_MODES = tuple(_TEXT_MODES)
