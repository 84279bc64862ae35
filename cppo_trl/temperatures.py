"""Scoring planner and solver rows of one batch each at its own sampling temperature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel

from .roles import PLANNER


class RoleTemperatures:
    """Divides the logits of planner rows by the planner's temperature, where TRL divides all by the
    solver's.

    TRL's fused head has one temperature. Scaling a planner row's last hidden states by solver /
    planner temperature gives its logits at its own, as long as the head is linear.

    Raises:
        ValueError: if the temperatures differ and the head is not linear.
    """

    def __init__(self, model: PeftModel, planner: float, solver: float):
        self._planner_scale = solver / planner
        self._scales: torch.Tensor | None = None
        if self._planner_scale == 1.0:
            return
        base = model.get_base_model()
        softcapping = getattr(base.config.get_text_config(), "final_logit_softcapping", None)
        if softcapping or base.get_output_embeddings().bias is not None:
            raise ValueError(
                f"planner_temperature={planner} differs from temperature={solver}, but the head "
                f"of {type(base).__name__} is not linear; use the same temperature for both roles."
            )
        base.base_model.register_forward_hook(self._scale_hidden_states)

    @contextmanager
    def scoring(self, roles: Sequence[str]) -> Iterator[None]:
        """Scores the forwards in the block, whose rows have these roles, at their temperatures."""
        scales = [self._planner_scale if role == PLANNER else 1.0 for role in roles]
        self._scales = torch.tensor(scales)[:, None, None]
        try:
            yield
        finally:
            self._scales = None  # generation scales its logits itself

    def _scale_hidden_states(self, backbone: torch.nn.Module, args: tuple, output: Any) -> Any:
        if self._scales is not None:
            output.last_hidden_state = output.last_hidden_state * self._scales.to(
                output.last_hidden_state
            )
        return output
