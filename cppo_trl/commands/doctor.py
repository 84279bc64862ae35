"""The command `cppo-trl doctor`: how well programs are isolated on this machine."""

from __future__ import annotations

import argparse
import sys


def run(args: argparse.Namespace) -> int:
    """Prints what each layer of the isolation is worth; 1 where programs should not be run."""
    from cppo_trl.verifier.doctor import describe, diagnose
    from cppo_trl.verifier.pool import EngineError, SandboxError

    try:
        diagnosis = diagnose()
    except (EngineError, SandboxError) as error:
        print(f"cppo-trl doctor: {error}", file=sys.stderr)
        return 1
    print(describe(diagnosis))
    return 0 if diagnosis.is_safe else 1
