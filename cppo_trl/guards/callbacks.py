"""Guards of a training: against updates that move nothing, rewards that teach nothing, and a
warm-up that goes on for nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import TrainerCallback, TrainerState
from transformers.trainer_callback import ExportableState

from cppo_trl.rewards import PlannerReward
from cppo_trl.scores import Scores

from .level_off import level_off
from .variance import CAUSES, likely_cause, role_without_variance

log = logging.getLogger("cppo_trl.training")


class StillWeightsCallback(TrainerCallback):
    """Stops the training when an optimizer step with a gradient and a learning rate changes no
    weight.

    That happens silently when trainable weights are in bf16: an update smaller than the mantissa is
    lost. The parameter with the largest gradient is watched, so the cost is one copy of one LoRA
    matrix.
    """

    def __init__(self) -> None:
        self._watched: tuple[torch.nn.Parameter, torch.Tensor] | None = None

    def on_pre_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        self._watched = None
        learning = [
            parameter
            for group in optimizer.param_groups
            if group["lr"] > 0
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if not learning:
            return
        norms = torch.stack([parameter.grad.norm() for parameter in learning])
        if norms.max() > 0:
            largest = learning[norms.argmax()]
            self._watched = largest, largest.detach().clone()

    def on_optimizer_step(self, args, state, control, optimizer=None, **kwargs):
        if self._watched is None:
            return
        parameter, before = self._watched
        self._watched = None
        skipped = optimizer.step_was_skipped  # a loss scaler skips steps whose gradients overflow
        if not skipped and torch.equal(parameter.detach(), before):
            raise RuntimeError(
                f"The optimizer step {state.global_step + 1} moved no weight although there was a "
                f"gradient: the trainable weights are {parameter.dtype} and the update is too "
                "small for it. Keep trainable weights in float32, or raise the learning rate."
            )


class LevelOffCallback(TrainerCallback):
    """Ends the warm-up (`planner_reward="judge"`) when `level_off` says so, and tells why.

    It reads nothing but the logged history, which a checkpoint holds, so a resumed run ends where
    an unbroken one does. Looks are taken when metrics are logged (`logging_steps`).
    """

    def on_log(self, args, state, control, **kwargs):
        if args.planner_reward != "judge" or not args.level_off_steps:
            return
        if control.should_training_stop:
            return
        found = level_off(state.log_history, args.level_off_steps)
        if found is None:
            return
        control.should_training_stop = True
        # As at the last of max_steps.
        control.should_evaluate |= args.eval_strategy == "steps"
        control.should_save |= args.save_strategy == "steps"
        if state.is_world_process_zero:
            # Not an error, but to be seen: by default nobody sees what is logged as info.
            log.warning(
                "The warm-up ends at step %d: the acceptance rate (R_plan) has levelled off at "
                "%.3f; windows of %d steps: %s (standard error of a difference %.3f). To train "
                "on, set level_off_steps higher, or to 0.",
                state.global_step,
                found.rates[-1],
                args.level_off_steps,
                ", ".join(f"{rate:.3f}" for rate in found.rates),
                found.noise,
            )


class VarianceCallback(TrainerCallback, ExportableState):
    """Counts batches of rollouts in which a learning role has no advantage, since no group has
    reward variance, and warns of them with the likely cause: the first, second, fourth, eighth ...
    time of each.

    The counts are saved with the trainer's state and go on in a resumed run.

    Args:
        roles: that learn.
        planner_reward: of the run.
    """

    def __init__(self, roles: Sequence[str], planner_reward: PlannerReward):
        self.roles = tuple(roles)
        self.planner_reward = planner_reward
        self.counts: dict[str, int] = {}  # "cause/role" -> batches

    @classmethod
    def among(cls, callbacks: Iterable[TrainerCallback]) -> VarianceCallback:
        """The one of a trainer; `Trainer` makes a new one where it restores callbacks."""
        return next(one for one in callbacks if isinstance(one, cls))

    def state(self) -> dict[str, Any]:
        args = {"roles": list(self.roles), "planner_reward": self.planner_reward}
        return {"args": args, "attributes": {"counts": dict(self.counts)}}

    def on_train_begin(self, args, state, control, **kwargs):
        # Trainer does this only for restore_callback_states_from_checkpoint=True.
        saved = state.stateful_callbacks.get(type(self).__name__)
        if saved is not None:
            self.counts = dict(saved["attributes"]["counts"])

    def count(self, scores: Scores, state: TrainerState) -> int:
        """Looks at a batch of training rollouts; returns how many had no variance so far."""
        role = role_without_variance(scores, self.roles)
        if role is not None:
            cause = likely_cause(scores, role, self.planner_reward)
            times = self.counts.get(f"{cause}/{role}", 0) + 1
            self.counts[f"{cause}/{role}"] = times
            if state.is_world_process_zero and times & (times - 1) == 0:
                log.warning(
                    "Step %d: the %s has nothing to learn from, all of its advantages in the batch "
                    "are 0. Likely cause, for the %s time: %s. %s",
                    state.global_step + 1,
                    role,
                    _ordinal(times),
                    *CAUSES[cause],
                )
        return sum(self.counts.values())


def _ordinal(times: int) -> str:
    """Of a power of two."""
    return {1: "first", 2: "second"}.get(times, f"{times}{'nd' if times % 10 == 2 else 'th'}")
