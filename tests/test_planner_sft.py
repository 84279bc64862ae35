"""SFT of the planner trains its adapter alone, on the very tokens that rollouts ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl import SFTConfig

from checkout import RECIPES, load_recipe, parse
from cppo_trl import PlannerSFTConfig, PlannerSFTTrainer, Problem, TestCase, load_policy
from cppo_trl.cli import main as cppo_trl
from cppo_trl.judges import StrategyTuple
from cppo_trl.problems import write_problems
from cppo_trl.tuples import Plan, write_plans
from scripted_rollouts import QUIET
from tiny_adapters import lora_config

TESTS = (TestCase("1\n", "1\n"),)
PROBLEMS = [Problem(id=f"p{i}", statement=f"Print {i} twice.", tests=TESTS) for i in range(4)]
GOLD = [StrategyTuple(p, (f"write {p.id} again", f"loop over {p.id}")) for p in PROBLEMS]


def sft_trainer(model: object, output_dir: Path, gold=GOLD, *, quantized=None, **settings):
    defaults = {
        "num_strategies": 2,
        "max_plan_length": 64,
        "max_completion_length": 8,
        "per_device_train_batch_size": 4,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        **QUIET,
    }
    return PlannerSFTTrainer(
        str(model),
        PlannerSFTConfig(str(output_dir), **(defaults | settings)),
        gold,
        peft_config=lora_config(),
        quantization_config=quantized,
    )


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def test_rows_begin_with_the_tokens_that_rollouts_ask_with(qwen3_dir, tmp_path):
    trainer = sft_trainer(qwen3_dir, tmp_path, chat_template_kwargs={"shout": True})
    rollouts = trainer.rollout_policy.plan(PROBLEMS)
    assert len(trainer.train_dataset) == len(GOLD)
    for row, rollout, item in zip(trainer.train_dataset, rollouts, GOLD, strict=True):
        asked = rollout.plan.prompt_ids
        assert row["input_ids"][: len(asked)] == asked
        assert row["labels"][: len(asked)] == [-100] * len(asked)
        answered = row["input_ids"][len(asked) :]
        assert row["labels"][len(asked) :] == answered
        assert answered[-1] == trainer.processing_class.eos_token_id
        text = trainer.processing_class.decode(answered[:-1])
        assert text == "A: {}\nB: {}".format(*item.strategies)


@pytest.mark.parametrize("family", ["qwen3_dir", "qwen3_5_dir"])
def test_all_of_the_planner_moves_and_nothing_else(family, request, tmp_path):
    trainer = sft_trainer(request.getfixturevalue(family), tmp_path)
    before = weights(trainer.model)
    trainer.train()
    for name, tensor in weights(trainer.model).items():
        is_planners = ".planner." in name
        assert torch.equal(tensor, before[name]) != is_planners, name
        if is_planners:
            assert tensor.dtype == torch.float32


def test_on_a_4_bit_base_the_planner_is_fp32_and_learns(qwen3_dir, tmp_path):
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    trainer = sft_trainer(qwen3_dir, tmp_path, quantized=quantized, max_steps=8)
    assert any(isinstance(module, Linear4bit) for module in trainer.model.modules())
    learning = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {p.dtype for p in learning} == {torch.float32}
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]


def test_loss_is_the_mean_over_plan_tokens_of_a_model_by_itself(qwen3_dir, tmp_path):
    trainer = sft_trainer(qwen3_dir, tmp_path / "run", max_steps=1)
    trainer.train()  # so that the planner is no identity
    trainer.save_model()
    again = sft_trainer(qwen3_dir, tmp_path / "again", max_steps=1, learning_rate=1e-4)
    again._load_from_checkpoint(str(tmp_path / "run"))
    again.train()
    (first,) = [entry["loss"] for entry in again.state.log_history if "loss" in entry]
    base = AutoModelForCausalLM.from_pretrained(qwen3_dir)
    alone = PeftModel.from_pretrained(base, tmp_path / "run", subfolder="planner")
    alone = alone.merge_and_unload().eval()
    losses = []
    for row in again.train_dataset:
        logps = alone(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        for place, token in enumerate(row["labels"][1:]):
            if token != -100:
                losses.append(-float(logps[place, token]))
    assert first == pytest.approx(sum(losses) / len(losses), rel=1e-4)


def test_what_is_saved_is_a_policy_that_stages_start_from(qwen3_dir, tmp_path):
    trainer = sft_trainer(qwen3_dir, tmp_path / "sft", plan_template="Plan: {statement}")
    trainer.train()
    trainer.save_model()
    rollouts = load_policy(tmp_path / "sft").rollouts
    assert rollouts.num_strategies == 2
    assert rollouts.prompts.plan == "Plan: {statement}"
    assert rollouts.sampling["planner"].max_new_tokens == 64
    assert rollouts.sampling["solver"].max_new_tokens == 8
    saved = load_file(tmp_path / "sft" / "planner" / "adapter_model.safetensors")
    assert all(tensor.any() for name, tensor in saved.items() if "lora_B" in name)


def test_resumed_run_ends_with_the_weights_of_the_unbroken_one(qwen3_dir, tmp_path):
    settings = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    settings |= {"per_device_train_batch_size": 2, "lr_scheduler_type": "constant"}
    whole = sft_trainer(qwen3_dir, tmp_path / "whole", **settings)
    whole.train()
    resumed = sft_trainer(qwen3_dir, tmp_path / "resumed", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    for name, tensor in weights(whole.model).items():
        torch.testing.assert_close(weights(resumed.model)[name], tensor, rtol=0, atol=0)


def test_tuple_of_another_size_is_refused_by_problem(qwen3_dir, tmp_path):
    gold = [*GOLD, StrategyTuple(PROBLEMS[2], ("one", "two", "three"))]
    with pytest.raises(ValueError, match=r"tuple 4 \(problem 'p2'\) has 3.*num_strategies=2"):
        sft_trainer(qwen3_dir, tmp_path, gold)


def test_arguments_of_another_trainer_are_refused(qwen3_dir, tmp_path):
    with pytest.raises(TypeError, match="SFTConfig; it must be a PlannerSFTConfig"):
        PlannerSFTTrainer(str(qwen3_dir), SFTConfig(str(tmp_path), **QUIET), GOLD)


def test_no_gold_at_all_is_refused_before_a_model_is_loaded(tmp_path):
    with pytest.raises(ValueError, match="train_dataset has no gold tuples"):
        PlannerSFTTrainer("no/such-model", PlannerSFTConfig(str(tmp_path), **QUIET), [])


def test_plans_that_would_be_cut_are_left_out(qwen3_dir, tmp_path):
    gold = [*GOLD, StrategyTuple(PROBLEMS[0], ("so " * 80, "short"))]
    assert len(sft_trainer(qwen3_dir, tmp_path, gold).train_dataset) == len(GOLD)
    lengths = [len(row["input_ids"]) for row in sft_trainer(qwen3_dir, tmp_path).train_dataset]
    fitting = sft_trainer(qwen3_dir, tmp_path, max_length=max(lengths)).train_dataset
    assert [len(row["input_ids"]) for row in fitting] == lengths
    with pytest.raises(ValueError, match="none within max_plan_length=64, max_length=9"):
        sft_trainer(qwen3_dir, tmp_path, max_length=9)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_strategies": 1}, "num_strategies=1"),
        ({"planner_temperature": 0.0}, "planner_temperature=0.0"),
        ({"packing": True}, "packing=True"),
        ({"eos_token": "<|endoftext|>"}, "eos_token='<|endoftext|>'".replace("|", r"\|")),
        ({"chat_template_path": "base"}, "chat_template_path='base'"),
        ({"padding_free": True}, "padding_free=True"),
        ({"plan_template": "no field"}, "statement"),
    ],
)
def test_setting_that_cannot_work_is_refused_by_name(settings, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        PlannerSFTConfig(str(tmp_path), **QUIET, **settings)


@pytest.fixture
def files(tmp_path):
    write_problems(PROBLEMS, tmp_path / "problems.jsonl")
    plans = [Plan(item.problem.id, item.strategies) for item in GOLD]
    write_plans(plans, tmp_path / "gold.jsonl")
    return tmp_path


def arguments(folder: Path, base: Path, *more: str) -> list[str]:
    return [
        *("--model_name_or_path", str(base), "--problems", str(folder / "problems.jsonl")),
        *("--gold", str(folder / "gold.jsonl"), "--output_dir", str(folder / "sft")),
        *("--use_cpu", "true", "--bf16", "false", "--dtype", "float32", "--num_strategies", "2"),
        *("--max_steps", "2", "--max_plan_length", "64", "--max_completion_length", "8", *more),
    ]


def test_recipe_trains_a_policy_that_the_command_audits(files, qwen3_dir):
    recipe = load_recipe("sft_planner")
    recipe.main(*parse(recipe, arguments(files, qwen3_dir)))
    state = json.loads((files / "sft" / "trainer_state.json").read_text())
    assert state["global_step"] == 2
    problems = str(files / "problems.jsonl")
    command = ["audit", "--policy", str(files / "sft"), "--problems", problems]
    command += ["--output", str(files / "audit"), "--num-generations", "2"]
    assert cppo_trl(command) == 1  # two steps teach no tiny model to plan
    assert "Train the planner on gold tuples" in (files / "audit" / "audit.md").read_text()


def test_default_config_is_the_papers_batch_and_rate():
    recipe = load_recipe("sft_planner")
    given = ["--problems", "p", "--gold", "g", "--use_cpu", "true", "--bf16", "false"]
    _, args, model = parse(recipe, [*given, "--dtype", "float32"])
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps
    assert (batch, args.learning_rate, args.num_train_epochs) == (16, 1e-5, 3)
    assert (model.lora_r, model.lora_alpha, model.load_in_4bit) == (32, 64, True)
    assert recipe.DEFAULT_CONFIG == RECIPES / "configs" / "qwen3.5-4b-base" / "sft.yaml"


def test_gold_of_a_held_out_problem_is_refused(files, qwen3_dir):
    recipe = load_recipe("sft_planner")
    held_out = [*("--held_out", str(files / "problems.jsonl"))]
    with pytest.raises(SystemExit, match=r"4 problems of .* are among the training"):
        recipe.main(*parse(recipe, arguments(files, qwen3_dir, *held_out)))


@pytest.mark.parametrize("name", ["gold", "problems"])
def test_file_that_cannot_be_read_is_told_in_one_line(name, files, qwen3_dir):
    recipe = load_recipe("sft_planner")
    (files / f"{name}.jsonl").write_text("no json\n")
    with pytest.raises(SystemExit, match=rf"{name}\.jsonl, line 1: not JSON"):
        recipe.main(*parse(recipe, arguments(files, qwen3_dir)))


def test_gold_of_an_unknown_problem_is_refused_by_row(files, qwen3_dir):
    recipe = load_recipe("sft_planner")
    with open(files / "gold.jsonl", "a") as file:
        file.write('{"problem_id": "nobody", "strategies": ["a", "b"]}\n')
    with pytest.raises(SystemExit, match=r"line 5.*'problem_id' is 'nobody'"):
        recipe.main(*parse(recipe, arguments(files, qwen3_dir)))


def test_tokenizer_without_a_template_is_asked_in_plain_text(qwen3_dir, tmp_path):
    trainer = sft_trainer(qwen3_dir, tmp_path / "run")
    tokenizer = AutoTokenizer.from_pretrained(qwen3_dir)
    tokenizer.chat_template = None
    trainer.rollout_policy.speaker.tokenizer = tokenizer
    prompt_ids, _ = trainer.rollout_policy.plan_tokens(PROBLEMS[0], GOLD[0].strategies)
    assert tokenizer.decode(prompt_ids).startswith("Print 0 twice.")
