"""PlannerSFTTrainer: SFT of the planner's adapter on gold tuples, the method's first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from accelerate.utils import set_seed
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging
from trl import SFTTrainer
from trl.trainer.utils import get_config_model_id

from cppo_trl.generation import Speaker, TransformersGenerator
from cppo_trl.guards.callbacks import StillWeightsCallback
from cppo_trl.judges import StrategyTuple
from cppo_trl.policy import save_policy_config
from cppo_trl.role_checkpoints import RoleCheckpoints
from cppo_trl.role_model import load_with_roles, refuse_sharding, replaced
from cppo_trl.roles import PLANNER, make_trainable
from cppo_trl.rollouts import RolloutPolicy
from cppo_trl.routing import role_router

from .config import PlannerSFTConfig

logger = logging.get_logger(__name__)


class PlannerSFTTrainer(RoleCheckpoints, SFTTrainer):
    """Trains the planner on gold tuples (arXiv 2605.27000, stage 1).

    What changes against [`SFTTrainer`]: the data are tuples of strategies, which become the very
    tokens that the planner is asked with in rollouts and would answer; the loss is on the plan's
    tokens; the planner's adapter alone learns, beside the solver's on one frozen base, and both are
    saved as a policy that every later stage starts from.

    Args:
        model: Hub id, path, `PreTrainedModel`, or a `PeftModel` that holds the adapters "planner"
            and "solver".
        args: a `PlannerSFTConfig`.
        train_dataset, eval_dataset: gold tuples.
        processing_class: the tokenizer; None loads the base's.
        peft_config, adapters, quantization_config: as for `CPPOTrainer`.
        kwargs: all else that `SFTTrainer` takes.

    Raises:
        TypeError: `args` is something else.
        ValueError: a tuple that has not K strategies, or none that is short enough.
    """

    _tag_names: ClassVar = ["trl", "sft", "cppo", "lora"]
    _name = "Planner SFT"

    def __init__(
        self,
        model: str | PreTrainedModel | PeftModel,
        args: PlannerSFTConfig | None = None,
        train_dataset: Sequence[StrategyTuple] = (),
        eval_dataset: Sequence[StrategyTuple] | None = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        peft_config: LoraConfig | Mapping[str, LoraConfig] | None = None,
        adapters: Mapping[str, str] | None = None,
        quantization_config: BitsAndBytesConfig | None = None,
        **kwargs: Any,
    ):
        if args is None:
            name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = PlannerSFTConfig(f"{name.split('/')[-1]}-planner-SFT")
        if not isinstance(args, PlannerSFTConfig):
            raise TypeError(f"`args` is a {type(args).__name__}; it must be a PlannerSFTConfig")
        refuse_sharding(args)
        for name, tuples in (("train_dataset", train_dataset), ("eval_dataset", eval_dataset)):
            _refuse_other_k(name, tuples or (), args.num_strategies)
        if not train_dataset:
            raise ValueError("train_dataset has no gold tuples; give one or more")
        set_seed(args.seed)  # the adapters are drawn below
        model, processing_class = load_with_roles(
            model, args, processing_class, peft_config, adapters, quantization_config
        )
        self.rollout_policy = _rollout_policy(model, processing_class, args)
        rows = gold_rows(self.rollout_policy, train_dataset, args, "train_dataset")
        eval_rows = eval_dataset and gold_rows(
            self.rollout_policy, eval_dataset, args, "eval_dataset"
        )
        # SFTTrainer rounds what is trainable on a quantized base to bf16: nothing is, until below.
        make_trainable(model, ())
        with replaced(args, {"model_init_kwargs": None, "max_length": None}):
            super().__init__(model, args, None, rows, eval_rows, processing_class, **kwargs)
        make_trainable(model, (PLANNER,))
        role_router(model).set_rows(PLANNER)
        self.add_callback(StillWeightsCallback())

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        save_policy_config(self.rollout_policy, output_dir or self.args.output_dir)


def gold_rows(
    policy: RolloutPolicy, tuples: Sequence[StrategyTuple], args: PlannerSFTConfig, name: str
) -> Dataset:
    """The tokens of each gold tuple, `input_ids` and `labels`, in which the prompt's are -100.

    Tuples whose plan is longer than `max_plan_length`, or which are longer than `max_length`, are
    left out, with a warning.

    Raises:
        ValueError: there is none, or none is left.
    """
    rows = []
    for item in tuples:
        prompt, plan = policy.plan_tokens(item.problem, item.strategies)
        is_short = args.max_length is None or len(prompt) + len(plan) <= args.max_length
        if is_short and len(plan) <= args.max_plan_length:
            rows.append({"input_ids": prompt + plan, "labels": [-100] * len(prompt) + plan})
    limits = f"max_plan_length={args.max_plan_length}, max_length={args.max_length}"
    if not rows:
        raise ValueError(f"{name} has {len(tuples)} gold tuples, and none within {limits}")
    if len(rows) < len(tuples):
        left = len(tuples) - len(rows)
        logger.warning(f"{left} of the {len(tuples)} tuples of {name} are too long ({limits})")
    return Dataset.from_list(rows)


def _refuse_other_k(name: str, tuples: Sequence[StrategyTuple], k: int) -> None:
    for row, item in enumerate(tuples):
        if len(item.strategies) != k:
            raise ValueError(
                f"{name}: tuple {row} (problem {item.problem.id!r}) has {len(item.strategies)} "
                f"strategies; it must have num_strategies={k}"
            )


def _rollout_policy(
    model: PeftModel, tokenizer: PreTrainedTokenizerBase, args: PlannerSFTConfig
) -> RolloutPolicy:
    generator = TransformersGenerator(model, tokenizer, [tokenizer.eos_token_id])
    speaker = Speaker(generator, tokenizer, args.chat_template_kwargs)
    return RolloutPolicy(speaker, args.prompts(), args.num_strategies, **args.sampling())
