"""What a table will take: every cell with its attempts and tokens, before anything is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cppo_trl.methods import METHODS
from cppo_trl.pipeline import PipelineError, Stage
from cppo_trl.pipeline.run import check_commands

from .cells import Cells
from .config import TableConfig
from .rows import PLANNER_SFT, SAMPLERS, Row


@dataclass(frozen=True)
class Assumed:
    """What an estimate is made of; measure your own, these decide all of it.

    Attributes:
        device: of which the hours are.
        prompt_tokens: of a problem with its instruction.
        plan_tokens, attempt_tokens: decoded, the mean.
        generated_per_second: tokens decoded by one device, in batches.
        trained_per_second: tokens (prompts included) in forward and backward on one device.
        scored_per_second: tokens in a forward alone, such as a reference's or a latent's.
    """

    device: str = "device"
    prompt_tokens: int = 500
    plan_tokens: int = 200
    attempt_tokens: int = 500
    generated_per_second: float = 2500.0
    trained_per_second: float = 4000.0
    scored_per_second: float = 12000.0


@dataclass(frozen=True)
class Planned:
    """One cell before it is run.

    Attributes:
        name: of its folder.
        attempts: of the solver.
        plans: of the planner, or answers of another kind that are not attempts.
        tokens: decoded.
        seconds: of one device; None for what is not estimated (a teacher's answers, or problems
            whose number is not known before they are loaded).
    """

    name: str
    attempts: int | None
    plans: int | None
    tokens: int | None
    seconds: float | None


def assumed(config: TableConfig) -> Assumed:
    """The assumptions of a table; raises `PipelineError` for a field that there is not."""
    known = [item.name for item in fields(Assumed)]
    if unknown := sorted(str(name) for name in config.estimate if name not in known):
        raise PipelineError(f"estimate has {unknown[0]!r}; there are {', '.join(known)}")
    for name, value in config.estimate.items():
        if name != "device" and (type(value) not in (int, float) or value <= 0):
            raise PipelineError(f"estimate.{name} is {value!r}; it must be a number above 0")
    return Assumed(**config.estimate)


def planned_cells(config: TableConfig, recipes: Path) -> list[Planned]:
    """Every cell of a table in the order of its rows.

    Raises:
        PipelineError: a cell's settings cannot be used.
    """
    return [*_Plan(config, recipes).cells()]


class _Plan:
    def __init__(self, config: TableConfig, recipes: Path):
        self.config = config
        self.made = Cells(config, recipes, Path(config.output))
        self.assumed = assumed(config)

    def cells(self) -> Iterator[Planned]:
        config, output = self.config, Path(self.config.output)
        if config.planner_row is not None:
            for name in ("gold", "judge"):
                if isinstance(getattr(config, name), Mapping):
                    check_commands([self.made.gold() if name == "gold" else self.made.judge(0)])
                    yield Planned(name, None, None, None, None)
        for row in config.rows.values():
            start = output if row.start else None  # any: what it starts from decides no number
            for rate in range(len(row.grid)):
                yield self._training(row, rate, 0, start)
                yield self._evaluation(row, self.made.development(row, rate), True)
            for seed in range(1, config.seeds if row.recipe else 1):
                yield self._training(row, 0, seed, start)
            made = self.made.evaluation(row, 0 if row.recipe else None)
            yield self._evaluation(row, made, False)

    def _training(self, row: Row, rate: int, seed: int, start: Path | None) -> Planned:
        stage = self.made.training(row, rate, seed, start)
        check_commands([stage])
        (settings,) = stage.files.values()
        if row.recipe == PLANNER_SFT:
            return Planned(stage.name, 0, 0, 0, None)
        a, budget = self.assumed, self.config.budget
        attempts = budget.total if row.makes_attempts else 0
        is_sampler = row.recipe in SAMPLERS
        problems = budget.steps * budget.attempts // (row.attempts or self.config.attempts)
        plans = 0 if is_sampler else problems * settings["num_generations"]
        generated = attempts * a.attempt_tokens + plans * a.plan_tokens
        trained = generated + (attempts + plans) * a.prompt_tokens
        # The reference's log-probabilities, and those under every latent.
        times = (settings.get("beta", 0.01) != 0) + settings.get("num_latents", 0)
        seconds = (
            generated / a.generated_per_second
            + trained / a.trained_per_second
            + times * trained / a.scored_per_second
        )
        return Planned(stage.name, attempts, plans, generated, seconds)

    def _evaluation(self, row: Row, stage: Stage, is_development: bool) -> Planned:
        check_commands([stage])
        config, a, name = self.config, self.assumed, stage.name
        asked = [config.development] if is_development else [*config.benchmarks.values()]
        own = {**config.evaluation, **(config.tuning if is_development else {})}
        counts = [_count(one, own.get("limit")) for one in asked]
        if None in counts:
            return Planned(name, None, None, None, None)
        tuples = sum(counts) * own.get("draws", 1) * (1 if is_development else config.seeds)
        attempts, plans = tuples * config.k, tuples * METHODS[row.method].planner_calls(config.k)
        tokens = attempts * a.attempt_tokens + plans * a.plan_tokens
        return Planned(name, attempts, plans, tokens, tokens / a.generated_per_second)


def _count(asked: str | Mapping[str, Any], limit: int | None) -> int | None:
    """How many problems are asked for, where that is known without loading them."""
    own = {"name": asked} if isinstance(asked, str) else dict(asked)
    limit = own.get("limit", limit)
    if limit is not None:
        return limit
    path = Path(own["name"])
    if path.suffix != ".jsonl" or not path.is_file():
        return None
    with path.open(encoding="utf-8") as lines:
        return sum(1 for line in lines if line.strip())
