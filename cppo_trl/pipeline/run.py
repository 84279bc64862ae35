"""Runs the stages of a pipeline that are not done yet, and keeps what was done with what."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from rich.console import Console

from cppo_trl import __version__
from cppo_trl.benchmarks import BenchmarkError, Selection, find_overlap
from cppo_trl.commands.options import command_parser
from cppo_trl.errors import first_line
from cppo_trl.evaluation.config import ConfigError, EvaluationConfig
from cppo_trl.problems import Problem, write_problems
from cppo_trl.training_data import load_problems, refuse_overlap

from .config import PipelineConfig, PipelineError
from .process import CommandFailed, duration, run_with_bar, say_command
from .record import digest_of, free_name, is_done, read_record, write_record
from .report import write_report
from .stage import Stage
from .stages import CPPO_TRL, PROBLEMS, stages_of


class StageFailed(RuntimeError):
    """A stage that did not end well; the message says which, why, and where its log is."""


def run_pipeline(
    config: PipelineConfig,
    recipes: Path,
    console: Console | None = None,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Runs what is not done yet, one stage after the other, and writes the report.

    A stage that was made by the same commands, from the same files and stages, is used again,
    wherever the directory is now and whatever it is run from. One that was cut off goes on:
    trainings from their last checkpoint, evaluations from their last batch. One that was made in
    another way is moved aside, to `NAME.1` and so on.

    Args:
        config: of the run.
        recipes: the folder of the training scripts.
        console: where to say what is done; None for the standard output.
        environment: variables for the commands, beside those of this process.

    Returns:
        The report.

    Raises:
        PipelineError: a setting cannot be used, or another process runs into the directory.
        DataError, ProblemError, BenchmarkError: problems cannot be used, or overlap those that are
            held out.
        StageFailed: a stage failed, the judge was rejected, or the audit says no-go.
    """
    console = console or Console()
    output = Path(config.output)
    stages = stages_of(config, recipes)
    _check_commands(stages)
    output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise PipelineError(f"output is {config.output!r}; another pipeline runs into it") from None
    try:
        _prepare_problems(config, output, console)
        (output / "pipeline.yaml").write_text(_yaml(asdict(config)), encoding="utf-8")
        run_stages(stages, _anywhere(config), output, console, environment)
        report = write_report(config, [stage.name for stage in stages])
    finally:
        lock.release()
    console.print(f"Report: {report}")
    return report


def run_stages(
    stages: Sequence[Stage],
    anywhere: Sequence[Stage],
    output: Path,
    console: Console,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs the stages that are not done yet, each in its folder.

    Args:
        stages: in their order.
        anywhere: the same, told without naming where they are: what they are recognised by.
        output: the directory of the run.
        console, environment: as for `run_pipeline`.

    Raises:
        StageFailed: a stage failed, or its answer is no.
    """
    done: dict[str, str] = {}
    for number, (stage, told) in enumerate(zip(stages, anywhere, strict=True), start=1):
        folder = output / stage.name
        digest = digest_of(replace(told, inputs=stage.inputs), done)
        done[stage.name] = digest
        console.rule(f"{number}. {stage.name}")
        if is_done(stage, folder, digest):
            console.print(f"Done before: {folder}")
        else:
            _run_stage(stage, folder, digest, console, environment)
        refusal = next((step.refused for step in stage.steps if step.refused), None)
        if refusal and read_record(folder).get("refused"):
            raise StageFailed(f"stage {stage.name!r}: {refusal}")


def _check_commands(stages: Sequence[Stage]) -> None:
    """Refuses options and settings that their command would refuse too, but hours later."""
    for stage in stages:
        for step in stage.steps:
            if step.command[: len(CPPO_TRL)] != CPPO_TRL:
                continue
            given = step.command[len(CPPO_TRL) :]
            try:
                args = command_parser().parse_args(given)
                if args.command == "eval":
                    EvaluationConfig(**stage.files[args.config])
            except SystemExit:  # argparse has said why
                said = f"{stage.name}: cppo-trl {given[0]} does not take {shlex.join(given[1:])}"
                raise PipelineError(said) from None
            except (ConfigError, BenchmarkError, TypeError) as error:
                raise PipelineError(f"{stage.name}: {first_line(error)}") from error


def _anywhere(config: PipelineConfig) -> list[Stage]:
    """The stages as they would be in a directory, and with recipes, that are always the same."""
    return stages_of(replace(config, output="OUTPUT"), Path("RECIPES"))


def _prepare_problems(config: PipelineConfig, output: Path, console: Console) -> None:
    """Writes the training problems into the run, where all stages read them."""
    problems = load_problems(config.problems)
    common = {"on_bad_row": "skip", **(config.evaluation or {}).get("loading", {})}
    held_out = {}
    for source in config.held_out:
        own = dict(source) if isinstance(source, Mapping) else {"name": source}
        held_out[str(source)] = Selection.of({**common, **own}).load()
    if config.drop_overlap:
        problems = _without_overlap(problems, held_out, console)
    refuse_overlap(problems, held_out, otherwise=", or set drop_overlap=true")
    path = output / PROBLEMS
    written = path.with_suffix(".new")
    write_problems(problems, written)
    written.replace(path)


def _without_overlap(
    problems: Sequence[Problem], held_out: Mapping[str, Sequence[Problem]], console: Console
) -> list[Problem]:
    shared: set[str] = set()
    for source, evaluation in held_out.items():
        found = {pair.train_id for pair in find_overlap(problems, evaluation)}
        console.print(f"{len(found)} training problems are left out: they are among {source}")
        shared |= found
    kept = [problem for problem in problems if problem.id not in shared]
    if not kept:
        raise PipelineError("drop_overlap leaves no training problem: all of them are held out")
    return kept


def _run_stage(
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
        path.write_text(_yaml(content), encoding="utf-8")
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


def _yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(json.loads(json.dumps(content, default=str)), sort_keys=False)
