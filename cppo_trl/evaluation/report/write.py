"""Writes the report of an evaluation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cppo_trl.evaluation.results import Evaluation

from .as_json import summary_json
from .curves import curves_figure
from .markdown import markdown_report
from .numbers import score_at
from .page import page
from .solved_plot import solved_figure
from .style import save_png


def write_report(directory: Path, evaluation: Evaluation) -> list[Path]:
    """Writes the report as a page, as Markdown with its images, and as numbers in JSON.

    The same evaluation gives the same bytes.

    Args:
        directory: where to; made if it is not there.
        evaluation: what to report.

    Returns:
        The paths: `report.html`, `report.md`, `summary.json`, `pass_at_k.png`, `solved_by.png`.

    Raises:
        ValueError: pass@K is not among the scores of a method.
    """
    for benchmark in evaluation.benchmarks:
        for summary in benchmark.summaries:
            if score_at(summary, evaluation.k) is None:
                raise ValueError(
                    f"{summary.method!r} has no pass@{evaluation.k} on {benchmark.name}; the "
                    "scores must hold K, the attempts of a tuple"
                )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    texts = {
        "report.html": page(evaluation),
        "report.md": markdown_report(evaluation),
        "summary.json": summary_json(evaluation),
    }
    figures = {
        "pass_at_k.png": curves_figure(evaluation.benchmarks, evaluation),
        "solved_by.png": solved_figure(evaluation.benchmarks),
    }
    for name, text in texts.items():
        with _replaced(directory / name) as spare:
            spare.write_text(text, encoding="utf-8", newline="\n")
    for name, figure in figures.items():
        with _replaced(directory / name) as spare:
            save_png(figure, spare)
    return [directory / name for name in (*texts, *figures)]


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Where to write what then takes the place of a file, whole or not at all."""
    spare = path.with_name(f".{path.name}")
    yield spare
    os.replace(spare, path)
