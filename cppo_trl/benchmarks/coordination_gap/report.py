"""Measurements of the coordination gap as a table and a plot, each beside both limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from .plot import Curve, plot
from .results import Result
from .world import NUM_READINGS, coordinated_limit, independent_limit

_REPORT = """\
# The coordination gap

{conclusion}

![pass@{k} in training and on held-out problems, against both limits](coordination_gap.png)

{table}

A statement has {m} readings, the hidden tests accept one of them, and nothing tells which. Samples
that are drawn independently of each other, by whatever model, do not get past the independent limit
`1 - (1 - 1/{m})^{k}`; attempts that divide the readings among themselves can reach the coordinated
limit `min(1, {k}/{m})`.

- pass@1 and pass@{k}: averaged over the readings that could be the hidden one, with 95 % bootstrap
  intervals over problems (and seeds, where there are several). A plan that does not parse is {k}
  failures.
- distinct: different strategies in a plan. admissible: strategies that are readings of the problem.
- attempts, tokens: programs written and tokens decoded for a problem, the plan's included.

Made by

```bash
{command}
```
"""


def table_cells(results: Sequence[Result]) -> list[list[str]]:
    """The table as text, header first, then both limits, then the results (all of one K)."""
    k = results[0].attempts
    limits = [
        ("independent limit", independent_limit),
        ("coordinated limit", coordinated_limit),
    ]
    header = [
        "",
        "pass@1 (95 %)",
        f"pass@{k} (95 %)",
        "distinct",
        "admissible",
        "attempts",
        "tokens",
    ]
    return [
        header,
        *(
            [name, f"{limit(NUM_READINGS, 1):.3f}", f"{limit(NUM_READINGS, k):.3f}", *[""] * 4]
            for name, limit in limits
        ),
        *(
            [
                result.name,
                str(result.pass_1),
                str(result.pass_k),
                "" if result.distinct is None else f"{result.distinct:.2f}",
                "" if result.admissible is None else f"{result.admissible:.3f}",
                str(result.attempts),
                f"{result.tokens:.0f}",
            ]
            for result in results
        ),
    ]


def terminal_table(results: Sequence[Result], title: str) -> Table:
    """The table for a terminal of 80 columns or more: intervals go on a line of their own."""
    header, *rows = [
        [cell.replace(" (", "\n").rstrip(")") for cell in cells] for cells in table_cells(results)
    ]
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for position, name in enumerate(header):
        table.add_column(name, justify="right" if position else "left", no_wrap=position > 0)
    for position, row in enumerate(rows):
        last = position == len(rows) - 1
        table.add_row(*row, style="bold" if last else "", end_section=position == 1)
    return table


def markdown_table(results: Sequence[Result]) -> str:
    """The table for a README."""
    header, *rows = table_cells(results)
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def conclusion(result: Result) -> str:
    """Says in one sentence where a result stands against the limit of independent samples."""
    k, name = result.attempts, result.name
    limit = f"{independent_limit(NUM_READINGS, k):.3f}"
    sampler = f"what any {k} independent samples can reach ({limit} at most)"
    if result.above_independent:
        return f"{name}: pass@{k} {result.pass_k} is above {sampler}, all of its interval included."
    return f"{name}: pass@{k} {result.pass_k} does not show more than {sampler}."


def save_report(
    directory: str | Path,
    results: Sequence[Result],
    curves: Mapping[int, Curve],
    command: str,
) -> list[Path]:
    """Writes `report.md`, `results.json` and `coordination_gap.png`; returns their paths.

    Args:
        directory: where to, which exists.
        results: the rows of the table; the plot shows the first two and the last.
        curves: of `training_curve`, by seed.
        command: what made them, for the reader who wants to.
    """
    directory, k = Path(directory), results[0].attempts
    image, report, numbers = (
        directory / name for name in ("coordination_gap.png", "report.md", "results.json")
    )
    plot(curves, [*results[:2], results[-1]], image)
    report.write_text(
        _REPORT.format(
            conclusion=conclusion(results[-1]),
            table=markdown_table(results),
            command=command,
            m=NUM_READINGS,
            k=k,
        ),
        encoding="utf-8",
    )
    content = {
        "command": command,
        "limits": {
            f"pass@{attempts}": {
                "independent": independent_limit(NUM_READINGS, attempts),
                "coordinated": coordinated_limit(NUM_READINGS, attempts),
            }
            for attempts in (1, k)
        },
        "results": [
            {
                "name": result.name,
                "pass@1": result.pass_1._asdict(),
                f"pass@{k}": result.pass_k._asdict(),
                "distinct": result.distinct,
                "admissible": result.admissible,
                "attempts": result.attempts,
                "tokens": result.tokens,
            }
            for result in results
        ],
        "training_curves": curves,
    }
    numbers.write_text(json.dumps(content, indent=2) + "\n")
    return [report, numbers, image]
