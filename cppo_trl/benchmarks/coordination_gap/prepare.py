"""What every run on the coordination gap begins with: files of problems, and a trained base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from cppo_trl.problems import write_problems

from .base import BaseSettings, train_base
from .world import NUM_READINGS, make_problems

SPLIT_SIZES = {"train": 768, "development": 256, "held_out": 256}  # all there are


def prepare_problems(output: Path, most: int | None, console: Console) -> dict[str, Path]:
    """Writes the problems of each split, at most `most`; returns the files."""
    paths = {}
    for split, size in SPLIT_SIZES.items():
        paths[split] = output / f"{split}.jsonl"
        problems = make_problems(min(size, most or size), seed=0, split=split)
        write_problems(problems, paths[split])
        console.print(f"{len(problems)} problems in {paths[split]}")
    console.print(
        f'Such as: "{problems[0].statement}" That has {NUM_READINGS} readings, and nothing tells '
        "which one the tests accept.",
        highlight=False,
    )
    return paths


def prepare_base(
    output: Path, steps: int | None, console: Console, latents: int = 0
) -> tuple[BaseSettings, Path]:
    """Trains the base, or finds it; returns its settings and its checkpoint."""
    settings = BaseSettings(latents=latents)
    if steps is not None:
        settings = replace(settings, steps=steps)
    base = train_base((output / "base").resolve(), settings)
    console.print(f"The base is in {output / 'base'}")
    return settings, base
