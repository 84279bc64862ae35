"""What both backends that run a `transformers` model in this process share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from peft import PeftModel
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from cppo_trl.routing import BASE, role_router

from .generator import Completion, Sampling


class TransformersBackend:
    """A model with its router, and how it is made to speak as one adapter.

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

    @contextmanager
    def _speaking(self, adapter: str) -> Iterator[PreTrainedModel | PeftModel]:
        """The model, ready to generate as `adapter`; it is left as it was found."""
        with (
            self._routed(adapter),
            self.unwrap() as model,
            torch.no_grad(),
            self._without_defaults(model),
        ):
            was_training = model.training
            model.eval()
            try:
                yield model
            finally:
                model.train(was_training)

    def _routed(self, adapter: str) -> AbstractContextManager[None]:
        if self.router is not None:
            return self.router.route(adapter)
        if adapter != BASE:
            raise ValueError(f"adapter is {adapter!r}; this model has none, so it must be {BASE!r}")
        return nullcontext()

    @contextmanager
    def _without_defaults(self, model: PreTrainedModel | PeftModel) -> Iterator[None]:
        """Sets aside the checkpoint's own sampling settings, which generation would fill in for
        what ours leave open: the log-probabilities of the loss know nothing of them.
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

    def _completion(self, token_ids: list[int], logprobs: list[float] | None = None) -> Completion:
        """Cuts off what follows the first token that ends a completion."""
        for position, token in enumerate(token_ids):
            if token in self.eos_token_ids:
                end = position + 1
                return Completion(token_ids[:end], False, logprobs and logprobs[:end])
        return Completion(token_ids, True, logprobs)

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
