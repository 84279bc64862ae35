"""Rows -> micro-batches of even size, and their tensors, which hold little padding."""

import random
from itertools import combinations_with_replacement, pairwise

import pytest
import torch
from accelerate.accelerator import Accelerator

from cppo_trl.batches import Row, collate
from cppo_trl.micro_batches import even_sizes, in_pieces, split_evenly

CPU = torch.device("cpu")


def size(lengths: list[int]) -> int:
    return len(lengths) * max(lengths, default=0)


def row(role: str, prompt: int, completion: int, advantage: float = 1.0) -> Row:
    return Row(role, [7] * prompt, [8] * completion, advantage)


def some_rows(seed: int, count: int) -> list[Row]:
    draws = random.Random(seed)
    roles = ("planner", "solver", "solver", "solver")
    return [
        row(draws.choice(roles), draws.randint(1, 9), draws.randint(1, 30)) for _ in range(count)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_largest_piece_is_as_small_as_any_cut_makes_it(seed) -> None:
    draws = random.Random(seed)
    lengths = [draws.choice([1, 2, 5, 20, 90]) for _ in range(draws.randint(1, 9))]
    for count in range(1, 5):
        sizes = even_sizes(lengths, count)
        assert (sum(sizes), len(sizes)) == (len(lengths), count)
        starts = [sum(sizes[:i]) for i in range(count)]
        found = max(size(lengths[a : a + n]) for a, n in zip(starts, sizes, strict=True))
        inner = combinations_with_replacement(range(len(lengths) + 1), count - 1)
        cuts = [[0, *c, len(lengths)] for c in inner]
        assert found == min(max(size(lengths[a:b]) for a, b in pairwise(c)) for c in cuts)


def test_nothing_is_cut_into_empty_pieces() -> None:
    assert even_sizes([], 3) == [0, 0, 0]
    with pytest.raises(ValueError, match="count is 0; it must be 1 or more"):
        even_sizes([1], 0)


@pytest.mark.parametrize("count", [1, 2, 5, 40])
def test_each_row_is_in_one_piece(count) -> None:
    rows = some_rows(3, 23)
    pieces = in_pieces(rows, count)
    assert len(pieces) <= count
    assert all(pieces)
    assert sorted(id(r) for piece in pieces for r in piece) == sorted(map(id, rows))


def test_roles_meet_in_one_micro_batch_at_most() -> None:
    for seed in range(10):
        pieces = in_pieces(some_rows(seed, 40), 6)
        assert sum(len({r.role for r in piece}) > 1 for piece in pieces) <= 1


def test_pieces_hold_less_padding_than_those_in_the_order_of_their_tuples() -> None:
    rows = some_rows(0, 60)
    before = [rows[start : start + 10] for start in range(0, 60, 10)]
    after = in_pieces(rows, 6)
    totals, largest = (
        [f(size([r.length for r in piece]) for piece in pieces) for pieces in (before, after)]
        for f in (sum, max)
    )
    assert totals[1] < 0.8 * totals[0]
    assert largest[1] < largest[0]


def test_rows_that_do_not_teach_are_kept_and_cost_nothing() -> None:
    teaching = [row("solver", 2, 3) for _ in range(4)]
    still = [row("solver", 50, 50, 0.0) for _ in range(4)]
    batches = [teaching[:1] + still[:3], teaching[1:] + still[3:]]
    first, second = split_evenly(batches, lambda r: r.has_advantage, Accelerator(cpu=True))
    assert [r.has_advantage for r in first] == [True] * 2 + [False] * 4
    assert [r.has_advantage for r in second] == [True] * 2


def test_a_batch_is_as_long_as_its_longest_row() -> None:
    rows = [Row("planner", [1, 2, 3, 4, 5], [6, 7], 0.5), Row("solver", [1], [2, 3, 4, 5], -1.0)]
    batch = collate(rows, 0, CPU)
    assert batch["prompt_ids"].tolist() == [[1, 2, 3], [0, 0, 1]]
    assert batch["prompt_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert batch["completion_ids"].tolist() == [[4, 5, 6, 7], [2, 3, 4, 5]]
    assert batch["completion_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 1]]
    assert batch["tool_mask"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 1]]


def test_log_probabilities_stand_at_the_tokens_that_they_are_of() -> None:
    rows = [row("planner", 5, 2), row("solver", 1, 4)]
    for number, one in enumerate(rows):
        one.old_logps = torch.arange(len(one.completion_ids)) + 10.0 * number
    batch = collate(rows, 0, CPU)
    assert batch["old_per_token_logps"].tolist() == [[0, 0, 0, 1], [10, 11, 12, 13]]
