"""recipes/cppo_qwen.py audits the rewards before it trains, and stops where they say nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from checkout import load_recipe, parse
from cppo_trl import Problem, TestCase
from cppo_trl.problems import write_problems


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("cppo_qwen")


@pytest.fixture
def trainers(recipe, monkeypatch):
    """The trainers that the recipe made."""
    made = []

    class Kept(recipe.CPPOTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

    monkeypatch.setattr(recipe, "CPPOTrainer", Kept)
    return made


@pytest.fixture
def train(recipe, qwen3_dir, tmp_path, trainers):
    """Trains random weights, which solve nothing, for a step; returns the folder of the run."""
    problems = [Problem(f"p{n}", f"Print {n}.", (TestCase("", str(n)),)) for n in range(3)]
    write_problems(problems, tmp_path / "problems.jsonl")
    config = tmp_path / "config.yaml"
    config.write_text("report_to: none\n")

    def run(*options):
        arguments = [
            *("--config", str(config), "--model_name_or_path", str(qwen3_dir), "--use_peft"),
            *("--problems", str(tmp_path / "problems.jsonl"), "--num_strategies", "2"),
            *("--output_dir", str(tmp_path / "run"), "--use_cpu", "true", "--bf16", "false"),
            *("--dtype", "float32", "--max_plan_length", "4", "--max_completion_length", "4"),
            *("--num_generations", "2", "--per_device_train_batch_size", "2"),
            *("--gradient_accumulation_steps", "1", "--max_steps", "1", *options),
        ]
        recipe.main(*parse(recipe, arguments))
        return tmp_path / "run"

    return run


def steps(trainers):
    return [trainer.state.global_step for trainer in trainers]


def test_no_go_stops_before_the_first_step_and_says_what_to_do(train, trainers, tmp_path, capsys):
    with pytest.raises(SystemExit, match="--ignore_no_go true"):
        train()
    assert steps(trainers) == [0]
    said = capsys.readouterr().out
    assert "**No-go**: 3 problems, 2 tuples each" in said
    assert "Train the planner on gold tuples" in said
    run = tmp_path / "run"
    assert (run / "audit.md").read_text() in said
    assert json.loads((run / "audit.json").read_text())["go"] is False
    assert not (run / "planner").exists()


def test_no_go_can_be_ignored(train, trainers):
    run = train("--ignore_no_go", "true")
    assert steps(trainers) == [1]
    assert "**No-go**" in (run / "audit.md").read_text()


def test_audit_draws_as_many_problems_as_it_is_told(train, capsys):
    with pytest.raises(SystemExit):
        train("--audit_problems", "2")
    assert "**No-go**: 2 problems, 2 tuples each" in capsys.readouterr().out


@pytest.mark.parametrize(
    "options", [("--audit_problems", "0"), ("--planner_reward", "judge")], ids=["none", "warm-up"]
)
def test_without_an_audit_it_trains(options, train, trainers):
    run = train(*options)
    assert steps(trainers) == [1]
    assert not (run / "audit.md").exists()


def test_a_resumed_run_is_not_audited_again(train, trainers):
    run = train("--audit_problems", "0", "--save_strategy", "steps", "--save_steps", "1")
    checkpoint = str(run / "checkpoint-1")
    train("--max_steps", "2", "--resume_from_checkpoint", checkpoint)
    assert steps(trainers) == [1, 2]
    assert not (run / "audit.md").exists()


def test_an_audit_that_says_go_is_written_and_training_starts(
    recipe, train, trainers, monkeypatch, capsys
):
    verdicts = []

    def at_ease(*args, **kwargs):  # random weights meet no criterion; the numbers stay theirs
        found = audit_policy(*args, **kwargs)
        verdicts.append(found.is_go)
        eased = [replace(criterion, least=-1.0, most=2.0) for criterion in found.criteria]
        eased = [replace(one, value=0.5, low=0.4, high=0.6) for one in eased]
        return replace(found, criteria=tuple(eased))

    audit_policy = recipe.audit_policy
    monkeypatch.setattr(recipe, "audit_policy", at_ease)
    run = train()
    assert verdicts == [False]
    assert steps(trainers) == [1]
    assert "**Go**" in (run / "audit.md").read_text()
    assert "**Go**" in capsys.readouterr().out
