"""An evaluation's numbers for programs, and JSON that is safe in a page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cppo_trl.evaluation.results import BenchmarkResult, Evaluation
from cppo_trl.evaluation.summary import LEVEL

from .conclusion import conclusion
from .numbers import num_scored
from .solved import attempt_labels, solved_shares, verdicts

FORMAT = 1  # counts up when a reader of `summary.json` has to change


def summary_json(evaluation: Evaluation) -> str:
    """All numbers of the report with settings and sessions, one JSON object; null for no number."""
    content = {
        "format": FORMAT,
        "conclusion": conclusion(evaluation),
        "k": evaluation.k,
        "seeds": evaluation.seeds,
        "baseline": evaluation.baseline,
        "level": LEVEL,
        "benchmarks": [_benchmark(benchmark, evaluation.k) for benchmark in evaluation.benchmarks],
        "settings": evaluation.settings,
        "sessions": evaluation.sessions,
    }
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _benchmark(benchmark: BenchmarkResult, k: int) -> dict[str, Any]:
    methods = []
    for summary in benchmark.summaries:
        passed_NK = verdicts(benchmark.records[summary.method], benchmark.unknown)
        solved, only = solved_shares(passed_NK)
        numbers = asdict(summary)
        methods.append(
            {"method": numbers.pop("method"), "pass_at_k": numbers.pop("scores")}
            | numbers
            | {"significant": summary.is_significant}
            | {"tuples": len(passed_NK)}
            | {"solved_by": dict(zip(attempt_labels(k), solved, strict=True))}
            | {"solved_only_by": dict(zip(attempt_labels(k), only, strict=True))}
        )
    return {
        "name": benchmark.name,
        "described": benchmark.described,
        "problems": len(benchmark.problems),
        "scored": num_scored(benchmark),
        "unknown": benchmark.unknown,
        "methods": methods,
    }


def plain(value: Any) -> Any:
    """The value as strict JSON can hold it: no tuples, and None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def flat(value: Any, name: str = "") -> dict[str, str]:
    """Nested settings as lines of text, by their dotted names; text stays as it is."""
    if isinstance(value, Mapping) and value:
        parts = {f"{name}.{key}" if name else str(key): item for key, item in value.items()}
    elif isinstance(value, (list, tuple)) and any(isinstance(i, (Mapping, list)) for i in value):
        parts = {f"{name}[{place}]": item for place, item in enumerate(value)}
    else:
        shown = value if isinstance(value, str) else json.dumps(plain(value), ensure_ascii=False)
        return {name: shown}
    return {key: text for part, item in parts.items() for key, text in flat(item, part).items()}
