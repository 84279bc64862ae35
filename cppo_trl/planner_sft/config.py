"""PlannerSFTConfig: what supervised training of the planner adds to TRL's SFTConfig."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trl import SFTConfig

from cppo_trl.config_checks import refuse_out_of_range
from cppo_trl.cppo_config import CPPOConfig
from cppo_trl.generation import Sampling
from cppo_trl.prompts import DEFAULT_PLAN, DEFAULT_SOLVE, Prompts
from cppo_trl.roles import PLANNER, SOLVER

_SHARED = (
    *("num_strategies", "max_plan_length", "planner_temperature", "planner_top_p"),
    *("max_completion_length", "temperature", "top_p"),
)


def _as_in_cppo(name: str) -> Any:
    """A field of CPPOConfig, with its default and its help."""
    own = CPPOConfig.__dataclass_fields__[name]
    return field(default=own.default, metadata=dict(own.metadata))


@dataclass
class PlannerSFTConfig(SFTConfig):
    """Configuration of `PlannerSFTTrainer`: SFTConfig with the method's defaults (METHOD: stage 1),
    and the fields of `CPPOConfig` that say how the policy that is saved plans and solves.

    Raises:
        ValueError: at construction, for a value that cannot work, with what would.
    """

    num_strategies: int = _as_in_cppo("num_strategies")
    max_plan_length: int = _as_in_cppo("max_plan_length")
    planner_temperature: float = _as_in_cppo("planner_temperature")
    planner_top_p: float = _as_in_cppo("planner_top_p")
    max_completion_length: int = _as_in_cppo("max_completion_length")
    temperature: float = _as_in_cppo("temperature")
    top_p: float = _as_in_cppo("top_p")
    plan_template: str | None = _as_in_cppo("plan_template")
    solve_template: str | None = _as_in_cppo("solve_template")
    chat_template_kwargs: dict[str, Any] | None = field(
        default=None, metadata={"help": "Passed to the tokenizer's chat template."}
    )
    learning_rate: float = field(default=1e-5, metadata={"help": "Of the planner's adapter."})
    num_train_epochs: float = field(default=3.0, metadata={"help": "Passes over the gold tuples."})
    per_device_train_batch_size: int = field(
        default=16, metadata={"help": "Tuples in one forward of a device."}
    )
    max_length: int | None = field(
        default=None,
        metadata={
            "help": "Tuples with more tokens than that, prompt included, are left out: a plan that "
            "is cut is no plan."
        },
    )

    def __post_init__(self) -> None:
        refuse_out_of_range(self, _SHARED)
        for name in ("packing", "padding_free", "assistant_only_loss"):
            if getattr(self, name):
                raise ValueError(
                    f"{name}=True is not supported by the planner's SFT (rows are routed to its "
                    "adapter, and its loss is on the plan's tokens); leave it at False."
                )
        for name in ("chat_template_path", "eos_token"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name}={getattr(self, name)!r} is not supported by the planner's SFT: its "
                    "tokens are those that rollouts ask with; change the base's tokenizer instead."
                )
        super().__post_init__()
        self.prompts()  # refuses templates with unknown or missing fields

    def prompts(self) -> Prompts:
        """The PLAN and SOLVE templates of this run."""
        return Prompts(
            plan=self.plan_template or DEFAULT_PLAN, solve=self.solve_template or DEFAULT_SOLVE
        )

    def sampling(self) -> dict[str, Sampling]:
        """How the policy that is saved draws the tokens of each role."""
        return {
            PLANNER: Sampling(self.max_plan_length, self.planner_temperature, self.planner_top_p),
            SOLVER: Sampling(self.max_completion_length, self.temperature, self.top_p),
        }
