"""Tiny random checkpoints, made on the spot and offline, that load the way real ones do.

`save_qwen3` and `save_qwen3_5` write a folder that `AutoTokenizer` and `AutoModelForCausalLM`
read. The tokenizer is a byte-level BPE, so any text survives encoding and decoding; its chat
template ends a turn with the eos token as Qwen's does. Weights are drawn wide
(`initializer_range`), so that greedy tokens are not decided by rounding. Every linear layer has
in_features divisible by 64 and out_features by 32: bitsandbytes' 4-bit kernels for CPUs with
AVX512-BF16 need that.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3_5ForCausalLM,
    Qwen3_5TextConfig,
    Qwen3Config,
    Qwen3ForCausalLM,
)

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = (
    "A: sort the numbers and scan them once\nB: keep a table of sums\n",
    "Write one line for each of the labels A to D, then stop.",
    "Read the input, print the answer. ```python\nprint(sum(map(int, input().split())))\n```",
    "def solve(n):\n    return n * (n + 1) // 2\n",
    "system user assistant 0 1 2 3 4 5 6 7 8 9",
)


def make_tokenizer(vocab_size: int = 384) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer with a chat template, left padding, eos and pad tokens.

    `vocab_size` is an upper bound: the small corpus may offer fewer merges.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save_qwen3(directory: str | Path, *, seed: int = 0, **overrides: object) -> Path:
    """Save a random Qwen3 of 2 layers with its tokenizer; `overrides` go to its config."""
    settings = {
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "initializer_range": 0.2,
    }
    return _save(Qwen3ForCausalLM, Qwen3Config, settings | overrides, directory, seed)


def save_qwen3_5(directory: str | Path, *, seed: int = 0, **overrides: object) -> Path:
    """Save a random Qwen3.5 with one linear and one full attention layer, as `save_qwen3`."""
    settings = {
        "num_hidden_layers": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "linear_num_key_heads": 16,
        "linear_key_head_dim": 4,
        "linear_num_value_heads": 32,
        "linear_value_head_dim": 4,
        "initializer_range": 0.2,
    }
    return _save(Qwen3_5ForCausalLM, Qwen3_5TextConfig, settings | overrides, directory, seed)


def _save(
    model_class: type[PreTrainedModel],
    config_class: type,
    settings: dict[str, object],
    directory: str | Path,
    seed: int,
) -> Path:
    tokenizer = make_tokenizer()
    config = config_class(
        vocab_size=len(tokenizer),
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **settings,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return Path(directory)
