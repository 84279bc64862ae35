"""Saving, resuming and loading: a run that was interrupted ends as one that was not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME as WEIGHTS
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from cppo_trl import load_policy
from cppo_trl.generation import Sampling
from cppo_trl.roles import ROLES
from scripted_rollouts import PLAN_TEMPLATE, scripted_problems
from small_trainer import (
    adapter_weights,
    make_trainer,
    moved,
    roles_of,
    sampling_trainer,
    training_logs,
)
from tiny_adapters import randomise_adapters, save_adapters

# Every run samples its attempts at temperature 0.7, so a wrong random state shows in the losses.
RUNS = {
    "at the end of a rollout": ({}, 2),
    "in the second epoch": ({"max_steps": 5, "shuffle_dataset": True}, 3),
    "between the epochs": ({"shuffle_dataset": True}, 2),
    "with gradient accumulation": (
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
        2,
    ),
    "in the middle of a rollout": (
        {
            "gradient_accumulation_steps": 2,
            "steps_per_generation": 4,
            "per_device_train_batch_size": 1,
            "max_steps": 5,
        },
        3,
    ),
    "between two passes over a rollout": ({"num_iterations": 2}, 3),
    "with an advantage for each token": (
        {"num_iterations": 2, "strategy_credit": "shapley", "solver_pass_k": 2},
        3,
    ),
    "with a decaying rate for each role": (
        {"lr_scheduler_type": "linear", "planner_learning_rate": 2e-2},
        2,
    ),
}


def run(model, output_dir, settings, **train):
    trainer = sampling_trainer(
        model,
        output_dir,
        **({"max_steps": 4, "save_strategy": "steps", "save_steps": 1} | settings),
    )
    trainer.train(**train)
    return trainer


@pytest.fixture(scope="module", params=RUNS, ids=lambda name: name.replace(" ", "-"))
def resumed(request, qwen3_dir, tmp_path_factory):
    """(unbroken run, run resumed from its checkpoint, number of the checkpoint's step)."""
    settings, step = RUNS[request.param]
    output_dir = tmp_path_factory.mktemp("resumed")
    unbroken = run(qwen3_dir, output_dir / "unbroken", settings)
    checkpoint = output_dir / "copy" / f"checkpoint-{step}"
    shutil.copytree(output_dir / "unbroken" / f"checkpoint-{step}", checkpoint)
    torch.manual_seed(1234)  # the new process's own random state must not matter
    again = run(qwen3_dir, output_dir / "copy", settings, resume_from_checkpoint=str(checkpoint))
    return unbroken, again, step


def test_a_resumed_run_logs_what_the_unbroken_run_logs(resumed):
    unbroken, again, step = resumed
    assert len(training_logs(unbroken)) == unbroken.args.max_steps
    assert training_logs(again)[step:] == training_logs(unbroken)[step:]


def test_a_resumed_run_ends_with_the_weights_of_the_unbroken_run(resumed):
    unbroken, again, _ = resumed
    assert not moved(adapter_weights(unbroken.model), adapter_weights(again.model))


def test_sampling_makes_a_difference_to_these_runs(qwen3_dir, tmp_path):
    first = run(qwen3_dir, tmp_path / "first", {"save_strategy": "no"})
    trainer = sampling_trainer(qwen3_dir, tmp_path / "second", max_steps=4)
    torch.manual_seed(1234)
    trainer.train()
    assert moved(adapter_weights(first.model), adapter_weights(trainer.model))


def test_a_resumed_run_trains_both_adapters(qwen3_dir, tmp_path):
    run(qwen3_dir, tmp_path, {"max_steps": 1})
    trainer = sampling_trainer(qwen3_dir, tmp_path, max_steps=3)
    before = adapter_weights(trainer.model)
    trainer.train(resume_from_checkpoint=True)
    after = adapter_weights(trainer.model)
    assert trainer.state.global_step == 3
    assert moved(before, after) == set(after)
    assert all(p.requires_grad for n, p in trainer.model.named_parameters() if "lora_" in n)


def test_resuming_a_run_of_one_role_keeps_the_other_still(qwen3_dir, tmp_path):
    settings = {"train_roles": "planner", "max_steps": 1}
    before = adapter_weights(run(qwen3_dir, tmp_path, settings).model)
    again = run(qwen3_dir, tmp_path, settings | {"max_steps": 2}, resume_from_checkpoint=True)
    assert roles_of(moved(before, adapter_weights(again.model))) == {"planner"}


def test_the_reference_survives_a_resume(qwen3_dir, tmp_path):
    # The reference is what the stage started from, not what it is resumed from.
    adapters = dict.fromkeys(ROLES, str(save_adapters(qwen3_dir, tmp_path / "start")))
    settings = {"trainer_settings": {"adapters": adapters}, "max_steps": 2, "beta": 0.1}
    unbroken = run(qwen3_dir, tmp_path / "run", settings)
    again = run(
        qwen3_dir,
        tmp_path / "run",
        settings,
        resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"),
    )
    assert training_logs(unbroken)[0]["kl"] == pytest.approx(0.0, abs=1e-6)
    assert training_logs(unbroken)[1]["kl"] > 1e-4
    assert training_logs(again)[1:] == training_logs(unbroken)[1:]


def test_a_checkpoint_without_an_adapter_is_refused(qwen3_dir, tmp_path):
    run(qwen3_dir, tmp_path, {"max_steps": 1})
    shutil.rmtree(tmp_path / "checkpoint-1" / "solver")
    with pytest.raises(ValueError, match="no folder 'solver'"):
        run(qwen3_dir, tmp_path, {"max_steps": 2}, resume_from_checkpoint=True)


def test_the_best_model_is_loaded_with_both_adapters(qwen3_dir, tmp_path):
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        max_steps=3,
        save_strategy="steps",
        save_steps=1,
        eval_strategy="steps",
        eval_steps=1,
        eval_dataset=scripted_problems(2),
        load_best_model_at_end=True,
        metric_for_best_model="loss",
        greater_is_better=False,  # with a KL term, the first step's weights have the lowest loss
    )
    trainer.train()
    assert trainer.state.best_global_step == 1
    best, last = (
        {role: load_file(tmp_path / f"checkpoint-{step}" / role / WEIGHTS) for role in ROLES}
        for step in (1, 3)
    )
    trainer.save_model(tmp_path / "end")
    for role in ROLES:
        ended = load_file(tmp_path / "end" / role / WEIGHTS)
        assert moved(best[role], last[role])
        assert not moved(best[role], ended)


def test_coverage_can_choose_the_best_model(qwen3_dir, tmp_path):
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        max_steps=2,
        save_strategy="best",
        eval_strategy="steps",
        eval_steps=1,
        eval_dataset=scripted_problems(2),
        metric_for_best_model="pass@2",
        greater_is_better=True,
    )
    trainer.train()
    assert trainer.state.best_metric == 0.75


# ---- what a saved policy is ----


@pytest.fixture(scope="module")
def saved(qwen3_dir, tmp_path_factory):
    """A trainer with unlike adapters and all that `save_model` wrote."""
    output_dir = tmp_path_factory.mktemp("saved")
    trainer = make_trainer(
        qwen3_dir,
        output_dir,
        planner_temperature=0.8,
        planner_top_p=0.9,
        temperature=0.6,
        chat_template_kwargs={"marker": 1},
    )
    randomise_adapters(trainer.model, seed=7)
    trainer.save_model()
    return trainer, output_dir


def greedy(generator, tokenizer, role):
    """Greedy completions of a few prompts."""
    prompts = [tokenizer(text)["input_ids"] for text in ("Sort.", "Add two numbers.", "A:")]
    return [
        completion.token_ids for completion in generator.generate(prompts, role, Sampling(16, 0.0))
    ]


@pytest.mark.parametrize("role", ROLES)
def test_a_loaded_policy_says_what_the_trained_model_says(role, saved):
    trainer, directory = saved
    trained = trainer._make_rollout_policy().speaker.generator
    loaded = load_policy(directory).rollouts.speaker.generator
    expected = greedy(trained, trainer.processing_class, role)
    assert greedy(loaded, trainer.processing_class, role) == expected
    assert expected != greedy(trained, trainer.processing_class, "__base__")


def test_the_roles_of_the_saved_policy_differ(saved):
    trainer, directory = saved
    loaded = load_policy(directory).rollouts.speaker.generator
    planner, solver = (greedy(loaded, trainer.processing_class, role) for role in ROLES)
    assert planner != solver


def test_a_loaded_policy_knows_how_it_was_trained(saved):
    trainer, directory = saved
    loaded = load_policy(directory).rollouts
    assert loaded.num_strategies == 2
    assert loaded.prompts.plan == PLAN_TEMPLATE
    assert loaded.sampling == trainer.rollout_policy.sampling
    assert loaded.sampling["planner"] == Sampling(64, 0.8, 0.9)
    assert (
        loaded.speaker.chat_template_kwargs == trainer.rollout_policy.speaker.chat_template_kwargs
    )


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_a_plain_peft_adapter(role, saved, qwen3_dir):
    trainer, directory = saved
    base = AutoModelForCausalLM.from_pretrained(qwen3_dir)
    model = PeftModel.from_pretrained(base, str(directory), subfolder=role)
    tokenizer = trainer.processing_class
    prompt = tokenizer("Add two numbers.", return_tensors="pt")
    output = model.generate(**prompt, max_new_tokens=16, do_sample=False)
    expected = greedy(trainer._make_rollout_policy().speaker.generator, tokenizer, role)[1]
    assert output[0, prompt["input_ids"].shape[1] :].tolist()[: len(expected)] == expected


def test_the_adapters_name_their_base(saved, qwen3_dir):
    _, directory = saved
    for role in ROLES:
        config = json.loads((directory / role / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == str(qwen3_dir)


def test_no_weights_of_the_base_are_saved(saved):
    _, directory = saved
    weights = sorted(str(p.relative_to(directory)) for p in Path(directory).rglob("*.safetensors"))
    assert weights == [f"{role}/adapter_model.safetensors" for role in ROLES]


def test_a_next_stage_starts_from_the_saved_adapters(saved, qwen3_dir, tmp_path):
    trainer, directory = saved
    following = make_trainer(
        qwen3_dir,
        tmp_path,
        trainer_settings={"adapters": dict.fromkeys(ROLES, str(directory))},
    )
    before, after = adapter_weights(trainer.model), adapter_weights(following.model)
    own = {name: weight for name, weight in after.items() if "_ref." not in name}
    assert not moved(before, own)


def test_a_directory_without_a_policy_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cppo_policy\.json"):
        load_policy(tmp_path)


def test_a_loaded_policy_plans_and_solves(saved):
    _, directory = saved
    policy = load_policy(directory)
    problem = scripted_problems(1)[0]
    attempts = policy.solve(problem)
    strategies = policy.plan(problem)
    assert strategies is None or len(strategies) == 2
    assert len(attempts) in (0, 2)
