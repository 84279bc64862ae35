"""The tables of a report, from the summaries of its evaluation."""

from __future__ import annotations

from collections.abc import Callable

from cppo_trl.evaluation.results import BenchmarkResult, Evaluation
from cppo_trl.evaluation.summary import LEVEL, Score, Summary

from .solved import attempt_labels, solved_shares, verdicts
from .table import (
    BETTER,
    NONE,
    WORSE,
    Cell,
    Row,
    Table,
    best_marked,
    count,
    interval,
    p_value,
    percent,
    points,
    seconds,
)
from .title import attempts

FEW = 30  # problems, below which a percentile bootstrap is too sure

_DIFFERENCES = """\
In brackets: 95 % intervals of the paired bootstrap, not adjusted. p: two-sided, Holm-adjusted \
over all cells of the table.\
"""
_DIVERSITY = """\
Distinct strategies: of {k}, in plans that parse. A plan that does not parse is {k} failures. \
Near-duplicate programs: share of the pairs of programs of a tuple that are alike whatever names \
they use. Solved by exactly one: share of the tuples.\
"""


def score_at(summary: Summary, k: int) -> Score | None:
    """The score for this k; None if it is not among them."""
    return next((score for score in summary.scores if score.k == k), None)


def significance_mark(summary: Summary) -> str:
    """Says whether a method is significantly better or worse than the baseline; "" for neither."""
    if not summary.is_significant:
        return ""
    return BETTER if summary.against.difference > 0 else WORSE


def num_scored(benchmark: BenchmarkResult) -> int:
    """How many problems the numbers are of."""
    return len(benchmark.problems) - len(benchmark.unknown)


def interval_note(evaluation: Evaluation) -> str:
    """What the intervals are, and what they do not say."""
    if evaluation.seeds > 1:
        return f"In brackets: 95 % bootstrap intervals over problems and {evaluation.seeds} seeds."
    return (
        "In brackets: 95 % bootstrap intervals over problems. There is one seed, so they do not "
        "say how much another run would differ."
    )


def curves_note(evaluation: Evaluation) -> str:
    """What the curves of pass@k show."""
    k, summary = evaluation.k, evaluation.benchmarks[0].summaries[0]
    said = "The chance that at least one of k attempts passes all tests. Bands are 95 % intervals."
    if all(score.k <= k for score in summary.scores):
        return said
    return (
        f"{said} Up to k = {k} the attempts are of one tuple; beyond it, right of the dotted line, "
        "of several whole tuples."
    )


def score_table(evaluation: Evaluation) -> Table:
    """pass@1 and pass@K of each method on each benchmark."""
    k = evaluation.k
    ks = [1] if k == 1 else [1, k]
    columns: list[list[Cell]] = []
    values: list[list[float | None]] = []
    for benchmark in evaluation.benchmarks:
        for size in ks:
            scores = [score_at(summary, size) for summary in benchmark.summaries]
            values.append([score and score.mean for score in scores])
            columns.append(
                [
                    _score_cell(score, significance_mark(summary) if size == k else "")
                    for score, summary in zip(scores, benchmark.summaries, strict=True)
                ]
            )
    best_marked(values, columns)
    rows = tuple(
        Row(summary.method, tuple(column[place] for column in columns))
        for place, summary in enumerate(evaluation.benchmarks[0].summaries)
    )
    notes = [interval_note(evaluation)]
    if any(num_scored(benchmark) < FEW for benchmark in evaluation.benchmarks):
        notes.append(f"Fewer than {FEW} problems: the bootstrap makes intervals too narrow then.")
    if len(rows) > 1:
        notes.append(
            f"{BETTER} better, {WORSE} worse than the baseline {evaluation.baseline} in pass@{k}: "
            "paired bootstrap over problems and seeds, p-values Holm-adjusted over all cells of "
            f"the table, level {LEVEL}. Methods are not tested against each other. Bold: the "
            "highest of a column."
        )
    return Table(
        caption=f"pass@1 and pass@{k} in percent" if k > 1 else "pass@1 in percent",
        columns=tuple(f"pass@{size}" for _ in evaluation.benchmarks for size in ks),
        sections=(("", rows),),
        groups=tuple((benchmark.name, len(ks)) for benchmark in evaluation.benchmarks),
        notes=tuple(notes),
    )


def _score_cell(score: Score | None, mark: str) -> Cell:
    if score is None:
        return Cell(NONE)
    return Cell(percent(score.mean), interval(score.low, score.high), mark)


def difference_table(evaluation: Evaluation) -> Table:
    """pass@K of each method less that of the baseline."""
    rows = []
    for place, summary in enumerate(evaluation.benchmarks[0].summaries):
        found = [benchmark.summaries[place] for benchmark in evaluation.benchmarks]
        if summary.against is not None:
            rows.append(Row(summary.method, tuple(map(_difference_cell, found))))
    return Table(
        caption=f"pass@{evaluation.k} less that of the baseline {evaluation.baseline}, in points "
        "of percent",
        columns=tuple(benchmark.name for benchmark in evaluation.benchmarks),
        sections=(("", tuple(rows)),),
        notes=(_DIFFERENCES,),
    )


def _difference_cell(summary: Summary) -> Cell:
    against = summary.against
    return Cell(
        points(against.difference),
        f"({points(against.low)} to {points(against.high)}) {p_value(against.p_value)}",
        significance_mark(summary),
    )


def diversity_table(evaluation: Evaluation) -> Table:
    """How different the K attempts are."""
    k = evaluation.k
    return _by_benchmark(
        evaluation,
        f"How different {attempts(k)} are",
        {
            "distinct strategies": lambda s: count(s.distinct),
            "plans that parse, %": lambda s: percent(s.parse_rate),
            "near-duplicate programs, %": lambda s: percent(s.near_duplicates),
            "solved by exactly one, %": lambda s: percent(s.solved_by_one),
        },
        _DIVERSITY.format(k=k),
    )


def cost_table(evaluation: Evaluation) -> Table:
    """What K attempts cost."""
    k = evaluation.k
    return _by_benchmark(
        evaluation,
        f"What {attempts(k)} at a problem cost, plans included; means",
        {
            "planner calls": lambda s: count(s.planner_calls),
            "planner tokens": lambda s: count(s.planner_tokens),
            "solver calls": lambda s: count(s.solver_calls),
            "solver tokens": lambda s: count(s.solver_tokens),
            "generation,\u00a0s": lambda s: seconds(s.seconds),
            "verification, CPU\u00a0s": lambda s: seconds(s.cpu_seconds),
            f"pass@{k} for 10k\u00a0tokens": lambda s: count(s.pass_per_10k_tokens),
        },
        "Tokens: decoded, the planner's counted. Generation: a problem's share of its batch.",
    )


def solved_table(evaluation: Evaluation) -> Table:
    """The shares beside the picture of who solved what."""
    labels = attempt_labels(evaluation.k)
    sections = []
    for benchmark in evaluation.benchmarks:
        rows = []
        for method, records in benchmark.records.items():
            solved, only = solved_shares(verdicts(records, benchmark.unknown))
            cells = [
                Cell(percent(share), f"({percent(alone)})")
                for share, alone in zip(solved, only, strict=True)
            ]
            rows.append(Row(method, tuple(cells)))
        sections.append((benchmark.name, tuple(rows)))
    return Table(
        "Share of the tuples that each attempt solved, and in brackets that only it solved, in %",
        labels,
        tuple(sections),
    )


def _by_benchmark(
    evaluation: Evaluation,
    caption: str,
    columns: dict[str, Callable[[Summary], str]],
    note: str,
) -> Table:
    sections = tuple(
        (
            benchmark.name,
            tuple(
                Row(summary.method, tuple(Cell(shown(summary)) for shown in columns.values()))
                for summary in benchmark.summaries
            ),
        )
        for benchmark in evaluation.benchmarks
    )
    return Table(caption, tuple(columns), sections, notes=(note,))
