"""Programs are near-duplicates when they do the same in other words, and only then."""

from __future__ import annotations

from pathlib import Path

import evaluate
import numpy as np
import pytest

import cppo_trl.evaluation
from cppo_trl.evaluation import (
    near_duplicate_rate,
    pass_per_10k_tokens,
    program_similarity,
    solved_by_one,
)

SORT = """
import sys

def solve(values):
    '''Counts pairs.'''
    values.sort()
    total = 0
    for index, value in enumerate(values):
        total += index * value
    return total

print(solve(list(map(int, sys.stdin.read().split()))))
"""
RENAMED = """
import sys
def f(a: list) -> int:
    a.sort()
    s: int = 0
    for i, x in enumerate(a):   # in order
        s += i * x
    return s


print(f(list(map(int, sys.stdin.read().split()))))
"""
HEAP = """
import heapq, sys
queue = [int(word) for line in sys.stdin for word in line.split()]
heapq.heapify(queue)
rank = answer = 0
while queue:
    answer += rank * heapq.heappop(queue)
    rank += 1
print(answer)
"""


def test_names_comments_layout_and_annotations_make_no_difference() -> None:
    assert program_similarity(SORT, RENAMED) == 1.0


def test_another_route_is_no_near_duplicate() -> None:
    assert program_similarity(SORT, HEAP) < 0.3


def test_a_small_change_leaves_a_near_duplicate() -> None:
    assert 0.8 <= program_similarity(SORT, SORT.replace("total = 0", "total = 1 - 1")) < 1.0


def test_another_function_of_the_language_is_a_change() -> None:
    assert program_similarity("print(min(a, b))", "print(max(a, b))") < 1.0


@pytest.mark.parametrize("broken", ["def f(:\n", "print('", "(" * 500, "\0", "", "while"])
def test_programs_that_do_not_parse_are_compared_by_their_words(broken: str) -> None:
    assert program_similarity(broken, broken) == 1.0
    assert program_similarity(broken, HEAP) < 0.5


def test_similarity_is_symmetric() -> None:
    assert program_similarity(SORT, HEAP) == program_similarity(HEAP, SORT)


def test_the_rate_is_the_share_of_pairs() -> None:
    assert near_duplicate_rate([SORT, RENAMED, HEAP]) == pytest.approx(1 / 3)
    assert near_duplicate_rate([SORT] * 4) == 1.0
    assert near_duplicate_rate([SORT]) == near_duplicate_rate([]) == 0.0


def test_problems_that_one_attempt_solved_are_counted() -> None:
    assert solved_by_one([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]]) == 0.5
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        solved_by_one([1, 0, 0])


def test_passes_are_told_for_ten_thousand_tokens() -> None:
    # The method's report: 0.505 at 3.25 for each 10,000.
    assert pass_per_10k_tokens(0.505, 1554) == pytest.approx(3.25, abs=0.01)
    with pytest.raises(ValueError, match="tokens is 0"):
        pass_per_10k_tokens(0.5, 0)


METRIC = Path(cppo_trl.evaluation.__file__).parent / "metrics" / "pass_at_k.py"


def test_pass_at_k_is_a_metric_of_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metric = evaluate.load(str(METRIC), cache_dir=str(tmp_path))
    outcomes = [[True, False, False, True], [False] * 4, [True] * 3]
    found = metric.compute(predictions=outcomes, k=[1, 2, 3])
    assert found == pytest.approx(
        {"pass@1": np.mean([1 / 2, 0, 1]), "pass@2": np.mean([5 / 6, 0, 1]), "pass@3": 2 / 3}
    )
    assert metric.compute(predictions=outcomes) == pytest.approx({"pass@1": 0.5})
    with pytest.raises(ValueError, match="k must be from 1 to n"):
        metric.compute(predictions=outcomes, k=4)
