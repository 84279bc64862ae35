"""PassAtKConfig: what Pass@k Training adds to TRL's GRPOConfig."""

from __future__ import annotations

from dataclasses import dataclass

from .group_advantages import GroupAdvantageConfig


@dataclass
class PassAtKConfig(GroupAdvantageConfig):
    """Configuration of `PassAtKTrainer` (arXiv 2508.10751).

    `num_generations` is N, the attempts at a problem; `pass_k` is the k of the pass@k that is the
    reward.

    Raises:
        ValueError: at construction, for a value that cannot work, with what would.
    """
