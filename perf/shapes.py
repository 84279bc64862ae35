"""Shapes of the models that the benchmarks are about: random weights, no files needed."""

from __future__ import annotations

from transformers import PretrainedConfig, Qwen3_5TextConfig, Qwen3Config

# Their public configurations, of the text model alone.
_QWEN3 = {
    "0.6B": (1024, 28, 3072, 16, True),
    "1.7B": (2048, 28, 6144, 16, True),
    "4B": (2560, 36, 9728, 32, True),
    "8B": (4096, 36, 12288, 32, False),
}
_QWEN3_5 = {
    "0.8B": (1024, 24, 3584, 8, 2, 16, True),
    "2B": (2048, 24, 6144, 8, 2, 16, True),
    "4B": (2560, 32, 9216, 16, 4, 32, True),
    "9B": (4096, 32, 12288, 16, 4, 32, False),
}


def qwen3(size: str, **changes: object) -> PretrainedConfig:
    """A Qwen3 of that size."""
    hidden, layers, intermediate, heads, tied = _QWEN3[size]
    given = {
        "vocab_size": 151936,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "tie_word_embeddings": tied,
    }
    return Qwen3Config(**given | changes)


def qwen3_5(size: str, **changes: object) -> PretrainedConfig:
    """A Qwen3.5 of that size: after three layers of linear attention, one of full attention."""
    hidden, layers, intermediate, heads, kv_heads, value_heads, tied = _QWEN3_5[size]
    given = {
        "vocab_size": 248320,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 256,
        "linear_num_key_heads": 16,
        "linear_key_head_dim": 128,
        "linear_num_value_heads": value_heads,
        "linear_value_head_dim": 128,
        "tie_word_embeddings": tied,
    }
    return Qwen3_5TextConfig(**given | changes)
