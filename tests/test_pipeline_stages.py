"""A pipeline's stages: what each builds on, and that every command and every file is accepted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from checkout import RECIPES, load_recipe, parse
from cppo_trl.benchmarks.coordination_gap.ablation import ARMS, arm_config
from cppo_trl.commands.options import command_parser
from cppo_trl.evaluation.config import EvaluationConfig
from cppo_trl.pipeline import PipelineConfig, PipelineError, read_config, stages_of

GAP = RECIPES / "configs" / "coordination_gap_pipeline.yaml"
ALL = ["gold", "sft", "judge", "warmup", "audit", "cppo", "evaluation"]
RUN = Path("runs/a b")  # a path may hold spaces
LEAST = {
    "model": "base",
    "problems": "train.jsonl",
    "output": str(RUN),
    "held_out": ["test.jsonl"],
    "teacher": {"model": "large", "base_url": "http://localhost/v1", "concurrency": 2},
}


def planned(**settings):
    return {stage.name: stage for stage in stages_of(PipelineConfig(**LEAST | settings), RECIPES)}


def written(stage):
    """The settings that a stage writes, if it writes one file."""
    (content,) = stage.files.values()
    return content


def option(stage, name, step=-1):
    command = stage.steps[step].command
    return command[command.index(name) + 1]


def test_stages_come_in_the_order_of_the_method():
    assert list(planned()) == ALL


def test_planner_sft_trains_on_the_gold_tuples_of_the_run():
    stages = planned()
    assert option(stages["gold"], "--output") == written(stages["sft"])["gold"]
    assert "gold" in stages["sft"].inputs


def test_each_stage_builds_on_the_policy_that_came_before():
    stages = planned()
    policies = {
        "judge": next(iter(stages["judge"].files.values()))["adapters"],
        "warmup": [written(stages["warmup"])["planner_adapter"]],
        "audit": [option(stages["audit"], "--policy")],
        "cppo": [written(stages["cppo"])["solver_adapter"]],
        "evaluation": written(stages["evaluation"])["adapters"],
    }
    before = {"judge": "sft", "warmup": "sft", "audit": "warmup", "cppo": "warmup"}
    before["evaluation"] = "cppo"
    assert policies == {name: [str(RUN / before[name])] for name in policies}
    for name, other in before.items():
        assert other in stages[name].inputs


def test_the_judge_of_the_run_is_asked_from_then_on():
    stages = planned()
    judge = str(RUN / "judge")
    assert written(stages["warmup"])["judge"] == written(stages["cppo"])["judge"] == judge
    assert option(stages["audit"], "--judge") == judge
    for name in ("warmup", "audit", "cppo"):
        assert "judge" in stages[name].inputs, name


def test_warm_up_is_paid_by_the_judge_alone_and_the_joint_stage_by_the_product():
    stages = planned()
    assert written(stages["warmup"])["planner_reward"] == "judge"
    assert "planner_reward" not in written(stages["cppo"])


def test_joint_stage_is_not_audited_twice_and_is_audited_without_the_stage():
    assert written(planned()["cppo"])["audit_problems"] == 0
    assert "audit_problems" not in written(planned(audit=None)["cppo"])


@pytest.mark.parametrize(
    ("left_out", "policy"),
    [
        ({"warmup": None}, RUN / "sft"),
        ({"sft": "runs/other"}, RUN / "warmup"),
        ({"sft": "runs/other", "warmup": None}, "runs/other"),
    ],
)
def test_a_stage_left_out_is_not_run_and_the_one_before_is_built_on(left_out, policy):
    stages = planned(**left_out)
    without = set(left_out) | ({"gold"} if "sft" in left_out else set())
    assert list(stages) == [name for name in ALL if name not in without]
    assert option(stages["audit"], "--policy") == str(policy)
    assert written(stages["cppo"])["planner_adapter"] == str(policy)


def test_a_judge_given_as_a_path_is_used_and_not_trained():
    stages = planned(judge="runs/judge")
    assert "judge" not in stages
    assert written(stages["warmup"])["judge"] == option(stages["audit"], "--judge") == "runs/judge"
    assert Path("runs/judge") in stages["cppo"].inputs


def test_without_a_judge_the_rules_are_alone():
    stages = planned(judge=None)
    assert "judge" not in stages
    assert "judge" not in written(stages["warmup"])
    assert "--judge" not in stages["audit"].steps[0].command


def test_gold_given_as_a_file_is_trained_on():
    stages = planned(gold="my gold.jsonl")
    assert "gold" not in stages
    assert written(stages["sft"])["gold"] == "my gold.jsonl"
    assert Path("my gold.jsonl") in stages["sft"].inputs


def test_labels_given_as_a_file_are_trained_on_without_asking_anyone():
    (step,) = planned(judge={"labels": "labels.jsonl", "plans": "p.jsonl"})["judge"].steps
    assert step.command[step.command.index("--labels") + 1] == "labels.jsonl"
    assert step.command[step.command.index("--plans") + 1] == "p.jsonl"


def test_without_any_policy_only_direct_sampling_is_evaluated():
    nothing = dict.fromkeys(("gold", "sft", "judge", "warmup", "audit", "cppo"))
    (stage,) = planned(**nothing).values()
    assert written(stage)["methods"] == ["direct"]
    assert "adapters" not in written(stage)


def test_an_audit_without_a_policy_is_refused():
    with pytest.raises(PipelineError, match="audit needs a policy"):
        planned(gold=None, sft=None, judge=None, warmup=None)


def test_seed_goes_to_every_stage_that_draws_and_a_stage_may_have_its_own():
    stages = planned(seed=7, warmup={"seed": 8})
    assert [written(stages[name])["seed"] for name in ("sft", "warmup", "cppo")] == [7, 8, 7]
    assert [option(stages[name], "--seed") for name in ("judge", "audit")] == ["7", "7"]


def test_policy_settings_go_to_trainings_and_what_fits_to_the_others():
    stages = planned(policy={"dtype": "float32", "lora_r": 4, "num_strategies": 3})
    for name in ("sft", "warmup", "cppo"):
        assert (written(stages[name])["lora_r"], written(stages[name])["dtype"]) == (4, "float32")
    assert option(stages["gold"], "--num-strategies") == "3"
    assert option(stages["judge"], "--lora-r") == "4"
    assert written(stages["evaluation"])["dtype"] == "float32"


def test_audit_draws_as_many_tuples_as_the_joint_stage():
    assert option(planned(cppo={"num_generations": 5})["audit"], "--num-generations") == "5"
    own = planned(cppo={"num_generations": 5}, audit={"num_generations": 6})
    assert option(own["audit"], "--num-generations") == "6"


def test_what_chooses_held_out_problems_does_not_choose_the_plans_of_the_judge():
    chosen = {"limit": 3, "loading": {"difficulty": "easy"}, "batch_size": 5}
    stages = planned(evaluation=chosen, judge={"problems": 9, "draws": 2})
    plans = next(iter(stages["judge"].files.values()))
    assert plans["benchmarks"] == [{"name": str(RUN / "problems.jsonl"), "limit": 9}]
    assert (plans["draws"], plans["batch_size"]) == (2, 5)
    assert not {"limit", "loading"} & set(plans)
    assert chosen.items() <= written(stages["evaluation"]).items()


@pytest.mark.parametrize(
    ("stage", "setting"),
    [
        *(("gold", name) for name in ("problems", "output", "cache", "model", "base_url")),
        *(("sft", name) for name in ("gold", "problems", "output_dir", "model_name_or_path")),
        *(("judge", name) for name in ("model", "output", "plans")),
        *((stage, "output_dir") for stage in ("warmup", "cppo")),
        *((stage, "planner_adapter") for stage in ("warmup", "cppo")),
        *((stage, "judge") for stage in ("warmup", "cppo", "audit")),
        *(("audit", name) for name in ("policy", "problems", "output", "base_model")),
        *(("evaluation", name) for name in ("model", "output", "benchmarks", "adapters")),
        ("policy", "output_dir"),
    ],
)
def test_what_the_pipeline_decides_may_not_be_set(stage, setting):
    with pytest.raises(PipelineError, match=rf"{stage}\.{setting} is 'x'; the pipeline decides"):
        planned(**{stage: {setting: "x"}})


def test_rejection_and_no_go_stop_unless_they_are_allowed():
    stages = planned()
    assert "allow_rejected_judge=true" in stages["judge"].steps[-1].refused
    assert "ignore_no_go=true" in stages["audit"].steps[-1].refused
    allowed = planned(allow_rejected_judge=True, ignore_no_go=True)
    assert (allowed["judge"].steps[-1].refused, allowed["audit"].steps[-1].refused) == ("", "")
    assert "--allow-rejected-judge" in allowed["audit"].steps[0].command
    assert written(allowed["warmup"])["allow_rejected_judge"] is True


def test_only_trainings_go_on_from_a_checkpoint():
    trains = {stage.name: [step.trains for step in stage.steps] for stage in planned().values()}
    assert {name for name, found in trains.items() if any(found)} == {"sft", "warmup", "cppo"}


def test_files_that_are_evaluated_on_are_inputs():
    held_out = ["a.jsonl", {"name": "b.jsonl", "limit": 2}, "apps:test=apps", "livecodebench:v6"]
    held_out.append({"name": "mbpp", "path": "rows"})
    inputs = planned(held_out=held_out)["evaluation"].inputs
    assert {Path(name) for name in ("a.jsonl", "b.jsonl", "apps", "rows")} <= set(inputs)
    assert Path("livecodebench:v6") not in inputs


def test_what_trainings_are_launched_on_is_an_input():
    stages = planned(accelerate="cpu.yaml")
    for name in ("sft", "warmup", "cppo"):
        command = stages[name].steps[0].command
        assert command[command.index("--config_file") + 1] == "cpu.yaml"
        assert Path("cpu.yaml") in stages[name].inputs


GAP_CONFIG = read_config(GAP)
CONFIGS = {
    "the defaults": PipelineConfig(**LEAST | {"policy": {"use_cpu": True, "bf16": False}}),
    "the coordination gap": GAP_CONFIG,
    "all that is allowed": replace(
        GAP_CONFIG,
        ignore_no_go=True,
        allow_rejected_judge=True,
        teacher=LEAST["teacher"] | {"max_calls": 9},
        gold={"per_problem": 2, "tries": 2, "temperature": 0.5, "max_words": 20},
        judge={"held_out": 0.5, "recall": 0.8, "template": "{statement} - {plan}"},
        audit={"limit": 3, "batch_size": 2, "time_limit": 2.0, "num_generations": 2},
    ),
    "what was made elsewhere": replace(
        GAP_CONFIG, teacher=None, gold=None, sft="runs/sft", judge={"labels": "l.jsonl"}
    ),
    "rules alone": replace(GAP_CONFIG, judge=None, audit=None, warmup=None),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_command_of_cppo_trl_is_one_that_it_takes(name):
    checked = 0
    for stage in stages_of(CONFIGS[name], RECIPES):
        for step in stage.steps:
            if "cppo_trl.cli" in step.command:
                args = command_parser().parse_args(step.command[3:])
                checked += 1
                if args.command == "eval":
                    EvaluationConfig(**stage.files[args.config])
    assert checked


ARM_CONFIGS = {
    f"arm {arm.name}": arm_config(GAP_CONFIG, arm, Path("runs/arms") / arm.name) for arm in ARMS
}


def test_every_arm_of_the_ablation_starts_from_the_same_policy_and_differs_in_its_pay():
    paid = []
    for config in ARM_CONFIGS.values():
        (stage,) = stages_of(config, RECIPES)
        settings = written(stage)
        assert settings["planner_adapter"] == str(Path(GAP_CONFIG.output) / "sft")
        assert settings["audit_problems"] == 0
        paid.append((settings.get("planner_reward", "product"), "judge" in settings))
    assert len(set(paid)) == len(ARMS)


@pytest.mark.parametrize("name", CONFIGS | ARM_CONFIGS)
def test_every_configuration_of_a_training_is_one_that_its_recipe_takes(name, tmp_path):
    config = replace((CONFIGS | ARM_CONFIGS)[name], output=str(tmp_path / "a run"))
    trained = [one for one in stages_of(config, RECIPES) if one.steps[0].trains]
    assert trained
    for stage in trained:
        command = stage.steps[0].command
        script = next(Path(part) for part in command if part.endswith(".py"))
        path = Path(command[command.index("--config") + 1])
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(written(stage)))
        recipe = load_recipe(script.stem)
        task, args, model = parse(recipe, ["--config", str(path)])
        assert (task.problems, args.output_dir) == (
            str(tmp_path / "a run" / "problems.jsonl"),
            str(tmp_path / "a run" / stage.name),
        )
        assert model.use_peft
        for setting, value in written(stage).items():
            if isinstance(value, (int, float)):
                owner = next(one for one in (task, args, model) if hasattr(one, setting))
                assert getattr(owner, setting) == value, setting


def test_rates_are_read_as_people_write_them(tmp_path):
    config = read_config(GAP, ["cppo.learning_rate=1e-5"])  # in YAML that is text
    stages = {stage.name: stage for stage in stages_of(config, RECIPES)}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(written(stages["cppo"])))
    _, args, _ = parse(load_recipe("cppo_qwen"), ["--config", str(path)])
    assert args.learning_rate == 1e-5
