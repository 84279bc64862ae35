"""The rows of a table and the budget that they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from cppo_trl.methods import METHODS
from cppo_trl.pipeline import PipelineError
from cppo_trl.pipeline.config import refuse_secrets

# Recipes by what they train: samplers attempt a problem from its statement, tuple recipes plan.
SAMPLERS = ("grpo", "pkpo", "pass_at_k", "upskill")
TUPLES = ("cppo_qwen",)
PLANNER_SFT = "sft_planner"
RECIPES = (*SAMPLERS, *TUPLES, PLANNER_SFT)
# Recipe -> the methods that ask as it trains.
_PLANNING = tuple(name for name, method in METHODS.items() if method.is_tuple and method.trained)
_EVALUATED_BY = {
    **dict.fromkeys(SAMPLERS, ("trained-direct",)),
    "upskill": ("trained-latent",),
    **dict.fromkeys((*TUPLES, PLANNER_SFT), _PLANNING),
}
GROUPS = ("baseline", "method", "variant")


@dataclass(frozen=True)
class Budget:
    """What the training of every row may spend on attempts.

    Attributes:
        steps: optimizer steps.
        attempts: of the solver in a step.
        micro_batch: attempts that are in a forward together, on each process.
    """

    steps: int
    attempts: int
    micro_batch: int

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if type(value) is not int or value < 1:
                raise PipelineError(
                    f"budget.{item.name} is {value!r}; it must be a whole number from 1 on"
                )

    @property
    def total(self) -> int:
        """Attempts of a whole training."""
        return self.steps * self.attempts


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: of the row, and of its folder.
        method: by which it is evaluated: a name in `methods.METHODS`.
        said: what it is, in words.
        group: "baseline", "method" (the row that the others are compared with) or "variant".
        recipe: the script that trains it, without ".py"; None for a row that is not trained.
        start: the row whose policy of the same seed it starts from.
        attempts: of the solver at a problem of a step; fewer attempts are at more problems. None
            for the table's.
        settings: of the training, for all of the grid.
        grid: what is tried on the development problems: settings of one training each.
    """

    name: str
    method: str
    said: str = ""
    group: str = "baseline"
    recipe: str | None = None
    start: str | None = None
    attempts: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    grid: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("method", self.method, METHODS),
            ("group", self.group, GROUPS),
            ("recipe", self.recipe, (*RECIPES, None)),
        ):
            if value not in allowed:
                raise PipelineError(
                    f"rows.{self.name}.{name} is {value!r}; it must be one of "
                    f"{', '.join(str(one) for one in allowed if one is not None)}"
                )
        trained = METHODS[self.method].trained
        if bool(trained) != (self.recipe is not None):
            needs = f"evaluates a trained {' and '.join(trained)}" if trained else "trains nothing"
            raise PipelineError(
                f"rows.{self.name}.recipe is {self.recipe!r}, but its method {self.method!r} "
                f"{needs}"
            )
        if self.recipe is not None and self.method not in _EVALUATED_BY[self.recipe]:
            raise PipelineError(
                f"rows.{self.name}.method is {self.method!r}; what the recipe {self.recipe!r} "
                f"trains is evaluated by {' or '.join(_EVALUATED_BY[self.recipe])}"
            )
        for name in ("settings", "grid"):
            value = getattr(self, name)
            kinds = Mapping if name == "settings" else (list, tuple)
            if not isinstance(value, kinds) or (
                name == "grid" and not all(isinstance(one, Mapping) for one in value)
            ):
                said = "a mapping of settings" if name == "settings" else "a list of such mappings"
                raise PipelineError(f"rows.{self.name}.{name} is {value!r}; it must be {said}")
        attempts = self.attempts
        if attempts is not None and (
            type(attempts) is not int or attempts < 1 or not self.is_rewarded
        ):
            raise PipelineError(
                f"rows.{self.name}.attempts is {attempts!r}; it must be a whole number from 1 on, "
                "of a row that is trained by rewards"
            )
        if self.recipe is None and (self.settings or self.grid):
            raise PipelineError(
                f"rows.{self.name} has {'settings' if self.settings else 'a grid'} of a training, "
                "but no recipe"
            )
        for one in (self.settings, *self.grid):
            refuse_secrets(f"rows.{self.name}", one)
        if self.start is not None and self.recipe not in TUPLES:
            raise PipelineError(
                f"rows.{self.name}.start is {self.start!r}; only rows of {', '.join(TUPLES)} start "
                "from another row"
            )

    @property
    def is_rewarded(self) -> bool:
        """Whether it is trained by rewards, in the steps of the budget."""
        return self.recipe in (*SAMPLERS, *TUPLES)

    @property
    def makes_attempts(self) -> bool:
        """Whether it learns from attempts: a warm-up is paid by the judge and calls no solver."""
        return self.is_rewarded and self.settings.get("planner_reward") != "judge"
