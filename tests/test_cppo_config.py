"""CPPOConfig: the method's defaults, refusals that say what would work, YAML and command line."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from transformers import HfArgumentParser
from trl import GRPOConfig, TrlParser

from cppo_trl.cppo_config import CPPOConfig
from cppo_trl.prompts import DEFAULT_PLAN, DEFAULT_SOLVE
from cppo_trl.vllm_checks import refuse_unusable_vllm


def config(**settings):
    return CPPOConfig("unused", **({"use_cpu": True, "report_to": "none"} | settings))


@pytest.mark.parametrize(
    "field, value",
    [
        ("num_strategies", 4),  # K
        ("num_generations", 8),  # M
        ("planner_temperature", 0.9),
        ("temperature", 0.7),
        ("max_plan_length", 512),
        ("max_completion_length", 2048),
        ("planner_reward", "product"),
        ("solver_group", "tuple"),
        ("advantage_std", "population"),
        ("solver_pass_k", None),
        ("strategy_credit", "none"),
        ("attempts_per_strategy", 1),
        ("solve_invalid", True),
        ("train_roles", "both"),
        ("loss_type", "grpo"),
        ("epsilon", 0.2),
        ("beta", 0.01),
        ("num_iterations", 1),
        ("use_bias_correction_kl", False),
        ("mask_truncated_completions", False),
    ],
)
def test_defaults_are_the_methods(field, value):
    assert getattr(config(), field) == value


def test_default_prompts_are_the_methods():
    prompts = config().prompts()
    assert (prompts.plan, prompts.solve) == (DEFAULT_PLAN, DEFAULT_SOLVE)


def test_every_new_field_has_a_help_text():
    inherited = {field.name for field in fields(GRPOConfig)}
    new = [field for field in fields(CPPOConfig) if field.name not in inherited]
    assert new
    assert [field.name for field in new if not field.metadata.get("help")] == []


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"num_strategies": 1}, ["num_strategies=1", "2 to 26"]),
        ({"num_strategies": 27}, ["num_strategies=27", "2 to 26"]),
        ({"num_strategies": 4.0}, ["num_strategies=4.0", "whole number"]),
        ({"num_generations": 1}, ["num_generations=1", "2 or more"]),
        ({"num_generations": None}, ["num_generations=None", "2 or more"]),
        ({"num_iterations": 0}, ["num_iterations=0", "1 or more"]),
        ({"beta": -1.0}, ["beta=-1.0", "0 or more"]),
        ({"epsilon": None}, ["epsilon=None", "0 or more"]),
        ({"planner_learning_rate": -1e-3}, ["planner_learning_rate=-0.001", "0 or more"]),
        ({"loss_type": "ppo"}, ["loss_type='ppo'", "'grpo'", "'dapo'"]),
        ({"attempts_per_strategy": 0}, ["attempts_per_strategy=0", "1 or more"]),
        ({"max_plan_length": 0}, ["max_plan_length=0", "1 or more"]),
        ({"max_completion_length": 0}, ["max_completion_length=0", "1 or more"]),
        ({"max_completion_length": None}, ["max_completion_length=None", "1 or more"]),
        ({"rollout_batch_size": 0}, ["rollout_batch_size=0", "1 or more"]),
        ({"level_off_steps": -1}, ["level_off_steps=-1", "0 or more"]),
        ({"level_off_steps": 2.5}, ["level_off_steps=2.5", "whole number"]),
        ({"level_off_steps": True}, ["level_off_steps=True", "whole number"]),
        ({"temperature": 0.0}, ["temperature=0.0", "above 0"]),
        ({"planner_temperature": -1.0}, ["planner_temperature=-1.0", "above 0"]),
        ({"planner_top_p": 0.0}, ["planner_top_p=0.0", "above 0"]),
        ({"top_p": 1.5}, ["top_p=1.5", "at most 1"]),
        ({"planner_reward": "gate"}, ["planner_reward='gate'", "'product'", "'judge'", "'sum'"]),
        ({"solver_group": "batch"}, ["solver_group='batch'", "'tuple'", "'problem'", "'strategy'"]),
        ({"advantage_std": "sample"}, ["advantage_std='sample'", "'population'", "'trl'"]),
        ({"solver_pass_k": 1}, ["solver_pass_k=1", "2 or more", "None"]),
        ({"solver_pass_k": 2.0}, ["solver_pass_k=2.0", "whole number"]),
        ({"solver_pass_k": 5}, ["solver_pass_k=5", "'tuple' has 4", "solver_pass_k=2 to 4"]),
        (
            {"solver_pass_k": 33, "solver_group": "problem"},
            ["solver_pass_k=33", "'problem' has 32", "solver_pass_k=2 to 32"],
        ),
        (
            {"solver_pass_k": 4, "solver_group": "strategy", "attempts_per_strategy": 3},
            ["solver_pass_k=4", "'strategy' has 3", "solver_pass_k=2 to 3"],
        ),
        (
            {"strategy_credit": "banzhaf"},
            ["strategy_credit='banzhaf'", "'none'", "'leave-one-out'", "'shapley'"],
        ),
        (
            {"strategy_credit": "shapley", "planner_reward": "judge"},
            ["strategy_credit='shapley'", "planner_reward='judge'", "strategy_credit='none'"],
        ),
        ({"train_roles": "judge"}, ["train_roles='judge'", "'both'", "'planner'", "'solver'"]),
        (
            {"solver_group": "strategy"},
            ["attempts_per_strategy=1", "attempts_per_strategy to 2 or more"],
        ),
        (
            {"attempts_per_strategy": 3},
            ["attempts_per_strategy=3", "'tuple'", "solver_group='strategy'"],
        ),
        (
            {"solve_invalid": False, "planner_reward": "sum"},
            ["solve_invalid=False", "'sum'", "planner_reward='product'"],
        ),
        (
            {"solve_invalid": False, "planner_reward": "outcome"},
            ["solve_invalid=False", "'outcome'", "solve_invalid=True"],
        ),
        (
            {"planner_reward": "judge", "train_roles": "solver"},
            ["planner_reward='judge'", "train_roles='planner'"],
        ),
        (
            {"steps_per_generation": 6, "gradient_accumulation_steps": 4},
            ["steps_per_generation=6", "steps_per_generation=4 or 8"],
        ),
        (
            {"steps_per_generation": 2, "gradient_accumulation_steps": 4},
            ["steps_per_generation=2", "gradient_accumulation_steps=4", "=4 or 8"],
        ),
        (
            {"per_device_train_batch_size": 6, "num_generations": 4},
            ["6 tuples", "num_generations=4", "per_device_train_batch_size=4 or 8"],
        ),
        (
            {
                "per_device_train_batch_size": 3,
                "gradient_accumulation_steps": 2,
                "num_generations": 4,
            },
            ["6 tuples", "num_generations=4", "per_device_train_batch_size=2 or 4"],
        ),
        (
            {"per_device_train_batch_size": 2, "num_generations": 8},
            ["2 tuples", "num_generations=8", "per_device_train_batch_size=8."],
        ),
        (
            {
                "eval_strategy": "steps",
                "eval_steps": 1,
                "num_generations": 4,
                "per_device_eval_batch_size": 6,
            },
            ["per_device_eval_batch_size=6", "4", "per_device_eval_batch_size=4 or 8"],
        ),
        (
            {
                "eval_strategy": "steps",
                "eval_steps": 1,
                "num_generations_eval": 4,
                "per_device_eval_batch_size": 6,
            },
            ["num_generations_eval=4", "per_device_eval_batch_size=4 or 8"],
        ),
        ({"plan_template": "{statement} {problem}"}, ["plan template", "{problem}", "{statement}"]),
        ({"plan_template": "Plan it."}, ["plan template", "{statement}"]),
        ({"solve_template": "{statement}"}, ["solve template", "{strategy}"]),
        ({"vllm_mode": "rpc"}, ["vllm_mode='rpc'", "'colocate'", "'server'"]),
        (
            {"use_vllm": True, "use_transformers_continuous_batching": True},
            ["use_vllm=True and use_transformers_continuous_batching=True", "two backends"],
        ),
        (
            {"use_vllm": True, "vllm_importance_sampling_mode": "token"},
            ["vllm_importance_sampling_mode='token'", "'token_truncate'", "'sequence_mask'"],
        ),
        (
            {"use_vllm": True, "vllm_max_model_length": 2048},
            ["vllm_max_model_length=2048", "max_completion_length=2048", "prompt", "None"],
        ),
        (
            {"use_vllm": True, "vllm_mode": "server", "vllm_enable_sleep_mode": True},
            ["vllm_enable_sleep_mode=True", "vllm_mode='server'", "vllm_enable_sleep_mode=False"],
        ),
        (
            {"use_vllm": True, "loss_type": "vespo"},
            ["loss_type='vespo'", "'sequence_mask'", "'token_truncate' or 'token_mask'"],
        ),
        ({"vllm_structured_outputs_regex": "A: .*"}, ["vllm_structured_outputs_regex", "None"]),
        ({"vllm_gpu_memory_utilization": 1.5}, ["vllm_gpu_memory_utilization=1.5", "at most 1"]),
        ({"vllm_server_timeout": 0}, ["vllm_server_timeout=0", "seconds above 0"]),
        ({"scale_rewards": "batch"}, ["scale_rewards='batch'", "advantage_std"]),
        ({"reward_weights": [1.0, 1.0]}, ["reward_weights", "planner_reward"]),
        ({"mask_truncated_completions": True}, ["mask_truncated_completions=True", "False"]),
        ({"sync_ref_model": True}, ["sync_ref_model=True", "False"]),
        ({"cache_implementation": "static"}, ["cache_implementation='static'", "None"]),
        ({"pad_to_multiple_of": 8}, ["pad_to_multiple_of=8", "None"]),
    ],
)
def test_impossible_settings_are_refused_with_what_would_work(settings, says):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the message is checked below
        config(**settings)
    assert [part for part in says if part not in str(refusal.value)] == []


@pytest.mark.parametrize(
    "settings",
    [
        {"num_strategies": 2},
        {"num_strategies": 26},
        {"use_vllm": True},
        {"use_vllm": True, "vllm_max_model_length": 2049},
        {"use_vllm": True, "vllm_enable_sleep_mode": True},
        {"use_vllm": True, "vllm_mode": "server", "vllm_tensor_parallel_size": 2},
        {"use_vllm": True, "vllm_importance_sampling_mode": "token_mask", "loss_type": "vespo"},
        {"solver_group": "strategy", "attempts_per_strategy": 2},
        {"solver_group": "problem"},
        {"solver_pass_k": 4},
        {"solver_pass_k": 32, "solver_group": "problem"},
        {"solver_pass_k": 2, "solver_group": "strategy", "attempts_per_strategy": 2},
        {"strategy_credit": "leave-one-out", "solve_invalid": False},
        {"strategy_credit": "shapley", "planner_reward": "outcome"},
        {"solve_invalid": False},
        {"level_off_steps": 0},
        {"planner_reward": "judge", "train_roles": "planner"},
        {"steps_per_generation": 8, "gradient_accumulation_steps": 4},
        {"per_device_train_batch_size": 8, "num_generations": 4},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        {"num_generations": 6, "per_device_train_batch_size": 6},  # no evaluation: 8 % 6 is no harm
    ],
)
def test_possible_settings_are_accepted(settings):
    config(**settings)


@pytest.mark.parametrize(
    "settings, roles",
    [
        ({}, ("planner", "solver")),
        ({"train_roles": "solver"}, ("solver",)),
        ({"train_roles": "planner"}, ("planner",)),
        ({"planner_reward": "judge"}, ("planner",)),
    ],
)
def test_learning_roles_are_those_whose_sequences_enter_the_loss(settings, roles):
    assert config(**settings).learning_roles == roles


@pytest.mark.parametrize(
    "settings, tuples, attempts, group, k",
    [
        ({}, 8, 1, "tuple", None),
        ({"solver_pass_k": 3}, 8, 1, "tuple", 3),
        ({"solver_pass_k": 32, "solver_group": "problem"}, 8, 1, "problem", 32),
        # An evaluation has one attempt at a strategy, and tuples of its own.
        ({"solver_pass_k": 32, "solver_group": "problem"}, 2, 1, "problem", 8),
        ({"solver_group": "strategy", "attempts_per_strategy": 6}, 8, 6, "strategy", None),
        ({"solver_group": "strategy", "attempts_per_strategy": 6}, 8, 1, "tuple", None),
        (
            {"solver_group": "strategy", "attempts_per_strategy": 6, "solver_pass_k": 6},
            8,
            1,
            "tuple",
            4,
        ),
    ],
)
def test_scoring_is_what_the_attempts_of_a_batch_allow(settings, tuples, attempts, group, k):
    scoring = config(**settings).scoring(tuples, attempts)
    assert (scoring["solver_group"], scoring["solver_pass_k"]) == (group, k)


def test_command_line_sets_the_fields():
    (args,) = HfArgumentParser(CPPOConfig).parse_args_into_dataclasses(
        "--output_dir out --use_cpu --num_strategies 3 --planner_learning_rate 1e-4 "
        "--solve_invalid false --solver_group problem --level_off_steps 7 --solver_pass_k 9 "
        "--strategy_credit shapley".split()
    )
    assert (args.num_strategies, args.planner_learning_rate, args.level_off_steps) == (3, 1e-4, 7)
    assert (args.solve_invalid, args.solver_group) == (False, "problem")
    assert (args.solver_pass_k, args.strategy_credit) == (9, "shapley")


def test_command_line_refuses_an_unknown_choice(capsys):
    with pytest.raises(SystemExit):
        HfArgumentParser(CPPOConfig).parse_args_into_dataclasses(
            "--output_dir out --use_cpu --planner_reward gate".split()
        )
    assert "'product'" in capsys.readouterr().err


def test_command_line_overrides_yaml(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "output_dir: out\nuse_cpu: true\nnum_strategies: 3\nplanner_temperature: 1.1\n"
        "plan_template: |\n  {statement}\n  Write {k} plans.\n"
    )
    (args,) = TrlParser(CPPOConfig).parse_args_and_config(
        ["--config", str(path), "--num_strategies", "5"]
    )
    assert (args.num_strategies, args.planner_temperature) == (5, 1.1)
    assert args.prompts().plan == "{statement}\nWrite {k} plans.\n"


def test_yaml_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("output_dir: out\nuse_cpu: true\nnum_strategy: 3\n")
    with pytest.raises(ValueError, match="num_strategy"):
        TrlParser(CPPOConfig).parse_args_and_config(["--config", str(path)])


def test_to_dict_round_trips():
    settings = {
        "num_strategies": 3,
        "solver_group": "strategy",
        "attempts_per_strategy": 2,
        "solver_pass_k": 2,
        "strategy_credit": "leave-one-out",
        "planner_learning_rate": 1e-4,
        "plan_template": "{statement} {k}",
    }
    # JSON, as checkpoints and trackers keep it. TRL refuses the two batch fields together, and
    # derives one from the other.
    data = json.loads(config(**settings).to_json_string())
    assert {name: data[name] for name in settings} == settings
    del data["generation_batch_size"]
    assert CPPOConfig(**data).to_dict() == config(**settings).to_dict()


def test_engines_of_several_processes_are_not_split_over_devices(monkeypatch):
    one_process = config(use_vllm=True, vllm_tensor_parallel_size=2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="vllm_tensor_parallel_size=2 with 2 processes"):
        refuse_unusable_vllm(one_process)
