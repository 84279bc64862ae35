"""Which of the K attempts solved which problem."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from cppo_trl.evaluation.records import Record
from cppo_trl.plans import strategy_labels


def attempt_labels(k: int) -> tuple[str, ...]:
    """A, B, C ... as in a plan; numbers from 1 for more attempts than a plan has."""
    if k == 1:
        return ("A",)
    return strategy_labels(k) if k <= 26 else tuple(map(str, range(1, k + 1)))


def verdicts(records: Sequence[Record], unknown: Collection[str]) -> np.ndarray:
    """Whether each attempt passed, (N, K) for N tuples, without the problems in `unknown`."""
    left_out = set(unknown)
    return np.array(
        [
            [attempt.passed for attempt in record.attempts]
            for record in records
            if record.problem_id not in left_out
        ],
        dtype=bool,
    )


def solved_shares(passed_NK: np.ndarray) -> tuple[list[float], list[float]]:
    """The share of tuples that each attempt solved, and the share that it alone solved, (K,)."""
    alone = passed_NK & (passed_NK.sum(1) == 1)[:, None]
    return passed_NK.mean(0).tolist(), alone.mean(0).tolist()


def arranged(passed_NK: np.ndarray) -> np.ndarray:
    """The tuples that most attempts solved first; among equals, those that A solved, then B."""
    order = np.lexsort((*(~passed_NK).T[::-1], -passed_NK.sum(1)))
    return passed_NK[order]
