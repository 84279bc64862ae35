"""Labels are balanced within problems, and no problem is trained and measured on."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.judges import Judgement
from cppo_trl.judges.labels import (
    Label,
    LabelError,
    balanced,
    corrupted_labels,
    read_labels,
    split_by_problem,
    write_labels,
)
from cppo_trl.problems import Problem, TestCase

LABELS = st.lists(
    st.builds(
        Label,
        st.sampled_from("abcdefg"),
        st.tuples(st.text(max_size=3), st.text(max_size=3)),
        st.booleans(),
        st.just("judge"),
    ),
    max_size=30,
)


@given(LABELS)
def test_each_problem_has_as_many_valid_as_invalid_labels_and_as_many_as_it_can(labels):
    had = Counter((label.problem_id, label.valid) for label in labels)
    has = Counter((label.problem_id, label.valid) for label in balanced(labels))
    for name in "abcdefg":
        expected = min(had[name, True], had[name, False])
        assert has[name, True] == has[name, False] == expected


@given(LABELS, st.floats(0.05, 0.95), st.integers(0, 3))
def test_no_problem_is_on_both_sides_of_a_split(labels, held_out, seed):
    names = {label.problem_id for label in labels}
    if len(names) < 2:
        with pytest.raises(LabelError, match="it takes 2"):
            split_by_problem(labels, held_out, seed)
        return
    train, away = split_by_problem(labels, held_out, seed)
    sides = [{label.problem_id for label in part} for part in (train, away)]
    assert sides[0] | sides[1] == names
    assert not sides[0] & sides[1]
    assert all(sides)
    assert sorted(map(repr, train + away)) == sorted(map(repr, labels))


def test_more_labels_of_the_same_problems_do_not_move_them():
    labels = [Label(f"p{n}", ("a", "b"), True, "judge") for n in range(20)]
    first = {label.problem_id for label in split_by_problem(labels)[1]}
    again = {label.problem_id for label in split_by_problem(labels * 3)[1]}
    assert first == again
    assert len(first) == 4
    assert first != {label.problem_id for label in split_by_problem(labels, seed=1)[1]}


def test_only_valid_tuples_are_corrupted_and_with_strategies_of_other_problems():
    problems = {
        name: Problem(name, f"Do {name}.", (TestCase("1", "2"),)) for name in ("one", "two")
    }
    labels = [
        Label("one", ("scan it", "sort it"), True, "judge"),
        Label("two", ("hash them", "pair them"), True, "judge"),
        Label("two", ("never", "seen"), False, "judge"),
    ]
    made = corrupted_labels(problems, labels)
    assert {label.valid for label in made} == {False}
    assert all(label.source == f"corruption/{label.reason}" for label in made)
    swapped = {label.problem_id: set(label.strategies) for label in made if "swap" in label.source}
    assert swapped == {"one": {"hash them", "pair them"}, "two": {"scan it", "sort it"}}
    assert not any("never" in text for label in made for text in label.strategies)


def test_each_valid_tuple_gives_k_of_each_kind_with_strategies_of_other_problems():
    problems = {
        name: Problem(name, f"Do {name}.", (TestCase("1", "2"),)) for name in map(str, range(9))
    }
    labels = [
        Label(name, tuple(f"route {name}{letter}" for letter in "abcd"), True, "judge")
        for name in problems
    ]
    counts = Counter(label.source for label in corrupted_labels(problems, labels))
    foreign = {"corruption/swapped", "corruption/mixed"}
    assert {counts.pop(source) for source in foreign} == {9 * 4}
    assert set(counts.values()) == {9}


def test_an_unknown_judgement_is_no_label():
    problem = Problem("p", "", (TestCase("", ""),))
    assert Label.of(problem, ("a", "b"), Judgement(None, "down"), "judge") is None
    found = Label.of(problem, ["a", "b"], Judgement(False, "same"), "judge")
    assert found == Label("p", ("a", "b"), False, "judge", "same")


def test_labels_survive_their_file(tmp_path):
    labels = [Label("p", ("a\u2028", "“b”"), True, "judge"), Label("q", ("c",), False, "x", "why")]
    write_labels(labels, tmp_path / "labels.jsonl")
    assert read_labels(tmp_path / "labels.jsonl") == labels


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("[]", "line 1: must be an object"),
        ('{"strategies": [], "valid": true}', "field 'problem_id' is None"),
        ('{"problem_id": "p", "strategies": "a", "valid": true}', "field 'strategies' is 'a'"),
        ('{"problem_id": "p", "strategies": [1], "valid": true}', "field 'strategies'"),
        ('{"problem_id": "p", "strategies": ["a"], "valid": 1}', "field 'valid' is 1"),
    ],
)
def test_a_row_that_is_no_label_is_named(row, said, tmp_path):
    (tmp_path / "labels.jsonl").write_text(row + "\n")
    with pytest.raises(LabelError, match=said):
        read_labels(tmp_path / "labels.jsonl")


@pytest.mark.parametrize("held_out", [0, 1, -0.5])
def test_a_share_that_holds_out_nothing_or_all_is_refused(held_out):
    with pytest.raises(LabelError, match="held_out is"):
        split_by_problem([], held_out)
