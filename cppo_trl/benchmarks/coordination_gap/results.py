"""What measurements come to: one row of the table, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cppo_trl.evaluation import bootstrap_interval

from .measure import Measurement
from .world import NUM_READINGS, independent_limit


class Interval(NamedTuple):
    """A mean with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({self.low:.3f}–{self.high:.3f})"


@dataclass(frozen=True)
class Result:
    """One row of the table.

    Attributes:
        name: what was measured.
        pass_1, pass_k: pass@1 and pass@K over problems, and over seeds where there are several.
        distinct: different strategies in a plan; None for attempts without a plan.
        admissible: share of the strategies that are readings of their problem; None likewise.
        duplicates: share of the plans in which a strategy is repeated; None likewise.
        parsed: share of the plans that parse; 0 for attempts without a plan.
        attempts: used up for a problem.
        tokens: decoded for a problem's attempts, the plan's included; mean.
    """

    name: str
    pass_1: Interval
    pass_k: Interval
    distinct: float | None
    admissible: float | None
    duplicates: float | None
    parsed: float
    attempts: int
    tokens: float

    @classmethod
    def of(cls, name: str, measurements: Sequence[Measurement]) -> Result:
        """Sums up what was measured: one measurement for each seed, all on the same problems."""
        planned = [measured for measured in measurements if measured.parse_rate]
        attempts = measurements[0].attempts
        return cls(
            name,
            _interval(measurements, 1),
            _interval(measurements, attempts),
            float(np.mean([m.distinct for m in planned])) if planned else None,
            float(np.mean([m.admissible for m in planned])) if planned else None,
            float(np.mean([m.duplicates for m in planned])) if planned else None,
            float(np.mean([m.parse_rate for m in measurements])),
            attempts,
            float(np.mean([m.tokens for m in measurements])),
        )

    @property
    def above_independent(self) -> bool:
        """Whether all of the interval is above what any K independent samples can reach."""
        return self.pass_k.low > independent_limit(NUM_READINGS, self.attempts)


def _interval(measurements: Sequence[Measurement], k: int) -> Interval:
    return Interval(*bootstrap_interval(np.stack([m.pass_at(k) for m in measurements])))
