"""The coordination gap: problems where coordinated attempts can do what independent ones cannot.

A statement asks for the "gap" or the "union" of two integers. Such a noun has m = 4 admissible
readings, the statement does not tell which one is meant, each is equally likely, and the hidden
tests accept one only. So K attempts drawn independently of each other, by whatever model, pass with
probability `1 - (1 - 1/m)^K` at most (0.684 for m = K = 4), and K attempts that divide the readings
among themselves can reach `min(1, K/m)` (1.0). What a policy scores above the first number is
coordination and can be nothing else.

The problems are ordinary `Problem`s with Python programs on stdin and stdout. `base` trains a tiny
model that can play the game in minutes on a CPU, `measure` says how well a policy plays it.
"""

from .world import (
    LAYOUTS,
    NUM_READINGS,
    READINGS,
    RULES,
    SPLITS,
    Rule,
    belongs,
    coordinated_limit,
    hidden_variants,
    independent_limit,
    make_problems,
    rule_of,
)

__all__ = [
    "LAYOUTS",
    "NUM_READINGS",
    "READINGS",
    "RULES",
    "SPLITS",
    "Rule",
    "belongs",
    "coordinated_limit",
    "hidden_variants",
    "independent_limit",
    "make_problems",
    "rule_of",
]
