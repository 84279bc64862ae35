"""What the recipes of the baselines share: their arguments, and a training from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOConfig, GRPOTrainer, ModelConfig, get_peft_config, get_quantization_config

from cppo_trl.errors import first_line
from cppo_trl.methods.direct import DIRECT_TEMPLATE
from cppo_trl.policy import save_solver_config
from cppo_trl.recipe_arguments import ProblemArguments, VerifierArguments
from cppo_trl.role_model import model_init_kwargs, replaced
from cppo_trl.training_data import refuse_too_few

from .attempts import attempt_rows, of_problems
from .solver_config import sampling_of
from .solver_model import adapter_of_base, keep_adapter_in_fp32, load_solver
from .upskill_config import UpSkillConfig


@dataclass
class BaselineArguments(VerifierArguments, ProblemArguments):
    """What to train on, what is asked, and how programs are checked."""

    template: str | None = field(
        default=None,
        metadata={
            "help": "Prompt with {statement}, as for cppo_trl.methods.Direct; None is that "
            "method's. UpSkill has `latent_template` instead."
        },
    )
    solver_adapter: str | None = field(
        default=None, metadata={"help": "Directory or Hub id of a solver to start from."}
    )


class SolverConfigCallback(TrainerCallback):
    """Keeps beside the adapter, and in each checkpoint, what evaluations have to know of it."""

    def __init__(self, prompts: dict[str, str], num_latents: int | None):
        self.prompts = prompts
        self.num_latents = num_latents

    def on_train_begin(self, args, state, control, **kwargs):
        self.save(args, state, args.output_dir)

    def on_save(self, args, state, control, **kwargs):
        self.save(
            args, state, Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        )

    def save(self, args: GRPOConfig, state: Any, directory: str | Path) -> None:
        if state.is_world_process_zero:
            Path(directory).mkdir(parents=True, exist_ok=True)
            kwargs = args.chat_template_kwargs
            save_solver_config(directory, self.prompts, sampling_of(args), kwargs, self.num_latents)


def train(
    trainer_class: type[GRPOTrainer],
    recipe: BaselineArguments,
    args: GRPOConfig,
    model: ModelConfig,
) -> GRPOTrainer:
    """Trains an adapter and saves it with its tokenizer, its prompt and its sampling.

    Raises:
        SystemExit: arguments that cannot be used, before the model is loaded.
    """
    if not model.use_peft:  # TRL would ignore all `lora_*` settings
        raise SystemExit("use_peft=False: the solver is a LoRA adapter; set use_peft: true")
    problems, evaluation = recipe.load(args.eval_strategy)
    prompts, latents = {"direct": recipe.template or DIRECT_TEMPLATE}, None
    if isinstance(args, UpSkillConfig):
        if recipe.template:
            raise SystemExit(
                f"template={recipe.template!r}: UpSkill's prompt is latent_template; leave it out"
            )
        prompts, latents = {"latent": args.template}, args.num_latents
    try:
        rows = attempt_rows(problems, prompts.get("direct", DIRECT_TEMPLATE))
        refuse_too_few(rows, args.generation_batch_size, args.num_generations, "attempts")
        eval_rows = evaluation and attempt_rows(evaluation, prompts.get("direct", DIRECT_TEMPLATE))
        args.model_init_kwargs = model_init_kwargs(model, args.model_init_kwargs)
        base, tokenizer = load_solver(
            model.model_name_or_path, args, recipe.solver_adapter, get_quantization_config(model)
        )
    except (ValueError, OSError) as error:
        raise SystemExit(first_line(error)) from error
    peft_config = None
    if recipe.solver_adapter is None:
        peft_config = adapter_of_base(get_peft_config(model), args)
    with recipe.verifier() as verifier:
        # The base is loaded already; GRPOTrainer would say that these are ignored.
        with replaced(args, {"model_init_kwargs": None}):
            trainer = trainer_class(
                base,
                [of_problems(verifier)],
                args,
                train_dataset=rows,
                eval_dataset=eval_rows,
                processing_class=tokenizer,
                peft_config=peft_config,
                callbacks=[SolverConfigCallback(prompts, latents)],
            )
        keep_adapter_in_fp32(trainer)
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
        trainer.save_model()
        trainer.save_state()
        if args.push_to_hub:
            trainer.push_to_hub()
    return trainer
