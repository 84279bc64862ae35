"""What a pipeline is told: the fields of a YAML file, and how the command line changes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

# A stage is a mapping of settings, the path of what an earlier run made, or null: left out.
STAGES = ("gold", "sft", "judge", "warmup", "audit", "cppo", "evaluation")
_BY_PATH = ("gold", "sft", "judge")
_TEACHER = ("model", "base_url", "concurrency", "max_calls")


class PipelineError(ValueError):
    """A setting that cannot be used; the message names it, its value and what is allowed."""


@dataclass(frozen=True)
class PipelineConfig:
    """All settings of a pipeline.

    Attributes:
        model: id or path of the base.
        problems: to train on, as `training_data.load_problems` takes them.
        output: the directory of the run.
        held_out: problems of the final evaluation, as `benchmarks.Selection.of` takes them; none of
            them may be among the training problems.
        teacher: the large model that writes gold tuples and labels plans: `model`, `base_url`, and
            where wanted `concurrency` and `max_calls`.
        policy: settings of every stage that trains or runs roles: fields of TRL's `ModelConfig`,
            and those that `PlannerSFTConfig` and `CPPOConfig` share.
        gold: of `cppo-trl gold model`, and `limit`, problems to ask for; or the file of gold
            tuples.
        sft: fields of `PlannerSFTConfig`; or the directory of a policy to start from.
        judge: `problems`, `draws` and `labels` (a file) of the plans that are labelled, options of
            `cppo-trl judge train`; or the directory of a judge. Null leaves the rules alone.
        warmup, cppo: fields of `CPPOConfig` and options of `recipes/cppo_qwen.py`.
        audit: options of `cppo-trl audit`.
        evaluation: fields of `EvaluationConfig`.
        seed: of all stages.
        accelerate: configuration file of `accelerate launch`; None for its own default.
        ignore_no_go: goes on where the audit says no-go.
        allow_rejected_judge: goes on with a judge that its rule of acceptance rejected.

    Raises:
        PipelineError: a setting has a type or a value that is not allowed, or one is missing.
    """

    model: str = ""
    problems: str = ""
    output: str = ""
    held_out: Sequence[str | Mapping[str, Any]] = ()
    teacher: Mapping[str, Any] | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    gold: Mapping[str, Any] | str | None = field(default_factory=dict)
    sft: Mapping[str, Any] | str | None = field(default_factory=dict)
    judge: Mapping[str, Any] | str | None = field(default_factory=dict)
    warmup: Mapping[str, Any] | None = field(default_factory=dict)
    audit: Mapping[str, Any] | None = field(default_factory=dict)
    cppo: Mapping[str, Any] | None = field(default_factory=dict)
    evaluation: Mapping[str, Any] | None = field(default_factory=dict)
    seed: int = 0
    accelerate: str | None = None
    ignore_no_go: bool = False
    allow_rejected_judge: bool = False

    def __post_init__(self) -> None:
        for name in ("model", "problems", "output"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise PipelineError(f"{name} is {value!r}; it must be given, as text")
        if isinstance(self.held_out, (str, Mapping)):
            object.__setattr__(self, "held_out", (self.held_out,))
        for name in STAGES:
            value = getattr(self, name)
            allowed = "a mapping of settings" + (", a path" if name in _BY_PATH else "")
            kinds = (Mapping, str) if name in _BY_PATH else Mapping
            if value is not None and not isinstance(value, kinds):
                raise PipelineError(f"{name} is {value!r}; it must be {allowed}, or null")
        if not isinstance(self.policy, Mapping):
            raise PipelineError(f"policy is {self.policy!r}; it must be a mapping of settings")
        if type(self.seed) is not int:
            raise PipelineError(f"seed is {self.seed!r}; it must be a whole number")
        self._check_teacher()
        self._check_order()

    def _check_teacher(self) -> None:
        teacher = self.teacher
        if teacher is not None and not (isinstance(teacher, Mapping) and teacher.get("model")):
            raise PipelineError(f"teacher is {teacher!r}; it must be a mapping that has a model")
        if unknown := sorted(set(teacher or ()) - set(_TEACHER)):
            raise PipelineError(f"teacher has {unknown[0]!r}; there are {', '.join(_TEACHER)}")
        if teacher is None:
            if isinstance(self.gold, Mapping) and isinstance(self.sft, Mapping):
                raise PipelineError(
                    "gold tuples need a teacher (the large model that writes them); give one, or "
                    "gold as a file, or sft as a directory"
                )
            if isinstance(self.judge, Mapping) and "labels" not in self.judge:
                raise PipelineError(
                    "labels need a teacher (the large model that says which plans are valid); give "
                    "one, or judge.labels as a file, or judge as a directory"
                )

    def _check_order(self) -> None:
        if isinstance(self.sft, Mapping) and self.gold is None:
            raise PipelineError("gold is null, but sft trains on gold tuples; give a file")
        if isinstance(self.judge, Mapping) and self.sft is None:
            raise PipelineError(
                "sft is null, but the plans that a judge is trained on are those of its policy; "
                "give a directory, or judge as one"
            )
        if self.evaluation is not None and not self.held_out:
            raise PipelineError("held_out is empty, but there is an evaluation; name its problems")


def read_config(path: str | Path, changes: Sequence[str] = ()) -> PipelineConfig:
    """The settings of a YAML file, some of them changed.

    Args:
        path: the file.
        changes: "name=value" or "stage.name=value", the value in YAML.

    Raises:
        PipelineError: the file, a change or a setting cannot be used.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PipelineError(f"{path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise PipelineError(f"{path}: must hold settings with values, one a line")
    for change in changes:
        name, is_change, value = change.partition("=")
        if not is_change:
            raise PipelineError(f"{change!r} is no change; it must be name=value")
        owner, *rest = name.split(".", 1)
        if rest:
            settings = content.get(owner) or {}
            if not isinstance(settings, dict):
                raise PipelineError(f"{change!r}: {owner} is {settings!r}, and no mapping")
            content[owner] = {**settings, rest[0]: yaml.safe_load(value)}
        else:
            content[owner] = yaml.safe_load(value)
    known = [item.name for item in fields(PipelineConfig)]
    if unknown := sorted(str(name) for name in content if name not in known):
        raise PipelineError(f"{path}: unknown field {unknown[0]!r}; there are {', '.join(known)}")
    return PipelineConfig(**content)
