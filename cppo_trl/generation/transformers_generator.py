"""Batched generation with `transformers`, each role through its adapter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.utils import pad

from cppo_trl.routing import BASE, role_router

from .generator import Completion, Sampling


class TransformersGenerator:
    """Generates in batches of prompts of similar length with `model.generate`.

    Args:
        model: a plain model, which speaks as `routing.BASE` only, or one with adapters, whose
            router is used.
        tokenizer: gives the pad token.
        eos_token_ids: every id that ends a completion.
        batch_size: most sequences decoded at once; None decodes all prompts of a call together.
        unwrap: gives the context in which the model can generate (the trainer's, for wrapped or
            sharded models).
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        eos_token_ids: Sequence[int],
        batch_size: int | None = None,
        unwrap: Callable[[], AbstractContextManager[PreTrainedModel | PeftModel]] | None = None,
    ):
        self.router = role_router(model) if isinstance(model, PeftModel) else None
        self.tokenizer = tokenizer
        self.eos_token_ids = list(eos_token_ids)
        self.batch_size = batch_size
        self.unwrap = unwrap or (lambda: nullcontext(model))

    def _routed(self, adapter: str) -> AbstractContextManager[None]:
        if self.router is not None:
            return self.router.route(adapter)
        if adapter != BASE:
            raise ValueError(f"adapter is {adapter!r}; this model has none, so it must be {BASE!r}")
        return nullcontext()

    @contextmanager
    def _without_defaults(self, model: PreTrainedModel | PeftModel) -> Iterator[None]:
        """Sets aside the checkpoint's own sampling settings, which `model.generate` would fill in
        for what ours leave open: the log-probabilities of the loss know nothing of them.
        """
        models = [model.get_base_model(), model] if isinstance(model, PeftModel) else [model]
        owners = [(owner, owner.generation_config) for owner in models]
        for owner, _ in owners:
            owner.generation_config = GenerationConfig()
        try:
            yield
        finally:
            for owner, config in owners:
                owner.generation_config = config

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        """Continues each prompt (token ids) once, as `adapter`, in the order of the prompts.

        Raises:
            ValueError: a plain model is to speak as an adapter.
        """
        by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        size = self.batch_size or len(prompts)
        completions: dict[int, Completion] = {}
        with (
            self.unwrap() as model,
            torch.no_grad(),
            self._routed(adapter),
            self._without_defaults(model),
        ):
            was_training = model.training
            model.eval()
            for start in range(0, len(prompts), size):
                rows = by_length[start : start + size]
                batch = self._generate_batch(model, [prompts[i] for i in rows], sampling)
                completions.update(zip(rows, batch, strict=True))
            model.train(was_training)
        return [completions[i] for i in range(len(prompts))]

    def _generate_batch(
        self,
        model: PreTrainedModel | PeftModel,
        prompts: list[list[int]],
        sampling: Sampling,
    ) -> list[Completion]:
        prompt_ids = [torch.tensor(ids, device=model.device) for ids in prompts]
        pad_id = self.tokenizer.pad_token_id
        input_ids = pad(prompt_ids, padding_value=pad_id, padding_side="left")
        attention_mask = pad([torch.ones_like(ids) for ids in prompt_ids], 0, padding_side="left")
        output = model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            generation_config=self._generation_config(sampling),
        )
        new_tokens = output[:, input_ids.shape[1] :].tolist()
        return [self._completion(ids) for ids in new_tokens]

    def _completion(self, token_ids: list[int]) -> Completion:
        for position, token in enumerate(token_ids):
            if token in self.eos_token_ids:
                return Completion(token_ids[: position + 1], truncated=False)
        return Completion(token_ids, truncated=True)

    def _generation_config(self, sampling: Sampling) -> GenerationConfig:
        tokens = {
            "max_new_tokens": sampling.max_new_tokens,
            "pad_token_id": self.tokenizer.pad_token_id,
            "eos_token_id": self.eos_token_ids,
            "disable_compile": True,
        }
        if sampling.temperature == 0:
            return GenerationConfig(
                do_sample=False, repetition_penalty=sampling.repetition_penalty, **tokens
            )
        return GenerationConfig(
            do_sample=True,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k or 0,
            min_p=sampling.min_p,
            repetition_penalty=sampling.repetition_penalty,
            **tokens,
        )
