"""The command `cppo-trl benchmark`: what benchmarks there are, and whether they can be trusted.

    cppo-trl benchmark list
    cppo-trl benchmark check --benchmark apps --path APPS --split test --output checked.jsonl

`check` runs programs known to be right, the benchmark's own or those of a file, and lists the
problems where they fail: several outputs are right, tests are malformed, limits too tight, or the
verifier is wrong. The output gets one row for each problem with such a program: `{"problem_id",
"solutions", "passed", "failed", "errata", "max_tests"}`, where `failed` lists `{"index", "status",
"first_failed", "message"}`; `index` is that of the program, `first_failed` that of the test, both
from 0.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cppo_trl.benchmarks import BENCHMARKS, BenchmarkError, BenchmarkProblems, load_benchmark
from cppo_trl.errors import first_line
from cppo_trl.problems import Problem, ProblemError, read_rows
from cppo_trl.verifier import CodeVerifier, SandboxError, Status, Verdict

from .outcome import CommandError
from .shared_options import loading_options, verifier_options


@dataclass(frozen=True)
class Checked:
    """A problem with the verdicts on its known-good programs."""

    problem: Problem
    verdicts: Sequence[Verdict]

    @property
    def failed(self) -> list[tuple[int, Verdict]]:
        """The programs that do not pass, by their index."""
        return [pair for pair in enumerate(self.verdicts) if not pair[1].passed]


def list_benchmarks() -> None:
    """Prints a table of the benchmarks."""
    from rich.console import Console
    from rich.table import Table

    table = Table("Name", "Hub id, versions; splits", "Compare")
    for benchmark in BENCHMARKS.values():
        versions = [version for version in benchmark.files if version]
        splits = dict.fromkeys(split for files in benchmark.files.values() for split in files)
        parts = f"{versions[0]} to {versions[-1]}; " if versions else ""
        table.add_row(
            benchmark.name,
            f"{benchmark.hub_id or benchmark.title}\n{parts}{', '.join(splits)}".rstrip(),
            benchmark.compare,
        )
    Console().print(table)


def check_benchmark(
    name: str,
    output: Path,
    *,
    solutions: Path | None = None,
    max_solutions: int | None = None,
    verifier: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Checked]:
    """Runs programs known to be right, writes how each problem did and prints where they fail.

    Args:
        name: of the benchmark.
        output: the JSONL file that is written.
        solutions: a JSONL file of programs, `{"problem_id", "code"}`, to run in place of the
            benchmark's own; rows with a `label` other than "correct" are left out.
        max_solutions: the most programs for a problem, the first ones; None for all.
        verifier: options of `CodeVerifier`, by default those of the benchmark.
        options: of `load_benchmark`.

    Raises:
        BenchmarkError, BadRow, HubUnreachable: as `load_benchmark`; no problem has a program.
        ProblemError: a row of `solutions` cannot be used.
        OSError: a file cannot be read or written.
    """
    problems = load_benchmark(name, with_solutions=solutions is None, **options)
    programs = (
        {problem.id: list(problem.metadata["solutions"]) for problem in problems}
        if solutions is None
        else _read_solutions(solutions)
    )
    pairs = [
        (problem, code)
        for problem in problems
        for code in programs.get(problem.id, [])[:max_solutions]
    ]
    if not pairs:
        raise BenchmarkError(f"{name} has no solutions for these problems; give a file of them")
    benchmark = problems.benchmark
    graded = {"compare": benchmark.compare, "prelude": benchmark.prelude, **(verifier or {})}
    output.write_text("", encoding="utf-8")  # fails before hours of work, not after
    with CodeVerifier(**graded) as code_verifier:
        verdicts = code_verifier.verify_many(*zip(*pairs, strict=True), progress=True)
    by_id: dict[str, list[Verdict]] = {}
    for (problem, _), verdict in zip(pairs, verdicts, strict=True):
        by_id.setdefault(problem.id, []).append(verdict)
    checked = [Checked(item, by_id[item.id]) for item in problems if item.id in by_id]
    rows = [json.dumps(_row(item, problems.max_tests)) + "\n" for item in checked]
    output.write_text("".join(rows), encoding="utf-8")
    _print(problems, checked)
    return checked


def _read_solutions(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for where, row in read_rows(path):
        named = isinstance(row, Mapping) and row.get("problem_id", row.get("question_id"))
        if not isinstance(named, (str, int)) or not isinstance(row.get("code"), str):
            raise ProblemError(f"{where}: needs the fields 'problem_id' and 'code', as text")
        if row.get("label", "correct") == "correct":
            found.setdefault(str(named), []).append(row["code"])
    return found


def _row(checked: Checked, max_tests: int | None) -> dict[str, Any]:
    return {
        "problem_id": checked.problem.id,
        "solutions": len(checked.verdicts),
        "passed": len(checked.verdicts) - len(checked.failed),
        "failed": [
            {
                "index": index,
                "status": verdict.status.value,
                "first_failed": verdict.first_failed,
                "message": verdict.message,
            }
            for index, verdict in checked.failed
        ],
        "errata": checked.problem.metadata.get("errata"),
        "max_tests": max_tests,
    }


def _print(problems: BenchmarkProblems, checked: Sequence[Checked]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text(problems.describe()))
    failing = [item for item in checked if item.failed]
    if failing:
        table = Table("Problem", "Passed", "First failure", "Known errata")
        for item in failing:
            verdict = item.failed[0][1]
            count = f"{len(item.verdicts) - len(item.failed)} of {len(item.verdicts)}"
            test = "" if verdict.first_failed is None else f", test {verdict.first_failed}"
            said = f"{verdict.status.value}{test}: {verdict.message}"
            known = item.problem.metadata.get("errata", "")
            table.add_row(Text(item.problem.id), count, Text(said), Text(known))
        console.print(table)
    programs = [verdict for item in checked for verdict in item.verdicts]
    passed = sum(verdict.passed for verdict in programs)
    console.print(
        f"{passed} of {len(programs)} solutions pass; of {len(checked)} problems with solutions, "
        f"{len(failing)} have one that fails; {len(problems) - len(checked)} have none."
    )
    if any(verdict.status is Status.INFRASTRUCTURE for verdict in programs):
        console.print("'infrastructure' says nothing about a program: check those again.")


def run_list(args: argparse.Namespace) -> int:
    """Prints the benchmarks."""
    list_benchmarks()
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Checks a benchmark; 0 whatever is found."""
    chosen = {name: getattr(args, name) for name in ("split", "path", "version")}
    try:
        check_benchmark(
            args.benchmark,
            args.output,
            solutions=args.solutions,
            max_solutions=args.max_solutions,
            verifier=verifier_options(args),
            **chosen,
            **loading_options(args),
        )
    except SandboxError as error:
        raise CommandError(first_line(error), status=1) from error
    except (OSError, ValueError) as error:  # what is refused, and files
        raise CommandError(first_line(error)) from error
    return 0
