"""From the settings of an evaluation to models that answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from peft import LoraConfig
from transformers import BitsAndBytesConfig, PreTrainedTokenizerBase
from transformers.utils import has_file

from cppo_trl.errors import first_line
from cppo_trl.generation import Sampling, Speaker
from cppo_trl.methods import METHODS, NamedMethod, Setup, Templates
from cppo_trl.policy import POLICY_FILE, load_speaker, read_policy_config
from cppo_trl.roles import PLANNER, ROLES, SOLVER, adapter_source

from .config import ConfigError, EvaluationConfig

# METHOD's, where nothing else is said.
DEFAULT_SAMPLING = {PLANNER: Sampling(512, 0.9), SOLVER: Sampling(2048, 0.7)}
DEFAULT_K = 4
# The prompts that a saved policy, or a solver without a planner, was trained with.
_PROMPT_ROLES = {"plan": PLANNER, "solve": SOLVER, "direct": SOLVER, "latent": SOLVER}
_FIRST_VALUES = 64  # of each weight, which training changes all together


@dataclass(frozen=True)
class Resolved:
    """An evaluation's settings with what the adapters' own say, before a model is loaded.

    Attributes:
        model, revision: of the base.
        tokenizer: directory or Hub id.
        adapters: role -> the source of its adapter for each seed, where it has one.
        num_attempts: K.
        sampling: of each role.
        templates: the prompts.
        chat_template_kwargs: for the chat template.
    """

    model: str
    revision: str | None
    tokenizer: str | None
    adapters: Mapping[str, Sequence[str]]
    num_attempts: int
    sampling: Mapping[str, Sampling]
    templates: Templates
    chat_template_kwargs: Mapping[str, Any]

    def identity(self) -> dict[str, Any]:
        """What the weights and the tokenizer are called; `fingerprints` tells what they are."""
        return {
            "model": self.model,
            "revision": self.revision,
            "tokenizer": self.tokenizer,
            "adapters": {role: list(sources) for role, sources in self.adapters.items()},
        }

    def told(self, method: NamedMethod) -> dict[str, Any]:
        """What a method is told: its prompts and how its tokens are drawn."""
        roles = ROLES if method.plans else (SOLVER,)
        return {
            "templates": {name: getattr(self.templates, name) for name in method.templates},
            "sampling": {role: asdict(self.sampling[role]) for role in roles},
        }

    def adapter_names(self, seed: int) -> dict[str, str]:
        """Role -> the name of its adapter in the model, for one seed."""
        adapters = self.adapters.items()
        return {role: self.adapter_name(role, sources[seed]) for role, sources in adapters}

    def adapter_sources(self) -> dict[str, tuple[str, str]]:
        """What to load: adapter name -> (role, source)."""
        return {
            self.adapter_name(role, source): (role, source)
            for role, sources in self.adapters.items()
            for source in sources
        }

    def adapter_name(self, role: str, source: str) -> str:
        """The name that a role's adapter from that source has in the model."""
        place = list(dict.fromkeys(self.adapters[role])).index(source)
        return f"{role}-{place}" if place else role


def resolve(config: EvaluationConfig) -> Resolved:
    """What the settings come to; of the adapters only their settings are read.

    Raises:
        ConfigError: prompts or adapters that cannot be used, or a K that a method cannot plan.
    """
    adapters = {
        role: [*config.sources(role)] * (config.seeds // len(config.sources(role)))
        for role in ROLES
        if config.sources(role)
    }
    saved = {role: _saved(role, sources) for role, sources in adapters.items()}
    policies = {role: policy for role, (policy, _, _) in saved.items() if policy}
    own_prompts = {
        name: policies[role]["prompts"][name]
        for name, role in _PROMPT_ROLES.items()
        if role in policies and name in policies[role]["prompts"]
    }
    try:
        templates = Templates(**{**own_prompts, **config.prompts})
    except ValueError as error:
        raise ConfigError(f"prompts: {error}") from error
    model, revision = config.model, config.revision
    if model is None:
        bases = dict.fromkeys((name, revision) for _, name, revision in saved.values())
        if len(bases) > 1:
            raise ConfigError(f"the adapters are of several bases: {[*bases]}; name the model")
        model, own_revision = next(iter(bases))
        revision = revision or own_revision
    own = next(iter(policies.values()), {})
    latents = policies.get(SOLVER, {}).get("num_latents")
    k = config.k or own.get("num_strategies") or latents or DEFAULT_K
    if "trained-latent" in config.methods and latents not in (None, k):
        raise ConfigError(
            f"k is {k}; the method 'trained-latent' needs {latents}, the values of z that the "
            "solver was trained with"
        )
    for name in config.methods:
        if METHODS[name].is_tuple and not 2 <= k <= 26:
            raise ConfigError(f"k is {k}; the method {name!r} plans from 2 to 26 strategies")
    sources = [sources[0] for sources in adapters.values()]
    kwargs = config.chat_template_kwargs
    return Resolved(
        model,
        revision,
        next((source for source in sources if has_file(source, "tokenizer_config.json")), None),
        adapters,
        k,
        {role: _sampling(config, role, policies.get(role)) for role in ROLES},
        templates,
        own.get("chat_template_kwargs", {}) if kwargs is None else kwargs,
    )


def load_speaker_of(config: EvaluationConfig, resolved: Resolved) -> Speaker:
    """Loads the base, once, with all adapters.

    Raises:
        ConfigError: the model or an adapter cannot be loaded.
    """
    kwargs = {
        "dtype": config.dtype,
        "revision": resolved.revision,
        "attn_implementation": config.attn_implementation,
    }
    if config.load_in_4bit:
        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        )
    try:
        return load_speaker(
            resolved.model,
            resolved.adapter_sources(),
            resolved.tokenizer,
            config.rollout_batch_size,
            resolved.chat_template_kwargs,
            **{key: value for key, value in kwargs.items() if value is not None},
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model {resolved.model!r}: {first_line(error)}") from error


def setups_of(config: EvaluationConfig, resolved: Resolved, speaker: Speaker) -> list[Setup]:
    """One setup for each seed, which differ in the adapters."""
    return [
        Setup(
            speaker,
            resolved.num_attempts,
            resolved.sampling[PLANNER],
            resolved.sampling[SOLVER],
            resolved.templates,
            resolved.adapter_names(seed),
        )
        for seed in range(config.seeds)
    ]


def fingerprints(
    model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, resolved: Resolved
) -> dict[str, Any]:
    """What tells a base, a tokenizer and each role's adapters, by seed, from others.

    They may stand under other names then: only what they are decides an attempt.
    """
    hashes: dict[str, Any] = {}
    adapters = set(resolved.adapter_sources())
    for name, weight in model.named_parameters():
        if weight.is_meta:  # offloaded, where a model does not fit
            continue
        parts = name.split(".") if "lora_" in name else []
        owner = next((part for part in parts if part in adapters), "base")
        values = weight.detach().flatten()[:_FIRST_VALUES].double().cpu().numpy()
        hashes.setdefault(owner, hashlib.blake2b(digest_size=12)).update(values.tobytes())
    found = {owner: value.hexdigest() for owner, value in hashes.items()}
    by_role = {
        role: [found.get(resolved.adapter_name(role, source)) for source in sources]
        for role, sources in resolved.adapters.items()
    }
    spoken = json.dumps([tokenizer.chat_template, sorted(tokenizer.get_vocab().items())])
    own = hashlib.blake2b(spoken.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    return {"base": found.get("base"), "tokenizer": own, **by_role}


def _saved(role: str, sources: Sequence[str]) -> tuple[dict[str, Any] | None, str, str | None]:
    """What was saved beside the adapters of a role, if anything was, and their base.

    Raises:
        ConfigError: an adapter is not there, or they were saved with different settings.
    """
    found = []
    for source in dict.fromkeys(sources):
        try:
            path, subfolder = adapter_source(source, role)
            adapter = LoraConfig.from_pretrained(path, subfolder=subfolder)
            policy = read_policy_config(source) if has_file(source, POLICY_FILE) else None
        except (OSError, ValueError) as error:
            raise ConfigError(f"adapters {source!r}: {first_line(error)}") from error
        if policy and role not in policy["sampling"]:
            raise ConfigError(
                f"adapters {source!r}: a solver without a {role}; give it as solver_adapter"
            )
        found.append((policy, adapter.base_model_name_or_path, adapter.revision))
    for source, (policy, _, _) in zip(dict.fromkeys(sources), found, strict=True):
        if policy != found[0][0]:
            raise ConfigError(
                f"adapters {source!r} were saved with other settings ({POLICY_FILE}) than "
                f"{sources[0]!r}: evaluate them apart"
            )
    return found[0]


def _sampling(config: EvaluationConfig, role: str, policy: Mapping[str, Any] | None) -> Sampling:
    sampling = Sampling(**policy["sampling"][role]) if policy else DEFAULT_SAMPLING[role]
    given = {
        PLANNER: {
            "max_new_tokens": config.max_plan_length,
            "temperature": config.planner_temperature,
            "top_p": config.planner_top_p,
        },
        SOLVER: {
            "max_new_tokens": config.max_completion_length,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "top_k": config.top_k,
            "min_p": config.min_p,
        },
    }[role]
    return replace(sampling, **{key: value for key, value in given.items() if value is not None})
