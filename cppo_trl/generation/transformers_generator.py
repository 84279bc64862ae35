"""Batched generation with `transformers`, each role through its adapter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from peft import PeftModel
from transformers import Cache, PreTrainedModel
from trl.trainer.utils import pad

from .generator import Completion, Sampling
from .transformers_backend import TransformersBackend


class TransformersGenerator(TransformersBackend):
    """Generates in batches of prompts of similar length with `model.generate`.

    Prompts that are equal are computed once: the M plans of a problem and the attempts at one
    strategy have equal prompts. What they sample differs, so each has its own decoding.
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
        prompt_ids = [torch.tensor(ids, device=model.device) for ids in prompts]
        pad_id = self.tokenizer.pad_token_id
        input_ids = pad(prompt_ids, padding_value=pad_id, padding_side="left")
        attention_mask = pad([torch.ones_like(ids) for ids in prompt_ids], 0, padding_side="left")
        output = model.generate(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=_shared_prefill(model, prompts, input_ids, attention_mask),
            generation_config=self._generation_config(sampling),
        )
        new_tokens = output[:, input_ids.shape[1] :].tolist()
        return [self._completion(ids) for ids in new_tokens]


def _shared_prefill(
    model: PreTrainedModel | PeftModel,
    prompts: list[list[int]],
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
) -> Cache | None:
    """The cache of all prompts but their last tokens, computed once for those that are equal.

    The last tokens are left to `generate`, which needs their logits. They go through the model one
    for each row, as in decoding: so linear attention, whose state cannot skip padding between two
    pieces of a prompt, continues exactly, and no logits of a whole prompt are ever made. For that
    reason the prefix that different prompts have in common is not shared: what follows it differs
    in length, and padding there would change the state.

    Args:
        prompts: of B rows.
        input_ids, attention_mask: the same, (B, T), padded on the left.

    Returns:
        None where there is nothing to share.
    """
    row_of: dict[tuple[int, ...], int] = {}
    for row, ids in enumerate(prompts):
        row_of.setdefault(tuple(ids), row)
    distinct = list(row_of.values())
    if len(distinct) == len(prompts) or input_ids.shape[1] == 1:
        return None
    mask = attention_mask[distinct, :-1]
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    cache = base.base_model(  # the decoder without its head
        input_ids=input_ids[distinct, :-1],
        attention_mask=mask,
        position_ids=(mask.cumsum(-1) - 1).clamp(min=0),
        use_cache=True,
    ).past_key_values
    place = {row: n for n, row in enumerate(distinct)}
    copies = [place[row_of[tuple(ids)]] for ids in prompts]
    cache.reorder_cache(torch.tensor(copies, device=input_ids.device))
    return cache
