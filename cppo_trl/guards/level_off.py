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
        rates: of the windows that were compared, the last one last; alone where it is about 1.
        noise: the standard error of the difference of the last two; 0 for one window.
    """

    step: int
    rates: tuple[float, ...]
    noise: float


class _Entry(NamedTuple):
    step: int
    steps: int  # that it is the mean of
    rate: float


def level_off(history: Iterable[Mapping[str, Any]], window: int) -> LevelOff | None:
    """Finds the first window of steps whose acceptance rate is no higher than before.

    That is, above neither of the two windows before it by more than one standard error of the
    difference (over two windows a slow rise has twice the way to show above the noise), or about 1.
    Windows lie side by side and there is one look at the end of each, since a look at every step
    would sooner or later find noise that falls while the rate rises. The noise is estimated from
    differences of successive entries, into which a trend hardly enters.

    Args:
        history: of `TrainerState.log_history`. Entries without the metric (those of evaluations
            among them) are passed over, unknown rates are left out, and each entry weighs as many
            steps as it is the mean of.
        window: least number of steps; a window has two entries or more.

    Returns:
        None while the rate rises, and for fewer than three windows of less than about 1.
    """
    windows: list[list[_Entry]] = [[]]
    for entry in _entries(history):
        windows[-1].append(entry)
        if len(windows[-1]) < 2 or _steps(windows[-1]) < window:
            continue
        after = _mean(windows[-1])
        if after >= ALL:
            return LevelOff(entry.step, (after,), 0.0)
        if len(windows) == 3:
            variance = _variance([one for part in windows for one in part])
            noises = [
                math.sqrt(variance * (1 / _steps(part) + 1 / _steps(windows[-1])))
                for part in windows[:2]
            ]
            before = [_mean(part) for part in windows[:2]]
            if all(after - b <= noise for b, noise in zip(before, noises, strict=True)):
                return LevelOff(entry.step, (*before, after), noises[-1])
        windows = [*windows[-2:], []]
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


def _steps(entries: list[_Entry]) -> int:
    return sum(one.steps for one in entries)


def _mean(entries: list[_Entry]) -> float:
    return sum(one.steps * one.rate for one in entries) / _steps(entries)


def _variance(entries: list[_Entry]) -> float:
    """Of the rate of one step."""
    # An entry of w steps has 1 / w of the variance of a step, and differences add variances.
    squares = [(b.rate - a.rate) ** 2 / (1 / a.steps + 1 / b.steps) for a, b in pairwise(entries)]
    return sum(squares) / len(squares)
