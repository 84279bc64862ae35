"""The options of `cppo-trl gold`. What is not given is not there: what it is for has defaults."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .shared_options import add_endpoint_options

_EXAMPLE = """\
example:
  cppo-trl gold attempts --records runs/train-eval/attempts/*/*.jsonl --problems train.jsonl \\
    --output gold.jsonl
  cppo-trl gold model --problems train.jsonl --model Qwen/Qwen2.5-Coder-32B-Instruct \\
    --base-url http://localhost:8000/v1 --cache gold.db --output gold.jsonl
"""


def add_gold(commands: Any) -> None:
    """Adds the subcommand `gold`."""
    gold = commands.add_parser(
        "gold",
        help="build the tuples that the planner is first trained on",
        description="Gold tuples: K different strategies for a problem, from attempts that passed "
        "or from a large model. Exit status 1 where there is none.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = gold.add_subparsers(dest="action", metavar="ACTION", required=True)
    attempts = _action(actions, "attempts", "draw tuples of strategies whose attempts passed")
    attempts.add_argument(
        "--records",
        required=True,
        nargs="+",
        type=Path,
        metavar="FILE",
        help="attempts of an evaluation (attempts/*/*.jsonl)",
    )
    _option(attempts, "seed", "of the draw (default: 0)", type=int, metavar="N")
    model = _action(actions, "model", "ask a large model for tuples")
    model.add_argument("--model", required=True, metavar="NAME", help="at its endpoint")
    add_endpoint_options(model)
    for name, kind, metavar, said in (
        ("temperature", float, "T", "of the answers (default: 0.9)"),
        ("limit", int, "N", "the first N problems only (default: all)"),
        ("tries", int, "N", "times that one answer is asked for (default: 3)"),
    ):
        _option(model, name, said, type=kind, metavar=metavar)


def _action(actions: Any, name: str, said: str) -> Any:
    parser = actions.add_parser(name, help=said, description=said[0].upper() + said[1:] + ".")
    parser.set_defaults(run=f"gold.run_{name}")
    for option, also in (("problems", "JSON Lines"), ("output", "the tuples, JSON Lines")):
        parser.add_argument(f"--{option}", required=True, type=Path, metavar="FILE", help=also)
    parser.add_argument(
        "--num-strategies", type=int, default=4, metavar="K", help="of a tuple (default: 4)"
    )
    for option, also in (
        ("per-problem", "most tuples for a problem (default: 1)"),
        ("max-words", "of a strategy (default: 45)"),
    ):
        _option(parser, option, also, type=int, metavar="N")
    return parser


def _option(parser: Any, name: str, said: str, **kind: Any) -> None:
    parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=said, **kind)
