"""What a pipeline is told: the fields of a YAML file, and how the command line changes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

# A stage is a mapping of settings, the path of what an earlier run made, or null: left out.
STAGES = ("gold", "sft", "judge", "warmup", "audit", "cppo", "evaluation")
_BY_PATH = ("gold", "sft", "judge")
_TEACHER = (
    *("model", "base_url", "concurrency", "max_calls", "max_tokens", "timeout", "extra_body"),
)
_SECRETS = ("hub_token", "api_key")  # of trainings and endpoints; settings are kept in files


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
            where wanted other options of `Endpoint`, such as `max_tokens` and `extra_body`.
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
        drop_overlap: leaves training problems out that are held out too, instead of refusing them.
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
    drop_overlap: bool = False
    ignore_no_go: bool = False
    allow_rejected_judge: bool = False

    def __post_init__(self) -> None:
        for name in ("model", "problems", "output"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise PipelineError(f"{name} is {value!r}; it must be given, as text")
        self._check_held_out()
        self._check_secrets()
        for name in STAGES:
            value = getattr(self, name)
            allowed = "a mapping of settings" + (", a path" if name in _BY_PATH else "")
            kinds = (Mapping, str) if name in _BY_PATH else Mapping
            if value == "" or (value is not None and not isinstance(value, kinds)):
                raise PipelineError(f"{name} is {value!r}; it must be {allowed}, or null")
        if not isinstance(self.policy, Mapping):
            raise PipelineError(f"policy is {self.policy!r}; it must be a mapping of settings")
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise PipelineError(f"seed is {self.seed!r}; it must be a whole number from 0 to 2^32")
        for name in ("drop_overlap", "ignore_no_go", "allow_rejected_judge"):
            if type(value := getattr(self, name)) is not bool:
                raise PipelineError(f"{name} is {value!r}; it must be true or false")
        if self.accelerate == "" or not isinstance(self.accelerate, (str, type(None))):
            raise PipelineError(f"accelerate is {self.accelerate!r}; it must be a file, or null")
        if isinstance(self.judge, Mapping) and "labels" in self.judge:
            labels = self.judge["labels"]
            if not isinstance(labels, str) or not labels:
                raise PipelineError(f"judge.labels is {labels!r}; it must be a file")
        self._check_teacher()
        self._check_order()

    def _check_held_out(self) -> None:
        held_out = self.held_out
        if isinstance(held_out, (str, Mapping)):  # one may be given without a list
            held_out = (held_out,)
        allowed = "names of benchmarks or files, or mappings that have a name"
        if not isinstance(held_out, (list, tuple)):
            raise PipelineError(f"held_out is {held_out!r}; it must be a list of {allowed}")
        for one in held_out:
            name = one.get("name") if isinstance(one, Mapping) else one
            if not isinstance(name, str) or not name:
                raise PipelineError(f"held_out has {one!r}; it must hold {allowed}")
        object.__setattr__(self, "held_out", tuple(held_out))

    def _check_secrets(self) -> None:
        for owner in ("teacher", "policy", *STAGES):
            settings = getattr(self, owner)
            if isinstance(settings, Mapping):
                refuse_secrets(owner, settings)
        url = self.teacher.get("base_url") if isinstance(self.teacher, Mapping) else None
        if isinstance(url, str) and ("@" in urlsplit(url).netloc or urlsplit(url).query):
            raise PipelineError(
                "teacher.base_url holds a password or a query, and settings are kept in files; "
                "give the whole address in the environment, as OPENAI_BASE_URL"
            )

    def _check_teacher(self) -> None:
        teacher = self.teacher
        if teacher is not None:
            if not isinstance(teacher, Mapping):
                raise PipelineError(f"teacher is {teacher!r}; it must be a mapping with a model")
            if unknown := sorted(str(name) for name in teacher if name not in _TEACHER):
                raise PipelineError(f"teacher has {unknown[0]!r}; there are {', '.join(_TEACHER)}")
            if not isinstance(teacher.get("model"), str) or not teacher["model"]:
                raise PipelineError(
                    f"teacher.model is {teacher.get('model')!r}; it must be the name of a model"
                )
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
        if isinstance(self.judge, Mapping) and self.sft is None and "labels" not in self.judge:
            raise PipelineError(
                "sft is null, but the plans that a judge is trained on are those of its policy; "
                "give a directory, or judge.labels as a file, or judge as a directory"
            )
        if self.evaluation is not None and not self.held_out:
            raise PipelineError("held_out is empty, but there is an evaluation; name its problems")


def read_config(path: str | Path, changes: Sequence[str] = ()) -> PipelineConfig:
    """The settings of a YAML file, some of them changed.

    Args:
        path: the file.
        changes: "name=value", "stage.name=value" and so on, the value in YAML.

    Raises:
        PipelineError: the file, a change or a setting cannot be used.
    """
    content = read_settings(path, changes)
    known = [item.name for item in fields(PipelineConfig)]
    if unknown := sorted(str(name) for name in content if name not in known):
        raise PipelineError(f"{path}: unknown field {unknown[0]!r}; there are {', '.join(known)}")
    return PipelineConfig(**content)


def read_settings(path: str | Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """What a YAML file holds, changed as for `read_config`; raises `PipelineError`."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PipelineError(f"{path}: {_one_line(error)}") from error
    if not isinstance(content, dict):
        raise PipelineError(f"{path}: it must hold settings with values, one a line")
    return changed(content, changes)


def refuse_secrets(owner: str, settings: Mapping[str, Any]) -> None:
    """Raises `PipelineError` where settings, which are kept in files, hold a password."""
    for name in _SECRETS:
        if name in settings:
            raise PipelineError(
                f"{owner}.{name} is a secret, and settings are kept in files; give it in the "
                "environment, as HF_TOKEN or OPENAI_API_KEY"
            )


def changed(settings: dict[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Settings changed as for `read_config`; raises `PipelineError`."""
    for change in changes:
        name, is_change, value = change.partition("=")
        path_of = name.split(".")
        if not is_change or not all(path_of):
            raise PipelineError(f"{name!r} is no change; it must be name=value")
        try:
            settings = _changed(settings, path_of, yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise PipelineError(f"{name} is no YAML: {_one_line(error)}") from error
    return settings


def _changed(settings: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    """The settings with another value at a path; they are left as they are, which aliases share."""
    name, *rest = path
    if rest:
        inner = settings.get(name)
        if not isinstance(inner, (dict, type(None))):
            raise PipelineError(f"{name} is {inner!r}; it has no {'.'.join(rest)} to change")
        value = _changed(inner or {}, rest, value)
    return {**settings, name: value}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
