"""The model that a baseline trains: a base with one LoRA adapter, in fp32, and its tokenizer."""

from __future__ import annotations

from peft import LoraConfig, PeftModel
from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase
from trl import GRPOConfig, GRPOTrainer

from cppo_trl.generation.speaker import PLAIN_CHAT_TEMPLATE
from cppo_trl.guards.callbacks import StillWeightsCallback
from cppo_trl.role_model import load_base, load_tokenizer
from cppo_trl.roles import SOLVER, adapter_source, keep_quantized_weights_differentiable


def load_solver(
    model: str,
    args: GRPOConfig,
    adapter: str | None = None,
    quantization_config: BitsAndBytesConfig | None = None,
) -> tuple[PreTrainedModel | PeftModel, PreTrainedTokenizerBase]:
    """Loads a base and its tokenizer, and a trained adapter to start from if there is one.

    Args:
        model: Hub id or path of the base.
        args: its `model_init_kwargs` and `trust_remote_code` are used.
        adapter: directory or Hub id of an adapter, or of a policy that holds it as its solver. It
            is frozen until `keep_adapter_in_fp32`, since GRPOTrainer rounds what is trainable on a
            quantized base to bf16.
        quantization_config: how the base is quantized.

    Returns:
        The base, or a `PeftModel` with the adapter "default", and the tokenizer. A tokenizer
        without a chat template gets one that joins messages as `Speaker` does: the prompts of a
        training are those of an evaluation.
    """
    revision = (args.model_init_kwargs or {}).get("revision")
    base = load_base(model, args, quantization_config)
    keep_quantized_weights_differentiable(base)
    tokenizer = load_tokenizer(base, args, revision)
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    if adapter is None:
        return base, tokenizer
    source, subfolder = adapter_source(adapter, SOLVER)
    return PeftModel.from_pretrained(base, source, subfolder=subfolder), tokenizer


def adapter_of_base(peft_config: LoraConfig, args: GRPOConfig) -> LoraConfig:
    """The configuration of a new adapter, which names the revision of its base when it is saved."""
    peft_config.revision = (args.model_init_kwargs or {}).get("revision") or peft_config.revision
    return peft_config


def keep_adapter_in_fp32(trainer: GRPOTrainer) -> None:
    """Makes the adapter "default" of a trainer's model trainable in fp32, and watches its steps.

    GRPOTrainer rounds the adapter of a quantized base to bf16, where an Adam step at the learning
    rates of RL falls under the mantissa and changes nothing. A model without adapters is left as it
    is.
    """
    for name, parameter in trainer.model.named_parameters():
        if "lora_" in name and ".default." in name:
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()
    if not any(isinstance(c, StillWeightsCallback) for c in trainer.callback_handler.callbacks):
        trainer.add_callback(StillWeightsCallback())
