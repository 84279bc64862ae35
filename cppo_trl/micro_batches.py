"""The rows of an optimizer step -> micro-batches with little padding, each as large as the others.

A step's gradient is the same however its rows are split (`CPPOTrainer.compute_loss`), so they are
split for speed and memory: rows of about the same length together, and planner rows apart from
solver rows, since a forward computes every adapter of its batch for all of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

import torch
from accelerate.accelerator import Accelerator
from accelerate.utils import gather

from .batches import Row
from .roles import PLANNER

T = TypeVar("T")


def split_evenly(
    batches: Sequence[Sequence[Row]], teaches: Callable[[Row], bool], accelerator: Accelerator
) -> list[list[Row]]:
    """Splits the rows of a step anew over as many micro-batches.

    Called on all ranks together, which then have as many rows in a micro-batch, but for those that
    a rank has less than another in all.

    Args:
        batches: the micro-batches of a step, as they come.
        teaches: whether a row takes part in the loss; the others are counted only, and go to the
            first micro-batch.
        accelerator: of the ranks.
    """
    rows = _ordered([row for batch in batches for row in batch if teaches(row)])
    still = [row for batch in batches for row in batch if not teaches(row)]
    lengths = torch.tensor([r.length for r in rows], dtype=torch.long, device=accelerator.device)
    lengths = accelerator.pad_across_processes(lengths, pad_first=True)
    lengths = gather(lengths[None]).amax(0).tolist()
    missing: list[Row | None] = [None] * (len(lengths) - len(rows))
    pieces = _cut([*missing, *rows], even_sizes(lengths, len(batches)))
    evened = [[row for row in piece if row is not None] for piece in pieces]
    evened[0] += still
    return evened


def in_pieces(rows: Sequence[Row], count: int) -> list[list[Row]]:
    """The rows in `count` pieces or fewer, none of them empty."""
    ordered = _ordered(rows)
    pieces = _cut(ordered, even_sizes([row.length for row in ordered], max(count, 1)))
    return [piece for piece in pieces if piece]


def even_sizes(lengths: Sequence[int], count: int) -> list[int]:
    """How many rows each of `count` consecutive pieces takes, so that the largest piece is as small
    as possible: a piece is as large as its number of rows times its longest row, which is what it
    holds after padding.

    Args:
        lengths: of the rows in their order, in tokens.
        count: at least 1.

    Returns:
        One number for each piece; 0 for pieces that are not needed, which are the last.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be 1 or more")
    longest = max(lengths, default=0)
    low, high = longest, longest * len(lengths)
    while low < high:  # of the sizes that are enough, the least
        size = (low + high) // 2
        if len(_fill(lengths, size)) <= count:
            high = size
        else:
            low = size + 1
    sizes = _fill(lengths, high)
    return sizes + [0] * (count - len(sizes))


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """Planner rows from the longest to the shortest, then solver rows from the shortest to the
    longest: in the piece where the roles meet, both are short.
    """
    return sorted(rows, key=lambda r: (0, -r.length) if r.role == PLANNER else (1, r.length))


def _fill(lengths: Sequence[int], size: int) -> list[int]:
    """The numbers of rows of pieces that are filled one after the other, up to `size` each."""
    counts: list[int] = []
    longest = 0
    for length in lengths:
        if counts and (counts[-1] + 1) * max(longest, length) <= size:
            counts[-1] += 1
            longest = max(longest, length)
        else:
            counts.append(1)
            longest = length
    return counts


def _cut(items: Sequence[T], sizes: Sequence[int]) -> list[list[T]]:
    return [list(items[start:end]) for start, end in pairwise([0, *accumulate(sizes)])]
