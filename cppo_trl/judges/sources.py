"""How a judge treats the labels of each source: a model's, gold plans, each kind of corruption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest

from .calibration import Estimate, auc

_TABLE = """\
| source | labels | valid | rejected (95 %) | AUC against all valid |
|---|---:|---:|---:|---:|"""


@dataclass(frozen=True)
class SourceQuality:
    """A judge on the labels of one source.

    Attributes:
        source: `Label.source`.
        labels, valid: how many labels, and how many of them say valid.
        rejected: share of the labels, valid or not, that the judge rejects, with its Wilson
            interval, which takes labels as independent.
        auc: the chance that a valid tuple of any source scores above an invalid one of this source;
            None where one of the two is missing.
    """

    source: str
    labels: int
    valid: int
    rejected: Estimate
    auc: float | None

    def to_dict(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self) | {"rejected": list(self.rejected)}


def by_source(
    scores: ArrayLike, valid: ArrayLike, sources: Sequence[str], threshold: float
) -> list[SourceQuality]:
    """Parts labels by their source, in the order of its name.

    Args:
        scores: of N tuples.
        valid: whether each is.
        sources: of each label.
        threshold: a tuple passes from this score on.

    Raises:
        ValueError: other shapes.
    """
    scores_N, valid_N, sources_N = np.asarray(scores), np.asarray(valid, bool), np.asarray(sources)
    if not scores_N.shape == valid_N.shape == sources_N.shape:
        raise ValueError(
            f"scores has shape {scores_N.shape}, valid {valid_N.shape} and sources "
            f"{sources_N.shape}; all must be (N,)"
        )
    found = []
    for source in sorted(set(sources)):
        own_N = sources_N == source
        labels, rejected = int(own_N.sum()), int((scores_N[own_N] < threshold).sum())
        interval = binomtest(rejected, labels).proportion_ci(0.95, "wilson")
        compared_N = valid_N | own_N
        area = auc(scores_N[compared_N], valid_N[compared_N])
        found.append(
            SourceQuality(
                source,
                labels,
                int(valid_N[own_N].sum()),
                Estimate(rejected / labels, float(interval.low), float(interval.high)),
                None if np.isnan(area) else area,
            )
        )
    return found


def source_table(found: Sequence[SourceQuality]) -> str:
    """The sources as a Markdown table."""
    rows = [_TABLE]
    for one in found:
        name = one.source.replace("|", "\\|") or "(not named)"
        share, low, high = one.rejected
        area = "" if one.auc is None else f"{one.auc:.3f}"
        rows.append(
            f"| {name} | {one.labels} | {one.valid} | {share:.3f} ({low:.3f}–{high:.3f}) | {area} |"
        )
    return "\n".join(rows)
