"""Reading fields of upstream rows; what cannot be read raises `BadRow`."""

from __future__ import annotations

import ast
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from typing import Any

# The kinds of bad rows, as they are counted.
MALFORMED_JSON = "malformed JSON"
BROKEN_ENCODING = "broken encoding"
MISSING_FIELD = "missing field"
NO_TESTS = "no tests"
MALFORMED_TESTS = "malformed tests"
INVALID_PROBLEM = "invalid problem"
DUPLICATE_ID = "duplicate id"


class BadRow(ValueError):
    """A row that gives no problem; `reason` is the kind that it is counted as."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason

    def at(self, where: str) -> BadRow:
        """The same, with the words that name the row."""
        named = BadRow(self.reason, "")
        named.args = (f"{where}: {self}",)
        return named


@contextmanager
def _integers_of_any_length() -> Iterator[None]:
    # Tests hold integers beyond the 4,300 digits that CPython converts unless told otherwise.
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(limit)


def parse_json(text: str | bytes, what: str) -> Any:
    """The value of JSON text, integers of any length included; `what` names it in errors."""
    try:
        with _integers_of_any_length():
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(MALFORMED_JSON, f"{what} is {shown(text)}: {error}") from None


def parse_python(code: str, what: str) -> ast.Module:
    """The tree of Python code; `what` names it in errors."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about other people's escape sequences
            return ast.parse(code)
    except (SyntaxError, ValueError) as error:
        raise BadRow(INVALID_PROBLEM, f"{what} is no Python: {error}") from None


def to_json(value: Any) -> str:
    """JSON text on one line, integers of any length included."""
    with _integers_of_any_length():
        return json.dumps(value)


def shown(value: object) -> str:
    """A value as messages show it: cut short."""
    with _integers_of_any_length():
        text = repr(value[:100] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= 80 else text[:77] + "..."


def text_field(row: Mapping[str, Any], *names: str, default: str | None = None) -> str:
    """The first of the fields that is there and not None, as text.

    Raises:
        BadRow: there is none and no `default`, or it is not text.
    """
    for name in names:
        if row.get(name) is not None:
            if not isinstance(row[name], str):
                raise BadRow(MISSING_FIELD, f"field {name!r} is {shown(row[name])}, not text")
            return row[name]
    if default is None:
        raise BadRow(MISSING_FIELD, f"field {names[0]!r} is not there")
    return default


def id_field(row: Mapping[str, Any], *names: str) -> str:
    """The first of the fields that is there, text or a whole number, as text."""
    for name in names:
        value = row.get(name)
        if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
            return str(value)
    raise BadRow(
        MISSING_FIELD, f"field {names[0]!r} is {shown(row.get(names[0]))}; it must be an id"
    )


def date_field(row: Mapping[str, Any], name: str) -> str | None:
    """The day, as in "2024-08-31"; data sets' builders turn text that looks like one into dates."""
    value = row.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, date):  # a `datetime` is a `date`
        try:
            value = date.fromisoformat(str(value)[:10])
        except ValueError:
            return None  # other text, which no filter can use
    return value.isoformat()[:10]


def records(value: object, names: tuple[str, ...], what: str) -> list[dict[str, Any]]:
    """The items of a list of records, which may be written as a mapping of columns."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        columns = [value.get(name) for name in names]
        lists = all(isinstance(column, (list, tuple)) for column in columns)
        if not lists or len({len(column) for column in columns}) > 1:
            raise BadRow(MALFORMED_TESTS, f"{what} is {shown(value)}; it must be {names} lists")
        return [dict(zip(names, items, strict=True)) for items in zip(*columns, strict=True)]
    if isinstance(value, (list, tuple)) and all(isinstance(item, Mapping) for item in value):
        for item in value:
            if not set(names) <= set(item):
                raise BadRow(
                    MALFORMED_TESTS, f"an item of {what} is {shown(item)}, without {names}"
                )
        return [dict(item) for item in value]
    raise BadRow(MALFORMED_TESTS, f"{what} is {shown(value)}; it must be a list of {names}")
