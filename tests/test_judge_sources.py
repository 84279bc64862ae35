"""What a judge does with the labels of each source, and that it has to see what a tuple is for."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.judges.calibration import quality
from cppo_trl.judges.labels import Label, balanced, corrupted_labels
from cppo_trl.judges.report import write_judge_report
from cppo_trl.judges.sources import by_source, source_table
from cppo_trl.problems import Problem, TestCase

SCORES = st.integers(0, 5).map(lambda n: n / 5)
LABELLED = st.lists(
    st.tuples(SCORES, st.booleans(), st.sampled_from(["gold", "big", "corruption/mixed"])),
    min_size=1,
    max_size=20,
)
OF_DISTINCTNESS = ("corruption/dropped", "corruption/duplicated", "corruption/swapped")


@given(LABELLED, st.sampled_from([0.0, 0.4, 1.0]))
def test_the_sources_have_the_shares_and_areas_of_their_definitions(labelled, threshold):
    found = {one.source: one for one in by_source(*zip(*labelled, strict=True), threshold)}
    assert set(found) == {source for *_, source in labelled}
    good = [score for score, valid, _ in labelled if valid]
    for source, one in found.items():
        own = [(score, valid) for score, valid, name in labelled if name == source]
        bad = [score for score, valid in own if not valid]
        assert (one.labels, one.valid) == (len(own), len(own) - len(bad))
        share = np.mean([score < threshold for score, _ in own])
        assert one.rejected.value == pytest.approx(share)
        assert one.rejected.low - 1e-9 <= share <= one.rejected.high + 1e-9
        pairs = [(a > b) + (a == b) / 2 for a, b in itertools.product(good, bad)]
        assert one.auc == (pytest.approx(np.mean(pairs)) if pairs else None)


@given(st.integers(1, 60), st.data())
def test_the_interval_is_wilsons(n, data):
    k = data.draw(st.integers(0, n))
    (one,) = by_source([0.0] * k + [1.0] * (n - k), [False] * n, ["x"] * n, 0.5)
    z, p = 1.959963984540054, k / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert one.rejected.low == pytest.approx(max(0.0, middle - half), abs=1e-9)
    assert one.rejected.high == pytest.approx(min(1.0, middle + half), abs=1e-9)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"sources \(1,\)"):
        by_source([0.1, 0.2], [True, False], ["x"], 0.5)


def test_a_source_does_not_break_the_table():
    table = source_table(by_source([0.1, 0.9], [False, True], ["", "a|b"], 0.5))
    assert table.splitlines()[2].startswith("| (not named) | 1 | 0 | 1.000 (")
    assert table.splitlines()[3].startswith("| a\\|b | 1 | 1 | 0.000 (")


@pytest.mark.parametrize(
    ("source", "valid", "is_swapped"),
    [
        ("corruption/swapped", False, True),
        ("corruption/mixed", False, True),
        ("corruption/dropped", False, False),
        ("corruption/swapped", True, False),
        ("swapped", False, False),
        ("corruption", False, False),
    ],
)
def test_swapped_labels_are_the_sure_negatives_of_other_problems(source, valid, is_swapped):
    assert Label("p", ("a", "b"), valid, source).is_swapped == is_swapped


def labels_of_distinctness(count=60):
    """Valid tuples of 3, and as many negatives: dropped, duplicated or swapped, one of each."""
    problems = {f"p{n}": Problem(f"p{n}", f"Do {n}.", (TestCase("1", "2"),)) for n in range(count)}
    valid = [
        Label(name, tuple(f"{way} for {name}" for way in ("sort", "scan", "hash")), True, "gold")
        for name in problems
    ]
    negatives = {
        (label.problem_id, label.source): label
        for label in corrupted_labels(problems, valid)
        if label.source in OF_DISTINCTNESS
    }
    return balanced([*valid, *negatives.values()])


def distinctness(label):
    """The score of a judge that never looks at the problem."""
    return len(set(label.strategies)) / 3


def on_topic(label):
    """The score of one that looks."""
    own = [text.endswith(f"for {label.problem_id}") for text in label.strategies]
    return distinctness(label) * all(own)


def measured(labels, judge):
    return quality(
        [judge(label) for label in labels],
        [label.valid for label in labels],
        [label.problem_id for label in labels],
        threshold=1.0,
        resamples=200,
        swapped=[label.is_swapped for label in labels],
    )


def test_a_judge_that_sees_distinctness_alone_is_rejected_for_that_and_nothing_else():
    labels = labels_of_distinctness()
    assert measured(labels, distinctness).failed() == ["swapped_rejected 0.000 is below 0.5"]
    assert measured(labels, on_topic).is_accepted


def test_the_share_of_swapped_tuples_that_are_rejected_is_that_of_their_labels():
    labels = labels_of_distinctness()
    swapped = [label for label in labels if label.source == "corruption/swapped"]
    seen = {label.problem_id for label in swapped[: 3 * len(swapped) // 4]}

    def judge(label):
        return on_topic(label) if label.problem_id in seen else distinctness(label)

    found = measured(labels, judge).swapped_rejected
    assert found.value == pytest.approx(len(seen) / len(swapped))  # one for each problem
    assert 0.4 < found.low < found.value < found.high < 1.0


def test_without_swapped_labels_nothing_is_asked_of_them():
    labels = [label for label in labels_of_distinctness() if not label.is_swapped]
    found = measured(labels, distinctness)
    assert found.swapped_rejected is None
    assert found.is_accepted
    assert found.to_dict()["swapped_rejected"] is None


def test_the_report_has_a_row_for_each_source_and_says_whose_criterion_it_is(tmp_path):
    labels = labels_of_distinctness()
    found = measured(labels, distinctness)
    write_judge_report(tmp_path, found, [distinctness(label) for label in labels], labels)
    text = (tmp_path / "judge.md").read_text()
    assert "**Rejected: swapped_rejected 0.000 is below 0.5.**" in text
    assert "| swapped rejected | 0.000 (0.000–0.000) | at least 0.50 |" in text
    assert "by this library, not by the paper" in text
    content = json.loads((tmp_path / "judge.json").read_text())
    assert content["swapped_rejected"] == [0.0, 0.0, 0.0]
    by_name = {row["source"]: row for row in content["sources"]}
    assert set(by_name) == {"gold", *OF_DISTINCTNESS}
    assert by_name["gold"] | {"rejected": 0} == {
        "source": "gold",
        "labels": 60,
        "valid": 60,
        "rejected": 0,
        "auc": None,
    }
    assert [by_name[name]["rejected"][0] for name in OF_DISTINCTNESS] == [1.0, 1.0, 0.0]
    assert [by_name[name]["auc"] for name in OF_DISTINCTNESS] == [1.0, 1.0, 0.5]
    assert all(f"| {name} | " in text for name in by_name)


def test_a_report_without_swapped_labels_does_not_speak_of_them(tmp_path):
    labels = [label for label in labels_of_distinctness() if not label.is_swapped]
    scores = [distinctness(label) for label in labels]
    write_judge_report(tmp_path, measured(labels, distinctness), scores, labels)
    text = (tmp_path / "judge.md").read_text()
    assert "swapped" not in text
    assert "\n\n\n" not in text
