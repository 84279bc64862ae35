"""pass@k over k, one panel for each benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cppo_trl.evaluation.results import BenchmarkResult, Evaluation

from .style import INK, LINE, MARKERS, METHOD_COLOURS, MUTED, WIDTH, method_places, shown

_PANEL = (WIDTH / 72, 3.4)  # inches
_IN_A_ROW = 3


def curves_figure(benchmarks: Sequence[BenchmarkResult], evaluation: Evaluation) -> Figure:
    """The mean pass@k of every method with the band of its interval, up to three panels a row.

    Args:
        benchmarks: of the evaluation; a panel each.
        evaluation: for its baseline.
    """
    across = min(len(benchmarks), _IN_A_ROW)
    down = -(-len(benchmarks) // across)
    methods = [summary.method for summary in benchmarks[0].summaries]
    legend_rows = -(-len(methods) // (2 * across))
    size = (_PANEL[0] * across, _PANEL[1] * down + 0.22 * legend_rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flat
    places = method_places(methods, evaluation.baseline)
    lines = []
    for axes, benchmark in zip(panels, benchmarks, strict=False):
        lines = _draw(axes, benchmark, places, evaluation.k)
    for axes in list(panels)[len(benchmarks) :]:
        axes.set_axis_off()
    figure.legend(
        lines,
        [shown(name, 22) for name in methods],
        loc="outside lower left",
        ncols=min(2 * across, len(methods)),
        frameon=False,
        fontsize=10.5,
        labelcolor=INK,
        handlelength=2.2,
        columnspacing=1.4,
    )
    return figure


def _draw(
    axes: Axes, benchmark: BenchmarkResult, places: dict[str, int], size: int
) -> list[Line2D]:
    lines = []
    for summary in benchmark.summaries:
        place = places[summary.method]
        colour, is_baseline = METHOD_COLOURS[place], place == 0
        ks = [score.k for score in summary.scores]
        means, lows, highs = (
            [100 * getattr(score, name) for score in summary.scores]
            for name in ("mean", "low", "high")
        )
        if len(ks) == 1:
            errors = [[means[0] - lows[0]], [highs[0] - means[0]]]
            axes.errorbar(ks, means, yerr=errors, color=colour, capsize=4, linewidth=1.5)
        axes.fill_between(ks, lows, highs, color=colour, alpha=0.13, linewidth=0)
        lines += axes.plot(
            ks,
            means,
            color=colour,
            linewidth=1.8,
            linestyle=(0, (4, 2)) if is_baseline else "-",
            marker=MARKERS[place],
            markersize=5,
        )
    ks = sorted({score.k for summary in benchmark.summaries for score in summary.scores})
    _dress(axes, ks)
    if ks[-1] > size:  # another estimator from here on, so curves may bend
        axes.axvline(size, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.set_title(shown(benchmark.name, 40), fontsize=11.5, loc="left", color=INK)
    return lines


def _dress(axes: Axes, ks: list[int]) -> None:
    if ks[-1] / ks[0] >= 3:
        axes.set_xscale("log", base=2)
    ticks = ks
    if len(ks) > 6:
        ticks = [k for k in ks if k & (k - 1) == 0 and k < ks[-1] / 1.4] + ks[-1:]
    axes.set_xticks(ticks, [str(k) for k in ticks])
    axes.set_xticks([], minor=True)
    if len(ks) == 1:
        axes.set_xlim(ks[0] - 1, ks[0] + 1)
    low, high = axes.get_ylim()
    low, high = max(low, -1), min(max(high, low + 5), 101)
    axes.set_ylim(low, high)
    steps = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
    levels = [level for level in steps if low <= level <= high]
    axes.set_yticks(levels, [f"{level:g} %" for level in levels])
    axes.set_xlabel("k", fontsize=10.5, color=INK)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.tick_params(axis="x", color=MUTED, labelcolor=INK, labelsize=10.5)
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=10.5)
