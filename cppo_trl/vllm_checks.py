"""What `CPPOConfig` refuses of vLLM's settings, and what it says would do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cppo_config import CPPOConfig


def refuse_unusable_vllm(config: CPPOConfig) -> None:
    """Refuses settings of vLLM that cannot work together, as `ValueError`."""
    if not config.use_vllm:
        return
    if config.use_transformers_continuous_batching:
        raise ValueError(
            "use_vllm=True and use_transformers_continuous_batching=True name two backends for the "
            "rollouts; set one of them to False."
        )
    longest = max(config.max_plan_length, config.max_completion_length)
    if config.vllm_max_model_length is not None and config.vllm_max_model_length <= longest:
        raise ValueError(
            f"vllm_max_model_length={config.vllm_max_model_length} leaves no room for a prompt "
            f"beside max_plan_length={config.max_plan_length} or max_completion_length="
            f"{config.max_completion_length}; use {longest} plus the longest prompt's tokens, or "
            "None."
        )
    if config.vllm_mode == "server" and config.vllm_enable_sleep_mode:
        raise ValueError(
            "vllm_enable_sleep_mode=True frees the memory that a colocated engine shares with the "
            "training, but vllm_mode='server' shares none; use vllm_enable_sleep_mode=False."
        )
    processes = int(os.environ.get("WORLD_SIZE", 1))
    parallel = config.vllm_tensor_parallel_size
    if config.vllm_mode == "colocate" and processes > 1 and parallel > 1:
        raise ValueError(
            f"vllm_tensor_parallel_size={parallel} with {processes} processes is not supported "
            "for vllm_mode='colocate', where each process has an engine of its own; use 1, or "
            f"vllm_mode='server' with `vllm serve --tensor-parallel-size {parallel}`."
        )
    if (
        config.loss_type == "vespo"
        and config.vllm_importance_sampling_correction
        and config.vllm_importance_sampling_mode.startswith("sequence")
    ):
        raise ValueError(
            "loss_type='vespo' weighs tokens, but vllm_importance_sampling_mode="
            f"{config.vllm_importance_sampling_mode!r}; use 'token_truncate' or 'token_mask'."
        )
