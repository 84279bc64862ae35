"""The budget of a training as settings of its recipe: what makes the rows comparable."""

from __future__ import annotations

from typing import Any

from cppo_trl.pipeline import PipelineError

from .config import SAMPLERS, TUPLES, Row, TableConfig


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
        PipelineError: the budget cannot be divided so, with the numbers that do not divide.
    """
    if not row.is_rewarded:
        return {}
    budget, at_a_problem = config.budget, row.attempts or config.attempts
    each = 1 if row.recipe in SAMPLERS else config.k * settings.get("attempts_per_strategy", 1)
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
