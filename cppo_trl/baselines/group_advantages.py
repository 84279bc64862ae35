"""GroupAdvantageTrainer: GRPOTrainer with another formula for the advantages of a group."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor
from trl import GRPOTrainer

from .solver_config import SolverConfig, is_whole, refuse_values
from .solver_model import keep_adapter_in_fp32


@dataclass
class GroupAdvantageConfig(SolverConfig):
    """SolverConfig for advantages that replace those of GRPO.

    Raises:
        ValueError: as SolverConfig, and for settings of the advantages that are replaced.
    """

    pass_k: int = field(
        default=4, metadata={"help": "k: attempts of which one has to be right, in the objective."}
    )
    scale_rewards: str = field(
        default="none",
        metadata={"help": "Without effect, since the advantages are replaced; only 'none'."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_values(
            self,
            {
                "pass_k": (
                    lambda k: is_whole(k) and k <= self.num_generations,
                    f"a whole number from 1 to num_generations={self.num_generations}",
                ),
                "scale_rewards": (
                    lambda scale: scale == "none",
                    "'none': the advantages of this method have a scale of their own",
                ),
                "multi_objective_aggregation": (
                    lambda way: way == "sum_then_normalize",
                    "'sum_then_normalize': the formula takes one reward for each attempt",
                ),
            },
        )


class GroupAdvantageTrainer(GRPOTrainer):
    """Trains on `group_advantages` of the rewards, where [`GRPOTrainer`] standardises them.

    The adapter stays in fp32, also on a quantized base. All else is `GRPOTrainer`'s.

    Args:
        model, reward_funcs: as for `GRPOTrainer`.
        args: a configuration of the class `config_class`.
        others, kwargs: what else `GRPOTrainer` takes.
    """

    config_class: ClassVar[type[GroupAdvantageConfig]] = GroupAdvantageConfig

    def __init__(
        self, model: Any, reward_funcs: Any, args: GroupAdvantageConfig, *others: Any, **kwargs: Any
    ):
        if not isinstance(args, self.config_class):
            raise TypeError(
                f"`args` is a {type(args).__name__}; it must be a {self.config_class.__name__}"
            )
        super().__init__(model, reward_funcs, args, *others, **kwargs)
        keep_adapter_in_fp32(self)
        self._rewards_per_func: Tensor | None = None

    def group_advantages(self, rewards_PN: Tensor) -> Tensor:
        """The advantages of each group of attempts.

        Args:
            rewards_PN: (P, N), the weighted sum of the reward functions for the N attempts at each
                of the P problems of a batch, of all ranks; NaN where all of them are unknown.

        Returns:
            (P, N), finite.
        """
        raise NotImplementedError

    def _calculate_rewards(self, *args: Any) -> Tensor:
        self._rewards_per_func = super()._calculate_rewards(*args)
        return self._rewards_per_func

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        rewards_BF = self._rewards_per_func  # gathered over the ranks, in their order
        weights_F = self.reward_weights.to(rewards_BF.device)
        rewards_B = (rewards_BF * weights_F).nansum(dim=1)
        rewards_B[rewards_BF.isnan().all(dim=1)] = torch.nan
        N = self.num_generations if self.model.training else self.num_generations_eval
        advantages_B = self.group_advantages(rewards_B.view(-1, N)).flatten()

        # The completions table shows the last batches, as many rows as it has room for.
        shown = self._logs["advantages"]
        for _ in range(min(len(advantages_B), len(shown))):
            shown.pop()
        shown.extend(advantages_B.tolist())

        first = self.accelerator.process_index * len(inputs)
        output["advantages"] = advantages_B[first : first + len(inputs)].to(output["advantages"])
        return output
