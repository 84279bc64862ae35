"""Runs one stage in its folder, unless that was done, and goes on where it was cut off."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from cppo_trl import __version__

from .process import CommandFailed, duration, run_with_bar, say_command
from .record import digest_of, free_name, is_done, read_record, write_record
from .stage import Stage


class StageFailed(RuntimeError):
    """A stage that did not end well; the message says which, why, and where its log is."""


def run_stage(
    stage: Stage,
    anywhere: Stage,
    output: Path,
    done: Mapping[str, str],
    console: Console,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Runs a stage that is not done yet, in its folder.

    Args:
        stage: what to run.
        anywhere: the same, told without naming where it is: what it is recognised by.
        output: the directory of the run.
        done: the digest of each stage that it names among its inputs.
        console, environment: as for `run_pipeline`.

    Returns:
        The digest of the stage.

    Raises:
        StageFailed: it failed, or its answer is no.
    """
    folder = output / stage.name
    digest = digest_of(replace(anywhere, inputs=stage.inputs), done)
    if is_done(stage, folder, digest):
        console.print(f"Done before: {folder}")
    else:
        _run(stage, folder, digest, console, environment)
    refusal = next((step.refused for step in stage.steps if step.refused), None)
    if refusal and read_record(folder).get("refused"):
        raise StageFailed(f"stage {stage.name!r}: {refusal}")
    return digest


def _run(
    stage: Stage,
    folder: Path,
    digest: str,
    console: Console,
    environment: Mapping[str, str] | None,
) -> None:
    goes_on = read_record(folder).get("digest") == digest
    if folder.exists() and not goes_on:
        aside = free_name(folder)
        folder.rename(aside)
        console.print(f"Made in another way before; what was there is now {aside}")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in stage.files.items():
        path.write_text(to_yaml(content), encoding="utf-8")
    record: dict[str, Any] = {
        "digest": digest,
        "inputs": [str(one) for one in stage.inputs],
        "commands": [shlex.join(step.command) for step in stage.steps],
        "cppo_trl": __version__,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": read_record(folder).get("seconds", 0.0) if goes_on else 0.0,
        "done": False,
        "refused": False,
    }
    write_record(folder, record)
    started, before = time.perf_counter(), record["seconds"]
    try:
        for step in stage.steps:
            command = list(step.command)
            if step.trains and (checkpoint := _last_checkpoint(folder)):
                command += ["--resume_from_checkpoint", str(checkpoint)]
            if step.refused is not None:  # what is there after is its answer, and not one before
                for path in stage.results:
                    path.unlink(missing_ok=True)
            say_command(console, command)
            try:
                run_with_bar(command, folder / "log.txt", console, environment)
            except CommandFailed as error:
                # Whatever crashes in Python ends with status 1 too, but leaves no answer.
                is_answer = error.status == 1 and all(path.exists() for path in stage.results)
                if step.refused is None or not is_answer:
                    raise StageFailed(f"stage {stage.name!r} failed\n{error}") from error
                record["refused"] = True
    finally:
        record["seconds"] = before + time.perf_counter() - started
        write_record(folder, record)
    if missing := [str(path) for path in stage.results if not path.exists()]:
        raise StageFailed(f"stage {stage.name!r} left no {missing[0]}; its log is in {folder}")
    record["done"] = True
    write_record(folder, record)  # last: a stage that is marked is complete
    console.print(f"Done in {duration(record['seconds'])}: {folder}")


def _last_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that was written to its end: the trainer's state is what comes last."""
    found = {
        int(path.parent.name.removeprefix("checkpoint-")): path.parent
        for path in folder.glob("checkpoint-*/trainer_state.json")
        if path.parent.name.removeprefix("checkpoint-").isdigit()
    }
    return found[max(found)] if found else None


def to_yaml(content: Mapping[str, Any]) -> str:
    """Settings as a file that a person can read."""
    return yaml.safe_dump(json.loads(json.dumps(content, default=str)), sort_keys=False)
