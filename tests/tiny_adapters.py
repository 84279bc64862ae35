"""Trained-looking adapters for the tiny checkpoints, written with plain PEFT."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from cppo_trl import Prompts
from cppo_trl.generation import Sampling, Speaker, TransformersGenerator
from cppo_trl.policy import save_policy_config
from cppo_trl.roles import add_roles, save_roles
from cppo_trl.rollouts import RolloutPolicy

ROLES = ("planner", "solver")


def lora_config(**overrides: object) -> LoraConfig:
    """A small LoRA on all linear layers but the head."""
    settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    return LoraConfig(**(settings | overrides))


def randomise_adapters(model: nn.Module, seed: int, scale: float = 0.1) -> None:
    """Draws all LoRA weights anew, so that the adapters are no identity and unlike each other."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            drawn = torch.randn(parameter.shape, generator=generator) * scale
            parameter.data.copy_(drawn.to(parameter.dtype))


def save_adapters(model_dir: str | Path, directory: str | Path) -> Path:
    """Saves a random adapter for each role, in `directory/planner` and `directory/solver`."""
    for seed, role in enumerate(ROLES, start=1):
        base = AutoModelForCausalLM.from_pretrained(model_dir)
        model = get_peft_model(base, lora_config())
        randomise_adapters(model, seed)
        model.save_pretrained(Path(directory) / role)
    return Path(directory)


def save_policy(model_dir: str | Path, directory: str | Path, seed: int = 0) -> Path:
    """Saves a policy of K = 2 with random adapters, as `CPPOTrainer.save_model` does."""
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = add_roles(AutoModelForCausalLM.from_pretrained(model_dir), lora_config())
    randomise_adapters(model, seed)
    save_roles(model, directory)
    tokenizer.save_pretrained(directory)
    sampling = Sampling(max_new_tokens=16, temperature=1.0)
    generator = TransformersGenerator(model, tokenizer, {tokenizer.eos_token_id})
    speaker = Speaker(generator, tokenizer)
    save_policy_config(RolloutPolicy(speaker, Prompts(), 2, sampling, sampling), directory)
    return Path(directory)
