"""An evaluation as it is reported: everything that a reader of it may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cppo_trl.problems import Problem

from .records import Record
from .summary import Summary


@dataclass(frozen=True)
class BenchmarkResult:
    """What all methods did on one benchmark.

    Attributes:
        name: as it was asked for, such as "apps:test".
        described: one line of what was loaded and what was left out, the cap on tests included.
        problems: all of them, in their order.
        records: all of them, by method.
        summaries: one for each method, without the problems in `unknown`.
        unknown: ids of problems left out of all numbers: the verifier had trouble of its own.
    """

    name: str
    described: str
    problems: Sequence[Problem]
    records: Mapping[str, Sequence[Record]]
    summaries: Sequence[Summary]
    unknown: Sequence[str]


@dataclass(frozen=True)
class Evaluation:
    """All methods on all benchmarks.

    Attributes:
        k: K, the attempts of a tuple.
        seeds: how many runs.
        baseline: the method that the others are tested against.
        benchmarks: at least one, all of the same methods in the same order.
        settings: what decides the attempts, as JSON can hold it.
        sessions: when, by which command and with which versions they were made, one for each time
            that the evaluation was started.
    """

    k: int
    seeds: int
    baseline: str
    benchmarks: Sequence[BenchmarkResult]
    settings: Mapping[str, Any]
    sessions: Sequence[Mapping[str, Any]]
