"""The budget of a training as settings of its recipe: what makes the rows comparable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cppo_trl.errors import first_line
from cppo_trl.pipeline import PipelineError

from .config import TableConfig
from .rows import SAMPLERS, TUPLES, Row

# With these a trainer makes or uses another number of attempts than the budget says.
_OF_A_STEP = ("generation_batch_size", "steps_per_generation", "num_iterations")


def budget_settings(config: TableConfig, row: Row, settings: dict[str, Any]) -> dict[str, Any]:
    """The batch and step sizes with which a row spends the table's budget, and no other.

    A step is of as many problems as there are times A attempts in its budget. A sampler makes the A
    attempts at a problem from its statement (`num_generations=A`); a tuple recipe makes them by
    A / (K L) tuples of K strategies with L attempts each. A training that does not learn from
    rewards has no budget.

    Args:
        config: of the table.
        row: whose training it is.
        settings: what else the training is told.

    Raises:
        PipelineError: the budget cannot be divided so, with the numbers that do not divide, or the
            settings would spend another one.
    """
    if not row.is_rewarded:
        return {}
    for name in _OF_A_STEP:
        if name in settings:
            raise PipelineError(
                f"rows.{row.name}: {name} is {settings[name]!r}; the table decides how many "
                "attempts a step makes and how often it uses them, leave it out"
            )
    if row.recipe in TUPLES and settings.get("num_strategies", config.k) != config.k:
        raise PipelineError(
            f"rows.{row.name}: num_strategies is {settings['num_strategies']!r}; it must be k, "
            f"which is {config.k}"
        )
    budget, at_a_problem = config.budget, row.attempts or config.attempts
    at_a_strategy = settings.get("attempts_per_strategy", 1)
    if type(at_a_strategy) is not int or at_a_strategy < 1:
        raise PipelineError(
            f"rows.{row.name}: attempts_per_strategy is {at_a_strategy!r}; it must be a whole "
            "number from 1 on"
        )
    each = 1 if row.recipe in SAMPLERS else config.k * at_a_strategy
    said = "K x attempts_per_strategy" if row.recipe in TUPLES else "1"
    for name, value, divisor, what in (
        ("attempts", at_a_problem, each, said),
        ("budget.micro_batch", budget.micro_batch, each, said),
        ("budget.attempts", budget.attempts, at_a_problem, "attempts at a problem"),
    ):
        if value % divisor:
            raise PipelineError(
                f"{name} is {value}; for the row {row.name!r} it must be a multiple of {divisor} "
                f"({what})"
            )
    _refuse_other_processes(config)
    together = budget.micro_batch * config.processes
    if budget.attempts % together:
        raise PipelineError(
            f"budget.micro_batch is {budget.micro_batch} on {config.processes} processes; it must "
            f"divide the {budget.attempts} attempts of a step"
        )
    return {
        "num_generations": at_a_problem // each,
        "per_device_train_batch_size": budget.micro_batch // each,
        "gradient_accumulation_steps": budget.attempts // together,
        "max_steps": budget.steps,
    }


def _refuse_other_processes(config: TableConfig) -> None:
    """Refuses an `accelerate` file that says another number of processes than the table."""
    if config.accelerate is None:
        return  # `accelerate launch` is told the table's number
    path = Path(config.accelerate)
    if not path.is_file():
        raise PipelineError(f"accelerate is {config.accelerate!r}; there is no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PipelineError(f"accelerate: {path}: {first_line(error)}") from error
    found = content.get("num_processes") if isinstance(content, dict) else None
    if found is not None and found != config.processes:
        raise PipelineError(
            f"processes is {config.processes}, but {path} has num_processes {found}: the batches "
            "are those of so many processes, give the same number"
        )
