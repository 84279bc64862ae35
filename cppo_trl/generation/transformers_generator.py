"""Batched generation with `transformers`, each role through its adapter."""

from __future__ import annotations

from collections.abc import Sequence

from peft import PeftModel
from transformers import PreTrainedModel

from .generator import Completion, Sampling
from .shared_prefill import prefill
from .transformers_backend import TransformersBackend


class TransformersGenerator(TransformersBackend):
    """Generates in batches of prompts of similar length with `model.generate`.

    What prompts begin with alike is computed once: the M plans of a problem have equal prompts,
    and those of its attempts differ in the strategy only. What they sample differs, so each has its
    own decoding.
    """

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        """Continues each prompt (token ids) once, as `adapter`, in the order of the prompts.

        Raises:
            ValueError: a plain model is to speak as an adapter.
        """
        # Equal prompts go side by side, so that at most one at each end of a batch is computed
        # again in the next. Without equal ones, this is the order by length.
        first: dict[tuple[int, ...], int] = {}
        for i, ids in enumerate(prompts):
            first.setdefault(tuple(ids), i)
        order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), first[*prompts[i]]))
        size = self.batch_size or len(prompts)
        completions: dict[int, Completion] = {}
        with self._speaking(adapter) as model:
            for start in range(0, len(prompts), size):
                rows = order[start : start + size]
                batch = self._generate_batch(model, [prompts[i] for i in rows], sampling)
                completions.update(zip(rows, batch, strict=True))
        return [completions[i] for i in range(len(prompts))]

    def _generate_batch(
        self,
        model: PreTrainedModel | PeftModel,
        prompts: list[list[int]],
        sampling: Sampling,
    ) -> list[Completion]:
        inputs = prefill(model, prompts, self.tokenizer.pad_token_id)
        output = model.generate(**inputs, generation_config=self._generation_config(sampling))
        new_tokens = output[:, inputs["input_ids"].shape[1] :].tolist()
        return [self._completion(ids) for ids in new_tokens]
