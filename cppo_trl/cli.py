"""The command `cppo-trl`: use a policy, verify programs, check the isolation, the quickstart.

Imports of torch, transformers and peft stand inside the subcommands, so that `--help` and a
mistyped option answer at once. Bad input gives exit status 2 and one line on standard error.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from .policy import Attempt
    from .problems import Problem


class CommandError(Exception):
    """Why a subcommand stops, in the line that the user sees; status 2 is for bad input."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with `argv` (by default the process's own) and returns its exit status."""
    parser = _parser()
    args, args.unknown = parser.parse_known_args(argv)
    if args.unknown and args.command != "quickstart":
        parser.error(f"unrecognized arguments: {' '.join(args.unknown)}")
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except CommandError as error:
        print(f"cppo-trl {args.command}: {error}", file=sys.stderr)
        return error.status


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="cppo-trl",
        description="Coordinated Pass@K Policy Optimization (arXiv 2605.27000) on TRL.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    show = commands.add_parser(
        "show",
        help="plan and solve one problem with a trained policy",
        description="Shows what a trained policy makes of one problem, with the verdicts.",
    )
    show.add_argument(
        "--policy", required=True, metavar="DIR", help="directory or Hub id of a saved policy"
    )
    show.add_argument(
        "--problems",
        required=True,
        type=Path,
        metavar="FILE",
        help="problems, one JSON object a line",
    )
    show.add_argument(
        "--index", type=int, default=0, metavar="I", help="which problem, from 0 (default: 0)"
    )
    show.add_argument(
        "--base-model", metavar="ID", help="id or path of the base (default: the one in the policy)"
    )
    show.add_argument("--seed", type=int, default=0, help="seed of the sampling (default: 0)")
    show.set_defaults(run=_show)

    merge = commands.add_parser(
        "merge",
        help="merge a role into its base",
        description="Saves one role, merged into its base, as a plain checkpoint.",
    )
    merge.add_argument(
        "--policy", required=True, metavar="DIR", help="directory or Hub id of a saved policy"
    )
    merge.add_argument("--role", required=True, choices=("planner", "solver"))
    merge.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="DIR",
        help="where the checkpoint goes (a new directory)",
    )
    merge.add_argument(
        "--base-model", metavar="ID", help="id or path of the base (default: the one in the policy)"
    )
    merge.set_defaults(run=_merge)

    verify = commands.add_parser(
        "verify",
        help="run programs on the tests of their problems",
        description="Runs each program on the tests of its problem, isolated, and writes one "
        "verdict a line, in the order of the programs.",
    )
    verify.add_argument(
        "--problems",
        required=True,
        type=Path,
        metavar="FILE",
        help="problems, one JSON object a line: id, tests (a list of input and output), and where "
        "needed fn_name, starter_code, time_limit, memory_limit",
    )
    verify.add_argument(
        "--programs",
        required=True,
        type=Path,
        metavar="FILE",
        help="programs, one JSON object a line: problem_id, code",
    )
    verify.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="where the verdicts go"
    )
    verify.add_argument(
        "--compare",
        default=argparse.SUPPRESS,
        metavar="MODE",
        help="what counts as the expected output: lcb, codecontests, apps, exact or tokens; the "
        "table stands in cppo_trl.verifier.compare (default: lcb)",
    )
    verify.add_argument(
        "--workers",
        default=argparse.SUPPRESS,
        type=int,
        metavar="N",
        help="programs run at a time (default: all cores)",
    )
    verify.add_argument(
        "--time-limit",
        default=argparse.SUPPRESS,
        type=float,
        metavar="S",
        help="CPU seconds for one test, where the problem sets none (default: 6)",
    )
    verify.add_argument(
        "--memory-limit",
        default=argparse.SUPPRESS,
        type=int,
        metavar="MB",
        help="memory for one test, where the problem sets none (default: 1024)",
    )
    verify.add_argument(
        "--fresh-process",
        default=argparse.SUPPRESS,
        action="store_true",
        help="a process for each test; without, a program's tests share one while they pass",
    )
    verify.add_argument(
        "--all-tests",
        default=argparse.SUPPRESS,
        action="store_true",
        help="go on after a failure, and write test_statuses, how each test went",
    )
    verify.set_defaults(run=_verify)

    _add_benchmark(commands)

    doctor = commands.add_parser(
        "doctor",
        help="say how well programs are isolated on this machine",
        description="Probes each layer of the verifier's isolation, tries it with programs, and "
        "says what to do about what is missing. Exit status 1 if programs should not be run here.",
    )
    doctor.set_defaults(run=_doctor)

    quickstart = commands.add_parser(
        "quickstart",
        help="train and measure the coordination gap (in a checkout)",
        description="Runs recipes/quickstart.py of the checkout that this package comes from. "
        "Other arguments are passed on to it.",
    )
    quickstart.set_defaults(run=_quickstart)
    return parser


def _add_benchmark(commands: Any) -> None:
    benchmark = commands.add_parser(
        "benchmark",
        help="list benchmarks, or check one by its own solutions",
        description="Says which benchmarks there are, and runs programs known to be right.",
    )
    actions = benchmark.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="a table of the benchmarks")
    listed.set_defaults(run=_benchmark_list)
    check = actions.add_parser(
        "check",
        help="list the problems where known-good solutions fail",
        description="Runs known-good solutions through the verifier, lists the problems where they "
        "fail and writes one row for each problem. Exit status 0, whatever is found.",
    )
    check.set_defaults(run=_benchmark_check)
    check.add_argument("--benchmark", required=True, metavar="NAME", help="see benchmark list")
    check.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="where the rows go"
    )
    check.add_argument(
        "--solutions",
        type=Path,
        metavar="FILE",
        help="programs known to be right, one JSON object a line: problem_id, code "
        "(default: the benchmark's own)",
    )
    check.add_argument(
        "--max-solutions", type=int, metavar="N", help="programs for a problem (default: all)"
    )
    check.add_argument(
        "--path", metavar="P", help="a file or a folder as on the Hub (default: the Hub)"
    )
    for name, metavar, said in (
        ("split", "SPLIT", "train, test, ... (default: the benchmark's)"),
        (
            "version",
            "VERSION",
            "release_v6, v6, v4_v6, ..., of LiveCodeBench; full or sanitized, of MBPP",
        ),
        ("start-date", "DAY", "first day, as in 2024-08-31"),
        ("end-date", "DAY", "last day"),
    ):
        check.add_argument(f"--{name}", metavar=metavar, help=said)
    for name in ("difficulty", "platform", "io-mode", "ids"):
        check.add_argument(f"--{name}", nargs="+", metavar="X", help="only these (default: all)")
    for name in ("fewest-tests", "most-tests"):
        check.add_argument(
            f"--{name}", type=int, metavar="N", help="only problems with that many tests"
        )
    check.add_argument(
        "--max-tests", type=int, metavar="N", help="run the first N tests only (default: all)"
    )
    check.add_argument("--errata", choices=("mark", "drop"), default="mark")
    check.add_argument("--on-bad-row", choices=("error", "skip"), default="error")
    for name, kind, said in (
        ("compare", str, "as of verify (default: the benchmark's)"),
        ("workers", int, "programs run at a time (default: all cores)"),
        ("time-limit", float, "CPU seconds for one test, where the problem sets none (default: 6)"),
        ("memory-limit", int, "MB for one test, where the problem sets none (default: 1024)"),
    ):
        check.add_argument(f"--{name}", type=kind, default=argparse.SUPPRESS, help=said)


def _show(args: argparse.Namespace) -> int:
    problem = _read_problem(args.problems, args.index)
    # Says at import which optional kernels it lacks.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

    from rich.console import Console
    from transformers import set_seed
    from transformers.utils.logging import disable_progress_bar

    from .policy import load_policy
    from .verifier import CodeVerifier

    disable_progress_bar()  # the status says what goes on
    console = Console()
    with CodeVerifier() as verifier:
        try:
            with console.status(f"Loading {args.policy}"):
                policy = load_policy(
                    args.policy, base_model=args.base_model, verify=verifier.verify_completions
                )
        except (OSError, ValueError) as error:
            raise CommandError(f"--policy {args.policy}: {_first_line(error)}") from error
        set_seed(args.seed)
        with console.status("Planning, solving and verifying"):
            attempts = policy.solve(problem)
    _print_attempts(console, problem, attempts)
    return 0


def _read_problem(path: Path, index: int) -> Problem:
    from .problems import ProblemError, read_problems

    try:
        problems = read_problems(path)
    except (OSError, ProblemError) as error:
        raise CommandError(f"--problems {path}: {_first_line(error)}") from error
    if not 0 <= index < len(problems):
        raise CommandError(f"--index {index}: {path} has problems 0 to {len(problems) - 1}")
    return problems[index]


def _print_attempts(console: Console, problem: Problem, attempts: Sequence[Attempt]) -> None:
    from rich.panel import Panel
    from rich.syntax import Syntax
    from rich.table import Table
    from rich.text import Text

    from .plans import strategy_labels

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


def _merge(args: argparse.Namespace) -> int:
    if args.output.exists() and not (args.output.is_dir() and not any(args.output.iterdir())):
        raise CommandError(
            f"--output {args.output}: exists already; name a new or an empty directory"
        )

    from .roles import merge_role

    try:
        merge_role(args.policy, args.role, args.output, base_model=args.base_model)
    except (OSError, ValueError) as error:
        raise CommandError(f"--policy {args.policy}: {_first_line(error)}") from error
    print(f"The {args.role} is a plain checkpoint now: {args.output}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from .verifier import SandboxError
    from .verify_command import InputError, OutputError, verify_files

    # What was not given is not there: `CodeVerifier` has the defaults.
    names = ("compare", "workers", "time_limit", "memory_limit", "fresh_process", "all_tests")
    options = {name: value for name, value in vars(args).items() if name in names}
    try:
        verify_files(args.problems, args.programs, args.output, **options)
    except InputError as error:
        raise CommandError(_first_line(error)) from error
    except (OutputError, SandboxError) as error:
        raise CommandError(_first_line(error), status=1) from error
    return 0


def _benchmark_list(args: argparse.Namespace) -> int:
    from .benchmark_command import list_benchmarks

    list_benchmarks()
    return 0


def _benchmark_check(args: argparse.Namespace) -> int:
    from .benchmark_command import check_benchmark
    from .verifier import SandboxError

    given = vars(args)
    loading = (
        *("split", "path", "version", "start_date", "end_date", "difficulty", "platform"),
        *("io_mode", "ids", "max_tests", "errata", "on_bad_row"),
    )
    try:
        check_benchmark(
            args.benchmark,
            args.output,
            solutions=args.solutions,
            max_solutions=args.max_solutions,
            verifier={
                name: given[name]
                for name in ("compare", "workers", "time_limit", "memory_limit")
                if name in given
            },
            num_tests=(args.fewest_tests, args.most_tests),
            **{name: given[name] for name in loading},
        )
    except SandboxError as error:
        raise CommandError(_first_line(error), status=1) from error
    except (OSError, ValueError) as error:  # what is refused, and files
        raise CommandError(_first_line(error)) from error
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from .verifier.doctor import describe, diagnose
    from .verifier.pool import EngineError, SandboxError

    try:
        diagnosis = diagnose()
    except (EngineError, SandboxError) as error:
        print(f"cppo-trl doctor: {error}", file=sys.stderr)
        return 1
    print(describe(diagnosis))
    return 0 if diagnosis.is_safe else 1


def _quickstart(args: argparse.Namespace) -> int:
    recipe = Path(__file__).parent.parent / "recipes" / "quickstart.py"
    if not recipe.is_file():
        raise CommandError(
            "needs a checkout of the repository, where `make quickstart` does the same"
        )
    return subprocess.run([sys.executable, str(recipe), *args.unknown]).returncode


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


if __name__ == "__main__":
    sys.exit(main())
