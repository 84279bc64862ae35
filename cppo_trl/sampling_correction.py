"""What corrects the loss for a sampler whose probabilities are not quite the trainer's.

An inference engine computes the same policy with other kernels and at another precision. TRL
weights the surrogate with the ratio of the trainer's probability to the sampler's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch

from .batches import Row

CorrectionMode = Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]
CORRECTION_MODES = get_args(CorrectionMode)


def importance_ratio(
    logps_T: torch.Tensor,
    sampling_logps_T: torch.Tensor,
    mode: CorrectionMode,
    clip_min: float | None,
    clip_max: float | None,
) -> torch.Tensor:
    """Returns what weights the surrogate of one completion, as `GRPOTrainer` does: (T,), or (1,)
    for the whole sequence.

    Args:
        logps_T: log-probabilities of the completion's tokens for the trainer, in nats, at the
            sampling temperature.
        sampling_logps_T: for the sampler; NaN where it has none, which is corrected for nothing.
        mode: whether a ratio outside of the bounds is moved to them or becomes 0, and whether it is
            a token's or the sequence's.
        clip_min, clip_max: the bounds; None for none.
    """
    difference = torch.nan_to_num(logps_T - sampling_logps_T, nan=0.0)
    if mode.startswith("sequence"):
        difference = difference.sum(-1, keepdim=True)
    ratio = difference.exp()
    low = -math.inf if clip_min is None else clip_min
    high = math.inf if clip_max is None else clip_max
    if mode.endswith("truncate"):
        return ratio.clamp(low, high)
    return ratio.masked_fill((ratio < low) | (ratio > high), 0.0)


def correct_sampling(
    rows: Sequence[Row], mode: CorrectionMode, clip_min: float | None, clip_max: float | None
) -> torch.Tensor:
    """Gives each row its ratio, from its `old_logps` and `sampling_logps`, and returns (1, 2, 4)
    numbers of them for `correction_metrics`.

    Raises:
        ValueError: a row has no sampling log-probabilities.
    """
    differences = []
    for row in rows:
        if row.sampling_logps is None:
            raise ValueError(
                f"vllm_importance_sampling_correction=True, but the {row.role}'s completions came "
                "without log-probabilities; the backend must give them, or set it to False."
            )
        row.sampling_ratio = importance_ratio(
            row.old_logps, row.sampling_logps, mode, clip_min, clip_max
        )
        difference = (row.old_logps - row.sampling_logps).abs()
        differences.append(difference[~difference.isnan()])
    ratios = [row.sampling_ratio for row in rows]
    return torch.tensor([[_summary(differences), _summary(ratios)]])


def correction_metrics(facts: torch.Tensor) -> dict[str, float]:
    """What `GRPOTrainer` logs of the correction, by its names for it; NaN where nothing is known.

    Args:
        facts: of `correct_sampling`, a row for each rank.
    """
    if not facts[:, :, 1].sum():
        facts = torch.full_like(facts, torch.nan)
    (difference, tokens, _, highest), (ratio, count, least, most) = facts.permute(1, 2, 0)
    metrics = {
        "sampling/sampling_logp_difference/mean": difference.sum() / tokens.sum(),
        "sampling/sampling_logp_difference/max": highest.max(),
        "sampling/importance_sampling_ratio/min": least.min(),
        "sampling/importance_sampling_ratio/mean": ratio.sum() / count.sum(),
        "sampling/importance_sampling_ratio/max": most.max(),
    }
    return {name: float(value) for name, value in metrics.items()}


def _summary(values: Sequence[torch.Tensor]) -> list[float]:
    """Sum, count, least and most."""
    flat = torch.cat([torch.zeros(0), *values])
    if not flat.numel():
        return [0.0, 0.0, math.inf, -math.inf]
    return [float(flat.sum()), float(flat.numel()), float(flat.min()), float(flat.max())]
