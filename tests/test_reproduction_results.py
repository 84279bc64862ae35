"""What a table concludes from the records of its rows."""

from __future__ import annotations

import numpy as np
import pytest

from cppo_trl.evaluation.directory import EvaluationDirectory
from cppo_trl.reproduction import Row, TableConfig
from cppo_trl.reproduction.cells import Cells
from cppo_trl.reproduction.report import conclusion, write_table
from cppo_trl.reproduction.results import read_results
from evaluation_samples import sample_record

K, SEEDS = 2, 3
# Row -> method and the chance that an attempt passes, by benchmark.
CHANCES = {
    "near": ("direct", {"first": 0.6, "second": 0.1}),
    "far": ("plan-and-solve", {"first": 0.1, "second": 0.5}),
    "best": ("plansearch", {"first": 0.6, "second": 0.95}),
    "variant": ("untrained-planner", {"first": 0.99, "second": 0.99}),
}
GROUPS = {"best": "method", "variant": "variant"}


@pytest.fixture
def table(tmp_path):
    """A table of untrained rows with random verdicts, one of which is unknown."""
    rows = {
        name: Row(name, method, group=GROUPS.get(name, "baseline"))
        for name, (method, _) in CHANCES.items()
    }
    config = TableConfig(
        model="base",
        problems="train.jsonl",
        development="development.jsonl",
        benchmarks={"first": "first.jsonl", "second": "second.jsonl"},
        output=str(tmp_path),
        rows=rows,
        seeds=SEEDS,
        k=K,
    )
    cells = Cells(config, tmp_path, tmp_path)
    draw = np.random.default_rng(0)
    for name, (method, chances) in CHANCES.items():
        for benchmark, chance in chances.items():
            path = EvaluationDirectory(cells.results(rows[name])).records_path(benchmark, method)
            path.parent.mkdir(parents=True)
            lines = []
            for seed in range(SEEDS):
                for problem in range(60):
                    outcomes = ["+" if one else "-" for one in draw.random(K) < chance]
                    if (name, benchmark, seed, problem) == ("far", "first", 1, 7):
                        outcomes[0] = "?"
                    lines.append(sample_record("".join(outcomes), f"p{problem}", seed).to_line())
            path.write_text("".join(lines))
    return config, cells


def passes(config, cells, name, benchmark):
    """Whether each problem with all verdicts is solved, (S, P)."""
    own = EvaluationDirectory(cells.results(config.rows[name]))
    solved = {}
    for record in own.read_records(benchmark, config.rows[name].method):
        if (benchmark, record.problem_id) != ("first", "p7"):
            solved[record.seed, record.problem_id] = any(one.passed for one in record.attempts)
    return np.array(list(solved.values()), dtype=float).reshape(SEEDS, -1)


def test_the_strongest_baseline_is_that_of_each_benchmark_and_no_variant(table):
    assert read_results(*table, {}).strongest == {"first": "near", "second": "far"}


def test_the_lead_is_the_difference_on_the_same_problems(table):
    results = read_results(*table, {})
    for benchmark, best in (("first", "near"), ("second", "far")):
        own, other = (passes(*table, name, benchmark) for name in ("best", best))
        lead = results.leads[benchmark]
        assert lead.difference == pytest.approx(own.mean() - other.mean())
        assert lead.low < lead.difference < lead.high
        against = results.summaries[benchmark][best].against
        assert (lead.low, lead.high) == pytest.approx((-against.high, -against.low), abs=0.01)
        assert lead.p_value == against.p_value


def test_significance_is_that_of_all_cells_together(table):
    config, _ = table
    results = read_results(*table, {})
    tests = [row for row in config.rows if row != "best"]
    p_values = [
        results.summaries[b][row].against.p_value for b in config.benchmarks for row in tests
    ]
    assert len(p_values) == 6
    least = 2 / (1 + 10_000)  # of one test; Holm multiplies the smallest of six by six
    assert min(p_values) == pytest.approx(6 * least)
    assert ", significant." in conclusion(config, results, "second")
    assert ", not significant." in conclusion(config, results, "first")


def test_a_problem_without_a_verdict_is_left_out_for_all_rows_and_counted(table):
    config, cells = table
    results = read_results(config, cells, {})
    assert (results.problems, results.left_out) == (
        {"first": 59, "second": 60},
        {"first": 1, "second": 0},
    )
    for name in CHANCES:
        score = results.summaries["first"][name].scores[-1]
        assert score.mean == pytest.approx(passes(config, cells, name, "first").mean())
    text = write_table(config, cells.output, {}).read_text()
    assert "## first, 59 problems (1 more left out, without a verdict)\n" in text
    assert "## second, 60 problems\n" in text
