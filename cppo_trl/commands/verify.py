"""The command `cppo-trl verify`: programs and problems from files, verdicts to a file.

    cppo-trl verify --problems P.jsonl --programs S.jsonl --output V.jsonl

A row of P is a problem as `Problem.from_dict` takes it, of which `id` and `tests` are needed; a row
of S is `{"problem_id", "code"}`, and more fields are left alone. V gets one row for each row of S,
in order: `{"problem_id", "index", "status", "passed", "tests_passed", "tests_total",
"first_failed", "cpu_seconds"}`. `problem_id` is as it stands in S, `index` is that of the program
in S and `first_failed` that of a test, both from 0. `passed` is null where the verifier itself had
trouble (`infrastructure`). With `--all-tests` there is one field more, `test_statuses`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TextIO

from cppo_trl.errors import first_line
from cppo_trl.problems import Problem, ProblemError, read_rows, validate_rows
from cppo_trl.verifier import CodeVerifier, SandboxError, Status, Verdict

from .outcome import CommandError
from .shared_options import verifier_options


class InputError(ValueError):
    """Files or options that cannot be used; the message names the row, or the option."""


class OutputError(OSError):
    """The verdicts could not be written; the message says where they are instead."""


@dataclass(frozen=True)
class Program:
    """One row of S, with its problem; `problem_id` is as it stands there."""

    problem_id: str | int
    problem: Problem
    code: str


def verify_files(problems: Path, programs: Path, output: Path, **options: Any) -> None:
    """Verifies the programs, writes their verdicts to `output` and prints a summary.

    `options` are those of `CodeVerifier`. All input is checked before any program runs.

    Raises:
        InputError: a file or an option cannot be used.
        OutputError: the verdicts cannot be written.
    """
    known = _read_problems(problems)
    listed = _read_programs(programs, known)
    if any(output.exists() and output.samefile(path) for path in (problems, programs)):
        raise InputError(f"--output {output}: would replace what is read; name another file")
    try:
        verifier = CodeVerifier(**options)
    except ValueError as error:
        raise InputError(str(error)) from error
    _opened(output).close()  # before hours of work, not after
    with verifier:
        verdicts = verifier.verify_many(
            [program.problem for program in listed],
            [program.code for program in listed],
            progress=True,
        )
    rows = [
        json.dumps(_row(index, program, verdict)) + "\n"
        for index, (program, verdict) in enumerate(zip(listed, verdicts, strict=True))
    ]
    try:
        output.write_text("".join(rows), encoding="utf-8")
    except OSError as error:  # the disk may be full by now
        raise OutputError(f"--output {output}: {error}; {_kept(rows)}") from error
    _print_summary(listed, verdicts)


def _kept(rows: Sequence[str]) -> str:
    """Puts verdicts that cannot go where they should somewhere else; says where."""
    try:
        with NamedTemporaryFile(
            "w", prefix="verdicts-", suffix=".jsonl", encoding="utf-8", delete=False
        ) as file:
            file.writelines(rows)
    except OSError:
        print(*rows, sep="", end="")
        return "the verdicts stand above"
    return f"the verdicts are in {file.name}"


def _read_problems(path: Path) -> dict[str, Problem]:
    problems = []
    try:
        for where, row in read_rows(path):
            if isinstance(row, Mapping) and row.get("statement") is None:
                row = {**row, "statement": ""}  # nothing is prompted with it
            problems.append((where, Problem.from_dict(row, where)))
        return {problem.id: problem for problem in validate_rows(problems)}
    except (OSError, ProblemError) as error:
        raise InputError(f"--problems {path}: {error}") from error


def _read_programs(path: Path, known: Mapping[str, Problem]) -> list[Program]:
    try:
        programs = [_program(where, row, known) for where, row in read_rows(path)]
    except (OSError, ProblemError, InputError) as error:
        raise InputError(f"--programs {path}: {error}") from error
    if not programs:
        raise InputError(f"--programs {path}: there are no programs; at least one is needed")
    return programs


def _program(where: str, row: object, known: Mapping[str, Problem]) -> Program:
    if not isinstance(row, Mapping):
        raise InputError(f"{where}: a program must be an object, not {type(row).__name__}")
    for name in ("problem_id", "code"):
        if name not in row:
            raise InputError(f"{where}: field {name!r} is missing")
    problem_id, code = row["problem_id"], row["code"]
    # A whole number stands for its digits, as in the ids of problems.
    whole = isinstance(problem_id, int) and not isinstance(problem_id, bool)
    problem = known.get(str(problem_id)) if whole or isinstance(problem_id, str) else None
    if problem is None:
        shown = repr(problem_id)[:80]
        raise InputError(f"{where}: field 'problem_id' is {shown}; it must be an id in --problems")
    if not isinstance(code, str):
        raise InputError(f"{where}: field 'code' is {repr(code)[:80]}; it must be text")
    return Program(problem_id, problem, code)


def _opened(output: Path) -> TextIO:
    try:
        return open(output, "w", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--output {output}: {error}") from error


def _row(index: int, program: Program, verdict: Verdict) -> dict[str, Any]:
    row = {
        "problem_id": program.problem_id,
        "index": index,
        "status": verdict.status.value,
        "passed": None if verdict.status is Status.INFRASTRUCTURE else verdict.passed,
        "tests_passed": verdict.tests_passed,
        "tests_total": verdict.tests_total,
        "first_failed": verdict.first_failed,
        "cpu_seconds": round(verdict.cpu_seconds, 6),
    }
    if verdict.test_statuses:
        row["test_statuses"] = verdict.test_statuses
    return row


def _print_summary(programs: Sequence[Program], verdicts: Sequence[Verdict]) -> None:
    from rich.console import Console
    from rich.table import Table

    counts = Counter(verdict.status for verdict in verdicts)
    table = Table("Verdict")
    table.add_column("Programs", justify="right")
    table.add_column("Share", justify="right")
    for status in Status:  # in its order, which begins with a pass
        if counts[status]:
            share = counts[status] / len(verdicts)
            table.add_row(status.value, str(counts[status]), f"{share:.1%}")
    table.add_section()
    table.add_row("all", str(len(verdicts)), "100.0%")
    tried = {program.problem.id for program in programs}
    solved = {
        program.problem.id
        for program, verdict in zip(programs, verdicts, strict=True)
        if verdict.passed
    }
    seconds = sum(verdict.cpu_seconds for verdict in verdicts)
    console = Console()
    console.print(table)
    console.print(f"{len(solved)} of {len(tried)} problems solved, {seconds:.2f} s of CPU time.")
    if counts[Status.INFRASTRUCTURE]:
        console.print("'infrastructure' says nothing about a program: verify those again.")


def run(args: argparse.Namespace) -> int:
    """Verifies the programs of a file; 1 where programs cannot be run or verdicts written."""
    # What was not given is not there: `CodeVerifier` has the defaults.
    names = ("fresh_process", "all_tests")
    options = {name: value for name, value in vars(args).items() if name in names}
    try:
        verify_files(args.problems, args.programs, args.output, **options, **verifier_options(args))
    except InputError as error:
        raise CommandError(first_line(error)) from error
    except (OutputError, SandboxError) as error:
        raise CommandError(first_line(error), status=1) from error
    return 0
