"""What a table is told: all its settings, and which of them go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cppo_trl.methods import METHODS
from cppo_trl.pipeline import PipelineConfig, PipelineError
from cppo_trl.pipeline.config import refuse_secrets
from cppo_trl.roles import PLANNER

from .rows import PLANNER_SFT, TUPLES, Budget, Row

_OF_AN_EVALUATION = (
    *("model", "output", "benchmarks", "methods", "baseline", "k", "seeds"),
    *("adapters", "planner_adapter", "solver_adapter"),
)
_MAPPINGS = ("policy", "samplers", "tuples", "rewarded", "evaluation", "tuning", "limits")


@dataclass(frozen=True)
class TableConfig:
    """All settings of a table.

    Attributes:
        model: id or path of the base.
        problems: to train on, as `training_data.load_problems` takes them.
        development: of the tuning, as `benchmarks.Selection.of` takes them.
        benchmarks: label -> what the rows are compared on, in the same form.
        output: the directory of the run.
        rows: name -> fields of `Row`.
        budget: fields of `Budget`.
        attempts: of the solver at a problem of a step, where a row says nothing else.
        seeds: trainings of each row, and evaluations.
        k: attempts at a problem in every evaluation, and strategies of a tuple.
        processes: that a training runs on.
        tries: entries of each grid that are tried, the first ones; None for all.
        policy: settings of all trainings: fields of TRL's `ModelConfig` and `GRPOConfig`.
        samplers, tuples: settings of the trainings that attempt from the statement, and of those
            that plan (planner SFT included).
        rewarded: settings of all trainings within the budget.
        evaluation: fields of `EvaluationConfig`, of all evaluations.
        tuning: the same, for those on the development problems.
        teacher, gold, judge: as for `PipelineConfig`.
        limits: name -> a pass@K that is drawn beside the rows.
        accelerate, drop_overlap, allow_rejected_judge: as for `PipelineConfig`.
        estimate: what `--dry-run` assumes; fields of `plan.Assumed`.
        quick: fields that `--quick` changes; mappings are merged.
        command: what the report says it was made by.
        report: what its files are called.

    Raises:
        PipelineError: a setting has a type or a value that is not allowed, or one is missing; the
            rows are not tuned alike.
    """

    model: str = ""
    problems: str = ""
    development: str | Mapping[str, Any] = ""
    benchmarks: Mapping[str, str | Mapping[str, Any]] = field(default_factory=dict)
    output: str = ""
    rows: Mapping[str, Row] = field(default_factory=dict)
    budget: Budget = field(default_factory=lambda: Budget(1, 32, 32))
    attempts: int = 32
    seeds: int = 3
    k: int = 4
    processes: int = 1
    tries: int | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    samplers: Mapping[str, Any] = field(default_factory=dict)
    tuples: Mapping[str, Any] = field(default_factory=dict)
    rewarded: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)
    teacher: Mapping[str, Any] | None = None
    gold: Mapping[str, Any] | str | None = None
    judge: Mapping[str, Any] | str | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    accelerate: str | None = None
    drop_overlap: bool = False
    allow_rejected_judge: bool = False
    estimate: Mapping[str, Any] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    report: str = "table"

    def __post_init__(self) -> None:
        for name in ("rows", "benchmarks"):
            if not isinstance(getattr(self, name), Mapping) or not getattr(self, name):
                raise PipelineError(f"{name} is {getattr(self, name)!r}; it must name at least one")
        for name in ("seeds", "k", "processes", "attempts", "tries"):
            value = getattr(self, name)
            if name == "tries" and value is None:
                continue
            if type(value) is not int or value < 1:
                raise PipelineError(f"{name} is {value!r}; it must be a whole number from 1 on")
        for name in (*_MAPPINGS, "estimate"):
            if not isinstance(getattr(self, name), Mapping):
                raise PipelineError(
                    f"{name} is {getattr(self, name)!r}; it must be a mapping of settings"
                )
            refuse_secrets(name, getattr(self, name))
        if unnamed := [name for name in self.rows if not _is_folder(name)]:
            raise PipelineError(f"rows has {unnamed[0]!r}; it must be the name of a folder")
        self._check_rows()
        if self.tries is not None:
            rows = {
                name: replace(row, grid=row.grid[: self.tries]) for name, row in self.rows.items()
            }
            object.__setattr__(self, "rows", rows)
        for name in ("evaluation", "tuning"):
            if taken := sorted(set(getattr(self, name)) & set(_OF_AN_EVALUATION)):
                raise PipelineError(
                    f"{name}.{taken[0]} is {getattr(self, name)[taken[0]]!r}; the table decides "
                    "it, leave it out"
                )
        self.shared()  # refuses what the stages refuse
        if (
            isinstance(self.judge, Mapping)
            and self.planner_row is None
            and any(row.recipe in TUPLES for row in self.rows.values())
        ):
            raise PipelineError(
                f"judge is {self.judge!r}, trained on the plans of a row of {PLANNER_SFT}, and "
                "there is none; give such a row, the path of a judge, or null"
            )
        for label, benchmark in self.benchmarks.items():
            if _selected(benchmark) == _selected(self.development):
                raise PipelineError(
                    f"development is {self.development!r}, which is benchmarks[{label!r}] too: "
                    "rows are tuned on problems that are not reported, give others"
                )

    def _check_rows(self) -> None:
        if len([row for row in self.rows.values() if row.group == "method"]) != 1:
            raise PipelineError(
                "rows: exactly one must have the group 'method', with which all are compared"
            )
        tried = {row.name: len(row.grid) for row in self.rows.values() if row.recipe}
        for name, count in tried.items():
            first = next(iter(tried))
            if count != tried[first] or not count:
                raise PipelineError(
                    f"rows.{name}.grid has {count} entries and rows.{first}.grid {tried[first]}: "
                    "every row is tuned alike, give as many, and at least one"
                )
        for row in self.rows.values():
            start = self.rows.get(row.start) if row.start else None
            if row.start and (start is None or PLANNER not in METHODS[start.method].trained):
                raise PipelineError(
                    f"rows.{row.name}.start is {row.start!r}; it must be a row that trains a "
                    "planner"
                )
        for row in self.rows.values():
            before = [row.name]
            while start := self.rows[before[-1]].start:
                if start in before:
                    said = " -> ".join([*before, start])
                    raise PipelineError(
                        f"rows.{row.name}.start is {row.start!r}; no row may start from itself, as "
                        f"in {said}"
                    )
                before.append(start)

    @property
    def method(self) -> Row:
        """The row that the others are compared with."""
        return next(row for row in self.rows.values() if row.group == "method")

    @property
    def planner_row(self) -> Row | None:
        """The row whose plans the judge is trained on: the first of planner SFT."""
        return next((row for row in self.rows.values() if row.recipe == PLANNER_SFT), None)

    def shared(self, **changes: Any) -> PipelineConfig:
        """The stages that rows share, as a pipeline: gold tuples and judge.

        Args:
            changes: of its fields.
        """
        needs_gold = self.planner_row is not None
        given = {
            "model": self.model,
            "problems": self.problems,
            "output": self.output,
            "held_out": [self.development, *self.benchmarks.values()],
            "teacher": self.teacher,
            "policy": {**self.policy, **self.tuples, "num_strategies": self.k},
            "gold": self.gold,
            "sft": {} if needs_gold else None,
            "judge": self.judge if needs_gold or isinstance(self.judge, str) else None,
            "warmup": None,
            "audit": None,
            "cppo": None,
            "evaluation": self.evaluation,
            "accelerate": self.accelerate,
            "drop_overlap": self.drop_overlap,
            "allow_rejected_judge": self.allow_rejected_judge,
        }
        return PipelineConfig(**given | changes)


def _is_folder(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name


def _selected(asked: str | Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, whatever it is called and however much of it."""
    own = {"name": asked} if isinstance(asked, str) else asked
    return {name: value for name, value in own.items() if name not in ("label", "limit")}
