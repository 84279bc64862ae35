"""The options of `cppo-trl judge`. What is not given is not there: what it is for has defaults."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .shared_options import add_endpoint_options

_EXAMPLE = """\
example:
  cppo-trl judge label --problems train.jsonl --plans plans.jsonl --output labels.jsonl \\
    --model Qwen/Qwen2.5-Coder-32B-Instruct --base-url http://localhost:8000/v1 --corrupt
  cppo-trl judge train --model Qwen/Qwen3.5-0.8B-Base --problems train.jsonl \\
    --labels labels.jsonl --output runs/judge
"""
# Module and function of `commands`.
_RUN = {
    "label": "judge_label.run",
    "train": "judge_train.run_train",
    "calibrate": "judge_train.run_report",
    "report": "judge_train.run_report",
}


def add_judge(commands: Any) -> None:
    """Adds the subcommand `judge`."""
    judge = commands.add_parser(
        "judge",
        help="label plans, train a judge on the labels, measure it",
        description="Labels, training and measures of the judge that says which plans are valid.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = judge.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_label(actions)
    _add_train(actions)
    for name, said in (
        ("calibrate", "choose the threshold of a judge anew, by the recall on labels"),
        ("report", "measure a judge on labels"),
    ):
        parser = _action(actions, name, said)
        _option(parser, "judge", "directory or Hub id of the judge", metavar="DIR", required=True)
        _option(parser, "problems", "JSON Lines", type=Path, metavar="FILE", required=True)
        _option(parser, "labels", "JSON Lines", type=Path, metavar="FILE", required=True)
        _option(parser, "output", "of the report", type=Path, metavar="DIR", required=True)
        _option(parser, "plans", "attempted plans, with passed", type=Path, metavar="FILE")
        _option(parser, "batch-size", "tuples in one forward (default: 16)", type=int, metavar="N")
        if name == "calibrate":
            said = "share of the valid tuples that should pass (default: 0.9)"
            parser.add_argument("--recall", type=float, default=0.9, metavar="R", help=said)


def _add_label(actions: Any) -> None:
    parser = _action(actions, "label", "label plans by a large model, add sure negatives")
    _option(parser, "problems", "JSON Lines", type=Path, metavar="FILE", required=True)
    said = "JSON Lines: problem_id, strategies"
    _option(parser, "plans", said, type=Path, metavar="FILE", required=True)
    _option(parser, "output", "the labels", type=Path, metavar="FILE", required=True)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--model", metavar="NAME", help="the labelling model, at its endpoint")
    who.add_argument("--gold", action="store_true", help="take every plan for valid")
    add_endpoint_options(parser)
    parser.add_argument(
        "--corrupt", action="store_true", help="add tuples made invalid out of the valid ones"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn")


def _add_train(actions: Any) -> None:
    parser = _action(actions, "train", "train a judge on labels, calibrate and measure it")
    _option(parser, "model", "id or path of the base", metavar="ID", required=True)
    _option(parser, "problems", "JSON Lines", type=Path, metavar="FILE", required=True)
    parser.add_argument(
        "--labels", required=True, nargs="+", type=Path, metavar="FILE", help="JSON Lines"
    )
    _option(parser, "output", "of the judge", type=Path, metavar="DIR", required=True)
    for name, kind, metavar, said in (
        ("epochs", float, "N", "passes over the labels (default: 3)"),
        ("learning-rate", float, "R", "of LoRA (default: 1e-4)"),
        ("batch-size", int, "N", "labels in a step (default: 8)"),
        ("seed", int, "N", "of split, order and weights (default: 42)"),
        ("lora-r", int, "R", "rank (default: 32)"),
        ("lora-alpha", int, "A", "scale (default: 64)"),
        ("max-length", int, "N", "tokens of a question (default: 1024)"),
        ("recall", float, "R", "share of the valid tuples that should pass (default: 0.9)"),
        ("held-out", float, "S", "share of the problems to measure on (default: 0.2)"),
        ("dtype", str, "TYPE", "of the base (default: auto)"),
        ("template", str, "TEXT", "of the question, with {statement} and {plan}"),
        ("plans", Path, "FILE", "attempted plans: also tells the AUC against outcomes"),
    ):
        _option(parser, name, said, type=kind, metavar=metavar)
    _option(parser, "load-in-4bit", "quantize the base (nf4)", action="store_true")
    parser.add_argument("--use-cpu", action="store_true", help="even if there is an accelerator")


def _action(actions: Any, name: str, said: str) -> Any:
    parser = actions.add_parser(name, help=said, description=said[0].upper() + said[1:] + ".")
    parser.set_defaults(run=_RUN[name])
    return parser


def _option(parser: Any, name: str, said: str, **kind: Any) -> None:
    parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=said, **kind)
