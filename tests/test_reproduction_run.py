"""A table is made from nothing, goes on after a stop, and reports what its cells say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from PIL import Image

from checkout import RECIPES, REPO, load_recipe
from cppo_trl.evaluation.directory import EvaluationDirectory
from cppo_trl.evaluation.summary import pass_at_k_scores
from cppo_trl.pipeline.record import read_record
from cppo_trl.reproduction import planned_cells, read_table
from cppo_trl.reproduction.read import with_rows
from cppo_trl.reproduction.tuning import development_score

ROWS = ("direct", "pkpo", "cppo")
METHODS = {
    "direct": "direct",
    "pkpo": "trained-direct",
    "tuple-sft": "planner",
    "cppo": "cppo",
}
SMALL = [
    *("--rows", *ROWS, "--seeds", "1", "--num-problems", "6", "--base-steps", "3"),
    *("--set", "budget={steps: 1, attempts: 64, micro_batch: 32}", "--set", "tries=2"),
    *("--set", "gold.limit=8", "--set", "evaluation.limit=8", "--set", "tuning.limit=4"),
    *("--set", "judge=null"),  # so small a base writes no plans that could be labelled
]


def reproduce(output, *options):
    return load_recipe("reproduce_table").main(["--output", str(output), *SMALL, *options])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A small table, from nothing."""
    output = tmp_path_factory.mktemp("table") / "a table"
    assert reproduce(output, "--jobs", "2") == 0
    return output


def records(table):
    return {path: read_record(path.parent) for path in table.glob("**/stage.json")}


def test_all_cells_that_were_planned_are_made(table):
    config = with_rows(read_table(RECIPES / "configs" / "table" / "coordination_gap.yaml"), ROWS)
    names = {one.name for one in planned_cells(config, RECIPES)}
    made = {str(path.parent.relative_to(table)) for path in records(table)}
    beyond = {"judge"}
    beyond |= {name for name in names if "rate-2" in name or "seed-1" in name or "seed-2" in name}
    assert made == names - beyond
    assert all(record["done"] for record in records(table).values())


def test_the_report_has_the_rows_and_both_limits(table):
    text = (table / "table-of-some-rows.md").read_text()
    for name in (*METHODS, "independent limit", "coordinated limit"):
        assert f"\n| {name} |" in text, name
    assert "--num-problems 6" in text
    with Image.open(table / "table-of-some-rows.png") as image:
        assert image.width > 500


def test_the_table_says_what_the_records_say(table):
    found = json.loads((table / "table-of-some-rows.json").read_text())
    summaries = found["summaries"]["coordination gap"]
    assert list(summaries) == list(METHODS)
    for name, method in METHODS.items():
        directory = EvaluationDirectory(table / "rows" / name / "evaluation")
        own = directory.read_records("coordination gap", method)
        assert len(own) == 16  # 8 problems, attempted twice
        for score in summaries[name]["scores"]:
            assert score["mean"] == pytest.approx(pass_at_k_scores(own, score["k"]).mean())


def test_the_time_of_the_table_is_that_of_its_cells(table):
    found = json.loads((table / "table-of-some-rows.json").read_text())
    assert found["seconds"] == pytest.approx(sum(one["seconds"] for one in records(table).values()))
    for name in METHODS:
        folder = table / "rows" / name / "evaluation"
        assert found["evaluated"][name] == read_record(folder)["seconds"] > 0


def test_the_entry_with_the_best_development_score_goes_on(table):
    for name in [*METHODS][1:]:
        tuned = json.loads((table / "rows" / name / "tuning.json").read_text())
        scores = [one["development"] for one in tuned["tried"]]
        assert scores == [
            development_score(table / "rows" / name / f"rate-{rate}" / "development", METHODS[name])
            for rate in range(2)
        ]
        assert tuned["chosen"] == scores.index(max(scores))


def test_the_trained_rows_start_from_the_chosen_planner(table):
    chosen = json.loads((table / "rows" / "tuple-sft" / "tuning.json").read_text())["chosen"]
    written = (table / "rows" / "cppo" / "rate-1" / "seed-0" / "config.yaml").read_text()
    assert f"tuple-sft/rate-{chosen}/seed-0" in written


def test_a_table_that_is_made_is_not_made_again(table):
    before = {path: path.read_bytes() for path in records(table)}
    (table / "table-of-some-rows.md").unlink()
    started = time.perf_counter()
    assert reproduce(table) == 0
    assert (table / "table-of-some-rows.md").exists()
    assert {path: path.read_bytes() for path in records(table)} == before
    assert time.perf_counter() - started < 60


def test_a_cell_that_is_lost_is_made_again_alone(table):
    lost = table / "rows" / "pkpo" / "evaluation" / "stage.json"
    before = {path: path.read_bytes() for path in records(table) if path != lost}
    lost.unlink()
    assert reproduce(table) == 0
    assert lost.exists()
    assert {path: path.read_bytes() for path in before} == before


def test_an_interrupt_ends_what_is_running_and_the_same_command_goes_on(tmp_path):
    output = tmp_path / "table"
    command = [sys.executable, str(RECIPES / "reproduce_table.py"), "--output", str(output)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    options = [*SMALL, "--rows", "direct", "--jobs", "2"]
    log = (tmp_path / "log").open("w")
    with subprocess.Popen([*command, *options], env=environment, stderr=log, stdout=log) as process:
        deadline = time.monotonic() + 240
        family = []
        while len(family) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
            if (output / "rows").exists():
                family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert not [one for one in family if one.is_running() and one.status() != "zombie"]
    assert "the same command goes on" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--rows", "cpo"], "rows has no 'cpo'; there are direct"),
        (["--set", "budget.steps=0"], "budget.steps is 0"),
        (["--set", "rows.cppo.settings.max_steps=3"], "max_steps is 3; the table decides it"),
        (["--config", "nothing.yaml"], "nothing.yaml"),
    ],
)
def test_what_cannot_be_made_is_refused_at_once(tmp_path, capsys, options, said):
    recipe = load_recipe("reproduce_table")
    assert recipe.main(["--output", str(tmp_path / "table"), "--dry-run", *options]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize("benchmarks", [["coordination_gap"], ["apps", "livecodebench"]])
def test_a_dry_run_prints_every_cell_and_makes_none(tmp_path, capsys, monkeypatch, benchmarks):
    monkeypatch.setenv("COLUMNS", "140")
    recipe = load_recipe("reproduce_table")
    output = tmp_path / "table"
    assert recipe.main(["--benchmark", *benchmarks, "--output", str(output), "--dry-run"]) == 0
    said = capsys.readouterr().out
    name = "coordination_gap" if len(benchmarks) == 1 else "benchmarks"
    for one in planned_cells(read_table(RECIPES / "configs" / "table" / f"{name}.yaml"), RECIPES):
        assert one.name.removeprefix("runs/") in said
    assert "attempts = " in said
    assert not output.exists()
