"""The model that a stage trains: a base, both roles on it, and its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from peft import LoraConfig, PeftModel
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    TrainingArguments,
)
from transformers.distributed.fsdp import is_fsdp_enabled
from transformers.integrations import is_deepspeed_zero3_enabled
from trl import ModelConfig, get_quantization_config
from trl.trainer.utils import create_model_from_path, get_config_model_id

from .roles import add_roles


def load_with_roles(
    model: str | PreTrainedModel | PeftModel,
    args: TrainingArguments,
    processing_class: PreTrainedTokenizerBase | None = None,
    peft_config: LoraConfig | Mapping[str, LoraConfig] | None = None,
    adapters: Mapping[str, str] | None = None,
    quantization_config: BitsAndBytesConfig | None = None,
) -> tuple[PeftModel, PreTrainedTokenizerBase]:
    """Loads a base where it is not loaded yet, gives it both roles, and loads its tokenizer.

    Args:
        model: Hub id, path, `PreTrainedModel`, or a `PeftModel` that holds the roles.
        args: of the trainer; its `model_init_kwargs` and `trust_remote_code` are used.
        processing_class: the tokenizer; None loads the base's.
        peft_config, adapters: as for `roles.add_roles`.
        quantization_config: how a base that is loaded here is quantized.

    Raises:
        TypeError: `processing_class` is not for text.
        ValueError: what `roles.add_roles` refuses.
    """
    if isinstance(processing_class, ProcessorMixin):
        raise TypeError(
            f"`processing_class` is a {type(processing_class).__name__}, but CPPO is for text; "
            "give its tokenizer."
        )
    revision = None
    if isinstance(model, str):
        revision = (args.model_init_kwargs or {}).get("revision")
        model = load_base(model, args, quantization_config)
    model = add_roles(model, peft_config, adapters, revision)
    if processing_class is None:
        processing_class = load_tokenizer(model, args, revision)
    return model, processing_class


def load_base(
    model: str, args: TrainingArguments, quantization_config: BitsAndBytesConfig | None = None
) -> PreTrainedModel:
    """Loads the text model of a checkpoint, as the `model_init_kwargs` of a trainer say.

    The vision tower of a checkpoint that can see would get adapters without gradient.
    """
    return create_model_from_path(
        model, AutoModelForCausalLM, **_model_kwargs(args, quantization_config)
    )


def load_tokenizer(
    model: PreTrainedModel | PeftModel, args: TrainingArguments, revision: str | None = None
) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a model's checkpoint."""
    return AutoTokenizer.from_pretrained(
        get_config_model_id(model.config),
        revision=revision or "main",
        padding_side="left",
        trust_remote_code=args.trust_remote_code,
    )


def model_init_kwargs(model: ModelConfig, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """What TRL's `ModelConfig` says of how the base is loaded; `given` wins."""
    return {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
    } | dict(given or {})


def nf4() -> BitsAndBytesConfig:
    """How commands quantize a base when they are told `--load-in-4bit`, as the recipes do."""
    return get_quantization_config(
        ModelConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", use_bnb_nested_quant=True)
    )


def refuse_sharding(args: TrainingArguments) -> None:
    """Refuses what splits the parameters over ranks, which rollouts and saving cannot gather."""
    if args.fsdp or is_fsdp_enabled() or is_deepspeed_zero3_enabled():
        raise ValueError(
            "FSDP and DeepSpeed ZeRO-3 are not supported: every rank holds the whole base, frozen, "
            "and only the adapters have optimizer states. Launch with DDP or DeepSpeed ZeRO-2, and "
            "quantize a base that does not fit (`quantization_config`, load_in_4bit in the recipe)."
        )


@contextmanager
def replaced(args: TrainingArguments, values: Mapping[str, Any]) -> Iterator[None]:
    """Gives fields other values within the block."""
    given = {name: getattr(args, name) for name in values}
    vars(args).update(values)
    try:
        yield
    finally:
        vars(args).update(given)


def _model_kwargs(
    args: TrainingArguments, quantization_config: BitsAndBytesConfig | None
) -> dict[str, Any]:
    kwargs = {"trust_remote_code": args.trust_remote_code, **(args.model_init_kwargs or {})}
    if quantization_config is not None:
        kwargs["quantization_config"] = quantization_config
    if args.distributed_state.distributed_type in ("MULTI_GPU", "DEEPSPEED"):
        kwargs["device_map"] = None
    return kwargs
