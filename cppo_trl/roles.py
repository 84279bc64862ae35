"""Planner and solver as two LoRA adapters on one frozen base: add, freeze, save, load, merge.

Both are active all the time; `routing` says which rows of a batch go through which.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from bitsandbytes.nn import Linear4bit
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    load_peft_weights,
    set_peft_model_state_dict,
)
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import has_file

from .routing import BASE, role_router

PLANNER, SOLVER = "planner", "solver"
ROLES = (PLANNER, SOLVER)

# What PEFT's path for mixed rows cannot route, or what would change the base that both roles share.
_UNROUTABLE = (
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
    "layer_replication",
)
_INITIALISATIONS = (True, False, "gaussian", "orthogonal")


def default_lora_config() -> LoraConfig:
    """Returns the method's LoRA: rank 32, alpha 64 (METHOD: stage 1), on all linear layers but the
    head.
    """
    return LoraConfig(r=32, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM")


def add_roles(
    model: PreTrainedModel | PeftModel,
    peft_config: LoraConfig | Mapping[str, LoraConfig] | None = None,
    adapters: Mapping[str, str] | None = None,
    revision: str | None = None,
) -> PeftModel:
    """Gives a model both role adapters, active together, in fp32, and attaches the router.

    Args:
        model: a plain model, or a `PeftModel` that already holds one or both roles; roles it holds
            are kept.
        peft_config: the LoRA of the roles that are added: one for both, or one for each role by
            name.
        adapters: role -> directory or Hub id of a trained adapter to start from, or of a policy
            that holds it in the role's folder, as `save_roles` writes it.
        revision: of the base, on the Hub; saved with the adapters that are added.

    Raises:
        ValueError: if a configuration cannot be routed, an adapter has an unknown name, or a role
            would be added twice.
    """
    adapters = dict(adapters or {})
    held = set(model.peft_config) if isinstance(model, PeftModel) else set()
    _refuse_unknown_names("adapters", adapters)
    if held and not held & set(ROLES):
        raise ValueError(
            f"The model holds the adapters {sorted(held)}, but CPPO trains adapters named "
            f"{list(ROLES)}. Load them with `PeftModel.from_pretrained(base, path, "
            "adapter_name='planner')`, or merge the adapter first."
        )
    if both := held & set(adapters):
        raise ValueError(
            f"`adapters` gives {sorted(both)}, but the model holds these roles already."
        )
    configs = _config_for_each_role(peft_config)
    for config in configs.values():
        config.revision = revision or config.revision
    for role in ROLES:
        if role in held:
            _refuse_unroutable(model.peft_config[role], role)
        elif role in adapters:
            source, subfolder = adapter_source(adapters[role], role)
            if isinstance(model, PeftModel):
                model.load_adapter(source, role, subfolder=subfolder)
            else:
                model = PeftModel.from_pretrained(
                    model, source, adapter_name=role, subfolder=subfolder
                )
            _refuse_unroutable(model.peft_config[role], role)
        else:
            _refuse_unroutable(configs[role], role)
            if isinstance(model, PeftModel):
                model.add_adapter(role, configs[role])
            else:
                model = get_peft_model(model, configs[role], adapter_name=role)
    keep_quantized_weights_differentiable(model)
    model.base_model.set_adapter(list(ROLES))
    make_trainable(model, ROLES)
    role_router(model)
    return model


def load_adapters(
    model: PreTrainedModel, sources: Mapping[str, tuple[str, str]]
) -> PreTrainedModel | PeftModel:
    """Puts trained adapters on a plain model, to be used and not to be trained.

    Args:
        model: the base; it is returned as it is where there are no adapters.
        sources: for each adapter, by the name that it is routed by, its role and the directory or
            Hub id that holds it, alone or in the role's folder.

    Raises:
        ValueError: an adapter is not there, or cannot be routed.
    """
    for name, (role, source) in sources.items():
        source, subfolder = adapter_source(source, role)
        if isinstance(model, PeftModel):
            model.load_adapter(source, name, subfolder=subfolder)
        else:
            model = PeftModel.from_pretrained(model, source, name, subfolder=subfolder)
        _refuse_unroutable(model.peft_config[name], role)
    return model.eval()


def role_of(parameter_name: str) -> str | None:
    """Returns the role whose adapter a parameter belongs to, or None for the base and for
    references.

    >>> role_of("base_model.model.layers.0.q_proj.lora_A.planner.weight")
    'planner'
    """
    parts = parameter_name.split(".")
    for part, following in pairwise(parts):
        if part.startswith("lora_") and following in ROLES:
            return following
    return None


def make_trainable(model: PeftModel, roles: Sequence[str]) -> None:
    """Makes the adapters of `roles` the only trainable parameters, in fp32.

    In bf16, an Adam step at the learning rates of RL falls under the mantissa and changes nothing.
    """
    for name, parameter in model.named_parameters():
        trainable = role_of(name) in roles
        parameter.requires_grad_(trainable)
        if trainable:
            parameter.data = parameter.data.float()


def add_references(model: PeftModel) -> dict[str, str]:
    """Returns the adapter that each role's rows are routed to for the reference policy.

    The reference is the checkpoint that the stage started from (METHOD: section 3). An adapter that
    still is the identity has the bare base as its reference, which costs no memory; any other is
    copied and frozen.
    """
    references = {}
    for role in ROLES:
        weights = get_peft_model_state_dict(model, adapter_name=role, save_embedding_layers=False)
        if all(
            not tensor.any()
            for name, tensor in weights.items()
            if "lora_B" in name or "embedding_B" in name
        ):
            references[role] = BASE
            continue
        references[role] = f"{role}_ref"
        if references[role] not in model.peft_config:
            trainable = {
                name for name, parameter in model.named_parameters() if parameter.requires_grad
            }
            model.add_adapter(references[role], model.peft_config[role])
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name in trainable)
        set_peft_model_state_dict(model, weights, adapter_name=references[role])
    return references


def save_roles(model: PeftModel, directory: str | Path) -> None:
    """Writes the adapters to `directory/planner` and `directory/solver`, as plain PEFT adapters.

    `PeftModel.from_pretrained(base, directory, subfolder="planner")` reads one of them without this
    library.
    """
    model.save_pretrained(
        str(directory), selected_adapters=list(ROLES), save_embedding_layers=False
    )


def load_role_weights(model: PeftModel, directory: str | Path) -> None:
    """Copies the weights that `save_roles` wrote into the adapters of a model, in place.

    Raises:
        ValueError: if a role's adapter is missing or does not fit the model's.
    """
    for role in ROLES:
        if not (Path(directory) / role).is_dir():
            raise ValueError(
                f"{directory} holds no folder '{role}'; expected one adapter folder for each of "
                f"{ROLES}."
            )
        weights = load_peft_weights(str(directory), device="cpu", subfolder=role)
        held = get_peft_model_state_dict(model, adapter_name=role, save_embedding_layers=False)
        saved_shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in held.items()}
        if saved_shapes != shapes:  # PEFT skips what is missing, and the rest would be mixed
            name = min(name for name, _ in saved_shapes.items() ^ shapes.items())
            raise ValueError(
                f"The adapter {directory}/{role} does not fit the model: its {name} is "
                f"{saved_shapes.get(name, 'missing')}, the model's {shapes.get(name, 'missing')}."
            )
        set_peft_model_state_dict(model, weights, adapter_name=role)


def merge_role(
    policy: str | Path, role: str, output_dir: str | Path, base_model: str | None = None
) -> None:
    """Merges one role into its base and saves a plain checkpoint (model and tokenizer) that needs
    no PEFT.

    Args:
        policy: directory or Hub id that holds the folder of the role, as `save_roles` writes it.
        role: "planner" or "solver".
        output_dir: where the checkpoint goes.
        base_model: the base's id or path; by default the one that the adapter names.
    """
    _refuse_unknown_names("role", [role])
    source, subfolder = adapter_source(str(policy), role)
    revision = None
    if base_model is None:
        config = LoraConfig.from_pretrained(source, subfolder=subfolder)
        base_model, revision = config.base_model_name_or_path, config.revision
    base = AutoModelForCausalLM.from_pretrained(
        base_model, dtype="auto", revision=revision or "main"
    )
    merged = PeftModel.from_pretrained(
        base, source, adapter_name=role, subfolder=subfolder
    ).merge_and_unload()
    merged.save_pretrained(str(output_dir))
    # The policy's own tokenizer may have a chat template or a pad token that the base's lacks.
    own = has_file(str(policy), "tokenizer_config.json")
    tokenizer = (
        AutoTokenizer.from_pretrained(policy)
        if own
        else AutoTokenizer.from_pretrained(base_model, revision=revision or "main")
    )
    tokenizer.save_pretrained(str(output_dir))


def role_parameters(model: nn.Module, role: str) -> list[nn.Parameter]:
    """Returns the trainable parameters of one role's adapter."""
    return [p for name, p in model.named_parameters() if p.requires_grad and role_of(name) == role]


def keep_quantized_weights_differentiable(model: nn.Module) -> None:
    """Stops bitsandbytes from packing 4-bit weights on a CPU, which it does for good at the first
    forward in eval mode: packed weights have no backward, and rollouts come before updates.
    """
    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def adapter_source(source: str, role: str) -> tuple[str, str | None]:
    """Returns (directory or Hub id, subfolder): an adapter by itself has none, in a policy it lies
    in the role's.

    Raises:
        ValueError: if there is neither.
    """
    for subfolder in (role, None):
        if has_file(source, "/".join(filter(None, (subfolder, "adapter_config.json")))):
            return source, subfolder
    raise ValueError(
        f"{source!r} holds no adapter for the {role}: there is neither "
        f"{role}/adapter_config.json nor adapter_config.json (or the Hub is out of reach)."
    )


def _config_for_each_role(
    peft_config: LoraConfig | Mapping[str, LoraConfig] | None,
) -> dict[str, LoraConfig]:
    if peft_config is None:
        peft_config = default_lora_config()
    if not isinstance(peft_config, Mapping):
        return {role: copy.deepcopy(peft_config) for role in ROLES}  # PEFT writes into it
    _refuse_unknown_names("peft_config", peft_config)
    if missing := set(ROLES) - set(peft_config):
        raise ValueError(
            f"`peft_config` has no entry for {sorted(missing)}; give one for each of {list(ROLES)}."
        )
    return {role: copy.deepcopy(config) for role, config in peft_config.items()}


def _refuse_unknown_names(field: str, names: Any) -> None:
    if unknown := [name for name in names if name not in ROLES]:
        raise ValueError(
            f"`{field}` names {unknown[0]!r}, which is no role; allowed: {', '.join(ROLES)}."
        )


def _refuse_unroutable(config: Any, role: str) -> None:
    if not isinstance(config, LoraConfig):
        raise ValueError(
            f"The {role}'s `peft_config` is a {type(config).__name__}; only LoraConfig can be "
            "routed."
        )
    values = {field: getattr(config, field) for field in _UNROUTABLE}
    values["bias"] = None if config.bias == "none" else config.bias
    for field, value in values.items():
        if value:
            raise ValueError(
                f"The {role}'s LoraConfig has {field}={value!r}, which cannot be routed row by "
                "row on a base that both roles share; leave it at its default."
            )
    if config.init_lora_weights not in _INITIALISATIONS:
        raise ValueError(
            f"The {role}'s LoraConfig has init_lora_weights={config.init_lora_weights!r}, which "
            "changes the base that both roles share; allowed: "
            f"{', '.join(map(str, _INITIALISATIONS))}."
        )
