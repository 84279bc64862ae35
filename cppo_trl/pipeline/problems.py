"""The training problems of a run, without those that it is evaluated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from cppo_trl.benchmarks import Selection, find_overlap
from cppo_trl.problems import Problem, write_problems
from cppo_trl.training_data import load_problems, refuse_overlap

from .config import PipelineConfig, PipelineError

PROBLEMS = "problems.jsonl"  # of the run: what all its stages read


def prepare_problems(
    config: PipelineConfig, output: Path, console: Console
) -> list[Sequence[Problem]]:
    """Writes the training problems into the run, where all stages read them.

    Returns:
        The problems of each entry of `held_out`, in their order.

    Raises:
        DataError, ProblemError, BenchmarkError: problems cannot be used, or overlap those that are
            held out.
        PipelineError: `drop_overlap` leaves none.
    """
    problems = load_problems(config.problems)
    common = {"on_bad_row": "skip", **(config.evaluation or {}).get("loading", {})}
    held_out = {}
    for source in config.held_out:
        own = dict(source) if isinstance(source, Mapping) else {"name": source}
        held_out[str(source)] = Selection.of({**common, **own}).load()
    if config.drop_overlap:
        problems = _without_overlap(problems, held_out, console)
    refuse_overlap(problems, held_out, otherwise=", or set drop_overlap=true")
    path = output / PROBLEMS
    written = path.with_suffix(".new")
    write_problems(problems, written)
    written.replace(path)
    return [held_out[str(source)] for source in config.held_out]


def _without_overlap(
    problems: Sequence[Problem], held_out: Mapping[str, Sequence[Problem]], console: Console
) -> list[Problem]:
    shared: set[str] = set()
    for source, evaluation in held_out.items():
        found = {pair.train_id for pair in find_overlap(problems, evaluation)}
        console.print(f"{len(found)} training problems are left out: they are among {source}")
        shared |= found
    kept = [problem for problem in problems if problem.id not in shared]
    if not kept:
        raise PipelineError("drop_overlap leaves no training problem: all of them are held out")
    return kept
