"""The picture of which attempt solved what: a matrix for each method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cppo_trl.evaluation.results import BenchmarkResult

from .solved import arranged, attempt_labels, solved_shares, verdicts
from .style import ALSO, CELL, INK, MUTED, ONLY, WIDTH, shown

# All in points. The matrix is between `_LEFT` and `_RIGHT`, the shares right of it.
_LEFT, _RIGHT, _SOLVED_AT, _ONLY_AT = 22, 262, 306, 352
_HEAD, _TITLE, _FOOT, _LEGEND = 24, 20, 24, 22
_MOST_COLUMNS = 960


def solved_figure(benchmarks: Sequence[BenchmarkResult], legend: bool = True) -> Figure:
    """A row of the matrix for each attempt, a column for each tuple, methods below each other.

    Args:
        benchmarks: beside each other.
        legend: says below what the colours mean.
    """
    methods = list(benchmarks[0].records)
    k = len(benchmarks[0].records[methods[0]][0].attempts)
    row = 15 if k <= 8 else 12
    panel = _TITLE + k * row + _FOOT
    width, height = WIDTH * len(benchmarks), _HEAD + len(methods) * panel + legend * _LEGEND
    figure = Figure(figsize=(width / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    for place, benchmark in enumerate(benchmarks):
        left = place * WIDTH
        axes.text(left + 4, 12, shown(benchmark.name, 44), fontsize=11, color=INK, va="center")
        for number, method in enumerate(methods):
            top = _HEAD + number * panel
            _text(axes, left + _LEFT, top + 12, shown(method, 34), weight="bold", color=INK)
            _text(axes, left + _SOLVED_AT, top + 12, "solved", ha="right")
            _text(axes, left + _ONLY_AT, top + 12, "only it", ha="right")
            passed_NK = verdicts(benchmark.records[method], benchmark.unknown)
            _draw(axes, arranged(passed_NK), left, top + _TITLE, row)
    if legend:
        _draw_legend(axes, height - 10)
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure


def _draw(axes: Axes, passed_NK: np.ndarray, left: float, top: float, row: float) -> None:
    k = passed_NK.shape[1]
    alone_NK = passed_NK & (passed_NK.sum(1) == 1)[:, None]
    shares = zip(attempt_labels(k), *solved_shares(passed_NK), strict=True)
    for place, (label, solved, only) in enumerate(shares):
        y = top + place * row
        box = (left + _LEFT, y), _RIGHT - _LEFT, row - 2
        axes.add_patch(Rectangle(*box, facecolor=CELL, linewidth=0))
        axes.imshow(
            _coloured(passed_NK[:, place], alone_NK[:, place]),
            extent=(left + _LEFT, left + _RIGHT, y + row - 2, y),
            aspect="auto",
            interpolation="none",
            zorder=2,
        )
        middle = y + row / 2 - 1
        _text(axes, left + _LEFT - 6, middle, label, ha="right", color=INK)
        _text(axes, left + _SOLVED_AT, middle, f"{100 * solved:.1f} %", ha="right", color=INK)
        _text(axes, left + _ONLY_AT, middle, f"{100 * only:.1f} %", ha="right", color=INK)
    _draw_counts(axes, passed_NK.sum(1), left, top + k * row)


def _coloured(passed_N: np.ndarray, alone_N: np.ndarray) -> np.ndarray:
    """One row of the matrix as an image, (1, N, 4); neighbours are averaged where N is large."""
    starts = np.unique(np.linspace(0, len(passed_N), _MOST_COLUMNS, endpoint=False).astype(int))
    sizes = np.diff(starts, append=len(passed_N))
    only = np.add.reduceat(alone_N.astype(float), starts) / sizes
    also = np.add.reduceat((passed_N & ~alone_N).astype(float), starts) / sizes
    amount = only + also
    mixed = only[:, None] * to_rgb(ONLY) + also[:, None] * to_rgb(ALSO)
    colours = mixed / np.maximum(amount, 1e-9)[:, None]
    return np.concatenate([colours, amount[:, None]], axis=1)[None]


def _draw_counts(axes: Axes, counts_N: np.ndarray, left: float, top: float) -> None:
    """Says below a matrix how many attempts solved the columns above."""
    size, k = len(counts_N), counts_N.max(initial=0)
    scale = (_RIGHT - _LEFT) / size
    for number in range(k, -1, -1):
        start, end = (counts_N > number).sum() * scale, (counts_N >= number).sum() * scale
        middle = left + _LEFT + (start + end) / 2
        words = {0: "none", 1: "one"}.get(number, str(number))
        if end - start < 5.5 * len(words) + 4:
            continue
        axes.plot(
            [left + _LEFT + start + 0.8, left + _LEFT + end - 0.8],
            [top + 1, top + 1],
            color=MUTED,
            linewidth=0.8,
            solid_capstyle="butt",
        )
        _text(axes, middle, top + 8, words, ha="center", size=9)


def _draw_legend(axes: Axes, y: float) -> None:
    x = _LEFT
    words = [(ALSO, "solved, by others too"), (ONLY, "solved by it only"), (CELL, "not solved")]
    for colour, text in words:
        axes.add_patch(Rectangle((x, y - 5), 10, 10, facecolor=colour, linewidth=0))
        _text(axes, x + 14, y, text, color=INK)
        x += 26 + 5.6 * len(text)


def _text(axes: Axes, x: float, y: float, text: str, size: float = 10, **style: str) -> None:
    axes.text(x, y, text, fontsize=size, va="center", **{"color": MUTED} | style)
