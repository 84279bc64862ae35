"""Prompts that begin alike go through the model once, as far as they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from peft import PeftModel
from transformers import Cache, PreTrainedModel
from trl.trainer.utils import pad

from .roomy_cache import attends_fully, roomy_cache


@dataclass
class Group:
    """Rows whose prompts begin with the same `shared` tokens, which is not the whole of any."""

    rows: list[int]
    shared: int


def prefill(
    model: PreTrainedModel | PeftModel, prompts: Sequence[list[int]], pad_id: int
) -> dict[str, Any]:
    """What `generate` continues a batch of prompts from, with the keys and values of what they
    share in the cache.

    A row is its shared part and the rest of its prompt, both padded on the left. The shared parts
    go through the model once each; then the rests but for their last tokens, whose logits
    `generate` needs. So no logits of a whole prompt are ever made. Padding between the two parts
    would change the state of linear attention, and the window of sliding attention: such models
    share equal prompts only, whose rest is one token.

    Args:
        model: as it generates.
        prompts: token ids of B rows.
        pad_id: what is padded with.

    Returns:
        `input_ids` and `attention_mask`, (B, T), and `past_key_values`, of T - 1 tokens, or of none
        where the prompts share too little.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    decoder = base.base_model  # without the head
    cache = roomy_cache(base.config)
    groups = group_prompts(prompts, only_equal=not attends_fully(cache))

    def tensors(ids: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = [torch.tensor(row, dtype=torch.long, device=model.device) for row in ids]
        masks = [torch.ones_like(row) for row in rows]
        return pad(rows, pad_id, padding_side="left"), pad(masks, 0, padding_side="left")

    if not saves_enough(prompts, groups):
        input_ids, mask = tensors(prompts)
        return {"input_ids": input_ids, "attention_mask": mask, "past_key_values": cache}

    shared = [prompts[group.rows[0]][: group.shared] for group in groups]
    shared_ids, shared_mask = tensors(shared)
    _forward(decoder, shared_ids, shared_mask, cache)
    group_of = {row: number for number, group in enumerate(groups) for row in group.rows}
    owners = torch.tensor([group_of[row] for row in range(len(prompts))], device=model.device)
    cache.reorder_cache(owners)
    rest = [ids[groups[group_of[row]].shared :] for row, ids in enumerate(prompts)]
    rest_ids, rest_mask = tensors(rest)
    mask = torch.cat([shared_mask[owners], rest_mask], dim=1)
    if rest_ids.shape[1] > 1:
        _forward(decoder, rest_ids[:, :-1], mask[:, :-1], cache)
    return {
        "input_ids": torch.cat([shared_ids[owners], rest_ids], dim=1),
        "attention_mask": mask,
        "past_key_values": cache,
    }


def group_prompts(prompts: Sequence[list[int]], only_equal: bool) -> list[Group]:
    """Groups prompts by what they begin with: neighbours in alphabetical order that share half of
    their tokens or more, as the attempts at a problem do.

    Args:
        prompts: token ids; none is empty.
        only_equal: whether a group holds equal prompts only.
    """
    groups: list[Group] = []
    for row in sorted(range(len(prompts)), key=lambda row: prompts[row]):
        ids = prompts[row]
        if groups:
            group = groups[-1]
            before = prompts[group.rows[-1]]
            pairs = zip(before, ids, strict=False)
            alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            shared = min(group.shared, alike, len(ids) - 1)
            half = max(len(before), len(ids)) / 2
            if ids == before or (not only_equal and shared >= half):
                group.rows.append(row)
                group.shared = shared
                continue
        groups.append(Group([row], len(ids) - 1))
    return groups


def saves_enough(prompts: Sequence[list[int]], groups: Sequence[Group]) -> bool:
    """Whether the padded parts of the groups hold clearly fewer tokens than the padded prompts."""
    shared = max(group.shared for group in groups)
    if shared == 0:
        return False
    rest = max(len(prompts[row]) - group.shared for group in groups for row in group.rows)
    whole = len(prompts) * max(map(len, prompts))
    return len(groups) * shared + len(prompts) * rest < 0.8 * whole


def _forward(
    decoder: torch.nn.Module, input_ids: torch.Tensor, mask: torch.Tensor, cache: Cache
) -> None:
    """Adds (B, n) tokens to a cache; `mask` is (B, T), of all tokens up to the last of these."""
    positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -input_ids.shape[1] :]
    decoder(
        input_ids=input_ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
    )
