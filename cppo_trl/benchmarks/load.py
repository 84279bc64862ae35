"""Loading a benchmark: rows -> problems, with account of what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cppo_trl.problems import Problem, ProblemError, validate_problems

from . import apps, codecontests, humaneval, jsonl, leetcode, livecodebench, mbpp, taco
from .benchmark import Benchmark, Row
from .filters import Filters, describe_values
from .rows import DUPLICATE_ID, INVALID_PROBLEM, BadRow, parse_json, shown
from .sources import BenchmarkError, hub_rows, is_folder_of_problems, local_rows

BENCHMARKS: Mapping[str, Benchmark] = {
    module.BENCHMARK.name: module.BENCHMARK
    for module in (apps, codecontests, livecodebench, taco, humaneval, mbpp, leetcode, jsonl)
}
BAR_DELAY = 1.0  # seconds, so that a small file shows no bar
_ID_FIELDS = ("problem_id", "question_id", "task_id", "id", "name")


class BenchmarkProblems(list[Problem]):
    """The problems of a benchmark, and what became of the other rows.

    Attributes:
        benchmark: what they are of.
        origin: where they were read.
        split, version: as they were asked for; "" where there are none.
        skipped: bad rows, by kind.
        filtered: problems that were not wanted, by the filter that they did not meet.
        dropped_errata: problems left out for their known errata.
        max_tests: the cap on tests; None if all are used.
    """

    def __init__(
        self,
        problems: Iterable[Problem],
        benchmark: Benchmark,
        origin: str,
        split: str,
        version: str,
        max_tests: int | None = None,
    ) -> None:
        super().__init__(problems)
        self.benchmark = benchmark
        self.origin = origin
        self.split = split
        self.version = version
        self.max_tests = max_tests
        self.skipped: Counter[str] = Counter()
        self.filtered: Counter[str] = Counter()
        self.dropped_errata = 0

    def describe(self) -> str:
        """One line for a report: what this is, what is missing, and whether tests are."""
        name = " ".join(filter(None, (self.benchmark.title, self.version, self.split)))
        parts = [f"{name} ({self.origin}): {len(self)} problems"]
        if self.max_tests is None:
            parts.append("all tests")
        else:
            capped = sum("num_tests" in problem.metadata for problem in self)
            parts.append(f"AT MOST {self.max_tests} TESTS A PROBLEM (fewer than all for {capped})")
        if self.benchmark.has_limits:
            without = sum(problem.time_limit is None for problem in self)
            parts.append(f"{without} without a time limit, for which the verifier's holds")
        marked = sum("errata" in problem.metadata for problem in self)
        if marked:
            parts.append(f"{marked} with known errata")
        if self.dropped_errata:
            parts.append(f"{self.dropped_errata} left out for known errata")
        for what, counts in (("bad rows skipped", self.skipped), ("filtered out", self.filtered)):
            if counts:
                kinds = ", ".join(f"{kind}: {count}" for kind, count in counts.items())
                parts.append(f"{counts.total()} {what} ({kinds})")
        return "; ".join(parts)


def load_benchmark(
    name: str,
    split: str | None = None,
    path: str | Path | None = None,
    *,
    version: str | None = None,
    difficulty: str | Collection[str] | None = None,
    platform: str | Collection[str] | None = None,
    io_mode: str | Collection[str] | None = None,
    ids: Collection[str] | None = None,
    start_date: str | None = None,
    end_date: str | None = None,
    num_tests: tuple[int | None, int | None] = (None, None),
    max_tests: int | None = None,
    errata: Literal["mark", "drop"] = "mark",
    on_bad_row: Literal["error", "skip"] = "error",
    with_solutions: bool = False,
    streaming: bool | None = None,
    progress: bool = True,
) -> BenchmarkProblems:
    """Loads the problems of a benchmark, with all their tests, from the Hub or from files.

    Args:
        name: one of `BENCHMARKS`.
        split: by default the one that the benchmark is evaluated on.
        path: a file in the Hub's format (`.jsonl`, `.jsonl.gz`, `.json`, `.parquet`), or a folder
            with the files of the Hub's repository or of APPS' first release; None for the Hub,
            where `datasets` keeps what it downloads.
        version: LiveCodeBench's `release_v1` to `release_v6` (all problems until then), `v1` to
            `v6` (those that one release added) or a range (`v4_v6`); MBPP's `full`, `sanitized`.
        difficulty, platform, io_mode, ids, start_date, end_date, num_tests: see `Filters`.
        max_tests: use the first so many tests only. A right verdict needs all of them, so the cap
            is told by `describe`, and the number of tests there were is in
            `metadata["num_tests"]`.
        errata: mark problems with known errata in `metadata["errata"]`, or leave them out.
        on_bad_row: raise the error, which names the row, or count the row in `skipped`.
        with_solutions: puts the benchmark's own solutions in `metadata["solutions"]`.
        streaming: read the Hub row by row and keep nothing; None where the benchmark is large.
        progress: shows a bar, if it takes more than a second.

    Raises:
        BenchmarkError: there is no such benchmark, version, split, file or problem.
        BadRow: a row gives no problem, and `on_bad_row` is "error".
        HubUnreachable: the Hub cannot be reached; the message says how to get the data elsewhere.
    """
    benchmark = _benchmark(name)
    filters = Filters(difficulty, platform, io_mode, ids, start_date, end_date, num_tests)
    filters.check(benchmark)
    for option, value, allowed in (
        ("errata", errata, ("mark", "drop")),
        ("on_bad_row", on_bad_row, ("error", "skip")),
    ):
        if value not in allowed:
            raise BenchmarkError(f"{option} {value!r}: it must be one of {', '.join(allowed)}")
    if max_tests is not None and max_tests < 1:
        raise BenchmarkError(f"max_tests {max_tests}: it must be 1 or more, or None for all")
    # Of one file, or one folder of problems, it is not known which version and split it is.
    is_part = path is not None and (not Path(path).is_dir() or is_folder_of_problems(Path(path)))
    chosen = version or ("" if is_part else benchmark.default_version)
    part = split or ("" if is_part else benchmark.default_split)
    if path is not None:
        rows = local_rows(benchmark, Path(path), chosen, part)
    else:
        streamed = benchmark.is_large if streaming is None else streaming
        rows = hub_rows(benchmark, chosen, part, streamed)
    origin = str(path) if path is not None else str(benchmark.hub_id)
    found = BenchmarkProblems([], benchmark, origin, part, chosen, max_tests)
    seen: Counter[tuple[str, str | None]] = Counter()
    for problem in _problems(found, _bar(rows, benchmark, progress), on_bad_row, with_solutions):
        for field in ("difficulty", "platform", "io_mode"):
            seen[field, getattr(problem, "source" if field == "platform" else field)] += 1
        unmet = filters.unmet(problem)
        if unmet is not None:
            found.filtered[unmet] += 1
        elif errata == "drop" and "errata" in problem.metadata:
            found.dropped_errata += 1
        else:
            found.append(_capped(problem, max_tests))
    _check_found(found, filters, seen)
    return found


def _benchmark(name: str) -> Benchmark:
    if name not in BENCHMARKS:
        raise BenchmarkError(f"benchmark {name!r}: there are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def _bar(
    rows: Iterable[tuple[str, Row | str | bytes]], benchmark: Benchmark, progress: bool
) -> Iterable[tuple[str, Row | str | bytes]]:
    from tqdm import tqdm

    return tqdm(rows, f"load {benchmark.name}", unit="row", delay=BAR_DELAY, disable=not progress)


def _problems(
    found: BenchmarkProblems,
    rows: Iterable[tuple[str, Row | str | bytes]],
    on_bad_row: str,
    with_solutions: bool,
) -> Iterator[Problem]:
    first: dict[str, str] = {}  # id: the row that has it
    for index, (where, row) in enumerate(rows):
        try:
            problem = _problem(found.benchmark, row, index, with_solutions)
            if problem.id in first:
                raise BadRow(DUPLICATE_ID, f"{problem.id!r} is that of {first[problem.id]} too")
        except BadRow as error:
            if on_bad_row == "skip":
                found.skipped[error.reason] += 1
                continue
            raise error.at(f"{found.benchmark.title}: {where}{_known_id(row)}") from error
        first[problem.id] = where
        yield problem


def _problem(
    benchmark: Benchmark, row: Row | str | bytes, index: int, with_solutions: bool
) -> Problem:
    if isinstance(row, (str, bytes)):
        row = parse_json(row, "the row")
    if not isinstance(row, Mapping):
        raise BadRow(INVALID_PROBLEM, f"the row is {shown(row)}, not an object")
    try:
        (problem,) = validate_problems([benchmark.to_problem(row, index)])
    except ProblemError as error:
        raise BadRow(INVALID_PROBLEM, str(error)) from error
    metadata = dict(problem.metadata)
    wrong = benchmark.errata.get(metadata.get("source_id") or problem.id)
    if wrong is not None:
        metadata["errata"] = wrong
    if with_solutions:
        metadata["solutions"] = benchmark.solutions(row)
    return replace(problem, metadata=metadata)


def _known_id(row: Row | str | bytes) -> str:
    if isinstance(row, Mapping):
        for name in _ID_FIELDS:
            if row.get(name) is not None:
                return f", {name} {shown(row[name])}"
    return ""


def _capped(problem: Problem, max_tests: int | None) -> Problem:
    if max_tests is None or len(problem.tests) <= max_tests:
        return problem
    metadata = dict(problem.metadata) | {"num_tests": len(problem.tests)}
    return replace(problem, tests=problem.tests[:max_tests], metadata=metadata)


def _check_found(
    found: BenchmarkProblems, filters: Filters, seen: Counter[tuple[str, str | None]]
) -> None:
    """Refuses an empty result, and ids that are not there."""
    if not found:
        raise BenchmarkError(f"no problem is left. {found.describe()}. {describe_values(seen)}")
    missing = sorted((filters.ids or frozenset()) - {problem.id for problem in found})
    if missing:
        listed = ", ".join(missing[:10])
        raise BenchmarkError(f"ids: {len(missing)} are not among the problems found: {listed}")
