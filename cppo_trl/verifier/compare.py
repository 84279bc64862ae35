r"""Is this the expected output?

Both sides are untrusted text or plain JSON data; nothing of the program's own is ever compared.
What a program prints may be very long: it is taken apart no further than what is expected goes.

| mode         | what counts as equal                                       | source              |
|--------------|------------------------------------------------------------|---------------------|
| lcb          | strip both; the same number of lines; each line, stripped, | LiveCodeBench,      |
|              | equal as text or else as a list of exact decimal numbers   | testing_util.py     |
| codecontests | split at white space, lower case; each token equal as text | code_contests,      |
|              | or as a number, less than 1e-5 apart                       | tester_sandboxer.cc |
| apps         | the same number of lines that are not blank; in each line, | APPS,               |
|              | split at white space, each token equal as text, or as a    | testing_util.py     |
|              | number within 1e-8 + 1e-5 of what is expected              |                     |
| tokens       | split at white space; each token equal as text, or with a  | -                   |
|              | `tolerance` as a number that close (times the expected     |                     |
|              | one, where that is above 1)                                |                     |
| exact        | the text itself, but for one line break at the end         | -                   |

Two whole numbers are always compared exactly. In `apps`, one whole number and one that is not are
less than 1e-5 apart, so that 100000.4 is not 100000.

What a program printed, as Python literals, and which modes take it for what is expected:

| expected             | printed              | lcb | codecontests | apps | tokens | exact |
|----------------------|----------------------|-----|--------------|------|--------|-------|
| '1 2\n'              | '1 2'                | yes | yes          | yes  | yes    | yes   |
| ''                   | '\n'                 | yes | yes          | yes  | yes    | yes   |
| '1\n'                | '1\n\n'              | yes | yes          | yes  | yes    | no    |
| '1 2\n3\n'           | ' 1\t2 \r\n3'        | yes | yes          | yes  | yes    | no    |
| 'a b\n'              | 'a  b\n'             | no  | yes          | yes  | yes    | no    |
| '1\n2\n'             | '1\n\n2\n'           | no  | yes          | yes  | yes    | no    |
| '1\n2\n'             | '1 2\n'              | no  | yes          | no   | yes    | no    |
| 'YES\n'              | 'yes\n'              | no  | yes          | no   | no     | no    |
| '5\n'                | '5.0\n'              | yes | yes          | yes  | no     | no    |
| '5\n'                | '+05\n'              | yes | yes          | yes  | no     | no    |
| '0.5 a\n'            | '5e-1 a\n'           | no  | yes          | yes  | no     | no    |
| '0.0\n'              | '-0.0\n'             | yes | yes          | yes  | no     | no    |
| '0.3\n'              | '0.30000001\n'       | no  | yes          | yes  | no     | no    |
| '5\n'                | '5.000001\n'         | no  | yes          | yes  | no     | no    |
| '123456.789012\n'    | '123456.789\n'       | no  | no           | yes  | no     | no    |
| '0.000012\n'         | '0.00001\n'          | no  | yes          | no   | no     | no    |
| '1000\n'             | '1_000\n'            | yes | no           | no   | no     | no    |
| '5\n'                | '\uff15\n'           | yes | no           | no   | no     | no    |
| '100000.4\n'         | '100000\n'           | no  | no           | no   | no     | no    |
| '0.33\n'             | '0.34\n'             | no  | no           | no   | no     | no    |
| '1\n2\n'             | '1\n'                | no  | no           | no   | no     | no    |
| '1\n'                | '1\n2\n'             | no  | no           | no   | no     | no    |
| '1\n'                | ''                   | no  | no           | no   | no     | no    |

Where a mode differs from its source, since that takes wrong output for right, or right for wrong:

| mode         | expected             | printed              | source | here | in the source      |
|--------------|----------------------|----------------------|--------|------|--------------------|
| apps         | '1 2\n'              | '2 1\n'              | yes    | no   | sets of words      |
| apps         | '1\n2\n'             | '2\n1\n'             | yes    | no   | sets of lines      |
| apps         | '1 1 2\n'            | '1 2\n'              | yes    | no   | sets of words      |
| apps         | '100000\n'           | '100001\n'           | yes    | no   | floats, 1e-5 apart |
| apps         | '100000.4\n'         | '100000\n'           | yes    | no   | floats, 1e-5 apart |
| apps         | '0.0001\n'           | '0.0004\n'           | yes    | no   | rounds to 3 places |
| apps         | '1 a\n'              | '1.0 a\n'            | no     | yes  | whole lines only   |
| codecontests | '9007199254740993\n' | '9007199254740992\n' | yes    | no   | doubles            |
| codecontests | 'nan 1\n'            | 'nan 1.0\n'          | no     | yes  | NaN is not NaN     |
| codecontests | 'a b\n'              | 'a\fb\n'             | no     | yes  | no form feed       |
| codecontests | '\u00c9\n'           | '\u00e9\n'           | no     | yes  | lowers ASCII only  |

Values of function problems are compared as JSON data: null, true and false, numbers, strings,
arrays and objects are different kinds, so `true` is never 1, as it is in LiveCodeBench's and APPS'
`prediction == expected`. A number is a number: 2 equals 2.0, as it does there. A tuple is an array
at any depth, there in the outermost place only (APPS: the two outermost), and a key of an object is
its text. APPS also takes the first item of what is expected for all of it: take lists of one apart
before. `codecontests` allows 1e-5 where either number is not whole; the other modes compare
exactly.

| expected             | returned             | codecontests | other modes |
|----------------------|----------------------|--------------|-------------|
| 2                    | 2.0                  | yes          | yes         |
| {"a": [], "b": null} | {"b": null, "a": []} | yes          | yes         |
| NaN                  | NaN                  | yes          | yes         |
| 0.3                  | 0.30000000000000004  | yes          | no          |
| 9007199254740993     | 9007199254740992     | no           | no          |
| 1                    | true                 | no           | no          |
| 0                    | null                 | no           | no          |
| 1                    | "1"                  | no           | no          |
| [1]                  | 1                    | no           | no          |
| [1, 2]               | [2, 1]               | no           | no          |
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from functools import partial
from itertools import islice
from typing import Any

FLOAT_TOLERANCE = 1e-5
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LONGEST_INT = 4000  # digits; beyond 4300 CPython refuses to convert


def outputs_match(mode: str, expected: str, actual: str, tolerance: float = 0.0) -> bool:
    """Whether the standard output `actual` is right, in one of `COMPARE_MODES`.

    With a `tolerance`, tokens that are numbers and not both whole are right as well when they are
    that close, absolutely or relatively to what is expected; only for the mode `tokens`.
    """
    if tolerance:
        return _tokens_match(expected, actual, partial(_within, tolerance))
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
    expected, actual = expected.strip(), actual.strip()
    if expected.count("\n") != actual.count("\n"):
        return False
    pairs = zip(expected.split("\n"), actual.split("\n"), strict=True)
    lines = ((one.strip(), other.strip()) for one, other in pairs)
    return all(one == other or _same_decimals(one, other) for one, other in lines)


def _same_decimals(one: str, other: str) -> bool:
    first = one.split()
    second = other.split(maxsplit=len(first))
    if len(first) != len(second):
        return False
    try:
        return all(Decimal(a) == Decimal(b) for a, b in zip(first, second, strict=True))
    except (InvalidOperation, ValueError):  # not a number, or a signalling NaN
        return False


def _codecontests(expected: str, actual: str) -> bool:
    return _tokens_match(expected.lower(), actual.lower(), _close_tokens)


def _close_tokens(expected: str, actual: str) -> bool:
    if _INTEGER.fullmatch(expected) and _INTEGER.fullmatch(actual):
        return Decimal(expected) == Decimal(actual)
    first, second = _finite(expected), _finite(actual)
    return first is not None and second is not None and abs(first - second) < FLOAT_TOLERANCE


def _apps(expected: str, actual: str) -> bool:
    lines = [*_filled_lines(expected)]
    return _all_match(lines, [*islice(_filled_lines(actual), len(lines) + 1)], _apps_line)


def _filled_lines(text: str) -> Iterator[str]:
    return (found[0] for found in re.finditer("[^\n]+", text) if not found[0].isspace())


def _apps_line(expected: str, actual: str) -> bool:
    return _tokens_match(expected, actual, _apps_tokens)


def _apps_tokens(expected: str, actual: str) -> bool:
    if _INTEGER.fullmatch(expected) or _INTEGER.fullmatch(actual):
        return _close_tokens(expected, actual)
    first, second = _finite(expected), _finite(actual)
    # As numpy.allclose, with its defaults.
    return (
        first is not None and second is not None and abs(first - second) <= 1e-8 + 1e-5 * abs(first)
    )


def _tokens_match(expected: str, actual: str, match: Callable[[str, str], bool]) -> bool:
    tokens = expected.split()
    return _all_match(tokens, actual.split(maxsplit=len(tokens)), match)


def _all_match(expected: list[str], actual: list[str], match: Callable[[str, str], bool]) -> bool:
    return len(expected) == len(actual) and all(
        one == other or match(one, other) for one, other in zip(expected, actual, strict=True)
    )


def _finite(token: str) -> float | None:
    """The number that a token is; None for text, and for what overflows: it is not known."""
    if "_" in token or not token.isascii():  # Python's own, not a number in any output format
        return None
    try:
        number = float(token)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _within(tolerance: float, expected: str, actual: str) -> bool:
    if _INTEGER.fullmatch(expected) and _INTEGER.fullmatch(actual):
        return Decimal(expected) == Decimal(actual)
    first, second = _finite(expected), _finite(actual)
    if first is None or second is None:
        return False
    return abs(first - second) <= tolerance * max(1.0, abs(first))


def _tokens(expected: str, actual: str) -> bool:
    tokens = expected.split()
    return tokens == actual.split(maxsplit=len(tokens))


def _exact(expected: str, actual: str) -> bool:
    return expected.removesuffix("\n") == actual.removesuffix("\n")


_TEXT_MODES: dict[str, Callable[[str, str], bool]] = {
    "lcb": _lcb,
    "codecontests": _codecontests,
    "apps": _apps,
    "exact": _exact,
    "tokens": _tokens,
}
COMPARE_MODES = tuple(_TEXT_MODES)
