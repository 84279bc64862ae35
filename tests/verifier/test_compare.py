"""What counts as the expected output, in each mode."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.verifier import COMPARE_MODES, outputs_match, values_match
from cppo_trl.verifier.compare import parse_json

BIG = "1" * 5000  # beyond CPython's limit of digits

# expected, actual, the modes in which they match
TEXTS = [
    ("1 2\n", "1 2\n", "lcb codecontests tokens exact"),
    ("1 2\n", "1 2", "lcb codecontests tokens exact"),
    ("1 2", "1 2\n", "lcb codecontests tokens exact"),
    ("", "", "lcb codecontests tokens exact"),
    ("", "\n", "lcb codecontests tokens exact"),
    ("1\n", "1\n\n", "lcb codecontests tokens"),
    ("1\n2\n", "1\r\n2\r\n", "lcb codecontests tokens"),
    ("1\n2\n", " 1 \n\t2\n", "lcb codecontests tokens"),
    ("1  2\n", "1 2\n", "lcb codecontests tokens"),  # in lcb as numbers
    ("a  b\n", "a b\n", "codecontests tokens"),
    ("1\n2\n", "1 2\n", "codecontests tokens"),
    ("1\n\n2\n", "1\n2\n", "codecontests tokens"),
    ("YES\n", "yes\n", "codecontests"),
    ("1.0\n", "1\n", "lcb codecontests"),
    ("1.50\n", "1.5\n", "lcb codecontests"),
    ("100\n", "1e2\n", "lcb codecontests"),
    ("5\n", "05\n", "lcb codecontests"),
    ("0.333333\n", "0.333334\n", "codecontests"),
    ("0.33\n", "0.34\n", ""),
    ("1\n", "1.000001\n", "codecontests"),
    ("1\n", "1.1\n", ""),
    ("9007199254740993\n", "9007199254740992\n", ""),  # equal as floating-point numbers
    ("9007199254740993.0\n", "9007199254740992.0\n", "codecontests"),
    (BIG, BIG, "lcb codecontests tokens exact"),
    (BIG, BIG + ".0", "lcb"),
    (BIG, "2" + BIG[1:] + ".0", ""),  # infinite as floating-point numbers
    (BIG, "2" + BIG[1:], ""),
    ("nan", "nan", "lcb codecontests tokens exact"),
    ("nan 1", "nan 1.0", "codecontests"),
    ("sNaN 1", "sNaN 1.0", "codecontests"),
    ("inf", "-inf", ""),
    ("1\n2\n3\n", "1\n2\n", ""),
    ("1\n2\n", "1\n2\n3\n", ""),
    ("1\n", "", ""),
    ("", "0\n", ""),
    ("10\n", "1_0\n", "lcb"),  # Python's Decimal reads it, and so does the official grader
    ("a b", "b a", ""),
]


@pytest.mark.parametrize("mode", COMPARE_MODES)
@pytest.mark.parametrize(("expected", "actual", "modes"), TEXTS)
def test_text_matches_as_documented(expected: str, actual: str, modes: str, mode: str) -> None:
    assert outputs_match(mode, expected, actual) == (mode in modes.split())


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


@given(one=st.integers(), other=st.integers())
def test_codecontests_compares_whole_numbers_exactly(one: int, other: int) -> None:
    assert outputs_match("codecontests", str(one), str(other)) == (one == other)


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
