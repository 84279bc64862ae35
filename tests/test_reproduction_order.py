"""The order in which the rows of a table are worked on, and what is said meanwhile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from rich.console import Console

from checkout import RECIPES
from cppo_trl.benchmarks.coordination_gap import make_problems
from cppo_trl.pipeline.run_stage import StageFailed
from cppo_trl.reproduction import read_table
from cppo_trl.reproduction.run import Stopped, _say_overlap, _Task, _Work

GAP = read_table(RECIPES / "configs" / "table" / "coordination_gap.yaml")


@pytest.fixture
def work(tmp_path):
    return _Work(GAP, RECIPES, tmp_path, Console(quiet=True), None, 2, 2)


def test_a_row_that_stops_does_not_hide_why_another_failed(work):
    has_stopped = threading.Event()

    def fail():
        has_stopped.wait(10)
        raise StageFailed("the reason")

    def stop():
        threading.Timer(0.2, has_stopped.set).start()
        raise Stopped

    with ThreadPoolExecutor(2) as pool, pytest.raises(StageFailed, match="the reason"):
        work._work_off({"fails": _Task(fail), "stops": _Task(stop)}, pool)


def test_a_row_waits_for_what_it_starts_from(work):
    made = []
    tasks = {
        "after": _Task(lambda: made.append("after"), frozenset({"before"})),
        "before": _Task(lambda: made.append("before")),
    }
    with ThreadPoolExecutor(2) as pool:
        work._work_off(tasks, pool)
    assert made == ["before", "after"]


def test_problems_that_rows_are_tuned_and_compared_on_are_counted(capsys):
    problems = make_problems(6, seed=0, split="held_out")
    console = Console(width=200)
    table = replace(GAP, benchmarks={"apart": "apart.jsonl", "shared": "shared.jsonl"})
    _say_overlap(table, [problems[:4], problems[4:], problems[3:]], console)
    assert capsys.readouterr().out == (
        "1 of the 4 development problems are among those of shared, on which the rows are "
        "compared too\n"
    )
