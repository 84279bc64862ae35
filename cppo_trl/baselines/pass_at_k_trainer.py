"""PassAtKTrainer: GRPO with the analytic advantages of groups of k attempts that share a reward."""

from __future__ import annotations

import textwrap
from typing import Any, ClassVar

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
        args: a `PassAtKConfig`.
        kwargs: all else that `GRPOTrainer` takes; rows of `attempt_rows`, and a verifier as
            `of_problems` gives it.
    """

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

    def __init__(self, model: Any, reward_funcs: Any = None, args: PassAtKConfig = None, **kwargs):
        if not isinstance(args, PassAtKConfig):
            raise TypeError(f"`args` is a {type(args).__name__}; it must be a PassAtKConfig")
        super().__init__(model, reward_funcs, args, **kwargs)

    def group_advantages(self, rewards_PN: Tensor) -> Tensor:
        """The analytic advantages; in an evaluation, k is no larger than its groups."""
        k = min(self.args.pass_k, rewards_PN.shape[1])
        return pass_at_k_training_advantages(rewards_PN, k)
