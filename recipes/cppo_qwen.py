"""Train a planner and a solver adapter with Coordinated Pass@K Policy Optimization.

    accelerate launch recipes/cppo_qwen.py --problems problems.jsonl --output_dir runs/my-run
    accelerate launch recipes/cppo_qwen.py --config my.yaml --learning_rate 1e-5

Without `--config` the settings are those of `recipes/configs/qwen3.5-4b-base/cppo.yaml`. Every
option of `CPPOConfig`, of TRL's `ModelConfig` and of `RecipeArguments` can stand in the YAML file
or on the command line, which wins; an unknown one is refused.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trl import ModelConfig, get_peft_config, get_quantization_config

from cppo_trl import CodeVerifier, CPPOConfig, CPPOTrainer, Problem, RuleJudge
from cppo_trl.audit import audit_policy, markdown, write_audit
from cppo_trl.judges import EndpointJudge, Judge, JudgeChain
from cppo_trl.judges.saved import AdapterJudge, RejectedJudge, load_judge
from cppo_trl.recipe_arguments import ProblemArguments, VerifierArguments, parse_recipe
from cppo_trl.role_model import model_init_kwargs

DEFAULT_CONFIG = Path(__file__).parent / "configs" / "qwen3.5-4b-base" / "cppo.yaml"


@dataclass
class RecipeArguments(VerifierArguments, ProblemArguments):
    """What to train on, and how plans and programs are checked."""

    planner_adapter: str | None = field(
        default=None, metadata={"help": "Directory or Hub id of a planner to start from."}
    )
    solver_adapter: str | None = field(
        default=None, metadata={"help": "Directory or Hub id of a solver to start from."}
    )
    judge: str | None = field(
        default=None,
        metadata={
            "help": "Directory or Hub id of a trained judge (`cppo-trl judge train`), asked after "
            "the rules: a third, frozen adapter, so it has to be of the same base."
        },
    )
    judge_own_base: bool = field(
        default=False,
        metadata={"help": "Load the trained judge on a base of its own, beside the one trained."},
    )
    allow_rejected_judge: bool = field(
        default=False, metadata={"help": "Use a judge that its rule of acceptance rejected."}
    )
    judge_model: str | None = field(
        default=None,
        metadata={
            "help": "Name of a large model behind an OpenAI-compatible endpoint, asked last. Plans "
            "that it cannot be asked about are unknown, and not rejected."
        },
    )
    judge_base_url: str | None = field(
        default=None,
        metadata={"help": "Of that endpoint; None is OPENAI_BASE_URL. Its key: OPENAI_API_KEY."},
    )
    audit_problems: int = field(
        default=64,
        metadata={
            "help": "Training problems that the rewards are audited on before the first step, "
            "which stops on no-go; 0 audits nothing. A resumed run and the warm-up "
            "(planner_reward='judge') are not audited."
        },
    )
    ignore_no_go: bool = field(
        default=False, metadata={"help": "Train even if the audit says that it is no use."}
    )
    judge_max_words: int = field(default=45, metadata={"help": "Longest strategy, in words."})
    judge_check: str | None = field(
        default=None,
        metadata={
            "help": "Import path of a function (problem, strategies) -> reason or None, which the "
            "judge asks last, e.g. 'my_package.checks.fits_the_problem'."
        },
    )


def import_function(path: str) -> Callable:
    """Imports `package.module.function`."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SystemExit(f"judge_check={path!r} cannot be imported: {error}") from error


def main(recipe: RecipeArguments, args: CPPOConfig, model: ModelConfig) -> None:
    if not model.use_peft:  # TRL would ignore all `lora_*` settings
        raise SystemExit("use_peft=False: both roles are LoRA adapters; set use_peft: true")
    train, evaluation = recipe.load(args.eval_strategy)
    judge = make_judge(recipe)
    given = {"planner": recipe.planner_adapter, "solver": recipe.solver_adapter}
    args.model_init_kwargs = model_init_kwargs(model, args.model_init_kwargs)
    with recipe.verifier() as verifier:
        trainer = CPPOTrainer(
            model.model_name_or_path,
            judge=judge,
            verifier=verifier,
            args=args,
            train_dataset=train,
            eval_dataset=evaluation,
            peft_config=get_peft_config(model),
            quantization_config=get_quantization_config(model),
            adapters={role: source for role, source in given.items() if source},
        )
        if recipe.audit_problems and not args.resume_from_checkpoint:
            stop_on_no_go(trainer, recipe, train, judge, verifier)
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        trainer.save_model()
        trainer.save_state()
        if args.push_to_hub:
            trainer.push_to_hub()


def make_judge(recipe: RecipeArguments) -> Judge:
    """The judges that are asked, one after the other: the cheap ones first."""
    judges: list[Judge] = [
        RuleJudge(
            max_words=recipe.judge_max_words,
            check=import_function(recipe.judge_check) if recipe.judge_check else None,
        )
    ]
    try:
        if recipe.judge:
            load = load_judge if recipe.judge_own_base else AdapterJudge
            judges.append(load(recipe.judge, allow_rejected=recipe.allow_rejected_judge))
        if recipe.judge_model:
            judges.append(EndpointJudge(recipe.judge_model, recipe.judge_base_url))
    except (RejectedJudge, OSError, ImportError) as error:
        raise SystemExit(f"judge={recipe.judge!r}: {error}") from error
    return judges[0] if len(judges) == 1 else JudgeChain(*judges)


def stop_on_no_go(
    trainer: CPPOTrainer,
    recipe: RecipeArguments,
    problems: Sequence[Problem],
    judge: Judge,
    verifier: CodeVerifier,
) -> None:
    """Audits the rewards of the policy that the training starts from, and stops on no-go."""
    args = trainer.args
    if args.planner_reward == "judge":
        return
    found = audit_policy(
        trainer.rollout_policy,
        problems,
        judge,
        verifier,
        args.num_generations,
        args.seed,
        limit=recipe.audit_problems,
        planner_reward=args.planner_reward,
    )
    if trainer.accelerator.is_main_process:
        facts = {"problems": recipe.problems, "seed": args.seed}
        write_audit(args.output_dir, found, facts)
        print(markdown(found, facts), flush=True)
    if not found.is_go and not recipe.ignore_no_go:
        raise SystemExit(
            "The audit says no-go: see above what to do, or train nevertheless with "
            "--ignore_no_go true"
        )


ARGUMENTS = (RecipeArguments, CPPOConfig, ModelConfig)

if __name__ == "__main__":
    main(*parse_recipe(sys.argv[1:], ARGUMENTS, DEFAULT_CONFIG))
