"""The results of a table: what every row scored, what it cost, and how it was tuned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cppo_trl.evaluation.bootstrap import Comparison, paired_bootstrap
from cppo_trl.evaluation.directory import EvaluationDirectory
from cppo_trl.evaluation.summary import Summary, pass_at_k_scores, summarise, without_unknown
from cppo_trl.pipeline.record import read_record

from .cells import Cells
from .config import TableConfig
from .rows import Row
from .tuning import TUNING_FILE


@dataclass(frozen=True)
class Trained:
    """What a row's trainings took.

    Attributes:
        attempts: of the solver in one training, as budgeted; 0 where it learns from none.
        tokens: of all sequences of one training, prompts included: the mean over seeds; None where
            they were not counted.
        seconds: of one training, on the machine that made the table: the mean over seeds.
        tried: (settings, pass@K on the development problems) of each entry of the grid.
        chosen: the entry that went on.
    """

    attempts: int
    tokens: float | None
    seconds: float
    tried: tuple[tuple[Mapping[str, Any], float], ...]
    chosen: int


@dataclass(frozen=True)
class Results:
    """All numbers of a table.

    Attributes:
        summaries: benchmark -> row -> what it scored; `against` is its pass@K less that of the
            method's row, with p-values adjusted for all cells of the table (Holm).
        problems: benchmark -> how many problems the numbers are of.
        left_out: benchmark -> how many more there are, without a verdict in some row.
        trained: row -> what its trainings took, where there were some.
        strongest: benchmark -> the baseline with the highest pass@K.
        leads: benchmark -> pass@K of the method's row less that of the strongest baseline, the
            p-value adjusted like the others.
        evaluated: row -> seconds of the evaluation that is reported, of all seeds and benchmarks;
            0 where they are not known.
        seconds: of all cells of the table, as if they had been made one after the other.
    """

    summaries: Mapping[str, Mapping[str, Summary]]
    problems: Mapping[str, int]
    left_out: Mapping[str, int]
    trained: Mapping[str, Trained]
    strongest: Mapping[str, str]
    leads: Mapping[str, Comparison]
    evaluated: Mapping[str, float]
    seconds: float


def read_results(config: TableConfig, cells: Cells, chosen: Mapping[str, int | None]) -> Results:
    """Reads the evaluations and trainings of all rows.

    Args:
        config: of the table.
        cells: where they are.
        chosen: row -> the entry of its grid that went on.
    """
    directories = {
        name: EvaluationDirectory(cells.results(row)) for name, row in config.rows.items()
    }
    known, problems, left_out = {}, {}, {}
    for benchmark in config.benchmarks:
        records = {
            name: directories[name].read_records(benchmark, row.method)
            for name, row in config.rows.items()
        }
        known[benchmark], unknown = without_unknown(records)
        left_out[benchmark] = len(unknown)
        problems[benchmark] = len({r.problem_id for r in known[benchmark][config.method.name]})
    ks = sorted({1, config.k})
    summaries = {
        benchmark: {summary.method: summary for summary in found}
        for benchmark, found in summarise(known, ks, config.method.name).items()
    }
    strongest, leads = {}, {}
    for benchmark, found in summaries.items():
        baselines = [row.name for row in config.rows.values() if row.group == "baseline"]
        if not baselines:
            continue
        best = max(baselines, key=lambda name: found[name].scores[-1].mean)
        scores = {
            name: pass_at_k_scores(known[benchmark][name], config.k)
            for name in (config.method.name, best)
        }
        lead = paired_bootstrap(*scores.values())
        strongest[benchmark] = best
        leads[benchmark] = Comparison(
            lead.difference, lead.low, lead.high, found[best].against.p_value
        )
    trained = {
        name: _trained(config, cells, row, chosen[name])
        for name, row in config.rows.items()
        if row.recipe
    }
    evaluated = {name: _seconds(cells.results(row)) for name, row in config.rows.items()}
    seconds = sum(_seconds(folder) for folder in _folders(config, cells, chosen))
    return Results(summaries, problems, left_out, trained, strongest, leads, evaluated, seconds)


def _folders(config: TableConfig, cells: Cells, chosen: Mapping[str, int | None]) -> Iterator[Path]:
    """Those of all cells."""
    yield cells.output / "gold"
    yield cells.output / "judge"
    for name, row in config.rows.items():
        for rate in range(len(row.grid)):
            yield cells.policy(row, rate, 0)
            yield cells.policy(row, rate, 0).with_name("development")
        for seed in range(1, config.seeds if row.recipe else 1):
            yield cells.policy(row, chosen[name], seed)
        yield cells.results(row)


def _seconds(folder: Path) -> float:
    return read_record(folder).get("seconds", 0.0)


def _trained(config: TableConfig, cells: Cells, row: Row, chosen: int) -> Trained:
    folders = [cells.policy(row, chosen, seed) for seed in range(config.seeds)]
    tokens = [_tokens(folder) for folder in folders]
    tuned = json.loads((cells.output / "rows" / row.name / TUNING_FILE).read_text())
    return Trained(
        attempts=config.budget.total if row.makes_attempts else 0,
        tokens=None if None in tokens else sum(tokens) / len(tokens),
        seconds=sum(map(_seconds, folders)) / len(folders),
        tried=tuple((one["settings"], one["development"]) for one in tuned["tried"]),
        chosen=chosen,
    )


def _tokens(folder: Path) -> float | None:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    counts = [entry["num_tokens"] for entry in history if "num_tokens" in entry]
    return counts[-1] if counts else None
