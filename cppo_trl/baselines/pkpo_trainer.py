"""PKPOTrainer: GRPO whose rewards are transformed so that max@k is maximised, not the mean."""

from __future__ import annotations

import textwrap
from typing import ClassVar

import torch
from torch import Tensor

from cppo_trl.advantages import pkpo_rewards

from .group_advantages import GroupAdvantageTrainer
from .pkpo_config import PKPOConfig


class PKPOTrainer(GroupAdvantageTrainer):
    """Trainer for Pass@K Policy Optimization (arXiv 2505.15201).

    What changes against [`GRPOTrainer`]: the advantages of a problem's n attempts are n times the
    transformed rewards s, of which `sum_i s_i grad log pi(y_i)` is an unbiased estimate of the
    gradient of max@k (GRPO's loss is a mean over the n attempts). Rewards may be of any range. For
    k = 1, "loo" is RLOO, but for a factor of n / (n - 1) on what is subtracted.

    Args:
        model, reward_funcs: as for `GRPOTrainer`.
        args: a `PKPOConfig`.
        others, kwargs: what else `GRPOTrainer` takes; rows of `attempt_rows`, and a verifier as
            `of_problems` gives it.
    """

    config_class = PKPOConfig
    _tag_names: ClassVar = ["trl", "grpo", "pkpo"]
    _name = "PKPO"
    _paper: ClassVar = {
        "title": "Pass@K Policy Optimization: Solving Harder Reinforcement Learning Problems",
        "id": "2505.15201",
        "citation": textwrap.dedent("""\
            @article{walder2025passk,
                title  = {{Pass@K Policy Optimization: Solving Harder Reinforcement Learning
                          Problems}},
                author = {Walder, Christian and Karkhanis, Deep},
                year   = 2025,
                eprint = {arXiv:2505.15201},
            }"""),
    }

    def group_advantages(self, rewards_PN: Tensor) -> Tensor:
        """n times the transformed rewards; in an evaluation, k is no larger than its groups let."""
        args, n = self.args, rewards_PN.shape[1]
        k = args.pass_k_at(self.state.global_step, self.state.max_steps)
        if self.model.training:
            self._metrics["train"]["pass_k"].append(k)
        # "loo-1" compares with k - 1 other attempts: with none of them there is nothing to compare.
        baseline = "loo" if k == 1 and args.pkpo_baseline == "loo-1" else args.pkpo_baseline
        k = min(k, n - 1 if baseline == "loo" else n)
        if n == 1 and baseline != "none":
            return torch.zeros_like(rewards_PN)
        return n * pkpo_rewards(rewards_PN, k, baseline)
