"""What a table is told: its rows, their common budget, and the fields of the YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cppo_trl.methods import METHODS
from cppo_trl.pipeline import PipelineConfig, PipelineError
from cppo_trl.pipeline.config import changed, read_settings, refuse_secrets
from cppo_trl.roles import PLANNER

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
_OF_AN_EVALUATION = (
    *("model", "output", "benchmarks", "methods", "baseline", "k", "seeds"),
    *("adapters", "planner_adapter", "solver_adapter"),
)
_MAPPINGS = ("policy", "samplers", "tuples", "rewarded", "evaluation", "tuning", "limits")


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


def read_table(
    path: str | Path, changes: Sequence[str] = (), quick: bool = False, **given: Any
) -> TableConfig:
    """The settings of a YAML file, some of them changed.

    Args:
        path: the file.
        changes: "name=value", "rows.cppo.settings.max_plan_length=256" and so on.
        quick: whether what the file has under `quick` is changed too; `changes` win over it.
        given: fields that win over the file's.

    Raises:
        PipelineError: the file, a change or a setting cannot be used.
    """
    content = read_settings(path, changes)
    if quick:
        under = content.get("quick") or {}
        if not isinstance(under, Mapping):
            raise PipelineError(f"quick is {under!r}; it must be a mapping of settings")
        content = changed(merged(content, under), changes)
    content |= {name: value for name, value in given.items() if value is not None}
    known = [item.name for item in fields(TableConfig)]
    if unknown := sorted(str(name) for name in content if name not in known):
        raise PipelineError(f"{path}: unknown field {unknown[0]!r}; there are {', '.join(known)}")
    rows = content.get("rows")
    if not isinstance(rows, Mapping) or not all(isinstance(one, Mapping) for one in rows.values()):
        raise PipelineError(f"{path}: rows is {rows!r}; it must map names to the fields of a row")
    content["rows"] = {
        name: _made(Row, f"rows.{name}", {**row, "name": name}) for name, row in rows.items()
    }
    content["budget"] = _made(Budget, "budget", content.get("budget"))
    return TableConfig(**content)


def with_rows(config: TableConfig, names: Sequence[str]) -> TableConfig:
    """A table of these rows, of those that they start from, and of the method's row.

    Raises:
        PipelineError: there is no such row.
    """
    kept = {config.method.name}
    for name in names:
        if name not in config.rows:
            raise PipelineError(f"rows has no {name!r}; there are {', '.join(config.rows)}")
        kept.add(name)
    while missing := {config.rows[name].start for name in kept} - kept - {None}:
        kept |= missing
    return replace(config, rows={name: row for name, row in config.rows.items() if name in kept})


def with_benchmarks(config: TableConfig, labels: Sequence[str]) -> TableConfig:
    """A table on these of the benchmarks.

    Raises:
        PipelineError: there is no such benchmark.
    """
    for label in labels:
        if label not in config.benchmarks:
            known = ", ".join(config.benchmarks)
            raise PipelineError(f"benchmarks has no {label!r}; there are {known}")
    return replace(config, benchmarks={label: config.benchmarks[label] for label in labels})


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others put over them; where both are mappings, entry by entry."""
    result = dict(settings)
    for name, value in changes.items():
        own = result.get(name)
        both = isinstance(own, Mapping) and isinstance(value, Mapping)
        result[name] = merged(own, value) if both else value
    return result


def _is_folder(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and Path(name).name == name


def _selected(asked: str | Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, whatever it is called and however much of it."""
    own = {"name": asked} if isinstance(asked, str) else asked
    return {name: value for name, value in own.items() if name not in ("label", "limit")}


def _made(kind: type, name: str, given: Any) -> Any:
    allowed = [item.name for item in fields(kind)]
    if not isinstance(given, Mapping):
        raise PipelineError(f"{name} is {given!r}; it must be a mapping of {', '.join(allowed)}")
    if unknown := sorted(str(one) for one in given if one not in allowed):
        raise PipelineError(f"{name} has {unknown[0]!r}; there are {', '.join(allowed)}")
    try:
        return kind(**given)
    except TypeError as error:
        raise PipelineError(f"{name}: {error}; there are {', '.join(allowed)}") from error
