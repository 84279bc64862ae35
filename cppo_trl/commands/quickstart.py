"""The command `cppo-trl quickstart`: the recipe of that name, in a checkout."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import cppo_trl

from .outcome import CommandError


def run(args: argparse.Namespace) -> int:
    """Runs the recipe with the arguments that are not of the command."""
    recipe = Path(cppo_trl.__file__).parent.parent / "recipes" / "quickstart.py"
    if not recipe.is_file():
        raise CommandError(
            "needs a checkout of the repository, where `make quickstart` does the same"
        )
    return subprocess.run([sys.executable, str(recipe), *args.unknown]).returncode
