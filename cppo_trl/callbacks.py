"""A guard against updates that move nothing."""

from __future__ import annotations

import torch
from transformers import TrainerCallback


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
