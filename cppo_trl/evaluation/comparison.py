"""Whether two evaluations differ, on the problems that both attempted."""

from __future__ import annotations

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
        side: directory.read_records(benchmark, method)
        for (side, directory), method in zip(directories.items(), methods, strict=True)
    }
    known, unknown = without_unknown(records)
    # Each in an order of its own: the files may list the problems in two orders.
    known = {side: sorted(found, key=lambda record: record.key) for side, found in known.items()}
    shapes = {side: _shape(found) for side, found in known.items()}
    if shapes["first"] != shapes["second"]:
        said = "; ".join(f"{directories[side].path}: {shape}" for side, shape in shapes.items())
        raise DirectoryError(
            f"{benchmark!r}, {' and '.join(methods)} are not of the same budget, or one is not "
            f"finished: {said}"
        )
    if not known["first"]:
        raise DirectoryError(f"{benchmark!r}: no problem has verdicts on all its attempts")
    size = len(known["first"][0].attempts)
    k = k or size
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


def _shape(records: Sequence[Record]) -> str:
    seeds = len({record.seed for record in records})
    draws = len({record.draw for record in records})
    problems = len({record.problem_id for record in records})
    size = len(records[0].attempts) if records else 0
    return (
        f"{problems} problems, {seeds} seeds, {draws} draws of {size} attempts, "
        f"{len(records)} records"
    )


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
