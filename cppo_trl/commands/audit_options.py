"""The options of `cppo-trl audit`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .shared_options import add_verifier_options

_EXAMPLE = """\
example:
  cppo-trl audit --policy runs/warm --problems train.jsonl --judge runs/judge --output runs/audit
"""


def add_audit(commands: Any) -> None:
    """Adds the subcommand `audit`."""
    parser = commands.add_parser(
        "audit",
        help="say whether joint training has anything to learn from",
        description="The reward-density audit: five criteria on tuples of a sample of problems, "
        "with intervals, and what to do where one is not met. Exit status 1 on no-go.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run="audit.run")
    for name, said, kind in (
        ("policy", "directory or Hub id of a saved policy", {"metavar": "DIR"}),
        ("problems", "JSON Lines", {"type": Path, "metavar": "FILE"}),
        ("output", "of the report", {"type": Path, "metavar": "DIR"}),
    ):
        parser.add_argument(f"--{name}", required=True, help=said, **kind)
    parser.add_argument("--judge", metavar="DIR", help="a trained judge, after the rules")
    parser.add_argument("--allow-rejected-judge", action="store_true", help="even if rejected")
    parser.add_argument(
        "--judge-own-base", action="store_true", help="load the judge on a base of its own"
    )
    parser.add_argument("--base-model", metavar="ID", help="(default: the one in the policy)")
    parser.add_argument("--dtype", default="auto", metavar="TYPE", help="of the base")
    parser.add_argument("--load-in-4bit", action="store_true", help="quantize the base (nf4)")
    parser.add_argument(
        "--rollout-batch-size", type=int, metavar="N", help="most sequences decoded at once"
    )
    for name, default, said in (
        ("num-generations", 8, "tuples for a problem"),
        ("limit", 64, "problems, drawn at random"),
        ("batch-size", 16, "problems at a time"),
        ("seed", 0, "of the sampling"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{said} (default: {default})"
        )
    add_verifier_options(parser)
