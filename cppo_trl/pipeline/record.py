"""What a stage leaves in its folder: `stage.json` says what it was made of, and if it is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .stage import Stage

STAGE_FILE = "stage.json"


def digest_of(stage: Stage, done: Mapping[str, str]) -> str:
    """What decides a stage: its commands, its files' content, and what it builds on."""
    inputs = [done[one] if isinstance(one, str) else _fingerprint(one) for one in stage.inputs]
    commands = [step.command[1:] for step in stage.steps]  # whatever the interpreter is called
    files = {str(path): content for path, content in stage.files.items()}
    text = json.dumps([stage.name, commands, files, inputs], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _fingerprint(path: Path) -> str:
    """Tells what is at a path from what else could be there; of a Hub id it is the id.

    Weights are large: of a folder's files, all count by name and size, JSON by its content too.
    """
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if not path.is_dir():
        return str(path)
    if made := read_record(path).get("digest"):  # by an earlier run
        return made
    found = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        found.update(f"{file.relative_to(path)} {file.stat().st_size}".encode())
        if file.suffix == ".json":
            found.update(file.read_bytes())
    return found.hexdigest()


def is_done(stage: Stage, folder: Path, digest: str) -> bool:
    """Whether a folder holds all that the stage makes, made in the same way."""
    record = read_record(folder)
    is_same = record.get("digest") == digest and record.get("done", False)
    return is_same and all(path.exists() for path in stage.results)


def read_record(folder: Path) -> dict[str, Any]:
    """What was written into a stage's folder; empty where nothing was."""
    path = folder / STAGE_FILE
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes what was done in a stage's folder."""
    path = folder / STAGE_FILE
    spare = path.with_suffix(".new")
    spare.write_text(json.dumps(record, indent=2) + "\n")
    spare.replace(path)  # a stage that is killed meanwhile stays what it was


def free_name(folder: Path) -> Path:
    """A name beside a folder that nothing has."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return aside
