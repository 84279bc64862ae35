"""recipes/cppo_qwen.py: one file for a laptop and for Qwen3.5, and strict about its options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from checkout import ACCELERATE, RECIPES, load_recipe, parse, run_command
from cppo_trl import Problem, Prompts, TestCase
from cppo_trl.benchmarks.coordination_gap import belongs, make_problems
from cppo_trl.benchmarks.coordination_gap.base import (
    PLAN_TEMPLATE,
    SOLVE_TEMPLATE,
    BaseSettings,
    train_base,
)
from cppo_trl.judges import StrategyTuple
from cppo_trl.judges.learned import LearnedJudge, ValidityQuestion
from cppo_trl.judges.saved import save_judge
from cppo_trl.problems import write_problems
from cppo_trl.roles import add_roles
from endpoint_stub import endpoint_stub, said
from tiny_adapters import lora_config

CPU_CONFIG = RECIPES / "configs" / "coordination_gap_cpu.yaml"
ON_CPU = ["--use_cpu", "true", "--bf16", "false", "--dtype", "float32"]


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("cppo_qwen")


@pytest.fixture
def problems_file(tmp_path):
    problem = Problem(id="double", statement="Print twice the number.", tests=(TestCase("2", "4"),))
    write_problems([problem], tmp_path / "problems.jsonl")
    return tmp_path / "problems.jsonl"


def yaml_file(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(f"problems: p.jsonl\nmodel_name_or_path: m\nuse_cpu: true\nbf16: false\n{text}")
    return str(path)


def test_without_a_config_it_is_qwen3_5_4b_with_qlora(recipe):
    _, args, model = parse(recipe, ["--problems", "p.jsonl", *ON_CPU])
    assert model.model_name_or_path == "Qwen/Qwen3.5-4B-Base"
    assert (model.load_in_4bit, model.use_peft) == (True, True)
    assert (args.num_strategies, args.num_generations, args.beta) == (4, 8, 0.01)


def test_cpu_config_speaks_the_prompts_of_its_base_and_asks_its_judge(recipe):
    task, args, _ = parse(recipe, ["--config", str(CPU_CONFIG)])
    assert args.prompts() == Prompts(PLAN_TEMPLATE, SOLVE_TEMPLATE)
    assert recipe.import_function(task.judge_check) is belongs


def test_command_line_wins_over_yaml_and_yaml_over_defaults(recipe, tmp_path):
    config = yaml_file(tmp_path, "learning_rate: 1.0e-3\nnum_strategies: 3\nlora_r: 4\n")
    task, args, model = parse(
        recipe,
        ["--config", config, "--learning_rate", "2e-3", "--lora_r", "5", "--problems", "q.jsonl"],
    )
    assert (args.learning_rate, args.num_strategies) == (2e-3, 3)
    assert (model.lora_r, task.problems) == (5, "q.jsonl")


@pytest.mark.parametrize("key", ["learning_rat", "planer_temperature", "problem"])
def test_unknown_key_is_refused_by_name(key, recipe, tmp_path, capsys):
    with pytest.raises(ValueError, match=key):
        parse(recipe, ["--config", yaml_file(tmp_path, f"{key}: 1\n")])
    with pytest.raises(ValueError, match=key):
        parse(recipe, ["--config", yaml_file(tmp_path, ""), f"--{key}", "1"])


def test_evaluation_problems_that_would_not_be_used_are_refused(recipe, problems_file):
    problems = str(problems_file)
    arguments = ["--problems", problems, "--eval_problems", problems, *ON_CPU]
    with pytest.raises(SystemExit, match="eval_strategy='no'"):
        recipe.main(*parse(recipe, arguments))


def test_full_parameter_training_is_refused(recipe, tmp_path):
    config = yaml_file(tmp_path, "use_peft: false\n")
    with pytest.raises(SystemExit, match="use_peft"):
        recipe.main(*parse(recipe, ["--config", config]))


def test_judge_check_that_cannot_be_imported_is_refused_by_name(recipe):
    for path in ("no.such.module", "cppo_trl.plans.no_such_function", "plain"):
        with pytest.raises(SystemExit, match=path):
            recipe.import_function(path)


def test_cpu_config_trains_a_tiny_base(tmp_path):
    base = train_base(tmp_path / "base", BaseSettings(steps=2, num_layers=1), progress=False)
    write_problems(make_problems(4), tmp_path / "train.jsonl")
    command = [
        *(*ACCELERATE, "launch", str(RECIPES / "cppo_qwen.py"), "--config", str(CPU_CONFIG)),
        *("--model_name_or_path", str(base), "--problems", "train.jsonl", "--output_dir", "run"),
        *("--num_generations", "2", "--max_steps", "2", "--audit_problems", "0"),
        *("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "1"),
    ]
    run_command(command, tmp_path)
    state = json.loads((tmp_path / "run" / "trainer_state.json").read_text())
    assert state["global_step"] == 2
    assert all("parse_rate" in entry for entry in state["log_history"] if "loss" in entry)
    for role in ("planner", "solver"):
        weights = load_file(tmp_path / "run" / role / "adapter_model.safetensors")
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


def test_same_file_trains_a_hybrid_qwen3_5_with_its_default_config(
    recipe, qwen3_5_dir, problems_file, tmp_path, monkeypatch
):
    trainers = []

    class Kept(recipe.CPPOTrainer):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            trainers.append(self)

    monkeypatch.setattr(recipe, "CPPOTrainer", Kept)
    arguments = [
        *("--model_name_or_path", str(qwen3_5_dir), "--problems", str(problems_file), *ON_CPU),
        *("--max_plan_length", "8", "--max_completion_length", "8", "--max_steps", "1"),
        *("--num_generations", "2", "--gradient_accumulation_steps", "2"),
        *("--output_dir", str(tmp_path / "run"), "--audit_problems", "0"),
    ]
    recipe.main(*parse(recipe, arguments))
    (trainer,) = trainers
    assert trainer.state.global_step == 1
    assert "linear_attention" in trainer.model.config.layer_types
    assert any(isinstance(module, Linear4bit) for module in trainer.model.modules())
    for role in ("planner", "solver"):
        config = json.loads((tmp_path / "run" / role / "adapter_config.json").read_text())
        assert config["r"] == 32


class Started(Exception):
    """The trainer was made, so nothing was refused."""


def problem(name: str, statement: str) -> Problem:
    return Problem(name, statement, (TestCase("1", "1"),))


@pytest.fixture
def start(recipe, tmp_path, monkeypatch):
    """Runs the recipe up to its trainer, on a training problem that is the evaluation's too."""

    def stop(*args, **kwargs):
        raise Started

    monkeypatch.setattr(recipe, "CPPOTrainer", stop)
    write_problems([problem("t", "Print the sum."), problem("u", "x")], tmp_path / "train.jsonl")
    write_problems([problem("e", "print  the sum")], tmp_path / "evaluation.jsonl")
    monkeypatch.chdir(tmp_path)

    def run(*options):
        arguments = ["--problems", "train.jsonl", "--output_dir", "run", *ON_CPU, *options]
        recipe.main(*parse(recipe, arguments))

    return run


@pytest.mark.parametrize(
    "options",
    [
        ("--held_out", "evaluation.jsonl"),
        ("--eval_problems", "evaluation.jsonl", "--eval_strategy", "steps", "--eval_steps", "1"),
    ],
)
def test_the_recipe_refuses_to_train_on_evaluation_problems(options, start):
    with pytest.raises(SystemExit) as refusal:
        start(*options)
    said = str(refusal.value)
    assert "evaluation.jsonl" in said
    assert "e is t (statement)" in said
    assert "--allow_overlap true" in said


def test_problems_that_are_not_there_are_told_in_one_line(start):
    with pytest.raises(SystemExit, match=r"nowhere\.jsonl"):
        start("--problems", "nowhere.jsonl")


def test_the_recipe_trains_on_evaluation_problems_if_told_to(start):
    with pytest.raises(Started):
        start("--held_out", "evaluation.jsonl", "--allow_overlap", "true")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("livecodebench:v6", "test6.jsonl"),
        ("apps:train", "train.jsonl"),
        ("apps:v6", "train, test"),
    ],
)
def test_the_recipe_takes_a_benchmark_with_its_split_or_version(source, said, start):
    with pytest.raises(SystemExit, match=said):  # there is no Hub here
        start("--held_out", source)


def test_the_recipe_trains_where_nothing_overlaps(start, tmp_path):
    write_problems([problem("e", "Print the product.")], tmp_path / "evaluation.jsonl")
    with pytest.raises(Started):
        start("--held_out", "evaluation.jsonl")


def saved_judge(folder, **quality):
    folder.mkdir()
    content = {"threshold": 0.5, "template": "{statement}{plan}", "max_length": 64}
    (folder / "cppo_judge.json").write_text(json.dumps(content | {"quality": quality}))
    return str(folder)


def test_a_trained_judge_is_asked_after_the_rules(recipe, start, tmp_path, monkeypatch):
    asked = {}

    def keep(*args, **kwargs):
        asked.update(kwargs)
        raise Started

    monkeypatch.setattr(recipe, "CPPOTrainer", keep)
    with pytest.raises(Started):
        start("--judge", saved_judge(tmp_path / "judge", accepted=True))
    first, second = asked["judge"].judges
    assert type(first).__name__ == "RuleJudge"
    assert second.source == str(tmp_path / "judge")


def test_a_large_model_is_asked_about_what_passes_the_rules(recipe):
    with endpoint_stub(lambda body, number: said('{"verdict": "fail"}')) as server:
        asked = ["--judge_model", "big", "--judge_base_url", server.url]
        task, _, _ = parse(recipe, ["--problems", "p.jsonl", *ON_CPU, *asked])
        judge = recipe.make_judge(task)
        sound = StrategyTuple(problem("p", "Print x."), ("sort them", "count them"))
        repeated = StrategyTuple(problem("p", "Print x."), ("sort them", "sort them"))
        assert [found.valid for found in judge.judge_many([sound, repeated])] == [False, False]
        assert len(server.requests) == 1


def test_a_judge_on_a_base_of_its_own_shares_nothing_with_what_is_trained(
    recipe, qwen3_dir, tmp_path
):
    own = get_peft_model(
        AutoModelForCausalLM.from_pretrained(qwen3_dir), lora_config(), adapter_name="judge"
    )
    tokenizer = AutoTokenizer.from_pretrained(qwen3_dir)
    question = ValidityQuestion(tokenizer)
    judge = LearnedJudge(own, question, tokenizer.pad_token_id, 0.5, "judge")
    save_judge(judge, tmp_path / "judge", {"accepted": True})
    asked = ["--judge", str(tmp_path / "judge"), "--judge_own_base", "true"]
    task, _, _ = parse(recipe, ["--problems", "p.jsonl", *ON_CPU, *asked])
    _, learned = recipe.make_judge(task).judges
    sound = StrategyTuple(problem("p", "Print x."), ("sort them", "count them"))
    assert learned.scores([sound]) == pytest.approx(judge.scores([sound]), abs=1e-5)
    model = learned.model
    learned.attach(add_roles(AutoModelForCausalLM.from_pretrained(qwen3_dir), lora_config()))
    assert learned.model is model


def test_a_rejected_judge_is_refused_unless_told_otherwise(start, tmp_path):
    judge = saved_judge(tmp_path / "judge", accepted=False, failed=["recall 0.5 is below 0.65"])
    with pytest.raises(SystemExit, match="was rejected"):
        start("--judge", judge)
    with pytest.raises(SystemExit, match=r"holds no cppo_judge\.json"):
        start("--judge", str(tmp_path))
    with pytest.raises(Started):
        start("--judge", judge, "--allow_rejected_judge", "true")
