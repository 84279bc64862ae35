"""The vLLM backend of a training, as its configuration says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate.accelerator import Accelerator
from accelerate.utils import broadcast_object_list
from bitsandbytes.nn import Linear4bit, Linear8bitLt
from peft import PeftModel
from trl.trainer.utils import ensure_master_addr_port, get_config_model_id

from .cppo_config import CPPOConfig
from .generation.adapter_sync import AdapterSync
from .generation.vllm_generator import VLLMGenerator, require_vllm
from .generation.vllm_server import VLLMServerGenerator


def refuse_missing_vllm(args: CPPOConfig) -> None:
    """Refuses a colocated engine without the package, as `ImportError`; a server needs none."""
    if args.use_vllm and args.vllm_mode == "colocate":
        require_vllm()


def vllm_generator(
    model: PeftModel, args: CPPOConfig, accelerator: Accelerator, eos_token_ids: Sequence[int]
) -> VLLMGenerator | VLLMServerGenerator:
    """Starts the engine of this process, or finds the server.

    Raises:
        ValueError: the engine could not load this base.
        VLLMServerError: there is no server that serves.
    """
    if args.vllm_mode == "server":
        return _server(model, args, accelerator, eos_token_ids)
    quantization = _quantization(model)
    ranks = accelerator.num_processes
    engine = {}
    if ranks > 1:
        # Each rank has an engine for itself, on its own device.
        ensure_master_addr_port()
        engine["distributed_executor_backend"] = "external_launcher"
    if args.rollout_batch_size is not None:
        engine["max_num_seqs"] = args.rollout_batch_size
    revisions = {config.revision for config in model.peft_config.values()}
    return VLLMGenerator(
        _checkpoint(model),
        AdapterSync(model),
        eos_token_ids,
        sleep_mode=args.vllm_enable_sleep_mode,
        seed=args.seed + accelerator.process_index,
        dtype=_dtype(model, args),
        quantization=quantization,
        revision=next(iter(revisions)),
        trust_remote_code=args.trust_remote_code,
        gpu_memory_utilization=args.vllm_gpu_memory_utilization,
        max_model_len=args.vllm_max_model_length,
        tensor_parallel_size=args.vllm_tensor_parallel_size,
        model_impl=args.vllm_model_impl,
        max_num_batched_tokens=_MOST_BATCHED_TOKENS,
        enforce_eager=args.device.type == "cpu",
        **engine,
    )


# vLLM's default would make its memory profile, and so its activations, needlessly large.
_MOST_BATCHED_TOKENS = 4096


def _server(
    model: PeftModel, args: CPPOConfig, accelerator: Accelerator, eos_token_ids: Sequence[int]
) -> VLLMServerGenerator:
    """The main process writes the adapters and has them loaded; all ask for completions."""
    shared: list[Path | None] = [None]
    if accelerator.is_main_process:
        adapters = AdapterSync(model, args.vllm_adapter_dir)
        shared = [adapters.folder]
    broadcast_object_list(shared)
    if not accelerator.is_main_process:
        adapters = AdapterSync(model, folder=shared[0])
    return VLLMServerGenerator(
        args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}",
        adapters,
        eos_token_ids,
        timeout=args.vllm_server_timeout,
        loads=accelerator.is_main_process,
        barrier=accelerator.wait_for_everyone,
    )


def _checkpoint(model: PeftModel) -> str:
    """The base's id or path, from which the engine loads it once more."""
    name = get_config_model_id(model.config)
    if not name:
        raise ValueError(
            "use_vllm=True with vllm_mode='colocate' loads the base from its checkpoint, but the "
            "model's config names none; give `model` as an id or a path, or save it first."
        )
    return name


def _dtype(model: PeftModel, args: CPPOConfig) -> str:
    """The type that the training computes the base in."""
    if args.bf16:
        return "bfloat16"
    if args.fp16:
        return "float16"
    return str(model.get_base_model().dtype).removeprefix("torch.")


def _quantization(model: torch.nn.Module) -> str | None:
    """How the engine quantizes the base when it loads it, so that it is the training's.

    vLLM 0.32 has given up bitsandbytes; what it cannot quantize alike is refused.
    """
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS

    modules = list(model.modules())
    if any(isinstance(module, Linear8bitLt) for module in modules):
        kinds = {"8 bits"}
    else:
        kinds = {module.weight.quant_type for module in modules if isinstance(module, Linear4bit)}
    if not kinds:
        return None
    if kinds == {"nf4"} and "bitsandbytes" in QUANTIZATION_METHODS:
        return "bitsandbytes"
    raise ValueError(
        f"the base is quantized by bitsandbytes ({', '.join(kinds)}), which this vLLM cannot do "
        "when it loads one; train on a base that is not, use vllm_mode='server' with a server of "
        "the base, whose sampling the importance ratios correct, or use_vllm=False."
    )
