"""The measures of a judge are those of their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.judges.calibration import (
    Estimate,
    Quality,
    auc,
    quality,
    reliability,
    threshold_for_recall,
)

LABELLED = st.lists(
    st.tuples(st.integers(0, 5).map(lambda n: n / 5), st.booleans()), min_size=1, max_size=12
)


@given(LABELLED)
def test_auc_is_the_share_of_pairs_in_order(labelled):
    scores, valid = zip(*labelled, strict=True)
    pairs = [
        (a > b) + (a == b) / 2
        for (a, good), (b, bad) in itertools.product(labelled, labelled)
        if good and not bad
    ]
    expected = np.mean(pairs) if pairs else np.nan
    assert auc(scores, valid) == pytest.approx(expected, nan_ok=True)


@given(LABELLED, st.floats(0.01, 1))
def test_the_threshold_is_the_highest_with_that_recall(labelled, recall):
    scores, valid = map(np.array, zip(*labelled, strict=True))
    if not valid.any():
        with pytest.raises(ValueError, match="no label says valid"):
            threshold_for_recall(scores, valid, recall)
        return
    found = threshold_for_recall(scores, valid, recall)
    good = scores[valid]
    assert (good >= found).mean() >= recall - 1e-9
    for higher in good[good > found]:
        assert (good >= higher).mean() < recall


@given(LABELLED, st.sampled_from([0.0, 0.4, 1.0]))
def test_measures_are_those_of_the_confusion_matrix(labelled, threshold):
    scores, valid = zip(*labelled, strict=True)
    found = quality(scores, valid, [str(n) for n in range(len(scores))], threshold, resamples=3)
    counts = {
        (p, v): sum((s >= threshold) == p and good == v for s, good in labelled)
        for p in (True, False)
        for v in (True, False)
    }

    def ratio(part, whole):
        return part / whole if whole else np.nan

    recall = ratio(counts[True, True], counts[True, True] + counts[False, True])
    rejected = ratio(counts[False, False], counts[False, False] + counts[True, False])
    expected = {
        "precision": ratio(counts[True, True], counts[True, True] + counts[True, False]),
        "recall": recall,
        "balanced_accuracy": (recall + rejected) / 2,
        "pass_rate": (counts[True, True] + counts[True, False]) / len(scores),
    }
    for name, value in expected.items():
        assert getattr(found, name).value == pytest.approx(value, nan_ok=True), name


def test_intervals_are_over_problems_not_labels():
    rng = np.random.default_rng(0)
    # Ten copies of each label say no more than one.
    scores, valid = rng.random(40), rng.random(40) < 0.5
    once = quality(scores, valid, [str(n) for n in range(40)], 0.5)
    copies = [np.repeat(values, 10) for values in (scores, valid, np.arange(40))]
    often = quality(copies[0], copies[1], [str(n) for n in copies[2]], 0.5)
    assert often.recall.low == pytest.approx(once.recall.low, abs=0.05)
    assert often.recall.high - often.recall.low > 0.2


def test_the_interval_of_recall_covers_what_is_true():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        passes = rng.random(100) < 0.7
        found = quality(passes.astype(float), np.ones(100), [str(n) for n in range(100)], 0.5, 400)
        inside += found.recall.low <= 0.7 <= found.recall.high
    assert 0.88 <= inside / 200 <= 0.99


@pytest.mark.parametrize(
    ("values", "failed"),
    [
        ({}, []),
        ({"auc": 0.74}, ["auc 0.740 is below 0.75"]),
        ({"precision": 0.5, "recall": 0.6}, ["precision 0.500", "recall 0.600"]),
        ({"balanced_accuracy": float("nan")}, ["balanced_accuracy nan is below 0.7"]),
    ],
)
def test_a_judge_is_accepted_by_all_criteria_or_not_at_all(values, failed):
    good = {"auc": 0.75, "balanced_accuracy": 0.7, "precision": 0.65, "recall": 0.65}
    estimates = {
        name: Estimate(value, value, value)
        for name, value in (good | {"pass_rate": 0.5} | values).items()
    }
    found = Quality(0.5, 10, 5, **estimates)
    assert found.is_accepted == (not failed)
    assert all(
        said.startswith(expected) for said, expected in zip(found.failed(), failed, strict=True)
    )


def test_reliability_has_the_bins_that_hold_scores():
    found = reliability([0.05, 0.08, 0.95, 1.0], [0, 1, 1, 1])
    assert found == [(pytest.approx(0.065), 0.5, 2), (pytest.approx(0.975), 1.0, 2)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: auc([], []), "not empty"),
        (lambda: auc([0.5], [1, 0]), "must be"),
        (lambda: auc([float("nan")], [1]), "finite"),
        (lambda: auc([0.5], [2]), "true or false"),
        (lambda: threshold_for_recall([0.5], [1], 0), "recall is 0"),
        (lambda: quality([0.5], [1], [], 0.5), "groups has 0 entries"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
