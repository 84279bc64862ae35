"""The command `cppo-trl`: use a policy, evaluate, compare, verify programs, check the isolation.

Imports of torch, transformers and peft stand inside the subcommands, so that `--help` and a
mistyped option answer at once. Bad input gives exit status 2 and one line on standard error.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .commands.options import command_parser
from .commands.shared_options import loading_options, verifier_options

if TYPE_CHECKING:
    from rich.console import Console

    from .policy import Attempt
    from .problems import Problem


class CommandError(Exception):
    """Why a subcommand stops, in the line that the user sees; status 2 is for bad input."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with `argv` (by default the process's own) and returns its exit status."""
    parser = command_parser()
    args, args.unknown = parser.parse_known_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    if args.unknown and args.command != "quickstart":
        parser.error(f"unrecognized arguments: {' '.join(args.unknown)}")
    try:
        return _COMMANDS[args.run](args)
    except CommandError as error:
        print(f"cppo-trl {args.command}: {error}", file=sys.stderr)
        return error.status


def _show(args: argparse.Namespace) -> int:
    problem = _read_problem(args.problems, args.index)
    _quieten_libraries()

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
    from .commands.verify import InputError, OutputError, verify_files
    from .verifier import SandboxError

    # What was not given is not there: `CodeVerifier` has the defaults.
    names = ("fresh_process", "all_tests")
    options = {name: value for name, value in vars(args).items() if name in names}
    try:
        verify_files(args.problems, args.programs, args.output, **options, **verifier_options(args))
    except InputError as error:
        raise CommandError(_first_line(error)) from error
    except (OutputError, SandboxError) as error:
        raise CommandError(_first_line(error), status=1) from error
    return 0


def _benchmark_list(args: argparse.Namespace) -> int:
    from .commands.benchmark import list_benchmarks

    list_benchmarks()
    return 0


def _benchmark_check(args: argparse.Namespace) -> int:
    from .commands.benchmark import check_benchmark
    from .verifier import SandboxError

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
        raise CommandError(_first_line(error), status=1) from error
    except (OSError, ValueError) as error:  # what is refused, and files
        raise CommandError(_first_line(error)) from error
    return 0


def _eval(args: argparse.Namespace) -> int:
    _quieten_libraries()

    from torch import OutOfMemoryError

    from .commands.evaluate import evaluate_and_report
    from .evaluation.evaluate import NoVerdicts
    from .verifier import SandboxError

    command = shlex.join(["cppo-trl", *args.argv])
    try:
        evaluate_and_report(vars(args), loading_options(args), command)
    except KeyboardInterrupt:
        raise CommandError("stopped; the same command goes on", status=130) from None
    except OutOfMemoryError as error:
        hint = "go on with a smaller --rollout-batch-size"
        raise CommandError(f"{_first_line(error)} {hint}", status=1) from error
    except (SandboxError, NoVerdicts) as error:
        raise CommandError(_first_line(error), status=1) from error
    except OSError as error:  # a full disk, a Hub that is out of reach
        raise CommandError(_first_line(error), status=1) from error
    except ValueError as error:  # what is refused
        raise CommandError(_first_line(error)) from error
    return 0


def _compare(args: argparse.Namespace) -> int:
    from .commands.compare import compare_directories

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
        raise CommandError(_first_line(error)) from error
    return 0


def _judge_label(args: argparse.Namespace) -> int:
    from .commands.judge import endpoint, label_plans
    from .judges import EndpointError

    names = ("cache", "concurrency", "max_calls")
    options = {name: value for name, value in vars(args).items() if name in names}
    try:
        judge = None
        if not args.gold:
            judge = endpoint(args.model, getattr(args, "base_url", None), **options)
        label_plans(
            args.problems,
            args.plans,
            args.output,
            judge,
            "gold" if args.gold else args.model,
            args.corrupt,
            args.seed,
        )
    except EndpointError as error:
        raise CommandError(_first_line(error), status=1) from error
    except (OSError, ValueError, ImportError) as error:
        raise CommandError(_first_line(error)) from error
    return 0


def _judge_train(args: argparse.Namespace) -> int:
    _quieten_libraries()

    from .commands.judge import train

    given = vars(args)
    arguments = {
        argument: given[name]
        for name, argument in (
            ("epochs", "num_train_epochs"),
            ("learning_rate", "learning_rate"),
            ("batch_size", "per_device_train_batch_size"),
            ("seed", "seed"),
            ("use_cpu", "use_cpu"),
        )
        if name in given
    }
    lora = {
        field: given[name]
        for name, field in (("lora_r", "r"), ("lora_alpha", "lora_alpha"))
        if name in given
    }
    names = ("max_length", "recall", "held_out", "dtype")
    options = {name: given[name] for name in names if name in given}
    try:
        accepted = train(
            args.model,
            args.problems,
            args.labels,
            args.output,
            arguments=arguments,
            lora=lora,
            **options,
        )
    except (OSError, ValueError) as error:
        raise CommandError(_first_line(error)) from error
    return 0 if accepted else 1


def _judge_report(args: argparse.Namespace) -> int:
    _quieten_libraries()

    from .commands.judge import report

    names = ("plans", "batch_size", "recall")
    options = {name: value for name, value in vars(args).items() if name in names}
    try:
        accepted = report(args.judge, args.problems, args.labels, args.output, **options)
    except (OSError, ValueError) as error:
        raise CommandError(_first_line(error)) from error
    return 0 if accepted else 1


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


def _quieten_libraries() -> None:
    # One says at import which optional kernels it lacks, another what a third will rename.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "show": _show,
    "merge": _merge,
    "verify": _verify,
    "benchmark_list": _benchmark_list,
    "benchmark_check": _benchmark_check,
    "eval": _eval,
    "compare": _compare,
    "judge_label": _judge_label,
    "judge_train": _judge_train,
    "judge_calibrate": _judge_report,
    "judge_report": _judge_report,
    "doctor": _doctor,
    "quickstart": _quickstart,
}


if __name__ == "__main__":
    sys.exit(main())
