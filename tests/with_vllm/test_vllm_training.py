"""CPPOTrainer with vLLM: colocated, and with a server."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from cppo_trl import CPPOConfig, CPPOTrainer
from cppo_trl.rollouts import Rollout
from scripted_rollouts import QUIET, scripted_problems
from small_trainer import adapter_weights, moved, pass_by_chance, roles_of
from tiny_adapters import lora_config


def read_anyway(policy):
    """Counts every plan as one that parses, and every turn as whole: a random model writes no plan
    that can be parsed, and rarely ends an attempt.
    """
    numbers, turn = count(), policy.speaker._turn
    policy.speaker._turn = lambda messages, ids, completion: turn(
        messages, ids, replace(completion, truncated=False)
    )

    def read_plan(problem, plan):
        number = next(numbers)
        return Rollout(problem, plan, (f"way {number} one", f"way {number} two"))

    policy.read_plan = read_plan


def plan_by_chance(completion_ids, **_):
    """A judge that finds about half of the plans valid, by their tokens."""
    return [float(sum(ids) % 2) for ids in completion_ids]


def trained(base_dir, output_dir, prepare=lambda trainer: None, **settings):
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
    read_anyway(trainer.rollout_policy)
    prepare(trainer)
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


@pytest.mark.parametrize("mode", ["colocate", "server"])
def test_attempts_begin_while_other_plans_are_written(mode, request, base_dir, tmp_path):
    settings = {"vllm_mode": mode, "max_steps": 1, "planner_reward": "sum"}
    if mode == "server":
        settings["vllm_server_base_url"] = request.getfixturevalue("server").url
    else:
        settings["vllm_max_model_length"] = 1024
    events = []

    def watch(trainer):
        generator = trainer.rollout_policy.speaker.generator
        submit, finished, roles = generator.submit, generator.finished, {}

        def watched_submit(ids, adapter, sampling):
            # Of one plan there is little to wait for, of the next ones more.
            if adapter == "planner":
                sampling = replace(sampling, max_new_tokens=4 + 16 * (len(roles) % 8))
            ticket = submit(ids, adapter, sampling)
            roles[ticket] = adapter
            events.append(("begins", adapter))
            return ticket

        def watched_finished(seconds=None):
            found = finished(seconds)
            events.extend(("ends", roles[ticket]) for ticket, _ in found)
            return found

        generator.submit, generator.finished = watched_submit, watched_finished

    trained(base_dir, tmp_path, watch, **settings)
    attempt = events.index(("begins", "solver"))
    assert events[:attempt].count(("ends", "planner")) < 8
    assert events.count(("ends", "planner")) == 8
    assert events.count(("ends", "solver")) == 16
