"""The table of a reproduction as Markdown, as JSON and as a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from cppo_trl.evaluation.report.style import INK, METHOD_COLOURS, save_png
from cppo_trl.evaluation.summary import LEVEL, Score, Summary

from .cells import Cells
from .config import TableConfig
from .results import Results, Trained, read_results
from .rows import GROUPS, Row

_REPORT = """\
# {title}

{conclusions}

![pass@{k} of every row]({report}.png)

{tables}

pass@1 and pass@{k}: 95 % bootstrap intervals over problems and {seeds} training seeds. Less
{method}: pass@{k} of the row less that of {method}, with the 95 % interval of the bootstrap paired
by problem and seed; p two-sided, Holm-adjusted over all cells of the table. Distinct: different
strategies in a plan. Tokens: decoded for the {k} attempts at a problem, plans included.

## What it cost

{cost}

A training: the attempts of the solver in it, its tokens (prompts included) and minutes, means over
the seeds; what a row starts from is not counted again. Evaluation: minutes of the one above, all
seeds together. All cells of this table, tuning included, took {hours:.1f} hours together, each as
long as it took on the machine that made it.

## Tuning

Every trained row was given the same number of learning rates to try, with the first seed, on
development problems; the entry with the best pass@{k} there (marked) went on to all seeds.

{tuning}

## Budget

{budget}

Made by

```bash
{command}
```

Each cell keeps its settings, commands, log and results in a folder of its own under `rows/`.
"""


def write_table(config: TableConfig, output: Path, chosen: Mapping[str, int | None]) -> Path:
    """Writes the report as Markdown, JSON and a picture into the directory of the run.

    Args:
        config: of the table.
        output: the directory.
        chosen: row -> the entry of its grid that went on.

    Returns:
        The Markdown file.
    """
    results = read_results(config, Cells(config, Path(), output), chosen)
    (output / f"{config.report}.yaml").write_text(_settings(config), encoding="utf-8")
    (output / f"{config.report}.json").write_text(json.dumps(asdict(results), indent=2) + "\n")
    save_png(draw(config, results), output / f"{config.report}.png")
    path = output / f"{config.report}.md"
    path.write_text(
        _REPORT.format(
            title=f"{config.method.said or config.method.name} beside its baselines",
            conclusions="\n".join(conclusion(config, results, name) for name in config.benchmarks),
            report=config.report,
            k=config.k,
            seeds=config.seeds,
            method=config.method.name,
            tables="\n\n".join(
                f"## {name}, {_counted(results, name)}\n\n{markdown_table(config, results, name)}"
                for name in config.benchmarks
            ),
            cost=_cost(config, results),
            hours=results.seconds / 3600,
            tuning=_tuning(config, results),
            budget=_budget(config),
            command=config.command,
        ),
        encoding="utf-8",
    )
    return path


def conclusion(config: TableConfig, results: Results, benchmark: str) -> str:
    """One sentence: where the method's row stands against the strongest baseline."""
    own = results.summaries[benchmark][config.method.name].scores[-1]
    said = f"{benchmark}: {config.method.name} has pass@{config.k} {_interval(own)}"
    if benchmark not in results.leads:
        return f"{said}."
    lead, best = results.leads[benchmark], results.strongest[benchmark]
    other = results.summaries[benchmark][best].scores[-1]
    sure = "significant" if lead.p_value < LEVEL else "not significant"
    return (
        f"{said}, the strongest baseline ({best}) {_interval(other)}: {lead.difference:+.3f} "
        f"({lead.low:+.3f} to {lead.high:+.3f}), p {_p_value(lead.p_value)}, {sure}."
    )


def markdown_table(config: TableConfig, results: Results, benchmark: str) -> str:
    """The table of one benchmark in Markdown, rows in the order of the groups."""
    header = [
        *("", "what it is", "pass@1 (95 %)", f"pass@{config.k} (95 %)"),
        *(f"less {config.method.name}", "p (Holm)", "distinct", "tokens"),
    ]
    rows = [
        [name, "", "", f"{value:.3f}", *[""] * (len(header) - 4)]
        for name, value in config.limits.items()
    ]
    for row in in_groups(config):
        rows.append(_scored(row, results.summaries[benchmark][row.name]))
    rule = ["---", "---", *["---:"] * (len(header) - 2)]
    return _table([header, rule, *rows])


def in_groups(config: TableConfig) -> list[Row]:
    """The rows, baselines first, then the method, then its variants."""
    return sorted(config.rows.values(), key=lambda row: GROUPS.index(row.group))


def draw(config: TableConfig, results: Results) -> Figure:
    """pass@K of every row with its interval, a panel for each benchmark, beside the limits."""
    rows = in_groups(config)[::-1]
    count = len(results.summaries)
    size = (2.2 + 3.6 * count, 0.34 * len(rows) + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    colours = dict(zip(GROUPS, METHOD_COLOURS, strict=False))
    for axes, (benchmark, found) in zip(panels, results.summaries.items(), strict=True):
        for name, limit in config.limits.items():
            axes.axvline(limit, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(
                f"{name} ",
                (limit, len(rows) - 0.4),
                fontsize=7,
                ha="right",
                va="bottom",
                annotation_clip=False,
            )
        for place, row in enumerate(rows):
            score, colour = found[row.name].scores[-1], colours[row.group]
            axes.plot([score.low, score.high], [place, place], color=colour, linewidth=2)
            axes.plot(score.mean, place, "o", color=colour, markersize=5)
            axes.annotate(
                f"{score.mean:.3f}",
                (score.high, place),
                (4, -3),
                textcoords="offset points",
                fontsize=7,
            )
        axes.set_yticks(range(len(rows)), [row.name for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.set_xlabel(f"{benchmark}: pass@{config.k}, 95 % interval", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
        axes.margins(x=0.12)
    return figure


def _counted(results: Results, benchmark: str) -> str:
    """How many problems the numbers are of, and how many they should be of."""
    said, left_out = f"{results.problems[benchmark]} problems", results.left_out[benchmark]
    return f"{said} ({left_out} more left out, without a verdict)" if left_out else said


def _scored(row: Row, summary: Summary) -> list[str]:
    against = summary.against
    return [
        row.name,
        row.said,
        *(_interval(score) for score in (summary.scores[0], summary.scores[-1])),
        ""
        if against is None
        else f"{against.difference:+.3f} ({against.low:+.3f} to {against.high:+.3f})",
        "" if against is None else _p_value(against.p_value),
        "" if summary.distinct is None else f"{summary.distinct:.2f}",
        f"{summary.planner_tokens + summary.solver_tokens:.0f}",
    ]


def _cost(config: TableConfig, results: Results) -> str:
    rows = []
    for row in in_groups(config):
        spent = _spent(results.trained.get(row.name))
        rows.append([row.name, *spent, f"{results.evaluated[row.name] / 60:.1f}"])
    header = ["", "attempts of a training", "its tokens", "its minutes", "evaluation, minutes"]
    return _table([header, ["---", *["---:"] * 4], *rows])


def _spent(trained: Trained | None) -> list[str]:
    if trained is None:
        return [""] * 3
    tokens = "" if trained.tokens is None else f"{trained.tokens:,.0f}"
    return [f"{trained.attempts:,}", tokens, f"{trained.seconds / 60:.1f}"]


def _tuning(config: TableConfig, results: Results) -> str:
    rows = []
    for row in in_groups(config):
        if row.name in results.trained:
            trained = results.trained[row.name]
            for place, (settings, score) in enumerate(trained.tried):
                said = ", ".join(f"{name} {_number(value)}" for name, value in settings.items())
                mark = "x" if place == trained.chosen else ""
                rows.append([row.name if not place else "", said, f"{score:.3f}", mark])
    header = ["", "tried", f"development pass@{config.k}", "chosen"]
    return _table([header, ["---", "---", "---:", ":---:"], *rows])


def _budget(config: TableConfig) -> str:
    budget, rows = config.budget, {}
    for row in in_groups(config):
        if row.makes_attempts:
            rows.setdefault(row.attempts or config.attempts, []).append(row.name)
    lines = [
        f"- {budget.attempts // count} problems a step, {count} attempts at each: "
        f"{', '.join(names)}"
        for count, names in rows.items()
    ]
    said = (
        f"{budget.steps} steps of {budget.attempts} attempts: {budget.total:,} of the solver in "
        f"every training that learns from attempts, and {config.k} at a problem in every evaluation"
    )
    return "\n".join([f"{said}.", "", *lines] if lines else [f"{said}."])


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _interval(score: Score) -> str:
    return f"{score.mean:.3f} ({score.low:.3f}–{score.high:.3f})"


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _settings(config: TableConfig) -> str:
    return yaml.safe_dump(json.loads(json.dumps(asdict(config), default=str)), sort_keys=False)
