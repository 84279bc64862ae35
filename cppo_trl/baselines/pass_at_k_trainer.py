"""PassAtKTrainer: GRPO with the analytic advantages of groups of k attempts that share a reward."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from torch import Tensor

from cppo_trl.advantages import pass_at_k_training_advantages

from .group_advantages import GroupAdvantageTrainer
from .pass_at_k_config import PassAtKConfig


class PassAtKTrainer(GroupAdvantageTrainer):
    """Trainer for Pass@k Training (arXiv 2508.10751).

    What changes against [`GRPOTrainer`]: the reward is that of a group of k attempts, 1 when one of
    them is right, and the advantage of an attempt its mean over all groups of k that hold it, in
    closed form. Rewards of 1 or more count as right.

    Args:
        model, reward_funcs: as for `GRPOTrainer`.
        args: a `PassAtKConfig`.
        others, kwargs: what else `GRPOTrainer` takes; rows of `attempt_rows`, and a verifier as
            `of_problems` gives it.
    """

    config_class = PassAtKConfig
    _tag_names: ClassVar = ["trl", "grpo", "pass-at-k-training"]
    _name = "Pass@k Training"
    _paper: ClassVar = {
        "title": "Pass@k Training for Adaptively Balancing Exploration and Exploitation of Large "
        "Reasoning Models",
        "id": "2508.10751",
        "citation": textwrap.dedent("""\
            @article{chen2025passk,
                title  = {{Pass@k Training for Adaptively Balancing Exploration and Exploitation of
                          Large Reasoning Models}},
                author = {Chen, Zhipeng and others},
                year   = 2025,
                eprint = {arXiv:2508.10751},
            }"""),
    }

    def group_advantages(self, rewards_PN: Tensor) -> Tensor:
        """The analytic advantages; in an evaluation, k is no larger than its groups."""
        k = min(self.args.pass_k, rewards_PN.shape[1])
        return pass_at_k_training_advantages(rewards_PN, k)
