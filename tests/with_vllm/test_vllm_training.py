"""CPPOTrainer with vLLM: colocated, and with a server."""

from __future__ import annotations

from dataclasses import replace
from types import MethodType

import pytest

from cppo_trl import CPPOConfig, CPPOTrainer
from scripted_rollouts import QUIET, scripted_problems
from small_trainer import adapter_weights, moved, pass_by_chance, roles_of
from tiny_adapters import lora_config


def parsed_anyway(policy, problems):
    """Rollouts whose plans count as parsed: a random model writes none that can be parsed."""
    rollouts = type(policy).plan(policy, problems)
    for i, rollout in enumerate(rollouts):
        rollout.strategies = (f"way {i} one", f"way {i} two")
        rollout.plan = whole(rollout.plan)
    return rollouts


def solved_whole(policy, rollouts, attempts):
    """Attempts that count as whole: a random model rarely ends one."""
    type(policy).solve(policy, rollouts, attempts)
    for rollout in rollouts:
        rollout.attempts = [whole(attempt) for attempt in rollout.attempts]


def whole(turn):
    return replace(turn, completion=replace(turn.completion, truncated=False))


def plan_by_chance(completion_ids, **_):
    """A judge that finds about half of the plans valid, by their tokens."""
    return [float(sum(ids) % 2) for ids in completion_ids]


def trained(base_dir, output_dir, **settings):
    defaults = {
        "num_generations": 4,
        "num_strategies": 2,
        "per_device_train_batch_size": 8,
        "max_steps": 2,
        "max_plan_length": 8,
        "max_completion_length": 6,
        "plan_template": "Plan {labels}: {statement}",
        "solve_template": "Solve: {statement} {strategy}",
        "learning_rate": 1e-2,
        "gradient_checkpointing": False,
        "use_vllm": True,
        "vllm_server_timeout": 900,
        "vllm_importance_sampling_mode": "token_truncate",
        **QUIET,
    }
    trainer = CPPOTrainer(
        str(base_dir),
        args=CPPOConfig(str(output_dir), **(defaults | settings)),
        train_dataset=scripted_problems(4),
        judge=plan_by_chance,
        verifier=pass_by_chance,
        peft_config=lora_config(),
    )
    policy = trainer.rollout_policy
    policy.plan = MethodType(parsed_anyway, policy)
    policy.solve = MethodType(solved_whole, policy)
    before = adapter_weights(trainer.model)
    trainer.train()
    return trainer, moved(before, adapter_weights(trainer.model))


@pytest.mark.parametrize("mode", ["colocate", "server"])
def test_both_roles_learn_and_the_sampler_follows_them(mode, request, base_dir, tmp_path):
    settings = {"vllm_mode": mode}
    if mode == "server":
        settings["vllm_server_base_url"] = request.getfixturevalue("server").url
    else:
        settings["vllm_max_model_length"] = 1024
    trainer, learned = trained(base_dir, tmp_path, planner_reward="sum", **settings)
    assert roles_of(learned) == {"planner", "solver"}
    steps = [log for log in trainer.state.log_history if "loss" in log]
    assert len(steps) == 2
    for step in steps:  # the second one samples from the weights that the first one moved
        assert 0 < step["sampling/sampling_logp_difference/max"] < 1e-4
        assert step["sampling/importance_sampling_ratio/min"] == pytest.approx(1, abs=1e-4)
        assert step["sampling/importance_sampling_ratio/max"] == pytest.approx(1, abs=1e-4)


def test_stale_adapters_would_show(base_dir, server, tmp_path):
    settings = {"vllm_mode": "server", "vllm_server_base_url": server.url}
    trainer, _ = trained(base_dir, tmp_path, max_steps=1, planner_reward="sum", **settings)
    trainer._vllm.begin_rollout = lambda: None  # the adapters of the first rollout stay
    trainer.args.max_steps = 2
    trainer.train()
    last = [log for log in trainer.state.log_history if "loss" in log][-1]
    assert last["sampling/sampling_logp_difference/max"] > 1e-2
