"""Whether two evaluations differ, on the problems that both attempted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .bootstrap import Comparison, bootstrap_interval, paired_bootstrap
from .directory import DirectoryError, EvaluationDirectory, difference
from .records import Record
from .significance import holm, mcnemar
from .summary import Score, pass_at_k_scores, without_unknown


@dataclass(frozen=True)
class Cell:
    """One benchmark and one method of each evaluation.

    Attributes:
        benchmark: its label.
        first_method, second_method: what is compared.
        problems, seeds: how many.
        first, second: pass@k of each.
        test: the second less the first, paired by problem and seed; its p-value is adjusted for all
            cells (Holm).
        mcnemar: the p-value of McNemar's exact test, where each problem has one tuple in one run of
            which k is the size; None elsewhere. Adjusted for all cells as well.
        unknown: ids of problems left out because the verifier had trouble of its own.
    """

    benchmark: str
    first_method: str
    second_method: str
    problems: int
    seeds: int
    first: Score
    second: Score
    test: Comparison
    mcnemar: float | None
    unknown: Sequence[str]


def compare(
    first: EvaluationDirectory,
    second: EvaluationDirectory,
    first_method: str | None = None,
    second_method: str | None = None,
    k: int | None = None,
) -> list[Cell]:
    """Tests the difference of two evaluations of the same problems, cell by cell.

    Args:
        first, second: what `cppo-trl eval` wrote.
        first_method, second_method: what to compare; None for every method that both have.
        k: of pass@k; None for a whole tuple.

    Raises:
        DirectoryError: a directory holds no evaluation; the two share no benchmark or no method;
            problems, their tests, the grading, or the numbers of attempts or seeds differ.
        RecordError: a record is damaged.
        ValueError: k is more than there are attempts.
    """
    for directory in (first, second):
        if not directory.exists:
            raise DirectoryError(f"{directory.path}: there is no evaluation in it")
    benchmarks = [name for name in first.problems if name in second.problems]
    if not benchmarks:
        raise DirectoryError(
            f"{first.path} is of {', '.join(first.problems)} and {second.path} of "
            f"{', '.join(second.problems)}: they share no benchmark"
        )
    _refuse_different_problems(first, second, benchmarks)
    cells = [
        _cell(name, methods, {"first": first, "second": second}, k)
        for name in benchmarks
        for methods in _pairs(first, second, name, first_method, second_method)
    ]
    return _adjusted(cells)


def _refuse_different_problems(
    first: EvaluationDirectory, second: EvaluationDirectory, benchmarks: Sequence[str]
) -> None:
    for name in benchmarks:
        if what := difference(first.problems[name], second.problems[name]):
            raise DirectoryError(
                f"{first.path} and {second.path} are not of the same problems of {name!r}: {what}"
            )
        grading = [directory.settings["grading"][name] for directory in (first, second)]
        if grading[0] != grading[1]:
            raise DirectoryError(
                f"{name!r} was graded in two ways: {grading[0]} in {first.path}, and {grading[1]} "
                f"in {second.path}"
            )


def _pairs(
    first: EvaluationDirectory,
    second: EvaluationDirectory,
    benchmark: str,
    first_method: str | None,
    second_method: str | None,
) -> list[tuple[str, str]]:
    own = [first.methods(benchmark), second.methods(benchmark)]
    for directory, methods, asked in zip(
        (first, second), own, (first_method, second_method), strict=True
    ):
        if asked is not None and asked not in methods:
            raise DirectoryError(
                f"{directory.path} has no method {asked!r} of {benchmark!r}; it has "
                f"{', '.join(methods)}"
            )
    if first_method and second_method:
        return [(first_method, second_method)]
    wanted = first_method or second_method
    shared = [name for name in own[0] if name in own[1] and wanted in (None, name)]
    if not shared:
        raise DirectoryError(
            f"{first.path} has {', '.join(own[0])} of {benchmark!r} and {second.path} has "
            f"{', '.join(own[1])}: name one method of each"
        )
    return [(name, name) for name in shared]


def _cell(
    benchmark: str,
    methods: tuple[str, str],
    directories: Mapping[str, EvaluationDirectory],
    k: int | None,
) -> Cell:
    records = {
        side: _whole(directory, benchmark, method)
        for (side, directory), method in zip(directories.items(), methods, strict=True)
    }
    shapes = {side: _shape(found) for side, found in records.items()}
    if shapes["first"] != shapes["second"]:
        said = "; ".join(f"{directories[side].path}: {shape}" for side, shape in shapes.items())
        raise DirectoryError(
            f"{benchmark!r}, {' and '.join(dict.fromkeys(methods))}: not of the same budget: {said}"
        )
    known, unknown = without_unknown(records)
    if not known["first"]:
        raise DirectoryError(f"{benchmark!r}: no problem has verdicts on all its attempts")
    size = len(known["first"][0].attempts)
    k = size if k is None else k
    scores = {side: pass_at_k_scores(found, k) for side, found in known.items()}
    seeds, problems = scores["first"].shape
    single = seeds == 1 and k == size and len(known["first"]) == problems
    return Cell(
        benchmark,
        *methods,
        problems,
        seeds,
        *(Score(k, *bootstrap_interval(values)) for values in scores.values()),
        paired_bootstrap(scores["second"], scores["first"]),
        mcnemar(scores["second"][0], scores["first"][0]) if single else None,
        unknown,
    )


def _whole(directory: EvaluationDirectory, benchmark: str, method: str) -> list[Record]:
    """The records of a method, by seed, draw and problem: each directory has an order of its own.

    Raises:
        DirectoryError: some are missing.
    """
    records = sorted(directory.read_records(benchmark, method), key=lambda record: record.key)
    draws = directory.settings["draws"]
    configs = [session["config"] for session in directory.sessions]
    seeds = max(config["seeds"] for config in configs if method in config["methods"])
    wanted = sorted(itertools.product(range(seeds), range(draws), directory.problems[benchmark]))
    if [record.key for record in records] != wanted:
        raise DirectoryError(
            f"{directory.path}: {method!r} of {benchmark!r} is not finished ({len(records)} of "
            f"{len(wanted)} records); give the command of its evaluation again"
        )
    return records


def _shape(records: Sequence[Record]) -> str:
    seed, draw, _ = records[-1].key
    size = len(records[0].attempts)
    return f"{seed + 1} seeds, {draw + 1} draws of {size} attempts"


def _adjusted(cells: Sequence[Cell]) -> list[Cell]:
    bootstrap = holm([cell.test.p_value for cell in cells])
    single = [cell.mcnemar for cell in cells if cell.mcnemar is not None]
    exact = iter(holm(single))
    return [
        replace(
            cell,
            test=replace(cell.test, p_value=p_value),
            mcnemar=None if cell.mcnemar is None else next(exact),
        )
        for cell, p_value in zip(cells, bootstrap, strict=True)
    ]
