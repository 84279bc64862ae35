"""A trained policy in use: plan a problem, attempt each strategy, verify the attempts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer

from .generation import Sampling, Speaker, TransformersGenerator
from .problems import Problem
from .prompts import Prompts
from .roles import PLANNER, ROLES, SOLVER, load_adapters
from .rollouts import Rollout, RolloutPolicy
from .verifier import Verdict, extract_code

POLICY_FILE = "cppo_policy.json"


@dataclass(frozen=True)
class Attempt:
    """One attempt at a problem: the strategy it followed, what the solver wrote, and its verdict if
    there were tests.
    """

    strategy: str
    completion: str
    program: str | None
    verdict: Verdict | None = None


class Policy:
    """Planner and solver, ready to use.

    Args:
        rollouts: the two roles with their prompts and sampling.
        verify: gives one verdict for each (problem, completion), e.g.
            `CodeVerifier(...).verify_completions`.
    """

    def __init__(
        self,
        rollouts: RolloutPolicy,
        verify: Callable[[Sequence[Problem], Sequence[str]], list[Verdict]] | None = None,
    ):
        self.rollouts = rollouts
        self.verify = verify

    def plan(self, problem: Problem) -> tuple[str, ...] | None:
        """Returns the K strategies of one plan, or None if the plan does not parse."""
        return self.rollouts.plan([problem])[0].strategies

    def solve(self, problem: Problem) -> list[Attempt]:
        """Plans and attempts a problem once; an unparsable plan gives no attempts."""
        return self.solve_many([problem])[0]

    def solve_many(self, problems: Sequence[Problem]) -> list[list[Attempt]]:
        """Plans and attempts each problem once, all of them batched; verified if the policy has a
        verifier.
        """
        rollouts = self.rollouts.plan(problems)
        self.rollouts.solve(rollouts)
        return self.attempts(rollouts)

    def attempts(self, rollouts: Sequence[Rollout]) -> list[list[Attempt]]:
        turns = [(rollout, turn) for rollout in rollouts for turn in rollout.attempts]
        verdicts: Sequence[Verdict | None] = [None] * len(turns)
        if self.verify is not None:
            verdicts = self.verify([r.problem for r, _ in turns], [turn.text for _, turn in turns])
        found = iter(verdicts)
        return [
            [
                Attempt(strategy, turn.text, extract_code(turn.text), next(found))
                for strategy, turn in zip(rollout.strategies or (), rollout.attempts, strict=True)
            ]
            for rollout in rollouts
        ]


def save_policy_config(rollouts: RolloutPolicy, directory: str | Path) -> None:
    """Writes what the adapters were trained with (K, prompts, sampling), for `load_policy`."""
    config = {
        "num_strategies": rollouts.num_strategies,
        "prompts": asdict(rollouts.prompts),
        "sampling": {role: asdict(rollouts.sampling[role]) for role in ROLES},
        "chat_template_kwargs": rollouts.speaker.chat_template_kwargs,
    }
    (Path(directory) / POLICY_FILE).write_text(json.dumps(config, indent=2) + "\n")


def save_solver_config(
    directory: str | Path,
    prompts: Mapping[str, str],
    sampling: Sampling,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    num_latents: int | None = None,
) -> None:
    """Writes what a solver without a planner was trained with, for evaluations.

    Args:
        directory: of its adapter.
        prompts: fields of `methods.Templates`: "direct" or "latent".
        sampling: how its tokens were drawn.
        chat_template_kwargs: passed to the chat template.
        num_latents: the values of z that a "latent" prompt may name.
    """
    config = {
        "prompts": dict(prompts),
        "sampling": {SOLVER: asdict(sampling)},
        "chat_template_kwargs": dict(chat_template_kwargs or {}),
    }
    if num_latents is not None:
        config["num_latents"] = num_latents
    (Path(directory) / POLICY_FILE).write_text(json.dumps(config, indent=2) + "\n")


def read_policy_config(source: str | Path) -> dict[str, Any]:
    """What `save_policy_config` wrote into a directory or a repository on the Hub.

    Raises:
        FileNotFoundError: if `source` holds no saved policy.
    """
    source = str(source)
    if not Path(source).is_dir():
        return json.loads(Path(hf_hub_download(source, POLICY_FILE)).read_text())
    path = Path(source) / POLICY_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{source} holds no {POLICY_FILE}; give a directory that CPPOTrainer.save_model wrote."
        )
    return json.loads(path.read_text())


def load_speaker(
    base_model: str | Path,
    adapters: Mapping[str, tuple[str, str]] | None = None,
    tokenizer: str | Path | None = None,
    batch_size: int | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    **model_kwargs: Any,
) -> Speaker:
    """Loads a base, alone or with trained adapters, to answer with `transformers`.

    Args:
        base_model: id or path.
        adapters: as the `sources` of `roles.load_adapters`.
        tokenizer: directory or Hub id of the tokenizer; by default the base's.
        batch_size, model_kwargs: as for `load_policy`.
        chat_template_kwargs: as for `Speaker`.

    Raises:
        OSError, ValueError: what cannot be loaded.
    """
    model_kwargs.setdefault("dtype", "auto")
    if torch.accelerator.is_available():
        model_kwargs.setdefault("device_map", "auto")
    base = AutoModelForCausalLM.from_pretrained(base_model, **model_kwargs)
    model = load_adapters(base, adapters or {})
    if tokenizer is None:
        own = AutoTokenizer.from_pretrained(
            base_model, padding_side="left", revision=model_kwargs.get("revision", "main")
        )
    else:
        own = AutoTokenizer.from_pretrained(tokenizer, padding_side="left")
    if own.pad_token is None:
        own.pad_token = own.eos_token
    eos = model.generation_config.eos_token_id
    eos = [] if eos is None else [eos] if isinstance(eos, int) else list(eos)
    generator = TransformersGenerator(model, own, {own.eos_token_id, *eos}, batch_size)
    return Speaker(generator, own, chat_template_kwargs)


def load_policy(
    source: str | Path,
    base_model: str | None = None,
    verify: Callable[[Sequence[Problem], Sequence[str]], list[Verdict]] | None = None,
    batch_size: int | None = None,
    **model_kwargs: Any,
) -> Policy:
    """Loads the adapters that `CPPOTrainer.save_model` or `push_to_hub` wrote, on their base.

    Args:
        source: directory or Hub id with the folders `planner/` and `solver/`.
        base_model: id or path of the base; by default the one that the adapters name.
        verify: as for `Policy`.
        batch_size: most sequences decoded at once.
        model_kwargs: passed to `AutoModelForCausalLM.from_pretrained` (dtype,
            quantization_config, ...). `device_map` is "auto" where there is an accelerator.

    Raises:
        FileNotFoundError: if `source` holds no saved policy.
        ValueError: if it holds a solver without a planner.
    """
    source = str(source)
    config = read_policy_config(source)
    if PLANNER not in config["sampling"]:
        raise ValueError(
            f"{source} holds a solver without a planner, which plans nothing; evaluate it with "
            f"`cppo-trl eval --method trained-{next(iter(config['prompts']))} --solver-adapter "
            f"{source}`, or load its adapter with `PeftModel.from_pretrained`."
        )
    if base_model is None:
        adapter = LoraConfig.from_pretrained(source, subfolder=PLANNER)
        base_model = adapter.base_model_name_or_path
        model_kwargs.setdefault("revision", adapter.revision or "main")
    speaker = load_speaker(
        base_model,
        {role: (role, source) for role in ROLES},
        source,
        batch_size,
        config["chat_template_kwargs"],
        **model_kwargs,
    )
    return Policy(
        RolloutPolicy(
            speaker,
            Prompts(**config["prompts"]),
            config["num_strategies"],
            planner=Sampling(**config["sampling"][PLANNER]),
            solver=Sampling(**config["sampling"][SOLVER]),
        ),
        verify,
    )
