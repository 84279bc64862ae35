"""Which problems of a benchmark are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from cppo_trl.problems import IO_MODES, Problem

from .benchmark import Benchmark
from .sources import BenchmarkError


@dataclass(frozen=True)
class Filters:
    """What a problem must be; None where anything will do.

    Args:
        difficulty, platform, io_mode, ids: one of these; `platform` is `Problem.source`.
        start_date, end_date: the first and the last day, as in "2024-08-31"; a problem without a
            date is not wanted then.
        num_tests: the least and the most tests, either of which may be None.

    Raises:
        BenchmarkError: a value that is not allowed.
    """

    difficulty: Collection[str] | None = None
    platform: Collection[str] | None = None
    io_mode: Collection[str] | None = None
    ids: Collection[str] | None = None
    start_date: str | None = None
    end_date: str | None = None
    num_tests: tuple[int | None, int | None] = (None, None)

    def __post_init__(self) -> None:
        for name in ("difficulty", "platform", "io_mode", "ids"):
            value = getattr(self, name)
            if value is not None:
                values = (value,) if isinstance(value, str) else value
                object.__setattr__(self, name, frozenset(map(str, values)))
        if self.io_mode is not None and not self.io_mode <= set(IO_MODES):
            raise BenchmarkError(f"io_mode {sorted(self.io_mode)}: there are {', '.join(IO_MODES)}")
        for name in ("start_date", "end_date"):
            value = getattr(self, name)
            try:
                if value is not None and date.fromisoformat(value).isoformat() != value:
                    raise ValueError
            except (TypeError, ValueError):
                raise BenchmarkError(f"{name} {value!r}: write it as in 2024-08-31") from None
        least, most = self.num_tests
        if least is not None and most is not None and least > most:
            raise BenchmarkError(f"num_tests {self.num_tests}: the least is above the most")

    def check(self, benchmark: Benchmark) -> None:
        """Raises `BenchmarkError` where the benchmark has nothing that a filter could look at."""
        if (self.start_date or self.end_date) and not benchmark.is_dated:
            raise BenchmarkError(f"{benchmark.name} has no dates, so none can be asked for")

    def unmet(self, problem: Problem) -> str | None:
        """The first filter that a problem does not meet, None if it meets all."""
        wanted = {
            "ids": (self.ids, problem.id),
            "difficulty": (self.difficulty, problem.difficulty),
            "platform": (self.platform, problem.source),
            "io_mode": (self.io_mode, problem.io_mode),
        }
        for name, (allowed, value) in wanted.items():
            if allowed is not None and value not in allowed:
                return name
        if self.start_date or self.end_date:
            day = problem.metadata.get("date")
            if not day or not (self.start_date or day) <= day <= (self.end_date or day):
                return "date"
        least, most = self.num_tests
        if len(problem.tests) < (least or 0) or (most is not None and len(problem.tests) > most):
            return "num_tests"
        return None


def describe_values(seen: Counter[tuple[str, str | None]]) -> str:
    """What difficulties, platforms and io modes there were, for who filtered everything out."""
    parts = []
    for name in ("difficulty", "platform", "io_mode"):
        values = sorted(value for field, value in seen if field == name and value)
        parts.append(f"{name}: {', '.join(values) or 'none'}")
    return "; ".join(parts)
