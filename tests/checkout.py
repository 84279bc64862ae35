"""The checkout under test: its recipes as modules, and its commands as processes."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from cppo_trl.recipe_arguments import parse_recipe

REPO = Path(__file__).resolve().parent.parent
RECIPES = REPO / "recipes"
ACCELERATE = [sys.executable, "-m", "accelerate.commands.accelerate_cli"]


def load_recipe(name: str) -> ModuleType:
    """Imports `recipes/<name>.py`, without running it as a script."""
    spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def parse(recipe: ModuleType, argv: Sequence[str]) -> tuple[Any, ...]:
    """The arguments of a training's recipe, as its script reads them."""
    return parse_recipe(argv, recipe.ARGUMENTS, recipe.DEFAULT_CONFIG)


def run_command(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command that must succeed, with this checkout's package; returns what it said."""
    done = subprocess.run(
        list(command),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (
        f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done
