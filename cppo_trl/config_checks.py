"""What `CPPOConfig` refuses, and what it says would do."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import fields
from numbers import Real
from typing import TYPE_CHECKING, Any, get_args

from transformers.generation import ContinuousBatchingConfig

from .advantages import SolverGroup, Std, solver_group_size
from .rewards import PlannerReward, StrategyCredit
from .roles import PLANNER, SOLVER
from .sampling_correction import CORRECTION_MODES

if TYPE_CHECKING:
    from .cppo_config import CPPOConfig

CHOICES = {
    "planner_reward": get_args(PlannerReward),
    "solver_group": get_args(SolverGroup),
    "advantage_std": get_args(Std),
    "strategy_credit": get_args(StrategyCredit),
    "train_roles": ("both", PLANNER, SOLVER),
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo"),
    "vllm_mode": ("colocate", "server"),
    "vllm_importance_sampling_mode": CORRECTION_MODES,
}

# Field -> (type, test, what is allowed). Inherited fields stand here where GRPOConfig lets values
# through that fail after the first rollout, or never.
_WHOLE = (int, lambda value: value >= 1, "a whole number of 1 or more")
_SAMPLING = (Real, lambda value: value > 0, "a number above 0: a policy gradient needs samples")
_SHARE = (Real, lambda value: 0 < value <= 1, "a number above 0, at most 1")
_WEIGHT = (Real, lambda value: value >= 0, "a number of 0 or more")
RANGES = {
    "num_strategies": (
        int,
        lambda value: 2 <= value <= 26,
        "a whole number from 2 to 26 (a plan labels its strategies A to Z)",
    ),
    "num_generations": (
        int,
        lambda value: value >= 2,
        "a whole number of 2 or more (the planner's group needs a baseline)",
    ),
    "max_plan_length": _WHOLE,
    "max_completion_length": _WHOLE,
    "attempts_per_strategy": _WHOLE,
    "rollout_batch_size": _WHOLE,
    "num_iterations": _WHOLE,
    "temperature": _SAMPLING,
    "planner_temperature": _SAMPLING,
    "top_p": _SHARE,
    "planner_top_p": _SHARE,
    "beta": _WEIGHT,
    "epsilon": _WEIGHT,
    "epsilon_high": _WEIGHT,
    "planner_learning_rate": _WEIGHT,
    "vllm_gpu_memory_utilization": _SHARE,
    "vllm_tensor_parallel_size": _WHOLE,
    "vllm_max_model_length": _WHOLE,
    "vllm_server_timeout": (Real, lambda value: value > 0, "a number of seconds above 0"),
    "level_off_steps": (int, lambda value: value >= 0, "a whole number of 0 or more"),
    "solver_pass_k": (int, lambda value: value >= 2, "a whole number of 2 or more, or None"),
}
_OPTIONAL = (
    "rollout_batch_size",
    "epsilon_high",
    "planner_learning_rate",
    "solver_pass_k",
    "vllm_max_model_length",
)

# GRPOConfig fields of machinery that CPPO's rollouts replace: (field, what it must be, what to do
# instead).
UNSUPPORTED = (
    ("sync_ref_model", False, "the reference is the checkpoint that the stage started from"),
    ("reward_weights", None, "choose `planner_reward` instead"),
    ("mask_truncated_completions", False, "CPPO always leaves truncated sequences out of the loss"),
    ("generation_kwargs", None, "use the sampling fields"),
    ("cache_implementation", None, "rollouts use the model's default cache"),
    ("pad_to_multiple_of", None, "batches are padded to their longest row"),
    ("scale_rewards", "group", "choose `advantage_std` instead"),
    ("multi_objective_aggregation", "sum_then_normalize", "choose `planner_reward` instead"),
    ("cast_lm_head_to_fp32", False, "load the base in float32 instead"),
    ("vllm_structured_outputs_regex", None, "a plan is parsed, and its format is learned"),
)

# Keys of `transformers_continuous_batching_config` that CPPO sets, and what to set instead.
_SET_BATCHING_KEYS = {
    "seed": "every rollout would draw the same numbers; use the field `seed`",
    "max_requests_per_batch": "use the field `rollout_batch_size`",
    "return_logprobs": "CPPO asks for what it uses",
}


def refuse_out_of_range(config: Any, names: Iterable[str]) -> None:
    """Refuses the first of the fields that is no number of its range, as `ValueError`."""
    for name in names:
        kind, fits, allowed = RANGES[name]
        value = getattr(config, name)
        if value is None and name in _OPTIONAL:
            continue
        if isinstance(value, bool) or not isinstance(value, kind) or not fits(value):
            raise ValueError(f"{name}={value!r} is out of range; allowed: {allowed}.")


def refuse_unsupported(config: CPPOConfig) -> None:
    """Refuses what CPPO's rollouts replace, as `ValueError`, with what to do instead."""
    for name, required, instead in UNSUPPORTED:
        if getattr(config, name) != required:
            raise ValueError(
                f"{name}={getattr(config, name)!r} is not supported by CPPO ({instead}); leave "
                f"it at {required!r}."
            )


def refuse_impossible_batching(config: CPPOConfig) -> None:
    """Refuses settings that continuous batching would ignore, as `ValueError`."""
    given = config.transformers_continuous_batching_config
    if not config.use_transformers_continuous_batching:
        if given is not None:
            raise ValueError(
                f"transformers_continuous_batching_config={given!r} is ignored with "
                "use_transformers_continuous_batching=False; set that to True, or leave it at None."
            )
        return
    if config.repetition_penalty != 1:
        raise ValueError(
            f"repetition_penalty={config.repetition_penalty} is not supported by "
            "use_transformers_continuous_batching=True, which applies no penalty; use "
            "repetition_penalty=1.0, or use_transformers_continuous_batching=False."
        )
    allowed = {field.name for field in fields(ContinuousBatchingConfig)} - set(_SET_BATCHING_KEYS)
    for key in given or {}:
        if key not in allowed:
            why = _SET_BATCHING_KEYS.get(key, f"allowed: {', '.join(sorted(allowed))}")
            raise ValueError(
                f"transformers_continuous_batching_config has the key {key!r}, which cannot be set "
                f"there ({why})."
            )


def refuse_partial_groups(config: CPPOConfig) -> None:
    """GRPOConfig refuses these as well, but does not say which sizes would do."""
    # TrainingArguments knows the number of processes only after its own checks.
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if config.generation_batch_size is None:
        steps = config.steps_per_generation or config.gradient_accumulation_steps
        times = processes * steps
        _refuse_cut_groups(config, "per_device_train_batch_size", times, "num_generations")
    if config.eval_strategy != "no":
        refuse_cut_evaluation(config, processes)


def refuse_cut_evaluation(config: CPPOConfig, processes: int) -> None:
    """Refuses an evaluation batch that would cut a problem's tuples, as `ValueError`."""
    groups = "num_generations_eval" if config.num_generations_eval else "num_generations"
    _refuse_cut_groups(config, "per_device_eval_batch_size", processes, groups)


def _refuse_cut_groups(config: CPPOConfig, field: str, times: int, groups: str) -> None:
    """Refuses a batch that would cut a problem's group of tuples.

    Args:
        field: names the batch size, in tuples of one process and micro-batch.
        times: how many of these make the batch.
        groups: names the number of tuples of a problem.

    Raises:
        ValueError: if the batch is no multiple of that number, with the nearest sizes that are.
    """
    size, group = getattr(config, field), getattr(config, groups)
    if size * times % group:
        fitting = group // math.gcd(group, times)
        lower = size // fitting * fitting
        allowed = f"{lower} or {lower + fitting}" if lower else f"{fitting}"
        raise ValueError(
            f"{field}={size} makes a batch of {size * times} tuples, which is not a multiple "
            f"of the {group} tuples of a problem ({groups}={group}); use "
            f"{field}={allowed}."
        )


def refuse_unknown_choices(config: CPPOConfig) -> None:
    """Refuses a value that is none of a field's choices, as `ValueError`."""
    for name, choices in CHOICES.items():
        if getattr(config, name) not in choices:
            raise ValueError(
                f"{name}={getattr(config, name)!r} is unknown; allowed: "
                f"{', '.join(map(repr, choices))}."
            )


def refuse_impossible_groups(config: CPPOConfig) -> None:
    """Refuses attempts and rewards that do not go together, as `ValueError`."""
    if config.solver_group == "strategy" and config.attempts_per_strategy < 2:
        raise ValueError(
            "solver_group='strategy' compares attempts for one strategy, but "
            f"attempts_per_strategy={config.attempts_per_strategy}; set attempts_per_strategy "
            "to 2 or more."
        )
    if config.solver_group != "strategy" and config.attempts_per_strategy > 1:
        raise ValueError(
            f"attempts_per_strategy={config.attempts_per_strategy} needs "
            f"solver_group='strategy' (got {config.solver_group!r}); with other groups use "
            "attempts_per_strategy=1."
        )
    size = solver_group_size(
        config.solver_group,
        config.num_generations,
        config.num_strategies,
        config.attempts_per_strategy,
    )
    if config.solver_pass_k is not None and config.solver_pass_k > size:
        raise ValueError(
            f"solver_pass_k={config.solver_pass_k} needs as many attempts in a group, but "
            f"solver_group={config.solver_group!r} has {size}; use solver_pass_k=2 to {size}, or "
            "None."
        )
    if config.strategy_credit != "none" and config.planner_reward == "judge":
        raise ValueError(
            f"strategy_credit={config.strategy_credit!r} credits strategies with their part in "
            "R_out, but planner_reward='judge' never calls the solver; use "
            "strategy_credit='none' or planner_reward='product'."
        )
    if not config.solve_invalid and config.planner_reward in ("outcome", "sum"):
        raise ValueError(
            "solve_invalid=False leaves R_out of rejected tuples unknown, but "
            f"planner_reward={config.planner_reward!r} needs it; use planner_reward='product' "
            "or solve_invalid=True."
        )
    if config.planner_reward == "judge" and config.train_roles == "solver":
        raise ValueError(
            "planner_reward='judge' never calls the solver, so train_roles='solver' would "
            "train nothing; use train_roles='planner' or planner_reward='product'."
        )


def refuse_split_rollouts(config: CPPOConfig) -> None:
    """Refuses optimizer steps that would mix rollouts, as `ValueError`."""
    if config.steps_per_generation % config.gradient_accumulation_steps:
        lower = config.gradient_accumulation_steps * max(
            1, config.steps_per_generation // config.gradient_accumulation_steps
        )
        raise ValueError(
            f"steps_per_generation={config.steps_per_generation} is not a multiple of "
            f"gradient_accumulation_steps={config.gradient_accumulation_steps}, so one "
            "optimizer step would mix rollouts and its mean over sequences would depend on "
            f"the split; use steps_per_generation={lower} or "
            f"{lower + config.gradient_accumulation_steps}."
        )
