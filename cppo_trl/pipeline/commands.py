"""The commands that stages consist of, as a person could give them."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from .config import PipelineError
from .stage import Step

CPPO_TRL = (sys.executable, "-m", "cppo_trl.cli")


def training(
    script: Path, config: Path, accelerate: str | None = None, processes: int | None = None
) -> Step:
    """A training script with its settings, launched as the `accelerate` file says; without one on
    so many `processes`, or on as many as `accelerate launch` finds devices.
    """
    own = ("--config_file", accelerate) if accelerate else ()
    if processes is not None and not accelerate:
        own = ("--num_processes", str(processes))
    launch = (sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", *own)
    return Step((*launch, str(script), "--config", str(config)), trains=True)


def check_training(step: Step, settings: Mapping[str, Any]) -> None:
    """Refuses settings that a training script does not know.

    Args:
        step: as `training` makes it.
        settings: of the file that it names.

    Raises:
        PipelineError: with the setting and the script.
    """
    script = Path(step.command[step.command.index("--config") - 1])
    known = _settings_of(script)
    if unknown := sorted(set(settings) - known):
        close = get_close_matches(unknown[0], known, 1)
        said = f"; did you mean {close[0]}?" if close else ""
        raise PipelineError(f"{script.name} has no setting {unknown[0]!r}{said}")


@cache
def _settings_of(script: Path) -> frozenset[str]:
    if not script.is_file():
        raise PipelineError(f"there is no {script}")
    name = f"_recipe_{script.stem}"  # no other module's: dataclasses look theirs up by name
    spec = importlib.util.spec_from_file_location(name, script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    names = {field.name for kind in module.ARGUMENTS for field in fields(kind)}
    return frozenset(names | {"env"})  # TRL's own: variables of the environment


def evaluation(config: Path) -> Step:
    """An evaluation with its settings."""
    return Step((*CPPO_TRL, "eval", "--config", str(config)))


def options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as options of `cppo-trl`; a true one stands alone."""
    found = []
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            found += [option] if value else []
        elif value is not None:
            found += [option, json.dumps(value) if isinstance(value, Mapping) else str(value)]
    return found
