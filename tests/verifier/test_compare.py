"""What counts as the expected output, in each mode."""

from __future__ import annotations

import ast
import json
import re
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.verifier import COMPARE_MODES, compare, outputs_match, values_match
from cppo_trl.verifier.compare import parse_json

BIG = "1" * 5000  # beyond CPython's limit of digits

# expected, actual, the modes in which they match
TEXTS = [
    ("1 2\n", "1 2\n", "lcb codecontests apps tokens exact"),
    ("1 2", "1 2\n", "lcb codecontests apps tokens exact"),
    ("", "", "lcb codecontests apps tokens exact"),
    ("\n\n", " \n", "lcb codecontests apps tokens"),
    ("1\n2\n", "1\r\n2\r\n", "lcb codecontests apps tokens"),
    ("1\n2\n", " 1 \n\t2\n", "lcb codecontests apps tokens"),
    ("1  2\n", "1 2\n", "lcb codecontests apps tokens"),  # in lcb as numbers
    ("1\n\n2\n", "1\n2\n", "codecontests apps tokens"),
    ("1\n \n2\n", "1\n2\n", "codecontests apps tokens"),
    ("1\n2 3\n", "1 2\n3\n", "codecontests tokens"),
    ("1.50\n", "1.5\n", "lcb codecontests apps"),
    ("100\n", "1e2\n", "lcb codecontests apps"),
    ("0.333333\n", "0.333334\n", "codecontests apps"),
    ("x: 0.333333\n", "x: 0.333334\n", "codecontests apps"),
    ("x: 0.333333\n", "y: 0.333334\n", ""),
    ("100000.5\n", "100000.6\n", "apps"),
    ("100000.5\n", "100002.5\n", ""),
    ("100000\n", "100000.1\n", ""),
    ("100000.1\n", "100000\n", ""),
    ("1\n", "1.1\n", ""),
    ("9007199254740993.0\n", "9007199254740992.0\n", "codecontests apps"),
    ("9007199254740993\n", "9007199254740992.0\n", "codecontests apps"),
    (BIG, BIG, "lcb codecontests apps tokens exact"),
    (BIG, BIG + ".0", "lcb"),
    (BIG, "2" + BIG[1:] + ".0", ""),  # infinite as floating-point numbers
    (BIG, "2" + BIG[1:], ""),
    ("nan", "nan", "lcb codecontests apps tokens exact"),
    ("nan 1", "nan 1.0", "codecontests apps"),
    ("sNaN 1", "sNaN 1.0", "codecontests apps"),
    ("inf", "-inf", ""),
    ("inf", "1e999", ""),
    ("1\n2\n3\n", "1\n2\n", ""),
    ("", "0\n", ""),
    ("\n", "0\n", ""),
    ("a b", "b a", ""),
    ("12", "1 2", ""),
    ("1 1 2", "1 2", ""),
    ("1 2", "1 2 2", ""),
    ("0x5", "5", ""),
    ("'5'", "5", ""),
]


@pytest.mark.parametrize("mode", COMPARE_MODES)
@pytest.mark.parametrize(("expected", "actual", "modes"), TEXTS)
def test_text_matches_as_documented(expected: str, actual: str, modes: str, mode: str) -> None:
    assert outputs_match(mode, expected, actual) == (mode in modes.split())


def rows_of(*header: str) -> list[list[str]]:
    """The rows below this header in a table of the docstring of `compare`."""
    for table in re.findall(r"(?:^\|.*\n)+", compare.__doc__ or "", re.MULTILINE):
        rows = [re.split(r"\s*\|\s*", line)[1:-1] for line in table.splitlines()]
        if rows[0] == list(header):
            assert all(len(row) == len(header) for row in rows[2:])
            return rows[2:]
    raise AssertionError(f"no table with the columns {header}")


def test_the_table_of_modes_names_them_all() -> None:
    rows = rows_of("mode", "what counts as equal", "source")
    assert sorted(row[0] for row in rows if row[0]) == sorted(COMPARE_MODES)


TEXT_MODES = ("lcb", "codecontests", "apps", "tokens", "exact")


@pytest.mark.parametrize("mode", TEXT_MODES)
@pytest.mark.parametrize(
    "row", rows_of("expected", "printed", *TEXT_MODES), ids=lambda row: " | ".join(row[:2])
)
def test_texts_of_the_documentation_match_as_it_says(row: list[str], mode: str) -> None:
    expected, printed = map(ast.literal_eval, row[:2])
    said = dict(zip(TEXT_MODES, row[2:], strict=True))[mode]
    assert said == ("yes" if outputs_match(mode, expected, printed) else "no")


DIFFERENCES = rows_of("mode", "expected", "printed", "source", "here", "in the source")


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: " | ".join(row[:3]))
def test_differences_from_a_source_are_as_documented(row: list[str]) -> None:
    mode, expected, printed, source, here, _ = row
    matches = outputs_match(mode, ast.literal_eval(expected), ast.literal_eval(printed))
    assert here == ("yes" if matches else "no") != source


@pytest.mark.parametrize("mode", COMPARE_MODES)
@pytest.mark.parametrize(
    "row",
    rows_of("expected", "returned", "codecontests", "other modes"),
    ids=lambda row: " | ".join(row[:2]),
)
def test_values_of_the_documentation_match_as_it_says(row: list[str], mode: str) -> None:
    expected, returned, nearly, exactly = row
    matches = values_match(mode, parse_json(expected), parse_json(returned))
    assert (nearly if mode == "codecontests" else exactly) == ("yes" if matches else "no")


@pytest.mark.parametrize("mode", COMPARE_MODES)
@given(text=st.text(max_size=50))
def test_any_text_matches_itself(mode: str, text: str) -> None:
    assert outputs_match(mode, text, text)
    assert outputs_match(mode, text, text + "\n") or text.endswith("\n")


@pytest.mark.parametrize("mode", ["lcb", "tokens", "exact"])
@given(numbers=st.lists(st.integers(), min_size=1), index=st.integers(0), change=st.integers(1))
def test_a_changed_number_never_matches(
    mode: str, numbers: list[int], index: int, change: int
) -> None:
    changed = list(numbers)
    changed[index % len(numbers)] += change
    assert not outputs_match(mode, " ".join(map(str, numbers)), " ".join(map(str, changed)))


@given(one=st.decimals(allow_nan=False), other=st.decimals(allow_nan=False))
def test_lcb_compares_single_numbers_exactly(one: Decimal, other: Decimal) -> None:
    assert outputs_match("lcb", str(one), str(other)) == (one == other)


@pytest.mark.parametrize("mode", ["codecontests", "apps"])
@given(one=st.integers(), other=st.integers() | st.none())
def test_whole_numbers_are_compared_exactly(mode: str, one: int, other: int | None) -> None:
    other = one + 1 if other is None else other
    assert outputs_match(mode, str(one), str(other)) == (one == other)


@given(words=st.lists(st.sampled_from(["a", "b", "1", "2.5"])), order=st.permutations(range(9)))
def test_apps_does_not_take_another_order(words: list[str], order: list[int]) -> None:
    moved = [words[index] for index in order if index < len(words)] + words[9:]
    for separator in " \n":
        texts = separator.join(words), separator.join(moved)
        assert outputs_match("apps", *texts) == (words == moved)


# expected, actual, whether they match exactly, and in the mode codecontests
VALUES = [
    ("1", "1", True, True),
    ("1", "true", False, False),
    ("false", "0", False, False),
    ("[1, true]", "[1, 1]", False, False),
    ("null", "0", False, False),
    ("null", "false", False, False),
    ('""', "null", False, False),
    ('"1"', "1", False, False),
    ("2", "2.0", True, True),
    ("0.3", "0.30000000000000004", False, True),
    ("1", "1.001", False, False),
    ("9007199254740993", "9007199254740992", False, False),
    ("[]", "{}", False, False),
    ("[1, 2]", "[2, 1]", False, False),
    ("[[1], [2]]", "[[1], [2, 3]]", False, False),
    ('{"a": 1, "b": [2]}', '{"b": [2], "a": 1.0}', True, True),
    ('{"a": 1}', '{"a": 1, "b": 2}', False, False),
    ("NaN", "NaN", True, True),
    ("[NaN, 1]", "[NaN, 1.0]", True, True),
    ("Infinity", "-Infinity", False, False),
    (BIG, BIG, True, True),
    (BIG, f'"{BIG}"', False, False),
    (BIG, "2" + BIG[1:], False, False),
    (BIG, "1.5", False, False),
]


@pytest.mark.parametrize("mode", COMPARE_MODES)
@pytest.mark.parametrize(("expected", "actual", "exactly", "nearly"), VALUES)
def test_values_match_as_plain_json_data(
    expected: str, actual: str, exactly: bool, nearly: bool, mode: str
) -> None:
    matches = values_match(mode, parse_json(expected), parse_json(actual))
    assert matches == (nearly if mode == "codecontests" else exactly)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_any_value_matches_its_copy(value: object) -> None:
    assert values_match("lcb", value, json.loads(json.dumps(value)))


@given(JSON, JSON)
def test_values_match_both_ways_or_neither(one: object, other: object) -> None:
    for mode in COMPARE_MODES:
        assert values_match(mode, one, other) == values_match(mode, other, one)


def test_text_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000 + "]" * 100_000)


@pytest.mark.parametrize("part", ["ab ", "ab\n", "\n", "1 \n"])
@pytest.mark.parametrize("mode", [*COMPARE_MODES, "tolerance"])
def test_a_long_output_takes_little_memory(mode: str, part: str) -> None:
    actual, (mode, tolerance) = part * 10**6, ("tokens", 0.1) if mode == "tolerance" else (mode, 0)
    tracemalloc.start()
    try:
        assert not outputs_match(mode, "1\n2", actual + ".", tolerance)
        assert tracemalloc.get_traced_memory()[1] < 6 * len(actual)
    finally:
        tracemalloc.stop()
