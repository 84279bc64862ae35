"""The command `cppo-trl merge`: a role as a plain checkpoint.

cppo-trl merge --policy runs/my-run --role solver --output runs/my-solver
"""

from __future__ import annotations

import argparse

from cppo_trl.errors import first_line

from .outcome import CommandError


def run(args: argparse.Namespace) -> int:
    """Merges the adapter into its base and saves the result."""
    if args.output.exists() and not (args.output.is_dir() and not any(args.output.iterdir())):
        raise CommandError(
            f"--output {args.output}: exists already; name a new or an empty directory"
        )

    from cppo_trl.roles import merge_role

    try:
        merge_role(args.policy, args.role, args.output, base_model=args.base_model)
    except (OSError, ValueError) as error:
        raise CommandError(f"--policy {args.policy}: {first_line(error)}") from error
    print(f"The {args.role} is a plain checkpoint now: {args.output}")
    return 0
