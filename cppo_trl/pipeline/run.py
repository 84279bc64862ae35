"""Runs the stages of a pipeline that are not done yet, and keeps what was done with what."""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from transformers.trainer_utils import get_last_checkpoint

from cppo_trl import __version__
from cppo_trl.problems import write_problems
from cppo_trl.training_data import load_problems, refuse_overlap

from .config import PipelineConfig
from .process import CommandFailed, duration, run_with_bar, say_command
from .report import write_report
from .stages import PROBLEMS, Stage, stages_of

STAGE_FILE = "stage.json"


class StageFailed(RuntimeError):
    """A stage that did not end well; the message says which, why, and where its log is."""


def run_pipeline(
    config: PipelineConfig,
    recipes: Path,
    console: Console | None = None,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Runs what is not done yet, one stage after the other, and writes the report.

    A stage that was made by the same commands, from the same files and stages, is used again. One
    that was cut off goes on: trainings from their last checkpoint, evaluations from their last
    batch. One that was made in another way is moved aside, to `NAME.1` and so on.

    Args:
        config: of the run.
        recipes: the folder of the training scripts.
        console: where to say what is done; None for the standard output.
        environment: variables for the commands, beside those of this process.

    Returns:
        The report.

    Raises:
        PipelineError: a setting cannot be used.
        DataError, ProblemError: problems cannot be used, or overlap those that are held out.
        StageFailed: a stage failed, the judge was rejected, or the audit says no-go.
    """
    console = console or Console()
    output = Path(config.output)
    stages = stages_of(config, recipes)
    output.mkdir(parents=True, exist_ok=True)
    _prepare_problems(config, output)
    (output / "pipeline.yaml").write_text(_yaml(asdict(config)), encoding="utf-8")
    done: dict[str, str] = {}
    for number, stage in enumerate(stages, start=1):
        folder = output / stage.name
        digest = _digest(stage, done)
        done[stage.name] = digest
        console.rule(f"{number}. {stage.name}")
        if _is_done(stage, folder, digest):
            console.print(f"Done before: {folder}")
            continue
        _run_stage(stage, folder, digest, console, environment)
    report = write_report(config, [stage.name for stage in stages])
    console.print(f"Report: {report}")
    return report


def _prepare_problems(config: PipelineConfig, output: Path) -> None:
    """Writes the training problems into the run, where all stages read them."""
    problems = load_problems(config.problems)
    held_out = {
        str(source): load_problems(source) for source in config.held_out if isinstance(source, str)
    }
    refuse_overlap(problems, held_out)
    path = output / PROBLEMS
    written = path.with_suffix(".new")
    write_problems(problems, written)
    written.replace(path)


def _run_stage(
    stage: Stage,
    folder: Path,
    digest: str,
    console: Console,
    environment: Mapping[str, str] | None,
) -> None:
    goes_on = _read(folder).get("digest") == digest
    if folder.exists() and not goes_on:
        aside = _free_name(folder)
        folder.rename(aside)
        console.print(f"Made in another way before; what was there is now {aside}")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in stage.files.items():
        path.write_text(_yaml(content), encoding="utf-8")
    record: dict[str, Any] = {
        "digest": digest,
        "inputs": [str(one) for one in stage.inputs],
        "commands": [shlex.join(step.command) for step in stage.steps],
        "cppo_trl": __version__,
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": _read(folder).get("seconds", 0.0) if goes_on else 0.0,
        "done": False,
    }
    _write(folder, record)
    started, before = time.perf_counter(), record["seconds"]
    try:
        for step in stage.steps:
            command = list(step.command)
            if step.trains and (checkpoint := get_last_checkpoint(str(folder))):
                command += ["--resume_from_checkpoint", checkpoint]
            say_command(console, command)
            try:
                run_with_bar(command, folder / "log.txt", console, environment)
            except CommandFailed as error:
                if error.status != 1 or step.refused is None:
                    raise StageFailed(f"stage {stage.name!r} failed\n{error}") from error
                if step.refused:
                    raise StageFailed(f"stage {stage.name!r}: {step.refused}") from error
    finally:
        record["seconds"] = before + time.perf_counter() - started
        _write(folder, record)
    if missing := [str(path) for path in stage.results if not path.exists()]:
        raise StageFailed(f"stage {stage.name!r} left no {missing[0]}; its log is in {folder}")
    record["done"] = True
    _write(folder, record)  # last: a stage that is marked is complete
    console.print(f"Done in {duration(record['seconds'])}: {folder}")


def _digest(stage: Stage, done: Mapping[str, str]) -> str:
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
    if made := _read(path).get("digest"):  # by an earlier run
        return made
    found = hashlib.sha256()
    for file in sorted(one for one in path.rglob("*") if one.is_file()):
        found.update(f"{file.relative_to(path)} {file.stat().st_size}".encode())
        if file.suffix == ".json":
            found.update(file.read_bytes())
    return found.hexdigest()


def _is_done(stage: Stage, folder: Path, digest: str) -> bool:
    record = _read(folder)
    is_same = record.get("digest") == digest and record.get("done", False)
    return is_same and all(path.exists() for path in stage.results)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / STAGE_FILE
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def _write(folder: Path, record: Mapping[str, Any]) -> None:
    (folder / STAGE_FILE).write_text(json.dumps(record, indent=2) + "\n")


def _free_name(folder: Path) -> Path:
    number = 1
    while (aside := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    return aside


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(json.loads(json.dumps(content, default=str)), sort_keys=False)
