"""The plot: pass@K in training and of the results, against both limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .results import Result
from .world import NUM_READINGS, coordinated_limit, independent_limit

# Okabe and Ito's palette: told apart with any colour vision. The orange is too light for words.
BLUE, ORANGE, _DARK_ORANGE, _GREY, INK = "#0072B2", "#E69F00", "#9A6A00", "#767676", "#222222"
Curve = Sequence[tuple[int, float]]  # (optimizer step, pass@K)


def training_curve(run: str | Path) -> list[tuple[int, float]]:
    """(step, pass@K) of every evaluation in a run whose trainer saved its state."""
    history = json.loads((Path(run) / "trainer_state.json").read_text())["log_history"]
    curve = []
    for entry in history:
        by_k = {
            int(name.removeprefix("eval_pass@")): value
            for name, value in entry.items()
            if name.startswith("eval_pass@")
        }
        if by_k:
            curve.append((entry["step"], by_k[max(by_k)]))
    return curve


def plot(curves: Mapping[int, Curve], results: Sequence[Result], path: str | Path) -> None:
    """Draws pass@K in training, one curve for each seed, and the results, against both limits.

    Args:
        curves: of `training_curve`, by seed.
        results: what to show on the right, the last one in the curves' colour.
        path: of the image; its suffix chooses the format.
    """
    k = results[0].attempts
    figure = Figure(figsize=(9, 4.2), dpi=200, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.55, 1))
    lowest = min(
        *(result.pass_k.low for result in results),
        *(value for curve in curves.values() for _, value in curve),
        independent_limit(NUM_READINGS, k),
    )
    left.set_ylim(lowest - 0.05, coordinated_limit(NUM_READINGS, k) + 0.05)
    for axes in (left, right):
        _draw_limits(axes, k)
    _draw_curves(left, curves, k)
    _draw_results(right, results)
    figure.savefig(path)


def _draw_limits(axes: Axes, k: int) -> None:
    independent = independent_limit(NUM_READINGS, k)
    coordinated = coordinated_limit(NUM_READINGS, k)
    axes.axhspan(independent, coordinated, color=BLUE, alpha=0.07, linewidth=0)
    for limit in (independent, coordinated):
        axes.axhline(limit, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)


def _draw_curves(axes: Axes, curves: Mapping[int, Curve], k: int) -> None:
    for curve in curves.values():
        steps, values = zip(*curve, strict=True)
        if len(curves) == 1:
            axes.plot(steps, values, "o", color=BLUE, alpha=0.35, markersize=4, markeredgewidth=0)
        else:
            axes.plot(steps, _smooth(values), color=BLUE, alpha=0.4, linewidth=1)
    steps = [step for step, _ in next(iter(curves.values()))]
    mean = np.mean([[value for _, value in curve] for curve in curves.values()], axis=0)
    axes.plot(steps, _smooth(mean), color=BLUE, linewidth=2.4, solid_capstyle="round")
    axes.margins(x=0.01)
    for limit, words, side in (
        (independent_limit(NUM_READINGS, k), f"most that {k} independent samples can reach", -4),
        (coordinated_limit(NUM_READINGS, k), f"most that {k} coordinated attempts can reach", 4),
    ):
        axes.annotate(
            f"{words}: {limit:.3f}",
            (1, limit),
            xycoords=("axes fraction", "data"),
            xytext=(-2, side),
            textcoords="offset points",
            ha="right",
            va="bottom" if side > 0 else "top",
            fontsize=9,
            color=INK,
        )
    axes.annotate(
        "only coordination gets here",
        (0.02, (independent_limit(NUM_READINGS, k) + 3 * coordinated_limit(NUM_READINGS, k)) / 4),
        xycoords=("axes fraction", "data"),
        fontsize=9,
        fontstyle="italic",
        color=BLUE,
    )
    seeds = f", {len(curves)} seeds and their mean" if len(curves) > 1 else ""
    axes.set_title(f"CPPO in training, development problems{seeds}", fontsize=10, loc="left")
    axes.set_xlabel("step", fontsize=9)
    axes.set_ylabel(f"pass@{k}", fontsize=9)


def _draw_results(axes: Axes, results: Sequence[Result]) -> None:
    colours = [_GREY] * (len(results) - 2) + [ORANGE, BLUE]
    for place, (result, colour) in enumerate(zip(results, colours[-len(results) :], strict=True)):
        mean, low, high = result.pass_k
        axes.errorbar(
            place,
            mean,
            yerr=[[mean - low], [high - mean]],
            fmt="o",
            color=colour,
            markersize=7,
            capsize=4,
            linewidth=2,
        )
        axes.annotate(
            f"{mean:.3f}",
            (place, mean),
            xytext=(10, 0),
            textcoords="offset points",
            va="center",
            fontsize=10,
            fontweight="bold",
            color=colour if colour != ORANGE else _DARK_ORANGE,
        )
    axes.set_xlim(-0.5, len(results) - 0.3)
    axes.set_xticks(range(len(results)), [r.name.replace(" ", "\n", 1) for r in results])
    axes.tick_params(axis="y", length=0, labelleft=False)
    axes.spines["left"].set_visible(False)
    axes.set_title("Held-out problems, 95 % interval", fontsize=10, loc="left")


def _smooth(values: Sequence[float], reach: int = 1) -> list[float]:
    """The mean of each value with up to `reach` neighbours on either side, as many on both."""
    means = []
    for i in range(len(values)):
        near = min(reach, i, len(values) - 1 - i)
        means.append(float(np.mean(values[i - near : i + near + 1])))
    return means
