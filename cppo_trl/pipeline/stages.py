"""The stages of a pipeline as commands that a person could give one by one.

Nothing is run here, and nothing is read: what a stage does is decided by the settings alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .commands import CPPO_TRL, evaluation, options, training
from .config import PipelineConfig, PipelineError
from .problems import PROBLEMS
from .stage import Stage, Step

GOLD = "gold.jsonl"
# Settings of `policy` that `cppo-trl judge train` has as options.
_JUDGE_POLICY = ("lora_r", "lora_alpha", "dtype", "use_cpu", "load_in_4bit")
_AUDIT_POLICY = ("dtype", "load_in_4bit")  # and `cppo-trl audit`
_GOLD_POLICY = ("num_strategies",)  # and `cppo-trl gold model`
_PLANS = ("problems", "draws", "labels")
# What the pipeline decides itself, beside what `_trained` does.
_DECIDED = {
    "gold": ("problems", "output", "cache", "model", "base_url"),
    "judge": ("model", "output"),
    "audit": ("policy", "base_model", "problems", "output", "judge", "allow_rejected_judge"),
    "evaluation": (
        *("model", "output", "benchmarks", "adapters", "planner_adapter", "solver_adapter"),
    ),
}
# Settings of an evaluation that choose among its problems; those of the judge's plans are others.
_CHOOSING = ("limit", "loading")


def stages_of(config: PipelineConfig, recipes: Path) -> list[Stage]:
    """The stages that a run has to go through, in their order.

    Args:
        config: of the run.
        recipes: the folder of the training scripts.

    Raises:
        PipelineError: a stage has a setting that the pipeline decides itself.
    """
    return _Planned(config, recipes).stages


class _Planned:
    """Keeps what a later stage has to know of the earlier ones: where policy and judge are."""

    def __init__(self, config: PipelineConfig, recipes: Path):
        self.config = config
        self.recipes = recipes
        self.output = Path(config.output)
        self.problems = self.output / PROBLEMS
        self.policy: str | None = None
        self.judge: str | None = None
        self.made: dict[str, str] = {}  # path -> the stage that makes it
        self.stages: list[Stage] = []
        for add in (
            self._gold,
            self._sft,
            self._judge,
            self._warmup,
            self._audit,
            self._cppo,
            self._evaluation,
        ):
            add()

    def _gold(self) -> None:
        config = self.config
        if isinstance(config.gold, str):
            self.gold = config.gold
            return
        folder = self.output / "gold"
        self.gold = str(folder / GOLD)
        if config.gold is None or not isinstance(config.sft, Mapping):
            return
        _refuse_decided("gold", config.gold, _DECIDED["gold"])
        shared = {name: config.policy[name] for name in _GOLD_POLICY if name in config.policy}
        own = {**shared, **config.gold}
        teacher = {**config.teacher, "cache": folder / "answers.db"}
        command = (
            *(*CPPO_TRL, "gold", "model", "--problems", str(self.problems)),
            *("--output", self.gold),
            *options(teacher | own),
        )
        self._add("gold", [Step(command)], [folder / GOLD], [self.problems])
        self.made[self.gold] = "gold"

    def _sft(self) -> None:
        config, folder = self.config, self.output / "sft"
        if isinstance(config.sft, str):
            self.policy = config.sft
        if not isinstance(config.sft, Mapping):
            return
        settings = self._trained("sft", config.sft, gold=self.gold)
        self._add(
            "sft",
            [self._launched("sft_planner.py", folder)],
            [folder / "planner", folder / "trainer_state.json"],
            [self.problems, self.gold, *self._launching()],
            settings,
        )
        self._made_policy("sft")

    def _judge(self) -> None:
        config, folder = self.config, self.output / "judge"
        if isinstance(config.judge, str):
            self.judge = config.judge
        if not isinstance(config.judge, Mapping):
            return
        _refuse_decided("judge", config.judge, _DECIDED["judge"])
        if "labels" not in config.judge:
            _refuse_decided("judge", config.judge, ("plans",))
        labels = config.judge.get("labels", str(folder / "labels.jsonl"))
        own = {name: value for name, value in config.judge.items() if name not in _PLANS}
        shared = {name: config.policy[name] for name in _JUDGE_POLICY if name in config.policy}
        plans = folder / "plans" / "attempts" / "problems" / "planner.jsonl"
        steps, files = [], {}
        if "labels" not in config.judge:
            asked = {"name": str(self.problems)}
            if "problems" in config.judge:
                asked["limit"] = config.judge["problems"]
            drawn = config.evaluation or {}
            files[folder / "plans.yaml"] = self._evaluated(
                folder / "plans",
                {name: value for name, value in drawn.items() if name not in _CHOOSING}
                | {"draws": config.judge.get("draws", 4), "benchmarks": [asked]}
                | {"seeds": 1, "methods": ["planner"], "baseline": None},
            )
            steps.append(evaluation(folder / "plans.yaml"))
            steps.append(
                Step(
                    (
                        *(*CPPO_TRL, "judge", "label", "--problems", str(self.problems)),
                        *("--plans", str(plans), "--output", labels, "--corrupt"),
                        *("--seed", str(config.seed), "--cache", str(folder / "answers.db")),
                        *options(config.teacher),
                    )
                )
            )
            own["plans"] = plans
        train = (
            *(*CPPO_TRL, "judge", "train", "--model", config.model),
            *("--problems", str(self.problems), "--labels", labels, "--output", str(folder)),
            *options({"seed": config.seed} | shared | own),
        )
        steps.append(Step(train, refused="" if config.allow_rejected_judge else _REJECTED))
        inputs = [self.problems, *([self.policy] if "labels" not in config.judge else [labels])]
        results = [folder / "cppo_judge.json", folder / "judge.json"]
        self._add("judge", steps, results, inputs, files=files)
        self.judge = str(folder)
        self.made[self.judge] = "judge"

    def _warmup(self) -> None:
        if self.config.warmup is None:
            return
        settings = self._rewarded("warmup", {"planner_reward": "judge", **self.config.warmup})
        self._add_rewarded("warmup", settings)

    def _audit(self) -> None:
        config, folder = self.config, self.output / "audit"
        if config.audit is None:
            return
        if self.policy is None:
            raise PipelineError("audit needs a policy: sft or warmup; without both, set it to null")
        _refuse_decided("audit", config.audit, _DECIDED["audit"])
        own = {"seed": config.seed}
        if "num_generations" in (config.cppo or {}):
            own["num_generations"] = config.cppo["num_generations"]
        if "rollout_batch_size" in (config.cppo or {}):
            own["rollout_batch_size"] = config.cppo["rollout_batch_size"]
        own |= {name: config.policy[name] for name in _AUDIT_POLICY if name in config.policy}
        own |= config.audit
        if self.judge is not None:
            own |= {"judge": self.judge}
            if config.allow_rejected_judge:
                own |= {"allow_rejected_judge": True}
        command = (
            *(*CPPO_TRL, "audit", "--policy", self.policy, "--base-model", config.model),
            *("--problems", str(self.problems), "--output", str(folder), *options(own)),
        )
        step = Step(command, refused="" if config.ignore_no_go else _NO_GO)
        inputs = [self.problems, self.policy, *([self.judge] if self.judge else [])]
        self._add("audit", [step], [folder / "audit.json"], inputs)

    def _cppo(self) -> None:
        if self.config.cppo is None:
            return
        settings = self._rewarded("cppo", self.config.cppo)
        if self.config.audit is not None:  # it was audited
            settings = {"audit_problems": 0, **settings}
        if self.config.ignore_no_go:
            settings = {"ignore_no_go": True, **settings}
        self._add_rewarded("cppo", settings)

    def _evaluation(self) -> None:
        config, folder = self.config, self.output / "evaluation"
        if config.evaluation is None:
            return
        _refuse_decided("evaluation", config.evaluation, _DECIDED["evaluation"])
        methods = ["direct", "untrained-planner", "cppo"] if self.policy else ["direct"]
        settings = self._evaluated(
            folder, {"methods": methods, "benchmarks": list(config.held_out), **config.evaluation}
        )
        path = folder / "config.yaml"
        step = evaluation(path)
        inputs = [*([self.policy] if self.policy else []), *files_of(config.held_out)]
        self._add("evaluation", [step], [folder / "summary.json"], inputs, files={path: settings})

    def _trained(self, name: str, own: Mapping[str, Any], **given: Any) -> dict[str, Any]:
        """The settings of a training script; what the pipeline decides may not be among them."""
        fixed = {
            "model_name_or_path": self.config.model,
            "problems": str(self.problems),
            "output_dir": str(self.output / name),
            **given,
        }
        _refuse_decided(name, own, fixed)
        _refuse_decided("policy", self.config.policy, fixed)
        return {"use_peft": True, "seed": self.config.seed, **self.config.policy, **own, **fixed}

    def _rewarded(self, name: str, own: Mapping[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        if self.policy is not None:
            given |= {"planner_adapter": self.policy, "solver_adapter": self.policy}
        if self.judge is not None:
            given["judge"] = self.judge
            given["allow_rejected_judge"] = self.config.allow_rejected_judge
        return self._trained(name, own, **given)

    def _add_rewarded(self, name: str, settings: dict[str, Any]) -> None:
        folder = self.output / name
        self._add(
            name,
            [self._launched("cppo_qwen.py", folder)],
            [folder / "planner", folder / "solver", folder / "trainer_state.json"],
            [
                *(self.problems, *(one for one in (self.policy, self.judge) if one)),
                *self._launching(),
            ],
            settings,
        )
        self._made_policy(name)

    def _evaluated(self, folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
        shared = ("dtype", "load_in_4bit", "attn_implementation")
        found = {name: self.config.policy[name] for name in shared if name in self.config.policy}
        found |= {"model": self.config.model, "seeds": 1}
        if self.policy is not None:
            found["adapters"] = [self.policy]
        return found | dict(settings) | {"output": str(folder)}

    def _launched(self, script: str, folder: Path) -> Step:
        return training(self.recipes / script, folder / "config.yaml", self.config.accelerate)

    def _launching(self) -> list[str]:
        """The file that says on what a training runs, if there is one."""
        return [self.config.accelerate] if self.config.accelerate else []

    def _made_policy(self, name: str) -> None:
        self.policy = str(self.output / name)
        self.made[self.policy] = name

    def _add(
        self,
        name: str,
        steps: list[Step],
        results: list[Path],
        inputs: list[str | Path],
        settings: Mapping[str, Any] | None = None,
        files: Mapping[Path, Mapping[str, Any]] | None = None,
    ) -> None:
        written = dict(files or {})
        if settings is not None:
            written[self.output / name / "config.yaml"] = settings
        known = tuple(self.made.get(str(one), Path(one)) for one in [*inputs, self.config.model])
        self.stages.append(Stage(name, tuple(steps), written, tuple(results), known))


_REJECTED = (
    "the judge is rejected by its rule of acceptance: its report (judge/judge.md) says where it "
    "fails. More labels, or more training, may help; allow_rejected_judge=true goes on with it"
)
_NO_GO = "the audit says no-go: audit/audit.md says what to do; ignore_no_go=true goes on"


def _refuse_decided(name: str, settings: Mapping[str, Any], decided: Iterable[str]) -> None:
    if taken := sorted(set(settings) & set(decided)):
        raise PipelineError(
            f"{name}.{taken[0]} is {settings[taken[0]]!r}; the pipeline decides it, leave it out"
        )


def files_of(sources: Sequence[str | Mapping[str, Any]]) -> list[Path]:
    """The files and folders among what is evaluated on: "FILE.jsonl", "NAME=PATH", or `path`."""
    found = []
    for one in sources:
        asked = {"name": one} if isinstance(one, str) else one
        name, _, path = asked["name"].partition("=")
        path = asked.get("path") or path or (name if name.endswith(".jsonl") else "")
        found += [Path(path)] if path else []
    return found
