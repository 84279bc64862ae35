"""Train the planner's adapter on gold tuples, the method's first stage.

    accelerate launch recipes/sft_planner.py --problems problems.jsonl --gold gold.jsonl \\
        --output_dir runs/sft

Gold tuples are JSON Lines, `{"problem_id", "strategies"}`, as `cppo-trl gold` writes them. Without
`--config` the settings are those of `recipes/configs/qwen3.5-4b-base/sft.yaml`. Every option of
`PlannerSFTConfig`, of TRL's `ModelConfig` and of `RecipeArguments` can stand in the YAML file or on
the command line, which wins; an unknown one is refused. What it saves is a policy: a trained
planner and an untrained solver, from which `recipes/cppo_qwen.py` goes on with `--planner_adapter`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from trl import ModelConfig, get_peft_config, get_quantization_config

from cppo_trl import PlannerSFTConfig, PlannerSFTTrainer
from cppo_trl.errors import first_line
from cppo_trl.judges import StrategyTuple
from cppo_trl.problems import Problem, ProblemError
from cppo_trl.recipe_arguments import parse_recipe
from cppo_trl.role_model import model_init_kwargs
from cppo_trl.training_data import DataError, load_problems, refuse_overlap
from cppo_trl.tuples import PlanError, read_plans

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "qwen3.5-4b-base" / "sft.yaml"


@dataclass
class RecipeArguments:
    """What to train on, and what to start from."""

    problems: str = field(
        metadata={
            "help": "The problems of the gold tuples: a JSONL file, a benchmark and its split or "
            "version, or a data set on the Hub, as for recipes/cppo_qwen.py."
        }
    )
    gold: str = field(metadata={"help": "JSONL file of gold tuples."})
    eval_gold: str | None = field(
        default=None,
        metadata={"help": "Gold tuples of the evaluations during training, of the same problems."},
    )
    held_out: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Problems that the result will be evaluated on; none of them may be among "
            "those of the gold tuples."
        },
    )
    allow_overlap: bool = field(
        default=False,
        metadata={"help": "Train even if held-out problems are among those of the gold tuples."},
    )
    planner_adapter: str | None = field(
        default=None, metadata={"help": "Directory or Hub id of a planner to start from."}
    )
    solver_adapter: str | None = field(
        default=None, metadata={"help": "Directory or Hub id of a solver to save with it."}
    )


def main(recipe: RecipeArguments, args: PlannerSFTConfig, model: ModelConfig) -> None:
    if not model.use_peft:  # TRL would ignore all `lora_*` settings
        raise SystemExit("use_peft=False: both roles are LoRA adapters; set use_peft: true")
    try:
        problems = {problem.id: problem for problem in load_problems(recipe.problems)}
        gold = read_gold(recipe.gold, problems)
        evaluation = read_gold(recipe.eval_gold, problems) if recipe.eval_gold else None
        if not recipe.allow_overlap:
            taught = list({item.problem.id: item.problem for item in gold}.values())
            refuse_overlap(taught, {source: load_problems(source) for source in recipe.held_out})
    except (DataError, PlanError, ProblemError, OSError) as error:
        raise SystemExit(first_line(error)) from error
    given = {"planner": recipe.planner_adapter, "solver": recipe.solver_adapter}
    args.model_init_kwargs = model_init_kwargs(model, args.model_init_kwargs)
    trainer = PlannerSFTTrainer(
        model.model_name_or_path,
        args,
        gold,
        evaluation,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
        adapters={role: source for role, source in given.items() if source},
    )
    trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trainer.save_model()
    trainer.save_state()
    if args.push_to_hub:
        trainer.push_to_hub()


def read_gold(path: str, problems: dict[str, Problem]) -> list[StrategyTuple]:
    """The gold tuples of a file, with their problems."""
    plans = read_plans(Path(path), problems)
    return [StrategyTuple(problems[plan.problem_id], plan.strategies) for plan in plans]


ARGUMENTS = (RecipeArguments, PlannerSFTConfig, ModelConfig)

if __name__ == "__main__":
    main(*parse_recipe(sys.argv[1:], ARGUMENTS, DEFAULT_CONFIG))
