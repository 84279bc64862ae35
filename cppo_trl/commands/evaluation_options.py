"""The options of `cppo-trl eval` and `cppo-trl compare`.

Those of `eval` are named as the fields of `EvaluationConfig`, which has the defaults: what is not
given is not there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .shared_options import add_filters, add_verifier_options

_EVAL_EXAMPLE = """\
example:
  cppo-trl eval --adapters runs/my-run --benchmark apps:test livecodebench:v6 \\
    --method direct plan-and-solve plansearch untrained-planner cppo --output runs/my-eval
"""
_COMPARE_EXAMPLE = """\
example:
  cppo-trl compare runs/eval-a runs/eval-b --method cppo
"""
# Option, type, metavar, help.
_SAMPLING = (
    ("temperature", float, "T", "of programs (default: 0.7)"),
    ("top-p", float, "P", "of programs (default: 1)"),
    ("top-k", int, "N", "of programs (default: 0, all)"),
    ("min-p", float, "P", "of programs (default: none)"),
    ("max-completion-length", int, "N", "token limit of one program (default: 2048)"),
    ("planner-temperature", float, "T", "of plans (default: 0.9)"),
    ("planner-top-p", float, "P", "of plans (default: 1)"),
    ("max-plan-length", int, "N", "token limit of one plan (default: 512)"),
)
_MODEL = (
    ("batch-size", int, "N", "problems attempted at once (default: 32)"),
    ("rollout-batch-size", int, "N", "most sequences decoded at once (default: all of a batch)"),
    ("dtype", str, "TYPE", "of the base (default: auto)"),
    ("revision", str, "REV", "of the base on the Hub"),
    ("attn-implementation", str, "NAME", "as for transformers"),
)


def add_eval(commands: Any) -> None:
    """Adds the subcommand `eval`."""
    parser = commands.add_parser(
        "eval",
        help="attempt benchmarks by several methods, and report",
        description="Attempts problems by several methods with the same K attempts each, verifies "
        "them, and writes the attempts, the numbers and a report. A killed evaluation goes on "
        "where it was when it is started again.",
        epilog=_EVAL_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run="evaluate.run")

    def add(name: str, said: str, to: Any = parser, **kind: Any) -> None:
        to.add_argument(f"--{name}", default=argparse.SUPPRESS, help=said, **kind)

    add("config", "YAML with these options; the command line wins", type=Path, metavar="FILE")
    add("model", "id or path of the base (default: the one the adapters name)", metavar="ID")
    said = "directories or Hub ids of saved policies: one for all seeds, or one for each"
    add("adapters", said, nargs="+", metavar="DIR")
    for role in ("planner", "solver"):
        said = f"of the {role} alone; wins over --adapters"
        add(f"{role}-adapter", said, nargs="+", metavar="DIR")
    add(
        "benchmark",
        "NAME, NAME:PART (a split or a version), NAME:PART=PATH, or FILE.jsonl; see benchmark list",
        nargs="+",
        metavar="NAME",
        dest="benchmarks",
    )
    add(
        "method",
        "direct, latent, plan-and-solve, plansearch, untrained-planner, planner, solver, cppo",
        nargs="+",
        metavar="NAME",
        dest="methods",
    )
    add("output", "directory of the report", type=Path, metavar="DIR")
    add("k", "attempts of a tuple (default: the adapters', or 4)", type=int, metavar="K")
    add("seeds", "runs (default: 3)", type=int, metavar="N")
    add("draws", "tuples for a problem in a run, pooled (default: 1)", type=int, metavar="N")
    add("baseline", "what the others are tested against (default: the first)", metavar="NAME")
    add("limit", "the first N problems of each benchmark (default: all)", type=int, metavar="N")
    add("prompts", "YAML with templates, by name", type=Path, metavar="FILE")
    for title, options in (("sampling", _SAMPLING), ("model", _MODEL)):
        group = parser.add_argument_group(title)
        for name, kind, metavar, said in options:
            add(name, said, group, type=kind, metavar=metavar)
    add("load-in-4bit", "quantize the base (NF4)", group, action="store_true")
    add_filters(parser.add_argument_group("problems"), on_bad_row="skip")
    add_verifier_options(parser.add_argument_group("verifier"), compare="the benchmark's")


def add_compare(commands: Any) -> None:
    """Adds the subcommand `compare`."""
    parser = commands.add_parser(
        "compare",
        help="test whether two evaluations differ",
        description="The paired test of two evaluations of the same problems, for each benchmark "
        "and method that both have.",
        epilog=_COMPARE_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run="compare.run")
    for name in ("first", "second"):
        parser.add_argument(name, type=Path, metavar="DIR", help="output of cppo-trl eval")
    for name, said in (
        ("method", "one method, of both (default: all that both have)"),
        ("first-method", "the method of the first, where the two have other names"),
        ("second-method", "the method of the second"),
    ):
        parser.add_argument(f"--{name}", metavar="NAME", help=said)
    parser.add_argument("--k", type=int, metavar="K", help="pass@k (default: of a whole tuple)")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="JSON with the numbers (default: none)"
    )
