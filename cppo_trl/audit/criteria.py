"""The five criteria of the reward-density audit (arXiv 2605.27000, stage 4).

The planner's reward is a product, so it is sparse, and training on rewards that are all zero does
nothing. Before joint training the policy draws tuples for a sample of problems, without an update,
and all five criteria have to hold.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cppo_trl.evaluation import bootstrap_interval

_ADVICE = {
    "tuples rewarded": "Train the solver first, or choose easier problems: no tuple is paid for "
    "attempts that all fail.",
    "problems with a rewarded tuple": "Leave out problems that are too hard, or draw more tuples "
    "for each.",
    "groups with variance": "Draw more tuples for each problem (num_generations), or choose "
    "problems that are neither always nor never solved.",
    "judge pass rate": "Near 0: warm the planner up on the judge (planner_reward=judge), or train "
    "it on gold tuples. Near 1: the gate does nothing, so calibrate the judge for less recall.",
    "plans that parse": "Train the planner on gold tuples (SFT), or give it more room "
    "(max_plan_length).",
}


@dataclass(frozen=True)
class Criterion:
    """One of the five, as a share with its 95 % bootstrap interval over problems.

    Attributes:
        name: what is measured.
        value, low, high: NaN where nothing could be measured, which is no-go.
        least, most: what is allowed.
        is_strict: whether the bounds themselves are not allowed.
    """

    name: str
    value: float
    low: float
    high: float
    least: float
    most: float = 1.0
    is_strict: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the value is allowed; the interval plays no part."""
        if self.is_strict:
            return self.least < self.value < self.most
        return self.least <= self.value <= self.most

    @property
    def is_sure(self) -> bool:
        """Whether both ends of the interval lead to the same answer."""
        return all(replace(self, value=end).is_met == self.is_met for end in (self.low, self.high))

    @property
    def required(self) -> str:
        """What is allowed, in words."""
        if self.is_strict:
            return f"between {self.least:.0%} and {self.most:.0%}"
        return f"at least {self.least:.0%}"

    @property
    def advice(self) -> str:
        """What to do where it is not met."""
        return _ADVICE[self.name]


@dataclass(frozen=True)
class Audit:
    """The five criteria on P problems with M tuples each.

    Attributes:
        criteria: in METHOD's order.
        problems, tuples: how many.
        unknown: tuples that the judge or the verifier could not tell about, left out.
    """

    criteria: tuple[Criterion, ...]
    problems: int
    tuples: int
    unknown: int

    @property
    def is_go(self) -> bool:
        """Whether all criteria are met."""
        return all(criterion.is_met for criterion in self.criteria)

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        criteria = [
            {
                name: None if isinstance(value, float) and np.isnan(value) else value
                for name, value in asdict(criterion).items()
            }
            | {"met": criterion.is_met, "sure": criterion.is_sure, "advice": criterion.advice}
            for criterion in self.criteria
        ]
        return asdict(self) | {"criteria": criteria, "go": self.is_go}


def audit(parsed_PM: ArrayLike, valid_PM: ArrayLike, rewards_PM: ArrayLike) -> Audit:
    """The reward density of a sample of tuples.

    Args:
        parsed_PM: whether each plan parses, (P, M).
        valid_PM: the judge's verdicts, (P, M); NaN is unknown. Those of plans that do not parse
            are not looked at.
        rewards_PM: R_plan, (P, M), of `rewards.planner_rewards`; NaN is unknown.

    Raises:
        ValueError: shapes that differ or are not (P, M).
    """
    parsed_PM = np.asarray(parsed_PM, dtype=bool)
    valid_PM = np.asarray(valid_PM, dtype=np.float64)
    rewards_PM = np.asarray(rewards_PM, dtype=np.float64)
    shapes = {parsed_PM.shape, valid_PM.shape, rewards_PM.shape}
    if len(shapes) != 1 or parsed_PM.ndim != 2 or not parsed_PM.size:
        raise ValueError(f"the shapes are {sorted(shapes)}; they must be one (P, M), not empty")
    known_PM = ~np.isnan(rewards_PM)
    paid_PM = known_PM & (rewards_PM > 0)
    judged_PM = parsed_PM & ~np.isnan(valid_PM)
    varied_P = np.array(
        [
            len(np.unique(rewards[known])) > 1
            for rewards, known in zip(rewards_PM, known_PM, strict=True)
        ]
    )
    some_P = known_PM.any(1)
    criteria = (
        Criterion("tuples rewarded", *_share(paid_PM, known_PM), least=0.05),
        Criterion("problems with a rewarded tuple", *_share(paid_PM.any(1)[some_P]), least=0.25),
        Criterion("groups with variance", *_share(varied_P[some_P]), least=0.10),
        Criterion(
            "judge pass rate",
            *_share((valid_PM > 0) & judged_PM, judged_PM),
            least=0.02,
            most=0.98,
            is_strict=True,
        ),
        Criterion("plans that parse", *_share(parsed_PM, np.ones_like(parsed_PM)), least=0.95),
    )
    return Audit(criteria, *parsed_PM.shape, int((~known_PM).sum()))


def _share(hits: np.ndarray, of: np.ndarray | None = None) -> tuple[float, float, float]:
    """A share with its interval over problems, (P,) or (P, M); problems count by their tuples."""
    if of is None:
        if not hits.size:
            return (float("nan"),) * 3
        return bootstrap_interval(hits.astype(float))
    hits_P, of_P = hits.sum(1), of.sum(1)
    if not of_P.sum():
        return (float("nan"),) * 3
    rng = np.random.default_rng(0)
    size = len(of_P)
    drawn_RP = rng.multinomial(size, np.full(size, 1 / size), size=2000)
    totals_R = drawn_RP @ of_P
    shares_R = (drawn_RP @ hits_P)[totals_R > 0] / totals_R[totals_R > 0]
    low, high = np.quantile(shares_R, [0.025, 0.975])
    return float(hits_P.sum() / of_P.sum()), float(low), float(high)
