"""What an evaluation is told: the fields of a YAML file and the options of `cppo-trl eval`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any

from cppo_trl.benchmarks import Selection
from cppo_trl.benchmarks.selection import OPTIONS
from cppo_trl.methods import METHODS, Templates
from cppo_trl.roles import PLANNER, ROLES, SOLVER
from cppo_trl.verifier.compare import COMPARE_MODES


class ConfigError(ValueError):
    """A setting that cannot be used; the message names it, its value and what is allowed."""


@dataclass(frozen=True)
class EvaluationConfig:
    """All settings of an evaluation; what is None is decided by what it stands for.

    Attributes:
        model: id or path of the base; None for the one that the adapters name.
        output: the directory of the records and the report.
        benchmarks: as `benchmarks.Selection.of` takes them.
        methods: names in `methods.METHODS`.
        adapters: directories or Hub ids of saved policies: one for all seeds, or one for each.
        planner_adapter, solver_adapter: the same for one role alone; wins over `adapters`.
        k: K, the attempts of a tuple; None for that of the adapters, or 4.
        seeds: how many runs.
        draws: tuples for each problem in each run; they are pooled for larger k.
        baseline: the method that the others are tested against; None for the first.
        loading: options of `load_benchmark` for all benchmarks.
        limit: the first so many problems of each benchmark; None for all.
        prompts: fields of `methods.Templates`; those that the adapters were trained with are used
            where nothing else is said.
        temperature, top_p, top_k, min_p, max_completion_length: of programs; None for those of the
            adapters, or 0.7, 1.0, 0, None and 2048.
        planner_temperature, planner_top_p, max_plan_length: of plans; None for those of the
            adapters, or 0.9, 1.0 and 512.
        chat_template_kwargs: passed to the chat template; None for those of the adapters.
        batch_size: problems attempted at once.
        rollout_batch_size: most sequences decoded at once; None for all of a batch.
        dtype, revision, attn_implementation, load_in_4bit: how the base is loaded.
        compare, time_limit, memory_limit, workers: of `CodeVerifier`; None for the benchmark's own
            mode of comparison, and for all cores.

    Raises:
        ConfigError: a setting has a type or a value that is not allowed, or one is missing.
        BenchmarkError: a benchmark that there is not.
    """

    model: str | None = None
    output: Path | str = ""
    benchmarks: Sequence[str | Mapping[str, Any]] = ()
    methods: Sequence[str] = ("direct",)
    adapters: Sequence[str] = ()
    planner_adapter: Sequence[str] = ()
    solver_adapter: Sequence[str] = ()
    k: int | None = None
    seeds: int = 3
    draws: int = 1
    baseline: str | None = None
    loading: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    max_completion_length: int | None = None
    planner_temperature: float | None = None
    planner_top_p: float | None = None
    max_plan_length: int | None = None
    chat_template_kwargs: Mapping[str, Any] | None = None
    batch_size: int = 32
    rollout_batch_size: int | None = None
    dtype: str = "auto"
    revision: str | None = None
    attn_implementation: str | None = None
    load_in_4bit: bool = False
    compare: str | None = None
    time_limit: float = 6.0
    memory_limit: int = 1024
    workers: int | None = None

    def __post_init__(self) -> None:
        for name in _LISTS:
            value = getattr(self, name)
            if isinstance(value, (str, Path, Mapping)):  # one may be given without a list
                value = (value,)
            if isinstance(value, (list, tuple)):
                value = tuple(str(one) if isinstance(one, Path) else one for one in value)
            object.__setattr__(self, name, value)
        if isinstance(self.model, Path):
            object.__setattr__(self, "model", str(self.model))
        self._check_each_field()
        self._check_names()
        self._check_adapters()
        labels = [selection.label for selection in self.selections()]
        if repeated := _repeated(labels):
            raise ConfigError(f"two benchmarks are called {repeated!r}; give them labels")

    def _check_each_field(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in _LISTS:
                kinds = (str, Mapping) if item.name == "benchmarks" else str
                if not isinstance(value, tuple) or not all(
                    isinstance(one, kinds) and one for one in value
                ):
                    raise ConfigError(f"{item.name} is {value!r}; it must be a list of names")
                continue
            if value is None and item.default is None:
                continue
            kind, fits, allowed = _ALLOWED[item.name]
            is_number_by_accident = isinstance(value, bool) and kind is not bool
            if is_number_by_accident or not isinstance(value, kind) or not fits(value):
                raise ConfigError(f"{item.name} is {value!r}; it must be {allowed}")

    def _check_names(self) -> None:
        if not str(self.output):
            raise ConfigError("output is missing; name the directory of the report")
        if not self.benchmarks:
            raise ConfigError("benchmarks is empty; name at least one, such as apps:test")
        if not self.methods:
            raise ConfigError(f"methods is empty; there are {', '.join(METHODS)}")
        templates = [item.name for item in fields(Templates)]
        for name, values in (("methods", list(METHODS)), ("prompts", templates)):
            for value in getattr(self, name):
                if value not in values:
                    raise ConfigError(f"{name} has {value!r}; there are {', '.join(values)}")
        if repeated := _repeated(self.methods):
            raise ConfigError(f"methods has {repeated!r} twice")
        if self.baseline is not None and self.baseline not in self.methods:
            raise ConfigError(
                f"baseline is {self.baseline!r}; it must be one of {', '.join(self.methods)}"
            )

    def _check_adapters(self) -> None:
        for role in ROLES:
            count = len(self.sources(role))
            if count not in (0, 1, self.seeds):
                raise ConfigError(
                    f"there are {count} adapters of the {role} and seeds is {self.seeds}; give one "
                    "for all seeds, or one for each"
                )
        for method in self.methods:
            for role in METHODS[method].trained:
                if not self.sources(role):
                    raise ConfigError(
                        f"the method {method!r} needs a trained {role}: give adapters, or "
                        f"{role}_adapter"
                    )
        if self.model is None and not any(map(self.sources, ROLES)):
            raise ConfigError("model is missing; give the id or the path of the base")

    def sources(self, role: str) -> Sequence[str]:
        """The adapters of a role: none, one for all seeds, or one for each."""
        return {PLANNER: self.planner_adapter, SOLVER: self.solver_adapter}[role] or self.adapters

    def selections(self) -> list[Selection]:
        """What to load, with the options for all benchmarks; bad rows are skipped and counted."""
        found = []
        for asked in self.benchmarks:
            own = dict(asked) if isinstance(asked, Mapping) else {"name": asked}
            for option in self.loading:
                if option not in OPTIONS:
                    raise ConfigError(f"loading has {option!r}; there are {', '.join(OPTIONS)}")
            common = {"on_bad_row": "skip", **self.loading}
            if self.limit is not None:
                common["limit"] = self.limit
            found.append(Selection.of({**common, **own}))
        return found


def _repeated(values: Sequence[str]) -> str | None:
    return next((value for value in values if values.count(value) > 1), None)


_LISTS = ("benchmarks", "methods", "adapters", "planner_adapter", "solver_adapter")
_COUNT = (int, lambda value: value >= 1, "a whole number from 1 on")
_TEMPERATURE = (Real, lambda value: 0 <= value < float("inf"), "a number from 0 on")
_SHARE = (Real, lambda value: 0 < value <= 1, "a number above 0, at most 1")
_TEXT = (str, bool, "text")
_MAPPING = (Mapping, lambda value: all(isinstance(key, str) for key in value), "a mapping of names")
_DTYPES = ("auto", "float32", "bfloat16", "float16")
# Field -> (type, test, what is allowed); None is allowed as well where it is the default.
_ALLOWED: Mapping[str, tuple[Any, Callable[[Any], bool], str]] = {
    **dict.fromkeys(("k", "seeds", "draws", "limit", "batch_size", "rollout_batch_size"), _COUNT),
    **dict.fromkeys(("max_completion_length", "max_plan_length"), _COUNT),
    **dict.fromkeys(("memory_limit", "workers"), _COUNT),
    **dict.fromkeys(("temperature", "planner_temperature"), _TEMPERATURE),
    **dict.fromkeys(("top_p", "planner_top_p", "min_p"), _SHARE),
    **dict.fromkeys(("model", "revision", "attn_implementation", "baseline"), _TEXT),
    **dict.fromkeys(("loading", "chat_template_kwargs"), _MAPPING),
    "prompts": (
        Mapping,
        lambda value: all(isinstance(text, str) for pair in value.items() for text in pair),
        "a mapping of names to texts",
    ),
    "dtype": (str, lambda value: value in _DTYPES, f"one of {', '.join(_DTYPES)}"),
    "output": ((str, Path), lambda value: True, "a directory"),
    "top_k": (int, lambda value: value >= 0, "a whole number from 0 on"),
    "time_limit": (Real, lambda value: 0 < value < float("inf"), "a number above 0"),
    "compare": (str, lambda value: value in COMPARE_MODES, f"one of {', '.join(COMPARE_MODES)}"),
    "load_in_4bit": (bool, lambda value: True, "true or false"),
}
