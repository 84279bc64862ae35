"""The command `cppo-trl show`: what a policy makes of one problem.

cppo-trl show --policy runs/my-run --problems problems.jsonl --index 3
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cppo_trl.errors import first_line

from .outcome import CommandError

if TYPE_CHECKING:
    from rich.console import Console

    from cppo_trl.policy import Attempt
    from cppo_trl.problems import Problem


def run(args: argparse.Namespace) -> int:
    """Plans, solves and verifies one problem, and prints it all."""
    problem = _read_problem(args.problems, args.index)
    from rich.console import Console
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from cppo_trl.policy import load_policy
    from cppo_trl.verifier import CodeVerifier

    disable_progress_bar()  # the status says what goes on
    console = Console()
    with CodeVerifier() as verifier:
        try:
            with console.status(f"Loading {args.policy}"):
                policy = load_policy(
                    args.policy, base_model=args.base_model, verify=verifier.verify_completions
                )
        except (OSError, ValueError) as error:
            raise CommandError(f"--policy {args.policy}: {first_line(error)}") from error
        set_seed(args.seed)
        with console.status("Planning, solving and verifying"):
            attempts = policy.solve(problem)
    _print_attempts(console, problem, attempts)
    return 0


def _read_problem(path: Path, index: int) -> Problem:
    from cppo_trl.problems import ProblemError, read_problems

    try:
        problems = read_problems(path)
    except (OSError, ProblemError) as error:
        raise CommandError(f"--problems {path}: {first_line(error)}") from error
    if not 0 <= index < len(problems):
        raise CommandError(f"--index {index}: {path} has problems 0 to {len(problems) - 1}")
    return problems[index]


def _print_attempts(console: Console, problem: Problem, attempts: Sequence[Attempt]) -> None:
    from rich.panel import Panel
    from rich.syntax import Syntax
    from rich.table import Table
    from rich.text import Text

    from cppo_trl.plans import strategy_labels

    console.print(Panel(Text(problem.statement), title=Text(problem.id)))
    if not attempts:
        console.print(
            "The plan does not parse, so nothing was attempted. Another --seed draws another plan."
        )
        return
    labels = strategy_labels(len(attempts))
    table = Table("", "Strategy", "Program", "Verdict", show_lines=True, expand=True)
    for column, ratio in zip(table.columns[1:], (3, 5, 2), strict=True):
        column.ratio = ratio
    solved = []
    for label, attempt in zip(labels, attempts, strict=True):
        verdict = attempt.verdict
        tests = f"{verdict.tests_passed} of {verdict.tests_total} tests"
        outcome = Text(
            f"{verdict.status.value}\n{tests}", style="green" if verdict.passed else "red"
        )
        code = (attempt.program or attempt.completion).rstrip()
        program = Syntax(code, "python", word_wrap=True)
        table.add_row(label, Text(attempt.strategy), program, outcome)
        if verdict.passed:
            solved.append(label)
    console.print(table)
    console.print(f"Solved by {', '.join(solved)}." if solved else "Solved by none.")
