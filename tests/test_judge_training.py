"""A judge learns from labels, is measured on other problems, and is loaded as it was saved."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from cppo_trl.judges import JudgeChain, RuleJudge, StrategyTuple
from cppo_trl.judges.labels import Label, LabelError
from cppo_trl.judges.learned import LearnedJudge, ValidityQuestion
from cppo_trl.judges.saved import AdapterJudge, RejectedJudge, load_judge, save_judge
from cppo_trl.judges.training import JudgeTrainer, train_judge, training_arguments
from cppo_trl.problems import Problem, TestCase
from cppo_trl.roles import add_roles, role_of
from cppo_trl.routing import role_router
from small_trainer import adapter_weights, make_trainer, moved
from tiny_adapters import lora_config
from tiny_models import save_qwen3

WORDS = ("sort", "scan", "count", "hash", "sum", "walk", "split", "merge")
TEMPLATE = "{statement}\n{plan}\nAnswer:"


def make_labels(count=40, seed=0):
    """Labels that a model without any knowledge can learn: steps of a workflow are invalid."""
    draw = random.Random(seed)
    problems, labels = {}, []
    for number in range(count):
        problem = Problem(f"p{number}", f"Task {number}.", (TestCase("1", "1"),))
        problems[problem.id] = problem
        for valid in (True, False) * 2:
            words = draw.sample(WORDS, 2)
            texts = words if valid else [f"Step: {word}" for word in words]
            labels.append(Label(problem.id, tuple(texts), valid, "test"))
    return problems, labels


@pytest.fixture(scope="module")
def trained(qwen3_dir, tmp_path_factory):
    problems, labels = make_labels()
    args = training_arguments(
        str(tmp_path_factory.mktemp("judge")),
        num_train_epochs=4,
        learning_rate=1e-2,
        use_cpu=True,
        disable_tqdm=True,
    )
    config = lora_config(r=8, lora_alpha=16)
    return problems, train_judge(
        str(qwen3_dir), labels, problems, args, config, TEMPLATE, dtype="float32"
    )


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory):
    directory = tmp_path_factory.mktemp("saved") / "judge"
    save_judge(trained[1].judge, directory, trained[1].quality.to_dict())
    return directory


def tuples(problems):
    owners = list(problems.values())
    return [
        StrategyTuple(owners[n], (f"{'Step: ' * (n % 2)}{WORDS[n]}", "count")) for n in range(6)
    ]


def test_it_learns_what_the_labels_say(trained):
    found = trained[1].quality
    assert found.auc.value > 0.95
    assert found.is_accepted, found.failed()


def test_it_is_measured_on_problems_that_decided_nothing(trained):
    _, found = trained
    assert found.labels == (104, 24, 32)  # of 160: 26, 6 and 8 problems of 4 labels each
    assert len(found.scores) == len(found.held_out) == found.quality.labels == 32


def test_only_the_adapter_is_trained(trained, qwen3_dir):
    judge = trained[1].judge
    plain = AutoModelForCausalLM.from_pretrained(qwen3_dir, dtype="float32").state_dict()
    base = judge.model.get_base_model().state_dict()
    for name, weight in plain.items():
        inside = name if name in base else name.replace(".weight", ".base_layer.weight")
        assert torch.equal(base[inside], weight)


def test_a_judge_is_measured_on_the_tuples_of_other_problems(qwen3_dir, tmp_path):
    problems, labels = make_labels(12)
    labels = [
        label if label.valid else replace(label, source="corruption/swapped") for label in labels
    ]
    args = training_arguments(str(tmp_path), use_cpu=True, disable_tqdm=True, max_steps=1)
    found = train_judge(str(qwen3_dir), labels, problems, args, lora_config(), TEMPLATE)
    rejected = [
        score < found.judge.threshold
        for score, label in zip(found.scores, found.held_out, strict=True)
        if not label.valid
    ]
    assert found.quality.swapped_rejected.value == pytest.approx(sum(rejected) / len(rejected))


def train_in_bf16(qwen3_dir, output_dir, **settings):
    """A judge on a base in bf16, from the same first weights each time."""
    problems, labels = make_labels(12)
    args = training_arguments(str(output_dir), use_cpu=True, disable_tqdm=True, **settings)
    torch.manual_seed(0)
    found = train_judge(
        str(qwen3_dir), labels, problems, args, lora_config(), TEMPLATE, dtype="bfloat16"
    )
    return found.judge.model


def test_on_a_base_in_bf16_all_of_the_adapter_is_fp32_and_learns(qwen3_dir, tmp_path):
    model = train_in_bf16(qwen3_dir, tmp_path, learning_rate=1e-5)
    assert {p.dtype for n, p in model.named_parameters() if "lora_" not in n} == {torch.bfloat16}
    after = adapter_weights(model)
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    before = adapter_weights(train_in_bf16(qwen3_dir, tmp_path, learning_rate=0.0))
    assert not any(weight.any() for name, weight in before.items() if "lora_B" in name)
    assert moved(before, after) == set(after)


def test_an_update_that_moves_nothing_stops_the_training_of_a_judge(qwen3_dir, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(qwen3_dir, dtype="bfloat16")
    model = get_peft_model(base, lora_config(), "judge", autocast_adapter_dtype=False)
    for name, parameter in model.named_parameters():
        if "lora_" in name:  # as trained ones: fresh ones have zeros, which can move
            parameter.data.fill_(0.1)
    tokenizer = AutoTokenizer.from_pretrained(qwen3_dir)
    question = ValidityQuestion(tokenizer, TEMPLATE)
    judge = LearnedJudge(model, question, tokenizer.pad_token_id, adapter="judge")
    problems, labels = make_labels(4)
    rows = [
        {"ids": question.encode(StrategyTuple(problems[label.problem_id], label.strategies))}
        | {"valid": float(label.valid)}
        for label in labels
    ]
    args = training_arguments(str(tmp_path), use_cpu=True, disable_tqdm=True, learning_rate=1e-8)
    with pytest.raises(RuntimeError, match=r"moved no weight.*bfloat16"):
        JudgeTrainer(judge, model, args, rows).train()


def test_a_saved_judge_gives_the_same_scores(trained, saved):
    problems, found = trained
    loaded = load_judge(saved, dtype="float32")
    assert loaded.threshold == found.judge.threshold
    asked = tuples(problems)
    assert loaded.scores(asked) == pytest.approx(found.judge.scores(asked), abs=1e-5)


def test_plain_peft_reads_the_adapter(saved, qwen3_dir):
    base = AutoModelForCausalLM.from_pretrained(qwen3_dir)
    assert PeftModel.from_pretrained(base, saved, subfolder="judge").peft_config


def test_beside_the_roles_it_scores_the_same_and_changes_nothing_of_them(trained, saved, qwen3_dir):
    problems, found = trained
    model = add_roles(AutoModelForCausalLM.from_pretrained(qwen3_dir), lora_config())
    trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}
    loaded = load_judge(saved, model)
    asked = tuples(problems)
    assert loaded.scores(asked) == pytest.approx(found.judge.scores(asked), abs=1e-5)
    after = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert after == trainable
    assert {role_of(name) for name in after} == {"planner", "solver"}
    ids = AutoTokenizer.from_pretrained(qwen3_dir)("x", return_tensors="pt")["input_ids"]
    with role_router(model).route("planner"):
        model(ids).logits.sum().backward()
    with pytest.raises(ValueError, match="a model has one judge"):
        load_judge(saved, model)


def test_a_rejected_judge_is_not_loaded_by_accident(trained, tmp_path):
    failed = trained[1].quality.to_dict() | {"accepted": False, "failed": ["auc 0.6 is below 0.75"]}
    save_judge(trained[1].judge, tmp_path, failed)
    with pytest.raises(RejectedJudge, match=r"rejected \(auc 0.6 is below 0.75\)"):
        load_judge(tmp_path)
    assert load_judge(tmp_path, allow_rejected=True).threshold == trained[1].judge.threshold
    content = json.loads((tmp_path / "cppo_judge.json").read_text())
    assert content["quality"]["failed"] == ["auc 0.6 is below 0.75"]


def test_a_folder_without_a_judge_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no cppo_judge\.json"):
        load_judge(tmp_path)


def test_labels_of_unknown_problems_are_refused(qwen3_dir, tmp_path):
    problems, labels = make_labels(3)
    del problems["p1"]
    with pytest.raises(LabelError, match="unknown problems, such as 'p1'"):
        train_judge(str(qwen3_dir), labels, problems, training_arguments(str(tmp_path)))


def test_a_trainer_gates_by_an_adapter_of_its_own_base(trained, saved, qwen3_dir, tmp_path):
    before = get_judge_weights(saved)
    judge = JudgeChain(RuleJudge(), AdapterJudge(saved))
    trainer = make_trainer(qwen3_dir, tmp_path, judge=judge, max_steps=2)
    trainer.train()
    after = get_peft_model_state_dict(trainer.model, adapter_name="judge")
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert trainer.state.global_step == 2
    trainer.save_model()
    assert not (tmp_path / "judge").exists()
    rates = [entry["judge_pass_rate"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(rates) == 2


def get_judge_weights(saved):
    return load_file(saved / "judge" / "adapter_model.safetensors")


def test_a_judge_of_another_base_is_refused_with_both_names(saved, tmp_path):
    other = save_qwen3(tmp_path / "other", hidden_size=128)
    model = add_roles(AutoModelForCausalLM.from_pretrained(other), lora_config())
    with pytest.raises(ValueError, match=r"does not fit the model.*qwen3.*other.*judge_own_base"):
        AdapterJudge(saved).attach(model)


def test_the_gate_of_a_trainer_is_the_judge_as_it_was_saved(trained, saved, qwen3_dir, tmp_path):
    problems, found = trained
    judge = AdapterJudge(saved)
    with pytest.raises(RuntimeError, match="no model yet"):
        judge.judge_many(tuples(problems))
    make_trainer(qwen3_dir, tmp_path, judge=judge)
    expected = found.judge.judge_many(tuples(problems))
    assert [j.valid for j in judge.judge_many(tuples(problems))] == [j.valid for j in expected]


def test_a_rejected_judge_is_refused_before_a_model_is_loaded(trained, tmp_path):
    failed = trained[1].quality.to_dict() | {"accepted": False, "failed": ["auc is low"]}
    save_judge(trained[1].judge, tmp_path, failed)
    with pytest.raises(RejectedJudge, match="auc is low"):
        AdapterJudge(tmp_path)
    assert AdapterJudge(tmp_path, allow_rejected=True).source == str(tmp_path)
