"""A stage as a folder with commands: what is run, from what, and what has to come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Step:
    """One command of a stage.

    Attributes:
        command: the program and its arguments.
        trains: whether it can go on from a checkpoint, with `--resume_from_checkpoint`.
        refused: what exit status 1 means, where that is an answer and no failure.
    """

    command: tuple[str, ...]
    trains: bool = False
    refused: str | None = None


@dataclass(frozen=True)
class Stage:
    """What one stage runs.

    Attributes:
        name: of the stage, and of its folder.
        steps: one after the other.
        files: what is written before, by path.
        results: what has to be there after.
        inputs: the stages that it builds on, and files from elsewhere.
    """

    name: str
    steps: tuple[Step, ...]
    files: Mapping[Path, Mapping[str, Any]] = field(default_factory=dict)
    results: tuple[Path, ...] = ()
    inputs: tuple[str | Path, ...] = ()
