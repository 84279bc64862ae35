"""CPPOConfig: what Coordinated Pass@K Policy Optimization adds to TRL's GRPOConfig."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, get_args

from trl import GRPOConfig

from .advantages import SolverGroup, Std, solver_group_size
from .generation import Sampling
from .prompts import DEFAULT_PLAN, DEFAULT_SOLVE, Prompts
from .rewards import PlannerReward, StrategyCredit
from .roles import PLANNER, ROLES, SOLVER

_CHOICES = {
    "planner_reward": get_args(PlannerReward),
    "solver_group": get_args(SolverGroup),
    "advantage_std": get_args(Std),
    "strategy_credit": get_args(StrategyCredit),
    "train_roles": ("both", PLANNER, SOLVER),
    "loss_type": ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "vespo", "luspo"),
}

# Field -> (type, test, what is allowed). Inherited fields stand here where GRPOConfig lets values
# through that fail after the first rollout, or never.
_WHOLE = (int, lambda value: value >= 1, "a whole number of 1 or more")
_SAMPLING = (Real, lambda value: value > 0, "a number above 0: a policy gradient needs samples")
_SHARE = (Real, lambda value: 0 < value <= 1, "a number above 0, at most 1")
_WEIGHT = (Real, lambda value: value >= 0, "a number of 0 or more")
_RANGES = {
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
    "level_off_steps": (int, lambda value: value >= 0, "a whole number of 0 or more"),
    "solver_pass_k": (int, lambda value: value >= 2, "a whole number of 2 or more, or None"),
}
_OPTIONAL = ("rollout_batch_size", "epsilon_high", "planner_learning_rate", "solver_pass_k")

# GRPOConfig fields of machinery that CPPO's rollouts replace: (field, what it must be, what to do
# instead).
_UNSUPPORTED = (
    ("use_vllm", False, "rollouts run on transformers"),
    ("use_transformers_continuous_batching", False, "rollouts run on transformers"),
    ("sync_ref_model", False, "the reference is the checkpoint that the stage started from"),
    ("reward_weights", None, "choose `planner_reward` instead"),
    ("mask_truncated_completions", False, "CPPO always leaves truncated sequences out of the loss"),
    ("generation_kwargs", None, "use the sampling fields"),
    ("cache_implementation", None, "rollouts use the model's default cache"),
    ("pad_to_multiple_of", None, "batches are padded to their longest row"),
    ("scale_rewards", "group", "choose `advantage_std` instead"),
    ("multi_objective_aggregation", "sum_then_normalize", "choose `planner_reward` instead"),
    ("cast_lm_head_to_fp32", False, "load the base in float32 instead"),
)


def refuse_out_of_range(config: Any, names: Iterable[str]) -> None:
    """Refuses the first of the fields that is no number of its range, as `ValueError`."""
    for name in names:
        kind, fits, allowed = _RANGES[name]
        value = getattr(config, name)
        if value is None and name in _OPTIONAL:
            continue
        if isinstance(value, bool) or not isinstance(value, kind) or not fits(value):
            raise ValueError(f"{name}={value!r} is out of range; allowed: {allowed}.")


@dataclass
class CPPOConfig(GRPOConfig):
    """Configuration of `CPPOTrainer`: GRPOConfig, with M tuples for each problem and K strategies
    in a tuple.

    Inherited fields keep their meaning with these readings: `num_generations` is M, the tuples of a
    problem; batch sizes count tuples (a tuple is one plan and its K attempts, so up to K + 1
    sequences); `temperature`, `top_p`, `max_completion_length` and `learning_rate` are the
    solver's, and `planner_*` fields set the planner's. `loss_type="grpo"`, `epsilon=0.2` and
    `beta=0.01` are the method's loss (METHOD: section 3).

    Raises:
        ValueError: at construction, for a value or combination that cannot work, with what would.
    """

    num_strategies: int = field(
        default=4,
        metadata={"help": "K: strategies in a plan, and solver attempts for a tuple (2 to 26)."},
    )
    num_generations: int | None = field(
        default=8,
        metadata={"help": "M: planner tuples drawn for each problem; the planner's group."},
    )
    temperature: float = field(default=0.7, metadata={"help": "Temperature of the solver."})
    max_completion_length: int | None = field(
        default=2048, metadata={"help": "Token limit of one solver attempt."}
    )
    planner_temperature: float = field(
        default=0.9, metadata={"help": "Temperature of the planner."}
    )
    planner_top_p: float = field(default=1.0, metadata={"help": "top_p of the planner."})
    max_plan_length: int = field(default=512, metadata={"help": "Token limit of one plan."})
    planner_learning_rate: float | None = field(
        default=None,
        metadata={
            "help": "Learning rate of the planner's adapter; None uses `learning_rate` for "
            "both roles."
        },
    )
    learning_rate: float = field(
        default=5e-6,
        metadata={
            "help": "Learning rate of the adapters: about 10x the method's full-parameter 5e-7."
        },
    )
    planner_reward: str = field(
        default="product",
        metadata={
            "help": "R_plan: 'product' is J * R_out (the method), 'judge' is J alone (warm-up: "
            "the solver is never called), 'outcome' is R_out alone, 'sum' is J + R_out.",
            "choices": list(_CHOICES["planner_reward"]),
        },
    )
    level_off_steps: int = field(
        default=20,
        metadata={
            "help": "The warm-up (planner_reward='judge') ends when the mean acceptance rate of "
            "the last that many steps is no higher, beyond the noise, than those of the two "
            "windows of as many before, or is about 1; 0 never ends it. The smaller the batch and "
            "the slower the rise, the more steps it takes. Other rewards are not concerned."
        },
    )
    solver_group: str = field(
        default="tuple",
        metadata={
            "help": "Attempts that share the solver's baseline: the K of a 'tuple' (the "
            "method), all M * K of a 'problem', or the `attempts_per_strategy` of one 'strategy'.",
            "choices": list(_CHOICES["solver_group"]),
        },
    )
    attempts_per_strategy: int = field(
        default=1,
        metadata={
            "help": "Attempts for each strategy in training; more than 1 only for "
            "solver_group='strategy'."
        },
    )
    solver_pass_k: int | None = field(
        default=None,
        metadata={
            "help": "None compares verdicts with the mean of their group (the method); a number k "
            "trains the solver for pass@k within its `solver_group` by PKPO's 'loo-1' rewards: "
            "from 2 to the attempts of a group. `advantage_std` is then the planner's alone."
        },
    )
    strategy_credit: str = field(
        default="none",
        metadata={
            "help": "What the tokens of a strategy get on top of their tuple's advantage: 'none' "
            "(the method), or the strategy's own contribution to R_out, compared with the other "
            "tuples' strategies of the same label: 'leave-one-out' (R_out with it minus R_out "
            "without) or 'shapley' (its mean contribution over all orders; those of a tuple sum to "
            "R_out).",
            "choices": list(_CHOICES["strategy_credit"]),
        },
    )
    advantage_std: str = field(
        default="population",
        metadata={
            "help": "'population' divides by the population std (the method), 'trl' by the "
            "sample std + 1e-4.",
            "choices": list(_CHOICES["advantage_std"]),
        },
    )
    train_roles: str = field(
        default="both",
        metadata={
            "help": "Adapters that learn: 'both', 'planner' or 'solver'.",
            "choices": list(_CHOICES["train_roles"]),
        },
    )
    solve_invalid: bool = field(
        default=True,
        metadata={
            "help": "Whether tuples that the judge rejects are solved too. Their planner "
            "reward is 0 either way; solving them trains the solver, skipping them makes steps "
            "cheaper."
        },
    )
    rollout_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Most sequences decoded at once on a device; None decodes a whole phase "
            "together."
        },
    )
    plan_template: str | None = field(
        default=None,
        metadata={
            "help": "PLAN prompt with {statement}, {k}, {labels}; None is the method's. See "
            "cppo_trl.prompts."
        },
    )
    solve_template: str | None = field(
        default=None,
        metadata={
            "help": "SOLVE prompt with {statement}, {strategy}; None is the method's. See "
            "cppo_trl.prompts."
        },
    )
    loss_type: str = field(
        default="grpo",
        metadata={
            "help": "TRL's loss types; 'grpo' (mean over tokens, then over sequences) is the "
            "method's."
        },
    )
    beta: float = field(
        default=0.01, metadata={"help": "Weight of the k3 KL estimate to the reference."}
    )
    use_bias_correction_kl: bool = field(
        default=False,
        metadata={"help": "TRL's ratio-weighted KL; the method adds the plain k3 estimate."},
    )

    def __post_init__(self) -> None:
        refuse_out_of_range(self, _RANGES)
        self._refuse_partial_groups()
        super().__post_init__()
        self._refuse_unknown_choices()
        for name, required, instead in _UNSUPPORTED:
            if getattr(self, name) != required:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not supported by CPPO ({instead}); leave "
                    f"it at {required!r}."
                )
        self._refuse_impossible_groups()
        self._refuse_split_rollouts()
        self.prompts()  # refuses templates with unknown or missing fields

    def prompts(self) -> Prompts:
        """The PLAN and SOLVE templates of this run."""
        return Prompts(
            plan=self.plan_template or DEFAULT_PLAN, solve=self.solve_template or DEFAULT_SOLVE
        )

    def sampling(self) -> dict[str, Sampling]:
        """How the tokens of each role are drawn in training."""
        shared = {
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
        }
        return {
            PLANNER: Sampling(
                self.max_plan_length, self.planner_temperature, self.planner_top_p, **shared
            ),
            SOLVER: Sampling(self.max_completion_length, self.temperature, self.top_p, **shared),
        }

    def scoring(self, tuples: int, attempts: int) -> dict[str, Any]:
        """How verdicts become advantages: the settings of `Scores.of`.

        An evaluation has one attempt at a strategy, which is no group, and may have fewer tuples
        for each problem, so the group and k are those that come nearest.

        Args:
            tuples: of each problem.
            attempts: at each strategy.
        """
        group = "tuple" if self.solver_group == "strategy" and attempts == 1 else self.solver_group
        k = self.solver_pass_k
        if k is not None:
            k = min(k, solver_group_size(group, tuples, self.num_strategies, attempts))
        return {
            "planner_reward": self.planner_reward,
            "solver_group": group,
            "std": self.advantage_std,
            "solver_pass_k": k,
            "strategy_credit": self.strategy_credit,
        }

    @property
    def learning_roles(self) -> tuple[str, ...]:
        """The roles whose sequences enter the loss; the warm-up never calls the solver."""
        if self.planner_reward == "judge":
            return (PLANNER,)
        return ROLES if self.train_roles == "both" else (self.train_roles,)

    def _refuse_partial_groups(self) -> None:
        """GRPOConfig refuses these as well, but does not say which sizes would do."""
        # TrainingArguments knows the number of processes only after its own checks.
        processes = int(os.environ.get("WORLD_SIZE", 1))
        if self.generation_batch_size is None:
            steps = self.steps_per_generation or self.gradient_accumulation_steps
            times = processes * steps
            self._refuse_cut_groups("per_device_train_batch_size", times, "num_generations")
        if self.eval_strategy != "no":
            self.refuse_cut_evaluation(processes)

    def refuse_cut_evaluation(self, processes: int) -> None:
        """Refuses an evaluation batch that would cut a problem's tuples, as `ValueError`."""
        groups = "num_generations_eval" if self.num_generations_eval else "num_generations"
        self._refuse_cut_groups("per_device_eval_batch_size", processes, groups)

    def _refuse_cut_groups(self, field: str, times: int, groups: str) -> None:
        """Refuses a batch that would cut a problem's group of tuples.

        Args:
            field: names the batch size, in tuples of one process and micro-batch.
            times: how many of these make the batch.
            groups: names the number of tuples of a problem.

        Raises:
            ValueError: if the batch is no multiple of that number, with the nearest sizes that are.
        """
        size, group = getattr(self, field), getattr(self, groups)
        if size * times % group:
            fitting = group // math.gcd(group, times)
            lower = size // fitting * fitting
            allowed = f"{lower} or {lower + fitting}" if lower else f"{fitting}"
            raise ValueError(
                f"{field}={size} makes a batch of {size * times} tuples, which is not a multiple "
                f"of the {group} tuples of a problem ({groups}={group}); use "
                f"{field}={allowed}."
            )

    def _refuse_unknown_choices(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is unknown; allowed: "
                    f"{', '.join(map(repr, choices))}."
                )

    def _refuse_impossible_groups(self) -> None:
        if self.solver_group == "strategy" and self.attempts_per_strategy < 2:
            raise ValueError(
                "solver_group='strategy' compares attempts for one strategy, but "
                f"attempts_per_strategy={self.attempts_per_strategy}; set attempts_per_strategy "
                "to 2 or more."
            )
        if self.solver_group != "strategy" and self.attempts_per_strategy > 1:
            raise ValueError(
                f"attempts_per_strategy={self.attempts_per_strategy} needs "
                f"solver_group='strategy' (got {self.solver_group!r}); with other groups use "
                "attempts_per_strategy=1."
            )
        size = solver_group_size(
            self.solver_group,
            self.num_generations,
            self.num_strategies,
            self.attempts_per_strategy,
        )
        if self.solver_pass_k is not None and self.solver_pass_k > size:
            raise ValueError(
                f"solver_pass_k={self.solver_pass_k} needs as many attempts in a group, but "
                f"solver_group={self.solver_group!r} has {size}; use solver_pass_k=2 to {size}, or "
                "None."
            )
        if self.strategy_credit != "none" and self.planner_reward == "judge":
            raise ValueError(
                f"strategy_credit={self.strategy_credit!r} credits strategies with their part in "
                "R_out, but planner_reward='judge' never calls the solver; use "
                "strategy_credit='none' or planner_reward='product'."
            )
        if not self.solve_invalid and self.planner_reward in ("outcome", "sum"):
            raise ValueError(
                "solve_invalid=False leaves R_out of rejected tuples unknown, but "
                f"planner_reward={self.planner_reward!r} needs it; use planner_reward='product' "
                "or solve_invalid=True."
            )
        if self.planner_reward == "judge" and self.train_roles == "solver":
            raise ValueError(
                "planner_reward='judge' never calls the solver, so train_roles='solver' would "
                "train nothing; use train_roles='planner' or planner_reward='product'."
            )

    def _refuse_split_rollouts(self) -> None:
        if self.steps_per_generation % self.gradient_accumulation_steps:
            lower = self.gradient_accumulation_steps * max(
                1, self.steps_per_generation // self.gradient_accumulation_steps
            )
            raise ValueError(
                f"steps_per_generation={self.steps_per_generation} is not a multiple of "
                f"gradient_accumulation_steps={self.gradient_accumulation_steps}, so one "
                "optimizer step would mix rollouts and its mean over sequences would depend on "
                f"the split; use steps_per_generation={lower} or "
                f"{lower + self.gradient_accumulation_steps}."
            )
