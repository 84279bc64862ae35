"""The report of a judge: a table with intervals, and how far its scores can be trusted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from .calibration import MEASURES, REQUIRED, Quality, reliability
from .labels import Label
from .sources import by_source, source_table

_REPORT = """\
# A judge of strategy tuples

**{verdict}**

{table}

Measured on {labels} labels, {valid} of them valid, at the threshold {threshold:.3f}; 95 % bootstrap
intervals over problems. Required: the method's rule of acceptance, all of it.\
{swapped}{parts}{outcomes}

## By source of the labels

{sources}

Rejected: the share of a source's labels, valid or not, that the judge does not pass, with a Wilson
interval (labels as if independent). AUC: the source's invalid tuples against the valid ones of all
sources.

![reliability of the scores](reliability.png)

Left: the share of valid tuples among those of about one score; on the diagonal a score is a
probability. Right: the scores of valid and of invalid tuples.
"""
_SWAPPED = """
That at least half of the tuples with another problem's strategies (corruption/swapped and mixed)
are rejected is asked for by this library, not by the paper: a judge that passes them sees whether
strategies are distinct, not what they are for.\
"""
_OUTCOMES = """

AUC against outcomes (whether any attempt at the tuple passed): {0:.3f}, beside {1:.3f} against
labels. A judge of validity is no judge of success; the method reports 0.572 and 0.971.\
"""


def write_judge_report(
    directory: str | Path,
    quality: Quality,
    scores: Sequence[float],
    measured: Sequence[Label],
    labels: tuple[int, int, int] | None = None,
    outcome_auc: float | None = None,
) -> list[Path]:
    """Writes `judge.md`, `judge.json` and `reliability.png`.

    Args:
        directory: where to; made if it is not there.
        quality: the measures.
        scores, measured: what they were measured on: scores of labels.
        labels: how many were trained on, calibrated on and measured on.
        outcome_auc: AUC against solver outcomes, where they are known.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / name for name in ("judge.md", "judge.json", "reliability.png")]
    verdict = "Accepted." if quality.is_accepted else f"Rejected: {'; '.join(quality.failed())}."
    valid = [label.valid for label in measured]
    sources = by_source(scores, valid, [label.source for label in measured], quality.threshold)
    rows = ["| | value (95 %) | required |", "|---|---:|---:|"]
    for name in MEASURES:
        if (estimate := getattr(quality, name)) is None:
            continue
        value, low, high = estimate
        least = f"at least {REQUIRED[name]:.2f}" if name in REQUIRED else ""
        said = name.replace("_", " ").replace("auc", "AUC")
        rows.append(f"| {said} | {value:.3f} ({low:.3f}–{high:.3f}) | {least} |")
    parts = ""
    if labels is not None:
        trained, calibrated, _ = labels
        parts = (
            f" It was trained on {trained} labels and its threshold chosen on {calibrated}, all of "
            "other problems."
        )
    outcomes = "" if outcome_auc is None else _OUTCOMES.format(outcome_auc, quality.auc.value)
    paths[0].write_text(
        _REPORT.format(
            verdict=verdict,
            table="\n".join(rows),
            labels=quality.labels,
            valid=quality.valid,
            threshold=quality.threshold,
            swapped="" if quality.swapped_rejected is None else _SWAPPED,
            parts=parts,
            outcomes=outcomes,
            sources=source_table(sources),
        ),
        encoding="utf-8",
    )
    content = quality.to_dict() | {
        "outcome_auc": outcome_auc,
        "sources": [one.to_dict() for one in sources],
    }
    paths[1].write_text(json.dumps(content, indent=2) + "\n")
    _plot(paths[2], quality, np.asarray(scores), np.asarray(valid, dtype=bool))
    return paths


def _plot(path: Path, quality: Quality, scores_N: np.ndarray, valid_N: np.ndarray) -> None:
    figure = Figure(figsize=(8, 3.6), dpi=160, layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = reliability(scores_N, valid_N)
    left.plot([0, 1], [0, 1], color="#767676", linewidth=1, linestyle=(0, (4, 3)))
    left.plot([b[0] for b in bins], [b[1] for b in bins], "o-", color="#0072B2", linewidth=2)
    left.set(xlabel="score", ylabel="share of valid tuples", xlim=(0, 1), ylim=(-0.02, 1.02))
    edges = np.linspace(0, 1, 21)
    for kind, colour, name in ((True, "#0072B2", "valid"), (False, "#E69F00", "invalid")):
        right.hist(scores_N[valid_N == kind], edges, color=colour, alpha=0.7, label=name)
    right.axvline(quality.threshold, color="#222222", linewidth=1)
    right.annotate(
        "threshold",
        (quality.threshold, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -4),
        textcoords="offset points",
        va="top",
        fontsize=9,
    )
    right.set(xlabel="score", ylabel="tuples", xlim=(0, 1))
    right.legend(frameon=False, fontsize=9)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
