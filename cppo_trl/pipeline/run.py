"""Runs the stages of a pipeline that are not done yet, and keeps what was done with what."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from cppo_trl.benchmarks import BenchmarkError
from cppo_trl.commands.options import command_parser
from cppo_trl.errors import first_line
from cppo_trl.evaluation.config import ConfigError, EvaluationConfig

from .commands import CPPO_TRL, check_training
from .config import PipelineConfig, PipelineError
from .lock import locked
from .problems import prepare_problems
from .report import write_report
from .run_stage import run_stage, to_yaml
from .stage import Stage
from .stages import stages_of


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
    check_commands(stages)
    with locked(output):
        prepare_problems(config, output, console)
        (output / "pipeline.yaml").write_text(to_yaml(asdict(config)), encoding="utf-8")
        run_stages(stages, _anywhere(config), output, console, environment)
        report = write_report(config, [stage.name for stage in stages])
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
        console.rule(f"{number}. {stage.name}")
        done[stage.name] = run_stage(stage, told, output, done, console, environment)


def check_commands(stages: Sequence[Stage]) -> None:
    """Refuses options and settings that their command would refuse too, but hours later.

    Raises:
        PipelineError: with the stage, and what its command does not take.
    """
    for stage in stages:
        for step in stage.steps:
            try:
                if step.trains:
                    check_training(step, stage.files[Path(step.command[-1])])
                elif step.command[: len(CPPO_TRL)] == CPPO_TRL:
                    _check_command(stage, step.command[len(CPPO_TRL) :])
            except (PipelineError, ConfigError, BenchmarkError, TypeError) as error:
                raise PipelineError(f"{stage.name}: {first_line(error)}") from error


def _check_command(stage: Stage, given: Sequence[str]) -> None:
    try:
        args = command_parser().parse_args(given)
    except SystemExit:  # argparse has said why
        raise PipelineError(f"cppo-trl {given[0]} does not take {shlex.join(given[1:])}") from None
    if args.command == "eval":
        EvaluationConfig(**stage.files[args.config])


def _anywhere(config: PipelineConfig) -> list[Stage]:
    """The stages as they would be in a directory, and with recipes, that are always the same."""
    return stages_of(replace(config, output="OUTPUT"), Path("RECIPES"))
