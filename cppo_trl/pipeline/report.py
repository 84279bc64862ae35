"""The report of a pipeline: a table and a curve for each stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .config import PipelineConfig
from .process import duration

_BLUE, _ORANGE, _GREY, _INK = "#0072B2", "#E69F00", "#767676", "#222222"
_TITLES = {
    "gold": "Gold tuples",
    "sft": "Planner SFT",
    "judge": "Judge",
    "warmup": "Warm-up",
    "audit": "Audit",
    "cppo": "Joint CPPO",
    "evaluation": "Held-out problems",
}
_REPORT = """\
# {title}

{table}
{evaluation}
![a curve for each stage](stages.png)

What each stage was made of stands in its folder: `stage.json` (commands, inputs, time),
`config.yaml` and `log.txt`. All settings: `pipeline.yaml`.
"""


@dataclass(frozen=True)
class Told:
    """What a stage came to.

    Attributes:
        name: of the stage.
        said: in one line.
        seconds: that it took.
        curves: name -> (x, y), what its panel shows; of the audit and the evaluation, shares with
            their intervals: name -> (low, value, high), and of the audit what is required.
    """

    name: str
    said: str
    seconds: float
    curves: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)


def write_report(config: PipelineConfig, names: Sequence[str]) -> Path:
    """Writes `report.md`, `report.json` and `stages.png` into the directory of the run.

    Args:
        config: of the run.
        names: its stages, all of them done.

    Returns:
        The report.
    """
    output = Path(config.output)
    told = [_TELL[name](output / name) for name in names]
    rows = ["| stage | what came of it | time |", "|---|---|---:|"]
    rows += [f"| {_TITLES[one.name]} | {one.said} | {duration(one.seconds)} |" for one in told]
    rows.append(f"| all | | {duration(sum(one.seconds for one in told))} |")
    evaluation = "\n[The evaluation's own report](evaluation/report.md)\n"
    if "evaluation" not in names:
        evaluation = ""
    content = [{"stage": one.name, "said": one.said, "seconds": one.seconds} for one in told]
    (output / "report.json").write_text(json.dumps(content, indent=2) + "\n")
    _plot(output / "stages.png", [one for one in told if one.curves])
    path = output / "report.md"
    title = f"Coordinated Pass@K: {config.model}, seed {config.seed}"
    path.write_text(
        _REPORT.format(title=title, table="\n".join(rows), evaluation=evaluation), encoding="utf-8"
    )
    return path


def _gold(folder: Path) -> Told:
    rows = [json.loads(line) for line in (folder / "gold.jsonl").read_text().splitlines()]
    owners = {row["problem_id"] for row in rows}
    return Told("gold", f"{len(rows)} tuples of {len(owners)} problems", _seconds(folder))


def _sft(folder: Path) -> Told:
    curves = _logged(folder, {"loss": "loss", "token accuracy": "mean_token_accuracy"})
    said = _from_to("loss", curves.get("loss"), folder, ends=1)
    return Told("sft", said, _seconds(folder), curves)


def _judge(folder: Path) -> Told:
    found = json.loads((folder / "judge.json").read_text())
    verdict = "accepted" if found["accepted"] else "REJECTED: " + "; ".join(found["failed"])
    said = (
        f"{verdict}; AUC {_number(found['auc'][0])}, balanced accuracy "
        f"{_number(found['balanced_accuracy'][0])}, precision {_number(found['precision'][0])}, "
        f"recall {_number(found['recall'][0])} on {found['labels']} labels"
    )
    if found.get("outcome_auc") is not None:
        said += f"; AUC {found['outcome_auc']:.3f} against outcomes"
    return Told("judge", said, _seconds(folder), _logged(folder, {"loss": "loss"}))


def _warmup(folder: Path) -> Told:
    curves = _logged(folder, {"acceptance rate": "R_plan", "plans that parse": "parse_rate"})
    said = _from_to("acceptance rate", curves.get("acceptance rate"), folder)
    return Told("warmup", said, _seconds(folder), curves)


def _audit(folder: Path) -> Told:
    found = json.loads((folder / "audit.json").read_text())
    failed = [one["name"] for one in found["criteria"] if not one["met"]]
    said = "go" if found["go"] else "NO-GO: " + ", ".join(failed)
    said += f", on {found['problems']} problems with {found['tuples']} tuples each"
    shares = {
        one["name"]: (*_interval(one["low"], one["value"], one["high"]), one["least"])
        for one in found["criteria"]
    }
    return Told("audit", said, _seconds(folder), shares)


def _cppo(folder: Path) -> Told:
    curves = _logged(folder, {"R_plan": "R_plan", "judge passes": "judge_pass_rate"})
    # Of a training batch pass@K is not shown: tuples that were not solved have none.
    if (most := _largest_pass(folder, "eval_pass@")) is not None:
        curves |= _logged(folder, {most.replace("eval_", "development "): most})
    said = _from_to("R_plan", curves.get("R_plan"), folder)
    return Told("cppo", said, _seconds(folder), curves)


def _evaluation(folder: Path) -> Told:
    found = json.loads((folder / "summary.json").read_text())
    several = len(found["benchmarks"]) > 1
    intervals, said = {}, []
    for benchmark in found["benchmarks"]:
        for method in benchmark["methods"]:
            score = next(one for one in method["pass_at_k"] if one["k"] == found["k"])
            name = method["method"] + (f", {benchmark['name']}" if several else "")
            intervals[name] = _interval(score["low"], score["mean"], score["high"])
            said.append(f"{name} {_number(score['mean'])}")
    return Told("evaluation", f"pass@{found['k']}: {', '.join(said)}", _seconds(folder), intervals)


_TELL = {
    "gold": _gold,
    "sft": _sft,
    "judge": _judge,
    "warmup": _warmup,
    "audit": _audit,
    "cppo": _cppo,
    "evaluation": _evaluation,
}


def _from_to(
    name: str, curve: Sequence[Sequence[float]] | None, folder: Path, ends: int | None = None
) -> str:
    """Where a curve begins and ends, means of `ends` points, or of a fifth; it may not be there."""
    steps = f"{_steps(folder)} steps"
    if curve is None:
        return f"{steps}; {name} was not logged"
    _, values = curve
    part = ends or max(1, len(values) // 5)
    return f"{name} {np.mean(values[:part]):.3f} to {np.mean(values[-part:]):.3f} in {steps}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _seconds(folder: Path) -> float:
    return json.loads((folder / "stage.json").read_text())["seconds"]


def _log_history(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


def _steps(folder: Path) -> int:
    return json.loads((folder / "trainer_state.json").read_text())["global_step"]


def _history(folder: Path, name: str) -> tuple[list[float], list[float]] | None:
    points = [(entry["step"], entry[name]) for entry in _log_history(folder) if name in entry]
    known = [(step, value) for step, value in points if value is not None and value == value]
    return tuple(map(list, zip(*known, strict=True))) if known else None


def _logged(folder: Path, names: Mapping[str, str]) -> dict[str, Sequence[Sequence[float]]]:
    found = {shown: _history(folder, name) for shown, name in names.items()}
    return {shown: curve for shown, curve in found.items() if curve is not None}


def _largest_pass(folder: Path, prefix: str) -> str | None:
    ks = [
        int(name.removeprefix(prefix))
        for entry in _log_history(folder)
        for name in entry
        if name.startswith(prefix)
    ]
    return f"{prefix}{max(ks)}" if ks else None


def _interval(low: float | None, value: float | None, high: float | None) -> tuple[float, ...]:
    return tuple(float("nan") if one is None else one for one in (low, value, high))


def _plot(path: Path, told: Sequence[Told]) -> None:
    columns = min(3, len(told)) or 1
    rows = max(1, -(-len(told) // columns))
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows), dpi=160, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, one in zip(panels, told, strict=False):
        draw = _draw_shares if one.name in ("audit", "evaluation") else _draw_curves
        draw(axes, one.curves)
        axes.set_title(_TITLES[one.name], fontsize=10, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(colors=_INK, labelsize=8)
    for axes in panels[len(told) :]:
        axes.set_visible(False)
    figure.savefig(path)


def _draw_curves(axes: Axes, curves: Mapping[str, Sequence[Sequence[float]]]) -> None:
    for (name, (steps, values)), colour in zip(
        curves.items(), (_BLUE, _ORANGE, _GREY), strict=False
    ):
        axes.plot(steps, values, color=colour, linewidth=1.6, label=name)
    axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    axes.set_xlabel("step", fontsize=8)
    axes.legend(frameon=False, fontsize=8)


def _draw_shares(axes: Axes, shares: Mapping[str, Sequence[float]]) -> None:
    names = list(shares)[::-1]
    for place, name in enumerate(names):
        low, value, high, *required = shares[name]
        axes.plot(required, [place] * len(required), "|", color=_INK, markersize=14)
        axes.plot([low, high], [place, place], color=_BLUE, linewidth=2)
        axes.plot(value, place, "o", color=_BLUE, markersize=5)
        axes.annotate(
            f"{value:.3f}",
            (value, place),
            xytext=(0, 5),
            textcoords="offset points",
            fontsize=8,
            ha="center",
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.5, len(names) - 0.3)
    axes.set_xlim(-0.02, 1.06)
