"""Which entry of a row's grid goes on: the best on the development problems."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cppo_trl.evaluation.directory import EvaluationDirectory
from cppo_trl.evaluation.summary import pass_at_k_scores, without_unknown

from .rows import Row

TUNING_FILE = "tuning.json"


def development_score(directory: Path, method: str) -> float:
    """pass@K on the development problems, the mean.

    Args:
        directory: of `cppo-trl eval`, on one benchmark.
        method: that was evaluated.
    """
    evaluation = EvaluationDirectory(directory)
    (benchmark,) = evaluation.problems
    known, _ = without_unknown({method: evaluation.read_records(benchmark, method)})
    records = known[method]
    return float(pass_at_k_scores(records, len(records[0].attempts)).mean())


def choose(row: Row, scores: Sequence[float], folder: Path) -> int:
    """The entry with the best score, the first of equal ones; writes all of them down.

    Args:
        row: whose grid it is.
        scores: of its entries.
        folder: of the row.
    """
    best = max(range(len(scores)), key=lambda place: scores[place])
    record = {
        "chosen": best,
        "tried": [
            {"settings": dict(settings), "development": score}
            for settings, score in zip(row.grid, scores, strict=True)
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TUNING_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return best
