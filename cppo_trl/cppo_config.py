"""CPPOConfig: what Coordinated Pass@K Policy Optimization adds to TRL's GRPOConfig."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from .advantages import solver_group_size
from .config_checks import (
    CHOICES,
    RANGES,
    refuse_impossible_batching,
    refuse_impossible_groups,
    refuse_out_of_range,
    refuse_partial_groups,
    refuse_split_rollouts,
    refuse_unknown_choices,
    refuse_unsupported,
)
from .generation import Sampling
from .prompts import DEFAULT_PLAN, DEFAULT_SOLVE, Prompts
from .roles import PLANNER, ROLES, SOLVER
from .vllm_checks import refuse_unusable_vllm


@dataclass
class CPPOConfig(GRPOConfig):
    """Configuration of `CPPOTrainer`: GRPOConfig, with M tuples for each problem and K strategies
    in a tuple.

    Inherited fields keep their meaning with these readings: `num_generations` is M, the tuples of a
    problem; batch sizes count tuples (a tuple is one plan and its K attempts, so up to K + 1
    sequences); `temperature`, `top_p`, `max_completion_length` and `learning_rate` are the
    solver's, and `planner_*` fields set the planner's. `loss_type="grpo"`, `epsilon=0.2` and
    `beta=0.01` are the method's loss (METHOD: section 3). Rollouts run on `model.generate`, with
    `use_transformers_continuous_batching=True` on the continuous batching of transformers, or with
    `use_vllm=True` on vLLM.

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
            "choices": list(CHOICES["planner_reward"]),
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
            "choices": list(CHOICES["solver_group"]),
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
            "choices": list(CHOICES["strategy_credit"]),
        },
    )
    advantage_std: str = field(
        default="population",
        metadata={
            "help": "'population' divides by the population std (the method), 'trl' by the "
            "sample std + 1e-4.",
            "choices": list(CHOICES["advantage_std"]),
        },
    )
    train_roles: str = field(
        default="both",
        metadata={
            "help": "Adapters that learn: 'both', 'planner' or 'solver'.",
            "choices": list(CHOICES["train_roles"]),
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
    vllm_adapter_dir: str | None = field(
        default=None,
        metadata={
            "help": "Where the adapters are written for a vLLM server (vllm_mode='server'), which "
            "must see them under the same path; None is the system's folder for temporary files."
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
        refuse_out_of_range(self, RANGES)
        refuse_partial_groups(self)
        super().__post_init__()
        refuse_unknown_choices(self)
        refuse_unsupported(self)
        refuse_impossible_batching(self)
        refuse_unusable_vllm(self)
        refuse_impossible_groups(self)
        refuse_split_rollouts(self)
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
