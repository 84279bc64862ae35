"""The cells of a table: each training, tuning and evaluation as a stage with commands.

Nothing is run here; which entry of a row's grid goes on is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cppo_trl.methods import METHODS
from cppo_trl.pipeline import PipelineError, Stage, stages_of
from cppo_trl.pipeline.commands import evaluation, training
from cppo_trl.pipeline.problems import PROBLEMS
from cppo_trl.pipeline.stages import GOLD, files_of
from cppo_trl.roles import PLANNER

from .budget import budget_settings
from .config import TableConfig
from .rows import PLANNER_SFT, SAMPLERS, Row

_LOADED = ("dtype", "load_in_4bit", "attn_implementation")  # how evaluations load the base


class Cells:
    """The stages that a table consists of.

    Args:
        config: of the table.
        recipes: the folder of the training scripts.
        output: the directory of the run.
    """

    def __init__(self, config: TableConfig, recipes: Path, output: Path):
        self.config = config
        self.recipes = recipes
        self.output = output
        self.problems = output / PROBLEMS

    def gold(self) -> Stage:
        """Gold tuples by the teacher."""
        return self._shared("gold", judge=None)

    def judge(self, rate: int) -> Stage:
        """The judge, trained on the plans of the first planner that was fine-tuned at that rate."""
        policy = str(self.policy(self.config.planner_row, rate, 0))
        return self._shared("judge", gold=None, sft=policy)

    def policy(self, row: Row, rate: int, seed: int) -> Path:
        """The folder of what a training of a row makes."""
        return self.output / "rows" / row.name / f"rate-{rate}" / f"seed-{seed}"

    def training(self, row: Row, rate: int, seed: int, start: Path | None = None) -> Stage:
        """One training.

        Args:
            row: what is trained.
            rate: the entry of its grid.
            seed: of all that is drawn.
            start: the policy that it starts from.

        Raises:
            PipelineError: the row sets what the table decides, or the budget cannot be divided.
        """
        folder = self.policy(row, rate, seed)
        settings = self._settings(row, rate)
        decided = {
            "model_name_or_path": self.config.model,
            "problems": str(self.problems),
            "output_dir": str(folder),
            "seed": seed,
            **budget_settings(self.config, row, settings),
            **self._artifacts(row, start),
        }
        if taken := sorted(set(settings) & set(decided)):
            raise PipelineError(
                f"rows.{row.name}: {taken[0]} is {settings[taken[0]]!r}; the table decides it for "
                "all rows, leave it out"
            )
        # On more processes than the table says, a step would make as many times the attempts.
        launched = (self.config.accelerate, self.config.processes)
        script = self.recipes / f"{row.recipe}.py"
        parts = (PLANNER, "solver") if METHODS[row.method].is_tuple else ("adapter_config.json",)
        inputs = [self.problems, self.config.model, start, self.config.accelerate]
        inputs += [value for name, value in decided.items() if name in ("gold", "judge")]
        return Stage(
            str(folder.relative_to(self.output)),
            (training(script, folder / "config.yaml", *launched),),
            {folder / "config.yaml": settings | decided},
            (*(folder / part for part in parts), folder / "trainer_state.json"),
            tuple(Path(one) for one in inputs if one),
        )

    def development(self, row: Row, rate: int) -> Stage:
        """The evaluation by which an entry of the grid is chosen: the first seed's, on problems
        that are neither trained on nor reported.
        """
        own = self.config.development
        asked = {"name": own} if isinstance(own, str) else own
        settings = {**self.config.evaluation, **self.config.tuning, "seeds": 1}
        folder = self.policy(row, rate, 0).with_name("development")
        benchmarks = [{"label": "development", **asked}]
        return self._evaluation(row, folder, settings, benchmarks, [self.policy(row, rate, 0)])

    def evaluation(self, row: Row, rate: int | None) -> Stage:
        """The evaluation that is reported: all seeds, on all benchmarks."""
        benchmarks = [
            {"label": label, **({"name": one} if isinstance(one, str) else one)}
            for label, one in self.config.benchmarks.items()
        ]
        seeds = self.config.seeds
        policies = [] if rate is None else [self.policy(row, rate, seed) for seed in range(seeds)]
        settings = {**self.config.evaluation, "seeds": seeds}
        return self._evaluation(row, self.results(row), settings, benchmarks, policies)

    def results(self, row: Row) -> Path:
        """The directory of the evaluation that is reported."""
        return self.output / "rows" / row.name / "evaluation"

    def _evaluation(
        self,
        row: Row,
        folder: Path,
        settings: Mapping[str, Any],
        benchmarks: list[dict[str, Any]],
        policies: list[Path],
    ) -> Stage:
        policy = self.config.policy
        adapters = "adapters" if METHODS[row.method].is_tuple else "solver_adapter"
        written = {name: policy[name] for name in _LOADED if name in policy} | {
            **settings,
            "model": self.config.model,
            "k": self.config.k,
            "methods": [row.method],
            "benchmarks": benchmarks,
            "output": str(folder),
            **({adapters: list(map(str, policies))} if policies else {}),
        }
        path = folder / "config.yaml"
        return Stage(
            str(folder.relative_to(self.output)),
            (evaluation(path),),
            {path: written},
            (folder / "summary.json",),
            (*policies, *files_of(benchmarks), Path(self.config.model)),
        )

    def _settings(self, row: Row, rate: int) -> dict[str, Any]:
        config = self.config
        is_sampler = row.recipe in SAMPLERS
        kind = config.samplers if is_sampler else {"num_strategies": config.k, **config.tuples}
        rewarded = config.rewarded if row.is_rewarded else {}
        own = {**row.settings, **row.grid[rate]}
        return {"use_peft": True, **config.policy, **kind, **rewarded, **own}

    def _artifacts(self, row: Row, start: Path | None) -> dict[str, Any]:
        """What a training is given that others made."""
        if row.recipe == PLANNER_SFT:
            own = self.config.gold
            return {"gold": own if isinstance(own, str) else str(self.output / "gold" / GOLD)}
        if row.recipe in SAMPLERS:
            return {}
        given = {} if start is None else dict.fromkeys(_ADAPTERS, str(start))
        if self.config.judge is not None:
            own = self.config.judge
            given["judge"] = own if isinstance(own, str) else str(self.output / "judge")
            given["allow_rejected_judge"] = self.config.allow_rejected_judge
        return given

    def _shared(self, name: str, **changes: Any) -> Stage:
        shared = self.config.shared(output=str(self.output), **changes)
        return next(stage for stage in stages_of(shared, self.recipes) if stage.name == name)


_ADAPTERS = ("planner_adapter", "solver_adapter")
