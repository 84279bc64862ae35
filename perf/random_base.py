"""Random models that are made on the device: nothing is downloaded, written or read."""

from __future__ import annotations

import torch
from bitsandbytes.nn import Linear4bit, Params4bit
from shapes import qwen3_5
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel


def build(config: PretrainedConfig, four_bit: bool, device: torch.device) -> PreTrainedModel:
    """A random model, made on the device layer by layer: each is quantized before the next is
    made.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    head = model.get_output_embeddings()
    for name in [name for name, _ in model.named_modules()]:
        module = model.get_submodule(name)
        module.to_empty(device=device, recurse=False)
        with torch.no_grad():
            model._init_weights(module)
        if four_bit and isinstance(module, nn.Linear) and module is not head:
            model.set_submodule(name, quantized(module))
    model.tie_weights()
    model.is_loaded_in_4bit = four_bit  # PEFT and TRL look here
    return model


def quantized(layer: nn.Linear) -> Linear4bit:
    """The layer with its weights in nf4."""
    nf4 = {"quant_type": "nf4", "compress_statistics": True}
    small = Linear4bit(
        layer.in_features,
        layer.out_features,
        bias=layer.bias is not None,
        compute_dtype=layer.weight.dtype,
        device="meta",
        **nf4,
    )
    weight = Params4bit(layer.weight.data, requires_grad=False, module=small, **nf4)
    small.weight = weight.to(layer.weight.device)
    small.bias = layer.bias
    return small


def tiny_shape() -> PretrainedConfig:
    """As small as the kernels for 4 bits allow."""
    return qwen3_5(
        "0.8B",
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        linear_num_key_heads=4,
        linear_key_head_dim=16,
        linear_num_value_heads=8,
        linear_value_head_dim=16,
        vocab_size=512,
        layer_types=None,
    )
