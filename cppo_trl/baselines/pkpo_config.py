"""PKPOConfig: what Pass@K Policy Optimization adds to TRL's GRPOConfig."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from cppo_trl.advantages import Baseline

from .group_advantages import GroupAdvantageConfig
from .solver_config import is_whole, refuse_values

BASELINES = get_args(Baseline)


@dataclass
class PKPOConfig(GroupAdvantageConfig):
    """Configuration of `PKPOTrainer` (arXiv 2505.15201).

    `num_generations` is n, the attempts at a problem; `pass_k` is k, of the max@k that is trained
    for.

    Raises:
        ValueError: at construction, for a value that cannot work, with what would.
    """

    pkpo_baseline: str = field(
        default="loo-1",
        metadata={
            "help": "What is subtracted from the transformed rewards: 'none', 'loo' (max@k of the "
            "other attempts) or 'loo-1' (their max@(k-1), of lower variance). For k = 1, which has "
            "no 'loo-1', it is 'loo'.",
            "choices": list(BASELINES),
        },
    )
    final_pass_k: int | None = field(
        default=None,
        metadata={
            "help": "Anneals k: it goes linearly, in whole numbers, from `pass_k` in the first "
            "step to this in the last; None keeps `pass_k`."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        n = self.num_generations
        refuse_values(
            self,
            {
                "pkpo_baseline": (
                    lambda name: name in BASELINES,
                    ", ".join(map(repr, BASELINES)),
                ),
                "final_pass_k": (
                    lambda k: k is None or (is_whole(k) and k <= n),
                    f"None, or a whole number from 1 to num_generations={n}",
                ),
            },
        )
        largest = max(self.pass_k, self.final_pass_k or 1)
        if self.pkpo_baseline == "loo" and largest >= n:
            raise ValueError(
                f"k={largest} with pkpo_baseline='loo' takes k other attempts of each group, and "
                f"num_generations={n}; allowed: pass_k and final_pass_k up to {n - 1}, or another "
                "baseline."
            )

    def pass_k_at(self, step: int, max_steps: int) -> int:
        """k in a step of a training, counted from 0; `max_steps` is the length of the training."""
        if self.final_pass_k is None:
            return self.pass_k
        progress = min(1.0, step / max(1, max_steps - 1))
        return round(self.pass_k + (self.final_pass_k - self.pass_k) * progress)
