"""What a trainer logs of a batch of rollouts: metrics over all ranks, and the completions table."""

from __future__ import annotations

import torch
from accelerate.utils import gather_object

from .guards.callbacks import VarianceCallback
from .metrics import rollout_metrics
from .rollouts import Rollout
from .scores import Scores


class RolloutLogs:
    """Fills the metrics and the table that GRPOTrainer keeps; to be named before the trainer in a
    class's bases.
    """

    def _log_rollouts(self, scores: Scores) -> None:
        """Logs the metrics of a batch of rollouts, over all ranks."""
        metrics = rollout_metrics(
            scores,
            judged=self.judge is not None,
            solved=self.args.planner_reward != "judge",
        )
        for name, value in metrics.items():
            # A last, smaller batch of an evaluation counts by its problems.
            self._metrics[self._mode][name].extend([value] * len(scores.valid_PM))
        if self.model.training:
            self.state.num_input_tokens_seen += int(scores.facts_PMF[..., -3:].sum())
            variance = VarianceCallback.among(self.callback_handler.callbacks)
            still = variance.count(scores, self.state)
            self._metrics["train"]["batches_without_variance"] = [still]
        self._metrics[self._mode]["num_tokens"] = [self.state.num_input_tokens_seen]
        for name in sorted(set(gather_object(list(self._pending_metrics)))):
            values = self._pending_metrics.get(name, [])
            sums = torch.tensor([sum(values), len(values)], device=self.args.device).float()
            total, count = self.accelerator.reduce(sums, reduction="sum").tolist()
            self._metrics[self._mode][name].append(total / count)
        self._pending_metrics.clear()

    def _log_table(self, rollouts: list[Rollout], scores: Scores) -> None:
        """Adds one row for each tuple to the completions table."""

        def gathered(values: list) -> list:
            return gather_object(values)[: scores.valid_PM.numel()]

        plans = [[{"role": "assistant", "content": rollout.plan.text}] for rollout in rollouts]
        self._logs["prompt"].extend(gathered([rollout.plan.messages for rollout in rollouts]))
        self._logs["completion"].extend(gathered(plans))
        columns = {
            "judge": scores.valid_PM,
            "R_out": scores.outcome_PM,
            "R_plan": scores.rewards_PM,
        }
        for name, values_PM in columns.items():
            self._logs["rewards"][name].extend(values_PM.flatten().tolist())
        self._logs["advantages"].extend(scores.advantages_PM.flatten().tolist())
        strategies = [list(rollout.strategies or ()) for rollout in rollouts]
        self._log_completion_extra("strategies", strategies)
        # A batch in which a reward function logged nothing, or was not called, has empty cells.
        for column in sorted(set(gather_object([*self._pending_extra_logs, *self._logs["extra"]]))):
            values = gathered(self._pending_extra_logs.get(column, [[] for _ in rollouts]))
            logged = self._logs["extra"][column]
            logged.extend([[]] * (len(self._logs["prompt"]) - len(logged) - len(values)))
            logged.extend(values)
        self._pending_extra_logs.clear()
