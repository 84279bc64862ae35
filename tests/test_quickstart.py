"""recipes/quickstart.py at a tiny scale: from nothing to a report, and from its cache."""

from __future__ import annotations

import json
import sys

import pytest
from PIL import Image
from rich.console import Console

from checkout import RECIPES, REPO, load_recipe, run_command
from cppo_trl.benchmarks.coordination_gap import coordinated_limit, independent_limit
from cppo_trl.pipeline.process import CommandFailed, run_with_bar
from cppo_trl.problems import read_problems

SMALL = [
    *("--num-problems", "8", "--base-steps", "50", "--max_steps", "1", "--num_generations", "2"),
    *("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1"),
    *("--per_device_eval_batch_size", "8"),
    *("--audit_problems", "0"),  # which says no-go to so weak a base
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "tiny"


@pytest.fixture(scope="module")
def said(folder):
    """What the script prints, run as a user does."""
    command = [sys.executable, str(RECIPES / "quickstart.py"), "--output", "tiny", *SMALL]
    return run_command(command, folder.parent).stdout


@pytest.fixture(scope="module")
def results(folder, said):
    return json.loads((folder / "results.json").read_text())


def test_table_and_report_have_the_numbers_of_the_results(folder, said, results):
    report = (folder / "report.md").read_text(encoding="utf-8")
    names = [result["name"] for result in results["results"]]
    assert names == ["Direct sampling", "Planner before", "CPPO after"]
    for result in results["results"]:
        (row,) = [line for line in report.splitlines() if line.startswith(f"| {result['name']} |")]
        for score in ("pass@1", "pass@4"):
            mean, low, high = (f"{result[score][key]:.3f}" for key in ("mean", "low", "high"))
            assert f"{mean} ({low}–{high})" in row
            assert mean in said
            assert f"{low}–{high}" in said
            assert low <= mean <= high
        assert row.endswith(f"| {result['attempts']} | {result['tokens']:.0f} |")


def test_both_limits_stand_beside_the_results(folder, said, results):
    for k in (1, 4):
        assert results["limits"][f"pass@{k}"] == {
            "independent": independent_limit(4, k),
            "coordinated": coordinated_limit(4, k),
        }
    assert "| independent limit | 0.250 | 0.684 |" in (folder / "report.md").read_text("utf-8")
    assert "0.684" in said


def test_plot_is_a_wide_image(folder, said):
    with Image.open(folder / "coordination_gap.png") as image:
        assert image.format == "PNG"
        assert image.width >= 1600


def test_training_curve_starts_before_the_first_step_and_ends_with_the_last(results):
    (curve,) = results["training_curves"].values()
    assert [step for step, _ in curve] == [0, 1]


def test_splits_share_no_statement(folder, said):
    files = ("train", "development", "held_out")
    statements = [{p.statement for p in read_problems(folder / f"{name}.jsonl")} for name in files]
    assert [len(split) for split in statements] == [8, 8, 8]
    assert len(set.union(*statements)) == 24


def test_saved_adapters_show_a_problem_in_a_new_process(folder, said):
    shown = said[said.index("$ cppo-trl show") :]
    statement = read_problems(folder / "held_out.jsonl")[0].statement
    assert statement.split()[0] in shown
    assert "Solved by" in shown or "does not parse" in shown


def test_log_keeps_the_metrics_that_the_bar_hides(folder, said):
    assert "'parse_rate'" in (folder / "cppo-seed-0" / "train.log").read_text()
    assert "'parse_rate'" not in said


def test_second_run_trains_nothing_again_and_measures_the_same(folder, said, results, monkeypatch):
    made = [folder / "base" / "model.safetensors", folder / "cppo-seed-0" / "trainer_state.json"]
    before = [path.stat().st_mtime_ns for path in made]
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    load_recipe("quickstart").main(["--output", str(folder), *SMALL])
    assert [path.stat().st_mtime_ns for path in made] == before
    again = json.loads((folder / "results.json").read_text())
    assert again["results"] == results["results"]


def test_failed_training_ends_with_its_own_words(tmp_path):
    log = tmp_path / "train.log"
    program = "import sys; print('on one'); print('on the other', file=sys.stderr); sys.exit(3)"
    with pytest.raises(CommandFailed, match=r"(?s)on one.*status 3.*train\.log"):
        run_with_bar([sys.executable, "-c", program], log, Console(quiet=True))
    assert "on the other" in log.read_text()


def test_number_of_seeds_below_one_is_refused(capsys):
    with pytest.raises(SystemExit):
        load_recipe("quickstart").parse_arguments(["--seeds", "0"])
    assert "--seeds is 0" in capsys.readouterr().err


def test_unlisted_arguments_are_for_the_recipe():
    quickstart = load_recipe("quickstart")
    args, rest = quickstart.parse_arguments(["--seeds", "2", "--learning_rate", "1e-4"])
    assert (args.seeds, rest) == (2, ["--learning_rate", "1e-4"])
