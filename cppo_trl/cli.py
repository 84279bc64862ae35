"""The command `cppo-trl`: use a policy, evaluate, compare, verify, build gold tuples, judge.

What a subcommand does stands in the module of `commands` that its options name, which is imported
when it is asked for, so that `--help` and a mistyped option answer at once. Bad input gives exit
status 2 and one line on standard error.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from .commands.options import command_parser
from .commands.outcome import CommandError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with `argv` (by default the process's own) and returns its exit status."""
    parser = command_parser()
    args, args.unknown = parser.parse_known_args(argv)
    args.argv = sys.argv[1:] if argv is None else argv
    if args.unknown and args.command != "quickstart":
        parser.error(f"unrecognized arguments: {' '.join(args.unknown)}")
    # One library says at import which optional kernels it lacks, another what a third will rename.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)
    module, function = args.run.split(".")
    run = getattr(import_module(f".commands.{module}", __package__), function)
    try:
        return run(args)
    except CommandError as error:
        print(f"cppo-trl {args.command}: {error}", file=sys.stderr)
        return error.status


if __name__ == "__main__":
    sys.exit(main())
