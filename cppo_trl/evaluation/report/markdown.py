"""The report as Markdown, as GitHub draws it."""

from __future__ import annotations

import json
import re

from cppo_trl.evaluation.results import Evaluation

from .as_json import plain
from .conclusion import benchmark_conclusion, conclusion, left_out
from .numbers import cost_table, curves_note, difference_table, diversity_table, score_table
from .table import Table, markdown_table, markdown_text
from .title import about, attempts, command, title

_REPORT = """\
# {title}

{about}

**{conclusion}**

{benchmarks}

The same with every strategy, program and verdict: `report.html`. The numbers: `summary.json`.

## Scores

{scores}

{differences}

## pass@k

{curves}

![pass@k of every method, for each benchmark](pass_at_k.png)

## Which attempt solved what

![For each method, which attempt solved which problem](solved_by.png)

A column is one tuple of {attempts} at one problem; those that most attempts solved come first.
Below each matrix: how many attempts solved the columns above. Attempts that all do the same solve
a problem all or none; attempts that complement each other solve it one at a time.

## Diversity

{diversity}

## Cost

{cost}

## How it was made

{command}

<details><summary>Settings</summary>

{settings}

</details>

<details><summary>Sessions and versions</summary>

{sessions}

</details>
"""


def markdown_report(evaluation: Evaluation) -> str:
    """The whole report but for the programs; its images are to be beside it."""
    made_by = command(evaluation)
    return _REPORT.format(
        title=markdown_text(title(evaluation)),
        about=markdown_text(about(evaluation)),
        conclusion=markdown_text(conclusion(evaluation)),
        benchmarks=_benchmarks(evaluation),
        scores=_table(score_table(evaluation)),
        differences=_table(difference_table(evaluation)) if _has_others(evaluation) else "",
        curves=curves_note(evaluation),
        diversity=_table(diversity_table(evaluation)),
        cost=_table(cost_table(evaluation)),
        command=f"Made by\n\n{_fenced(made_by, 'bash')}" if made_by else "",
        settings=_fenced(_pretty(evaluation.settings), "json"),
        sessions=_fenced(_pretty(evaluation.sessions), "json"),
        attempts=attempts(evaluation.k),
    )


def _has_others(evaluation: Evaluation) -> bool:
    return len(evaluation.benchmarks[0].summaries) > 1


def _benchmarks(evaluation: Evaluation) -> str:
    lines = []
    for benchmark in evaluation.benchmarks:
        found = markdown_text(benchmark_conclusion(benchmark, evaluation.k))
        lines.append(f"- **{markdown_text(benchmark.name)}**: {found}")
        lines += [
            f"  - {markdown_text(said)}"
            for said in (benchmark.described, left_out(benchmark))
            if said
        ]
        if benchmark.unknown:
            lines.append(f"  - Left out: {markdown_text(', '.join(benchmark.unknown))}")
    return "\n".join(lines)


def _table(table: Table) -> str:
    notes = "\n\n".join(map(markdown_text, table.notes))
    return f"{markdown_text(table.caption)}:\n\n{markdown_table(table)}\n\n{notes}"


def _pretty(value: object) -> str:
    return json.dumps(plain(value), indent=2, ensure_ascii=False)


def _fenced(text: str, language: str) -> str:
    """A code block that no text can end."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
