"""What the numbers come to, in sentences."""

from __future__ import annotations

from cppo_trl.evaluation.results import BenchmarkResult, Evaluation
from cppo_trl.evaluation.summary import Summary

from .numbers import num_scored, score_at
from .table import interval, listed, p_value, percent, points


def best_methods(benchmark: BenchmarkResult, k: int) -> list[Summary]:
    """The methods of the highest pass@K, several in a tie."""
    highest = max(score_at(summary, k).mean for summary in benchmark.summaries)
    return [s for s in benchmark.summaries if highest - score_at(s, k).mean < 1e-12]


def conclusion(evaluation: Evaluation) -> str:
    """One sentence: who has the highest pass@K where, and whether that is above the baseline."""
    k, baseline = evaluation.k, evaluation.baseline
    if len(evaluation.benchmarks[0].summaries) == 1:
        found = listed([_only_score(benchmark, k) for benchmark in evaluation.benchmarks])
        return f"{baseline} has a pass@{k} of {found}; there is no method to compare it with."
    places: dict[tuple[str, ...], list[tuple[str, bool]]] = {}
    for benchmark in evaluation.benchmarks:
        best = best_methods(benchmark, k)
        names = tuple(summary.method for summary in best)
        is_above = all(summary.is_significant for summary in best)
        places.setdefault(names, []).append((benchmark.name, is_above))
    return "; ".join(_clause(names, on, k, baseline) for names, on in places.items()) + "."


def _only_score(benchmark: BenchmarkResult, k: int) -> str:
    score = score_at(benchmark.summaries[0], k)
    return f"{percent(score.mean)} % {interval(score.low, score.high)} on {benchmark.name}"


def _clause(names: tuple[str, ...], on: list[tuple[str, bool]], k: int, baseline: str) -> str:
    where = listed([name for name, _ in on])
    verb = "has" if len(names) == 1 else "share"
    if baseline in names:
        shown = [f"the baseline {name}" if name == baseline else name for name in names]
        return f"{listed(shown)} {verb} the highest pass@{k} on {where}"
    said = f"{listed(names)} {verb} the highest pass@{k} on {where}"
    above = [name for name, is_above in on if is_above]
    if len(above) == len(on):
        return f"{said}, significantly above the baseline {baseline}"
    if not above:
        return f"{said}, but not significantly above the baseline {baseline}"
    below = listed([name for name, is_above in on if not is_above])
    return f"{said}, significantly above the baseline {baseline} on {listed(above)} but not {below}"


def benchmark_conclusion(benchmark: BenchmarkResult, k: int) -> str:
    """One sentence: the highest pass@K on a benchmark, and how it compares with the baseline."""
    best = best_methods(benchmark, k)
    summary, score = best[0], score_at(best[0], k)
    names = listed([summary.method for summary in best])
    value = f"pass@{k} {percent(score.mean)} % {interval(score.low, score.high)}"
    if len(benchmark.summaries) == 1:
        return f"{names}: {value}."
    said = f"Highest: {names}, {value}"
    if any(summary.against is None for summary in best):
        below = [other.method for other in benchmark.summaries if other.is_significant]
        rest = f"significantly below it: {listed(below)}" if below else "none significantly below"
        return f"{said}, the baseline; {rest}."
    against = summary.against
    worth = "significant" if summary.is_significant else "not significant"
    return (
        f"{said}; {points(against.difference)} points against the baseline "
        f"({points(against.low)} to {points(against.high)}), {worth} ({p_value(against.p_value)})."
    )


def left_out(benchmark: BenchmarkResult) -> str:
    """Says how many problems the numbers are without, for lack of a verdict; "" if none."""
    unknown = len(benchmark.unknown)
    if not unknown:
        return ""
    problems = "1 problem is" if unknown == 1 else f"{unknown} problems are"
    return (
        f"{problems} left out of all numbers for lack of a verdict "
        f"({num_scored(benchmark)} of {len(benchmark.problems)} are left): the verifier had "
        "trouble of its own."
    )
