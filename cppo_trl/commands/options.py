"""The options of the command `cppo-trl`; what they lead to stands in `cli.py`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NoReturn

from cppo_trl import __version__

from .audit_options import add_audit
from .evaluation_options import add_compare, add_eval
from .gold_options import add_gold
from .judge_options import add_judge
from .shared_options import add_filters, add_verifier_options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def command_parser() -> argparse.ArgumentParser:
    """The parser of `cppo-trl`; `run` of what it gives is what does it: module.function."""
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
    show.set_defaults(run="show.run")

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
    merge.set_defaults(run="merge.run")

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
    add_verifier_options(verify)
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
    verify.set_defaults(run="verify.run")

    _add_benchmark(commands)
    add_eval(commands)
    add_compare(commands)
    add_gold(commands)
    add_judge(commands)
    add_audit(commands)

    doctor = commands.add_parser(
        "doctor",
        help="say how well programs are isolated on this machine",
        description="Probes each layer of the verifier's isolation, tries it with programs, and "
        "says what to do about what is missing. Exit status 1 if programs should not be run here.",
    )
    doctor.set_defaults(run="doctor.run")

    quickstart = commands.add_parser(
        "quickstart",
        help="train and measure the coordination gap (in a checkout)",
        description="Runs recipes/quickstart.py of the checkout that this package comes from. "
        "Other arguments are passed on to it.",
    )
    quickstart.set_defaults(run="quickstart.run")
    return parser


def _add_benchmark(commands: Any) -> None:
    benchmark = commands.add_parser(
        "benchmark",
        help="list benchmarks, or check one by its own solutions",
        description="Says which benchmarks there are, and runs programs known to be right.",
    )
    actions = benchmark.add_subparsers(dest="action", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="a table of the benchmarks")
    listed.set_defaults(run="benchmark.run_list")
    check = actions.add_parser(
        "check",
        help="list the problems where known-good solutions fail",
        description="Runs known-good solutions through the verifier, lists the problems where they "
        "fail and writes one row for each problem. Exit status 0, whatever is found.",
    )
    check.set_defaults(run="benchmark.run_check")
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
    ):
        check.add_argument(f"--{name}", metavar=metavar, help=said)
    add_filters(check, on_bad_row="error")
    add_verifier_options(check, compare="the benchmark's")
