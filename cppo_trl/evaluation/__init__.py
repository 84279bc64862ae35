"""Evaluation: unbiased pass@k, what a difference is worth, and how different attempts are.

`metrics/pass_at_k.py` is the first as a metric of `evaluate`, for `evaluate.load(path)`.
"""

from .bootstrap import Comparison, bootstrap_interval, paired_bootstrap
from .diversity import (
    near_duplicate_rate,
    pass_per_10k_tokens,
    program_similarity,
    solved_by_one,
)
from .pass_at_k import pass_at_k
from .significance import holm, mcnemar

__all__ = [
    "Comparison",
    "bootstrap_interval",
    "holm",
    "mcnemar",
    "near_duplicate_rate",
    "paired_bootstrap",
    "pass_at_k",
    "pass_per_10k_tokens",
    "program_similarity",
    "solved_by_one",
]
