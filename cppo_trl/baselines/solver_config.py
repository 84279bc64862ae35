"""SolverConfig: the loss that CPPO and its baselines share, so that only the method differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from cppo_trl.generation import Sampling

Rule = tuple[Callable[[Any], bool], str]  # a test, and what is allowed in words


def is_whole(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number of `least` or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def refuse_values(config: Any, rules: dict[str, Rule]) -> None:
    """Raises ValueError for the first field whose value does not keep its rule."""
    for name, (fits, allowed) in rules.items():
        value = getattr(config, name)
        if not fits(value):
            raise ValueError(f"{name}={value!r} is not possible; allowed: {allowed}.")


@dataclass
class SolverConfig(GRPOConfig):
    """GRPOConfig with the defaults of `CPPOConfig` for the loss and for the solver's tokens.

    `num_generations` is the number of attempts at a problem in a group.

    Raises:
        ValueError: at construction, for a value that cannot work, with what would.
    """

    temperature: float = field(default=0.7, metadata={"help": "Temperature of the attempts."})
    max_completion_length: int | None = field(
        default=2048, metadata={"help": "Token limit of one attempt."}
    )
    mask_truncated_completions: bool = field(
        default=True,
        metadata={"help": "Whether attempts that were cut at the limit stay out of the loss."},
    )
    learning_rate: float = field(default=5e-6, metadata={"help": "Learning rate of the adapter."})
    loss_type: str = field(
        default="grpo",
        metadata={"help": "TRL's loss types; 'grpo' (mean over tokens, then over attempts)."},
    )
    beta: float = field(
        default=0.01, metadata={"help": "Weight of the k3 KL estimate to the reference."}
    )
    use_bias_correction_kl: bool = field(
        default=False, metadata={"help": "TRL's ratio-weighted KL in place of the plain estimate."}
    )

    def __post_init__(self) -> None:
        refuse_values(
            self,
            {
                "num_generations": (lambda n: is_whole(n, 2), "a whole number of 2 or more"),
                "max_completion_length": (is_whole, "a whole number of 1 or more"),
                "temperature": (
                    lambda t: t > 0,
                    "a number above 0: a policy gradient needs samples",
                ),
            },
        )
        super().__post_init__()


def sampling_of(args: GRPOConfig) -> Sampling:
    """How the tokens of attempts are drawn in training."""
    return Sampling(
        args.max_completion_length,
        args.temperature,
        args.top_p,
        args.top_k,
        args.min_p,
        args.repetition_penalty,
    )
