"""The commands that stages consist of, as a person could give them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
