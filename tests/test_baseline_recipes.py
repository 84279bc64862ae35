"""The recipes of the baselines: from problems to an adapter that `cppo-trl eval` takes."""

from __future__ import annotations

import json
import runpy
import sys

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from trl import ModelConfig

from checkout import ACCELERATE, RECIPES, load_recipe, parse, run_command
from cppo_trl import load_policy
from cppo_trl.baselines import recipe as baseline_recipe
from cppo_trl.baselines.recipe import BaselineArguments
from cppo_trl.benchmarks.coordination_gap import make_problems
from cppo_trl.benchmarks.coordination_gap.base import (
    CHAT_TEMPLATE,
    DIRECT_TEMPLATE,
    BaseSettings,
    train_base,
)
from cppo_trl.cli import main as cppo_trl
from cppo_trl.evaluation.config import ConfigError, EvaluationConfig
from cppo_trl.evaluation.setups import resolve
from cppo_trl.generation import Sampling
from cppo_trl.problems import write_problems
from cppo_trl.roles import SOLVER
from small_baselines import PROBLEMS
from tiny_adapters import save_policy

BASELINES = ("grpo", "pkpo", "pass_at_k", "upskill")
ON_CPU = ["--use_cpu", "true", "--bf16", "false", "--dtype", "float32"]
SMALL = [
    *("--num_generations", "4", "--per_device_train_batch_size", "8", "--max_steps", "1"),
    *("--gradient_accumulation_steps", "1", "--max_completion_length", "8"),
]


def default_config(name):
    return RECIPES / "configs" / "qwen3.5-4b-base" / f"{name}.yaml"


def gap_config(name):
    return RECIPES / "configs" / "coordination_gap" / f"{name}.yaml"


def run_recipe(name, *arguments):
    """Runs a recipe in this process, as a script; returns what it ended with."""
    given = sys.argv
    sys.argv = [str(RECIPES / f"{name}.py"), *map(str, arguments)]
    try:
        return runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sys.argv = given


@pytest.fixture(scope="module")
def gap(tmp_path_factory):
    """A folder with an untaught base of the coordination gap, and problems."""
    folder = tmp_path_factory.mktemp("gap")
    train_base(folder / "base", BaseSettings(steps=2, num_layers=1), progress=False)
    write_problems(make_problems(4), folder / "train.jsonl")
    return folder


@pytest.fixture(scope="module")
def trained(gap, tmp_path_factory):
    """The folder that each recipe leaves, after a step with its settings for the gap."""
    output = tmp_path_factory.mktemp("trained")
    for name in BASELINES:
        run_recipe(
            *(name, "--config", gap_config(name), "--output_dir", output / name, *SMALL),
            *("--model_name_or_path", gap / "base", "--problems", gap / "train.jsonl"),
            *("--save_strategy", "steps", "--save_steps", "1"),
        )
    return output


@pytest.mark.parametrize("name", BASELINES)
def test_a_recipe_leaves_a_plain_adapter(name, trained, gap):
    folder = trained / name
    state = json.loads((folder / "trainer_state.json").read_text())
    assert state["global_step"] == 1
    logged = state["log_history"][0]
    assert "rewards/code_verifier/mean" in logged
    assert ("rewards/mutual_information/mean" in logged) == (name == "upskill")
    weights = load_file(folder / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(gap / "base"), folder)


@pytest.mark.parametrize("name", BASELINES)
def test_an_evaluation_asks_as_the_training_did(name, trained):
    for folder in (trained / name, trained / name / "checkpoint-1"):
        method = "trained-latent" if name == "upskill" else "trained-direct"
        settings = {"output": "out", "benchmarks": ("p.jsonl",), "methods": (method,)}
        found = resolve(EvaluationConfig(solver_adapter=(str(folder),), **settings))
        assert found.sampling[SOLVER] == Sampling(8, 1.0)
        if name == "upskill":
            assert found.templates.latent == "{statement}\n{z}\nCODE\n"
        else:
            assert found.templates.direct == DIRECT_TEMPLATE
        assert found.num_attempts == 4
        assert found.tokenizer == str(folder)


@pytest.mark.parametrize("name", ["pkpo", "upskill"])
def test_the_adapter_is_evaluated_by_the_command(name, trained, gap, tmp_path, capfd):
    method = "trained-latent" if name == "upskill" else "trained-direct"
    arguments = [
        *("eval", "--solver-adapter", str(trained / name), "--method", "direct", method),
        *("--benchmark", str(gap / "train.jsonl"), "--seeds", "1"),
        *("--output", str(tmp_path / "out")),
    ]
    assert cppo_trl(arguments) == 0
    assert method in capfd.readouterr().out
    lines = (tmp_path / "out" / "attempts" / "train" / f"{method}.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["attempts"]) for line in lines] == [4] * 4


def test_latent_numbers_that_were_not_trained_are_refused(trained):
    settings = {"output": "out", "benchmarks": ("p.jsonl",), "methods": ("trained-latent",)}
    adapter = (str(trained / "upskill"),)
    with pytest.raises(ConfigError, match="k is 5; the method 'trained-latent' needs 4"):
        resolve(EvaluationConfig(solver_adapter=adapter, k=5, **settings))


def test_a_trained_method_needs_a_trained_solver():
    with pytest.raises(ConfigError, match="'trained-direct' needs a trained solver"):
        EvaluationConfig(
            model="m", output="out", benchmarks=("p.jsonl",), methods=("trained-direct",)
        )


def test_a_solver_alone_is_no_policy(trained):
    folder = str(trained / "pkpo")
    with pytest.raises(ValueError, match=r"a solver without a planner.*--method trained-direct"):
        load_policy(folder)
    settings = {"output": "out", "benchmarks": ("p.jsonl",), "methods": ("cppo",)}
    with pytest.raises(ConfigError, match="a solver without a planner; give it as solver_adapter"):
        resolve(EvaluationConfig(adapters=(folder,), **settings))


def test_the_solver_of_a_policy_can_be_evaluated_directly(qwen3_dir, tmp_path):
    policy = str(save_policy(qwen3_dir, tmp_path / "policy"))
    settings = {"output": "out", "benchmarks": ("p.jsonl",), "methods": ("trained-direct", "cppo")}
    found = resolve(EvaluationConfig(adapters=(policy,), **settings))
    assert found.num_attempts == 2
    assert "{statement}" in found.templates.direct


def test_accelerate_launches_a_recipe(gap, tmp_path):
    command = [
        *(*ACCELERATE, "launch", str(RECIPES / "pkpo.py"), "--config", str(gap_config("pkpo"))),
        *("--model_name_or_path", str(gap / "base"), "--problems", str(gap / "train.jsonl")),
        *("--output_dir", "run", *SMALL),
    ]
    run_command(command, tmp_path)
    assert (tmp_path / "run" / "adapter_model.safetensors").is_file()


def test_a_recipe_goes_on_from_a_checkpoint(gap, trained, tmp_path):
    arguments = [
        *("--config", gap_config("pkpo"), "--model_name_or_path", gap / "base"),
        *("--problems", gap / "train.jsonl", "--output_dir", tmp_path, *SMALL, "--max_steps", 2),
    ]
    run_recipe("pkpo", *arguments, "--resume_from_checkpoint", trained / "pkpo" / "checkpoint-1")
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    assert (state["global_step"], len(state["log_history"])) == (2, 3)


def test_a_recipe_starts_from_a_solver(gap, trained, tmp_path):
    """And with a KL term, to which it is the reference."""
    start = load_file(trained / "pkpo" / "adapter_model.safetensors")
    run_recipe(
        *("grpo", "--config", gap_config("grpo"), "--model_name_or_path", gap / "base"),
        *("--problems", gap / "train.jsonl", "--output_dir", tmp_path, *SMALL),
        *("--solver_adapter", trained / "pkpo", "--beta", "0.1", "--learning_rate", "0"),
    )
    ended = load_file(tmp_path / "adapter_model.safetensors")
    assert ended.keys() == start.keys()
    assert all(torch.equal(ended[name], start[name]) for name in start)
    logged = json.loads((tmp_path / "trainer_state.json").read_text())["log_history"][0]
    assert logged["kl"] == pytest.approx(0, abs=1e-6)


def test_the_default_settings_train_a_4_bit_hybrid_in_fp32(qwen3_5_dir, tmp_path, monkeypatch):
    write_problems(PROBLEMS, tmp_path / "problems.jsonl")
    trainers, train = [], baseline_recipe.train
    monkeypatch.setattr(baseline_recipe, "train", lambda *given: trainers.append(train(*given)))
    run_recipe(
        *("pkpo", "--model_name_or_path", qwen3_5_dir, *ON_CPU, *SMALL),
        *("--problems", tmp_path / "problems.jsonl", "--output_dir", tmp_path / "run"),
    )
    (trainer,) = trainers
    assert any(isinstance(module, Linear4bit) for module in trainer.model.modules())
    assert "linear_attention" in trainer.model.config.layer_types
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {torch.float32}
    assert (trainer.beta, trainer.model.peft_config["default"].r) == (0.01, 32)


@pytest.mark.parametrize("name", BASELINES)
def test_every_setting_of_a_recipe_is_known_and_the_budget_is_that_of_cppo(name):
    given = ["--problems", "p.jsonl", *ON_CPU]
    _, args, model = parse(load_recipe(name), given)
    assert model.model_name_or_path == "Qwen/Qwen3.5-4B-Base"
    assert (model.load_in_4bit, model.lora_r, model.lora_alpha) == (True, 32, 64)
    assert args.num_generations == 32  # 8 tuples of 4
    assert args.generation_batch_size == 4 * 32
    assert (args.loss_type, args.beta, args.learning_rate) == ("grpo", 0.01, 5e-6)
    assert args.mask_truncated_completions
    assert not args.use_bias_correction_kl
    gap = ["--config", str(gap_config(name))]
    recipe, args, _ = parse(load_recipe(name), gap)
    assert (args.generation_batch_size, args.num_generations) == (384, 8)
    assert (args.loss_type, args.mask_truncated_completions) == ("grpo", True)
    assert recipe.template == (None if name == "upskill" else DIRECT_TEMPLATE)


def test_an_unknown_option_is_refused_by_name():
    given = ["--problems", "p.jsonl", *ON_CPU, "--pass_kk", "3"]
    with pytest.raises(ValueError, match="pass_kk"):
        parse(load_recipe("pkpo"), given)


@pytest.mark.parametrize(
    "name, options, said",
    [
        ("pkpo", ["--use_peft", "false"], "use_peft=False"),
        ("pkpo", ["--template", "Solve it."], "lacks the required field"),
        ("pkpo", ["--held_out", "train.jsonl"], "--allow_overlap true"),
        ("pkpo", ["--problems", "nowhere.jsonl"], r"nowhere\.jsonl"),
        ("pkpo", ["--gradient_accumulation_steps", "8"], "one rollout takes 16: 64 attempts"),
        ("pkpo", ["--solver_adapter", "nowhere"], "nowhere"),
        ("upskill", ["--template", "{statement}"], "UpSkill's prompt is latent_template"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_in_one_line(
    name, options, said, gap, monkeypatch
):
    monkeypatch.chdir(gap)
    given = ["--config", gap_config(name), "--model_name_or_path", "base", *SMALL]
    with pytest.raises(SystemExit, match=said) as refusal:
        run_recipe(name, *given, "--problems", "train.jsonl", *options)
    assert "\n" not in str(refusal.value)


def test_arguments_of_cppo_and_of_the_baselines_agree():
    theirs = load_recipe("cppo_qwen").RecipeArguments.__dataclass_fields__
    shared = BaselineArguments.__dataclass_fields__.keys() & theirs.keys()
    assert len(shared) == 9
    assert not shared & ModelConfig.__dataclass_fields__.keys()


def test_the_chat_template_of_the_gap_says_the_message_alone(trained):
    assert (trained / "pkpo" / "chat_template.jinja").read_text() == CHAT_TEMPLATE
