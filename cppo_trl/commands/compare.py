"""The command `cppo-trl compare`: whether two evaluations differ.

    cppo-trl compare runs/eval-a runs/eval-b
    cppo-trl compare runs/eval runs/eval --first-method direct --second-method cppo

Exit status 0, whatever the difference; `--output` writes `{"first", "second", "cells"}` as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from cppo_trl.errors import first_line
from cppo_trl.evaluation.comparison import Cell, compare
from cppo_trl.evaluation.directory import EvaluationDirectory
from cppo_trl.evaluation.summary import LEVEL

from .outcome import CommandError


def compare_directories(
    first: Path,
    second: Path,
    *,
    first_method: str | None = None,
    second_method: str | None = None,
    k: int | None = None,
    output: Path | None = None,
) -> list[Cell]:
    """Tests each cell of two evaluations, prints the table and writes it if asked to.

    Args:
        first, second: directories that `cppo-trl eval` wrote.
        first_method, second_method, k: as for `evaluation.comparison.compare`.
        output: of the JSON file.

    Raises:
        DirectoryError, RecordError, ValueError: what `compare` refuses.
        OSError: a file cannot be read or written.
    """
    directories = [EvaluationDirectory(path) for path in (first, second)]
    cells = compare(*directories, first_method, second_method, k)
    if output is not None:
        content = {
            "first": str(first),
            "second": str(second),
            "cells": [asdict(cell) for cell in cells],
        }
        output.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    _print(first, second, cells)
    return cells


def _print(first: Path, second: Path, cells: Sequence[Cell]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"first: {first}\nsecond: {second}", highlight=False)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("benchmark, method")
    for name in ("first", "second", "second less first", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    exact = any(cell.mcnemar is not None for cell in cells)
    if exact:
        table.add_column("McNemar", justify="right")
    for cell in cells:
        methods = dict.fromkeys((cell.first_method, cell.second_method))
        test = cell.test
        row = [
            f"{cell.benchmark}\n{' / '.join(methods)}, pass@{cell.first.k}",
            *(f"{s.mean:.3f}\n{s.low:.3f}–{s.high:.3f}" for s in (cell.first, cell.second)),
            f"{test.difference:+.3f}\n{test.low:+.3f} to {test.high:+.3f}",
            f"{test.p_value:.4f}",
        ]
        if exact:
            row.append("" if cell.mcnemar is None else f"{cell.mcnemar:.4f}")
        table.add_row(*row, style="bold" if test.p_value < LEVEL else "")
    console.print(table)
    adjusted = " (Holm, over all rows)" if len(cells) > 1 else ""
    console.print(
        f"95 % intervals and p-values{adjusted} by the paired bootstrap over problems and seeds"
        + (", and by McNemar's exact test of single runs." if exact else "."),
        soft_wrap=True,
    )
    for cell in cells:
        if cell.unknown:
            console.print(
                f"{cell.benchmark}, {cell.first_method} / {cell.second_method}: "
                f"{len(cell.unknown)} problems without all verdicts are left out."
            )


def run(args: argparse.Namespace) -> int:
    """Compares two evaluations; 0 whatever the difference."""
    if args.method and (args.first_method or args.second_method):
        raise CommandError("--method is of both; leave out --first-method and --second-method")
    try:
        compare_directories(
            args.first,
            args.second,
            first_method=args.first_method or args.method,
            second_method=args.second_method or args.method,
            k=args.k,
            output=args.output,
        )
    except (OSError, ValueError) as error:
        raise CommandError(first_line(error)) from error
    return 0
