"""What a training keeps in memory whatever the batch.

    python perf/memory.py

Weights, gradients, optimizer, reference and judge. Full fine-tuning as the authors released it: an
fp32 policy, its deep copy as the reference, a judge of the same size in bf16. As trained here, on a
bf16 base (LoRA) or an nf4 one (QLoRA): planner and solver adapters of rank 32 in fp32, frozen
copies of both as the reference where they start from trained ones, and a judge's adapter.

The tiny models are built, trained for one step and counted; the others are computed by the same
formula, whose error at the tiny ones is printed. Activations and caches come on top.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import torch
from peft import LoraConfig
from shapes import qwen3, qwen3_5
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PretrainedConfig,
    PreTrainedModel,
)

from cppo_trl.roles import ROLES, add_references, add_roles, role_parameters

RANK = 32
KINDS = ("full, as released", "LoRA, bf16 base", "QLoRA, nf4 base")
TINY = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "head_dim": 64,
    "vocab_size": 1024,
}
MODELS = {
    "Qwen3 tiny": qwen3("0.6B", num_key_value_heads=2, **TINY),
    "Qwen3.5 tiny": qwen3_5(
        "0.8B", num_key_value_heads=2, linear_num_key_heads=4, linear_num_value_heads=8, **TINY
    ),
    **{f"Qwen3.5 {size}": qwen3_5(size) for size in ("0.8B", "2B", "4B", "9B")},
}


@dataclass(frozen=True)
class Weights:
    """Numbers of weights: in linear layers that LoRA adapts, in all else, in one adapter."""

    linear: int
    others: int
    adapter: int

    @classmethod
    def of(cls, config: PretrainedConfig) -> Weights:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        head = model.get_output_embeddings()
        layers = [m for m in model.modules() if isinstance(m, nn.Linear) and m is not head]
        linear = sum(layer.weight.numel() for layer in layers)
        total = sum(parameter.numel() for parameter in model.parameters())
        adapter = sum(RANK * (layer.in_features + layer.out_features) for layer in layers)
        return cls(linear, total - linear, adapter)


def parts(weights: Weights, kind: str) -> dict[str, float]:
    """Bytes of each part."""
    total = weights.linear + weights.others
    if kind == KINDS[0]:
        return {
            "policy": 8 * total,
            "optimizer": 8 * total,
            "reference": 4 * total,
            "judge": 2 * total,
        }
    # nf4: 4 bits, and a scale of 32 bits for each 64 weights.
    linear = 2.0 if kind == KINDS[1] else 0.5 + 4 / 64
    base = linear * weights.linear + 2 * weights.others
    adapters = 2 * weights.adapter
    return {
        "policy": base + 8 * adapters,  # fp32 weights and gradients
        "optimizer": 8 * adapters,
        "reference": 4 * adapters,
        "judge": 4 * weights.adapter,
    }


def counted(config: PretrainedConfig, kind: str) -> dict[str, float]:
    """Bytes of each part of a training that is really there, after its first step."""
    if kind == KINDS[0]:
        policy = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        optimizer = one_step(policy, [*policy.parameters()])
        bytes_ = size([*policy.parameters()])
        return {
            "policy": 2 * bytes_,
            "optimizer": size(states(optimizer)),
            "reference": bytes_,
            "judge": bytes_ / 2,
        }
    base = load(config, four_bit=kind == KINDS[2])
    lora = LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = add_roles(base, lora)
    own = [parameter for role in ROLES for parameter in role_parameters(model, role)]
    adapters = size(own)
    frozen = size(stored(model)) - adapters
    for parameter in own:  # trained adapters have frozen copies as their reference
        parameter.data.normal_()
    before = size(stored(model))
    add_references(model)
    reference = size(stored(model)) - before
    optimizer = one_step(model, own)
    return {
        "policy": frozen + adapters + size([p.grad for p in own]),
        "optimizer": size(states(optimizer)),
        "reference": reference,
        "judge": adapters / 2,
    }


def load(config: PretrainedConfig, four_bit: bool) -> PreTrainedModel:
    """A random base as it is loaded for a training."""
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, quantization_config=quantization if four_bit else None
        )


def one_step(model: nn.Module, parameters: list[Tensor]) -> torch.optim.Optimizer:
    """An optimizer after a step, with a gradient of every parameter."""
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return optimizer


def states(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [t for state in optimizer.state.values() for n, t in state.items() if n != "step"]


def stored(model: nn.Module) -> list[Tensor]:
    """Weights, and the scales of quantized ones."""
    tensors = [*model.parameters()]
    scales = [p.quant_state.absmax for p in tensors if getattr(p, "quant_state", None) is not None]
    return tensors + scales


def size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def main() -> None:
    print("| model | | policy | optimizer | reference | judge | all |   |")
    print("|---|---|---:|---:|---:|---:|---:|---|")
    for name, config in MODELS.items():
        weights = Weights.of(config)
        is_tiny = "tiny" in name
        unit, said = (2**20, "MiB") if is_tiny else (2**30, "GiB")
        for kind in KINDS:
            computed = parts(weights, kind)
            found = counted(config, kind) if is_tiny else computed
            whole = sum(found.values())
            off = abs(whole / sum(computed.values()) - 1)
            note = f"counted, formula off by {off:.1%}" if is_tiny else "computed"
            cells = " | ".join(f"{found[part] / unit:.1f}" for part in computed)
            print(f"| {name} | {kind} | {cells} | {whole / unit:.1f} {said} | {note} |", flush=True)


if __name__ == "__main__":
    main()
