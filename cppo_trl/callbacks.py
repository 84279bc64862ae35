"""Guards against updates that move nothing and a warm-up that goes on for nothing."""

from __future__ import annotations

import logging

import torch
from transformers import TrainerCallback

from .level_off import level_off

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
                "The warm-up ends at step %d: the judge accepts %.3f of all tuples, %.3f in the "
                "window of %d steps before (standard error of the difference %.3f). To train on, "
                "set level_off_steps higher, or to 0.",
                state.global_step,
                found.after,
                found.before,
                args.level_off_steps,
                found.noise,
            )
