"""How good a judge's scores are, and from which score on it should say Pass.

METHOD's rule of acceptance (arXiv 2605.27000, stage 2): on held-out labels AUC >= 0.75, balanced
accuracy >= 0.70, precision and recall >= 0.65 at the operating threshold. Plain accuracy does not
count. One criterion is ours and not the paper's: where there are labels of tuples with another
problem's strategies swapped in, at least half of them are rejected. A judge that takes them for
valid sees whether strategies are distinct, not what they are for, and a planner that it pays ends
with distinct nonsense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

REQUIRED = {
    "auc": 0.75,
    "balanced_accuracy": 0.70,
    "precision": 0.65,
    "recall": 0.65,
    "swapped_rejected": 0.5,  # ours
}
MEASURES = ("auc", "balanced_accuracy", "precision", "recall", "pass_rate", "swapped_rejected")


class Estimate(NamedTuple):
    """A number with its 95 % bootstrap interval over problems; NaN where there is none."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Quality:
    """A judge on labels, at a threshold.

    Attributes:
        threshold: a tuple passes from this score on.
        labels, valid: how many labels, and how many of them say valid.
        auc: the chance that a valid tuple scores above an invalid one; a tie counts half.
        balanced_accuracy: the mean of recall and of the share of invalid tuples rejected.
        precision: share of the passed tuples that are valid.
        recall: share of the valid tuples that pass.
        pass_rate: share of all tuples that pass.
        swapped_rejected: share of the tuples with another problem's strategies that are rejected;
            None where there are none.
    """

    threshold: float
    labels: int
    valid: int
    auc: Estimate
    balanced_accuracy: Estimate
    precision: Estimate
    recall: Estimate
    pass_rate: Estimate
    swapped_rejected: Estimate | None = None

    def failed(self) -> list[str]:
        """The criteria of acceptance that are not met, in words; none for an accepted judge."""
        return [
            f"{name} {value.value:.3f} is below {least}"
            for name, least in REQUIRED.items()
            if (value := getattr(self, name)) is not None and not value.value >= least
        ]

    @property
    def is_accepted(self) -> bool:
        """Whether the rule of acceptance holds."""
        return not self.failed()

    def to_dict(self) -> dict[str, object]:
        """As JSON can hold it: None for no number."""
        numbers = {
            name: [None if np.isnan(part) else part for part in value]
            if isinstance(value, tuple)
            else value
            for name, value in asdict(self).items()
        }
        return numbers | {"accepted": self.is_accepted, "failed": self.failed()}


def auc(scores: ArrayLike, valid: ArrayLike) -> float:
    """The area under the ROC curve (Mann-Whitney); NaN where all labels are the same.

    Args:
        scores: of N tuples.
        valid: whether each is.

    Raises:
        ValueError: other shapes, or scores that are not finite.
    """
    scores_N, valid_N = _checked(scores, valid)
    positive = int(valid_N.sum())
    negative = len(valid_N) - positive
    if not positive or not negative:
        return float("nan")
    ranks = rankdata(scores_N)
    return float((ranks[valid_N].sum() - positive * (positive + 1) / 2) / (positive * negative))


def threshold_for_recall(scores: ArrayLike, valid: ArrayLike, recall: float) -> float:
    """The highest threshold at which at least that share of the valid tuples passes.

    Raises:
        ValueError: what `auc` refuses, no valid tuple, or a recall outside (0, 1].
    """
    scores_N, valid_N = _checked(scores, valid)
    if not 0 < recall <= 1:
        raise ValueError(f"recall is {recall!r}; it must be above 0, at most 1")
    good = np.sort(scores_N[valid_N])[::-1]
    if not len(good):
        raise ValueError("no label says valid, so there is no recall")
    needed = int(np.ceil(recall * len(good) - 1e-9))
    return float(good[needed - 1])


def quality(
    scores: ArrayLike,
    valid: ArrayLike,
    groups: Sequence[str],
    threshold: float,
    resamples: int = 2000,
    seed: int = 0,
    swapped: ArrayLike | None = None,
) -> Quality:
    """All measures at a threshold, with intervals.

    Args:
        scores: of N tuples, from 0 to 1.
        valid: whether each is.
        groups: the problem of each; the bootstrap draws problems, with all their labels.
        threshold: a tuple passes from this score on.
        resamples, seed: of the bootstrap.
        swapped: whether each is invalid by the strategies of another problem; None where that is
            not known of any.

    Raises:
        ValueError: what `auc` refuses, or a group that is missing.
    """
    scores_N, valid_N = _checked(scores, valid)
    swapped_N = np.zeros_like(valid_N)
    if swapped is not None:
        _, swapped_N = _checked(scores, swapped)
    if len(groups) != len(scores_N):
        raise ValueError(f"groups has {len(groups)} entries; there are {len(scores_N)} scores")
    names, group_N = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    members = [np.flatnonzero(group_N == group) for group in range(len(names))]
    rng = np.random.default_rng(seed)
    drawn = [
        _measures(scores_N[rows], valid_N[rows], swapped_N[rows], threshold)
        for rows in (
            np.concatenate([members[group] for group in rng.integers(len(names), size=len(names))])
            for _ in range(resamples)
        )
    ]
    measured = _measures(scores_N, valid_N, swapped_N, threshold)
    if not swapped_N.any():
        del measured["swapped_rejected"]
    estimates = {
        name: Estimate(value, *_interval([one[name] for one in drawn]))
        for name, value in measured.items()
    }
    return Quality(threshold, len(valid_N), int(valid_N.sum()), **estimates)


def reliability(
    scores: ArrayLike, valid: ArrayLike, bins: int = 10
) -> list[tuple[float, float, int]]:
    """For each tenth of the scores that has some: mean score, share of valid tuples, how many."""
    scores_N, valid_N = _checked(scores, valid)
    place_N = np.clip((scores_N * bins).astype(int), 0, bins - 1)
    return [
        (float(scores_N[rows].mean()), float(valid_N[rows].mean()), int(rows.sum()))
        for rows in (place_N == place for place in range(bins))
        if rows.any()
    ]


def _measures(
    scores_N: np.ndarray, valid_N: np.ndarray, swapped_N: np.ndarray, threshold: float
) -> dict[str, float]:
    passed_N = scores_N >= threshold
    right = int((passed_N & valid_N).sum())
    recall = _ratio(right, int(valid_N.sum()))
    rejected = _ratio(int((~passed_N & ~valid_N).sum()), int((~valid_N).sum()))
    return {
        "auc": auc(scores_N, valid_N),
        "balanced_accuracy": (recall + rejected) / 2,
        "precision": _ratio(right, int(passed_N.sum())),
        "recall": recall,
        "pass_rate": float(passed_N.mean()),
        "swapped_rejected": _ratio(int((~passed_N & swapped_N).sum()), int(swapped_N.sum())),
    }


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def _interval(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if np.isfinite(value)]
    if not known:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)


def _checked(scores: ArrayLike, valid: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    scores_N = np.asarray(scores, dtype=np.float64)
    valid_N = np.asarray(valid)
    if scores_N.ndim != 1 or scores_N.shape != valid_N.shape or not len(scores_N):
        raise ValueError(
            f"scores has shape {scores_N.shape} and valid {valid_N.shape}; they must be (N,), and "
            "not empty"
        )
    if not np.isfinite(scores_N).all():
        raise ValueError("every score must be finite")
    if not np.isin(valid_N, (0, 1)).all():
        raise ValueError("valid must hold true or false for each tuple")
    return scores_N, valid_N.astype(bool)
