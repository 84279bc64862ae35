"""The figures of the report show what the records hold, and their words can be read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from cppo_trl.evaluation.report.curves import curves_figure
from cppo_trl.evaluation.report.solved import arranged, attempt_labels, solved_shares
from cppo_trl.evaluation.report.solved_plot import solved_figure
from cppo_trl.evaluation.summary import Score
from evaluation_samples import sample_evaluation, sample_record


def test_tuples_are_arranged_by_how_many_solved_them_then_by_who() -> None:
    rng = np.random.default_rng(0)
    found = arranged(rng.random((200, 4)) < 0.5)
    counts = found.sum(1)
    assert (np.diff(counts) <= 0).all()
    for count in range(5):
        patterns = ["".join("01"[int(x)] for x in row) for row in found[counts == count]]
        assert patterns == sorted(patterns, reverse=True)


def test_shares_are_of_all_tuples() -> None:
    passed_NK = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]], dtype=bool)
    assert solved_shares(passed_NK) == ([0.5, 0.25, 0.25], [0.25, 0.0, 0.25])


def test_attempts_have_the_labels_of_plans_as_far_as_there_are_labels() -> None:
    assert attempt_labels(1) == ("A",)
    assert attempt_labels(4) == ("A", "B", "C", "D")
    assert attempt_labels(26)[-1] == "Z"
    assert attempt_labels(30)[-1] == "30"


def assert_words_are_apart(figure: Figure) -> None:
    """Draws the figure, and looks where its texts are."""
    FigureCanvasAgg(figure).draw()
    boxes_N4 = np.array(
        [
            text.get_window_extent().extents
            for text in set(figure.findobj(Text))
            if text.get_visible() and text.get_text().strip()
        ]
    )
    assert (boxes_N4[:, :2] >= 0).all()
    assert (boxes_N4[:, 2:] <= figure.bbox.size).all()
    starts, ends = boxes_N4[:, None, :2], boxes_N4[None, :, 2:]
    overlaps = (starts < ends).all(-1)
    assert (overlaps & overlaps.T).sum() == len(boxes_N4)  # each with itself only


@pytest.mark.parametrize("methods", [1, 8])
@pytest.mark.parametrize("k, problems", [(1, 5), (2, 5), (4, 3000), (26, 300)])
def test_words_beside_the_matrices_do_not_overlap(k, problems, methods) -> None:
    rng = np.random.default_rng(k)
    benchmark = sample_evaluation({"benchmark:test": {"direct": ["+-"]}}).benchmarks[0]
    records = {
        name: [
            sample_record("".join("-+"[int(x)] for x in row), f"p{place}")
            for place, row in enumerate(rng.random((problems, k)) < 0.3)
        ]
        for name in ["a method of a really long name indeed", *"bcdefgh"][:methods]
    }
    assert_words_are_apart(solved_figure([replace(benchmark, records=records)] * 2))


@pytest.mark.parametrize("methods", [1, 8])
@pytest.mark.parametrize("ks", [[1], [1, 2], [*range(1, 27)], [1, 10, 100]])
def test_words_beside_the_curves_do_not_overlap(ks, methods) -> None:
    evaluation = sample_evaluation({"benchmark:test": {"direct": ["+-", "--"]}})
    (benchmark,) = evaluation.benchmarks
    summaries = [
        replace(
            benchmark.summaries[0],
            method=name,
            scores=tuple(Score(k, 1 - 0.9**k, 1 - 0.92**k, 1 - 0.88**k) for k in ks),
        )
        for name in ["direct", "a method of a really long name indeed", *"cdefgh"][:methods]
    ]
    benchmarks = [replace(benchmark, summaries=summaries)] * 4
    assert_words_are_apart(curves_figure(benchmarks[:1], evaluation))
    assert_words_are_apart(curves_figure(benchmarks, evaluation))
