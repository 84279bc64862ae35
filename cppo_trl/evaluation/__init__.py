"""Evaluation: unbiased pass@k and intervals that show what a number is worth."""

from .bootstrap import bootstrap_interval
from .pass_at_k import pass_at_k

__all__ = ["bootstrap_interval", "pass_at_k"]
