"""When the acceptance rate of the planner's warm-up no longer rises."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

ACCEPTANCE = "R_plan"  # in the warm-up, the share of all tuples that the judge passes
ALL = 0.99  # an acceptance rate that has nowhere to rise to


class LevelOff(NamedTuple):
    """The look at which the acceptance rate was found level.

    Attributes:
        step: of the look.
        before, after: the rates of the two windows.
        noise: the standard error of their difference.
    """

    step: int
    before: float
    after: float
    noise: float


class _Entry(NamedTuple):
    step: int
    steps: int  # that it is the mean of
    rate: float


def level_off(history: Iterable[Mapping[str, Any]], window: int) -> LevelOff | None:
    """Finds the first window of steps whose acceptance rate is no higher than the one before.

    Windows lie side by side and there is one look at the end of each, since a look at every step
    would sooner or later find noise that falls while the rate rises. The rate is level unless it
    rose by more than one standard error of the difference, or when it is about 1. The noise is
    estimated from differences of successive entries, into which a trend hardly enters.

    Args:
        history: of `TrainerState.log_history`. Entries without the metric (those of evaluations
            among them) are passed over, unknown rates are left out, and each entry weighs as many
            steps as it is the mean of.
        window: least number of steps; a window has two entries or more.

    Returns:
        None while the rate rises, and for fewer than two windows.
    """
    last: list[_Entry] | None = None
    open_: list[_Entry] = []
    for entry in _entries(history):
        open_.append(entry)
        if len(open_) < 2 or sum(one.steps for one in open_) < window:
            continue
        if last is not None:
            found = LevelOff(entry.step, _mean(last), _mean(open_), _noise(last, open_))
            if found.after - found.before <= found.noise or found.after >= ALL:
                return found
        last, open_ = open_, []
    return None


def _entries(history: Iterable[Mapping[str, Any]]) -> list[_Entry]:
    entries = []
    before = 0
    for logged in history:
        if ACCEPTANCE not in logged:
            continue
        step, rate = int(logged["step"]), logged[ACCEPTANCE]
        if step > before and rate is not None and not math.isnan(rate):
            entries.append(_Entry(step, step - before, rate))
        before = step
    return entries


def _mean(entries: list[_Entry]) -> float:
    return sum(one.steps * one.rate for one in entries) / sum(one.steps for one in entries)


def _noise(before: list[_Entry], after: list[_Entry]) -> float:
    # An entry of w steps has 1 / w of the variance of a step, and differences add variances.
    squares = [
        (b.rate - a.rate) ** 2 / (1 / a.steps + 1 / b.steps) for a, b in pairwise(before + after)
    ]
    variance = sum(squares) / len(squares)
    counts = [sum(one.steps for one in part) for part in (before, after)]
    return math.sqrt(variance * sum(1 / count for count in counts))
