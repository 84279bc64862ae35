"""What a pipeline is told: every setting that cannot be used is refused by name."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import yaml

from checkout import RECIPES
from cppo_trl.pipeline import PipelineConfig, PipelineError, read_config

GAP = RECIPES / "configs" / "coordination_gap_pipeline.yaml"
LEAST = {
    "model": "base",
    "problems": "train.jsonl",
    "output": "runs/a",
    "held_out": ["test.jsonl"],
    "teacher": {"model": "large"},
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(LEAST | {"cppo": {"max_steps": 5}}))
    return path


def test_all_stages_run_unless_told_otherwise():
    config = PipelineConfig(**LEAST)
    stages = ("gold", "sft", "judge", "warmup", "audit", "cppo", "evaluation")
    assert [getattr(config, stage) for stage in stages] == [{}] * len(stages)
    assert (config.seed, config.ignore_no_go, config.allow_rejected_judge) == (0, False, False)


def test_one_held_out_source_needs_no_list():
    assert PipelineConfig(**LEAST | {"held_out": "a.jsonl"}).held_out == ("a.jsonl",)
    limited = {"name": "apps:test", "limit": 3}
    assert PipelineConfig(**LEAST | {"held_out": limited}).held_out == (limited,)


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("model", "", "must be given"),
        ("model", 3, "must be given"),
        ("problems", None, "must be given"),
        ("output", "", "must be given"),
        ("held_out", None, "must be a list"),
        ("held_out", 3, "must be a list"),
        ("held_out", [3], "names of benchmarks or files"),
        ("held_out", [{"limit": 3}], "mappings that have a name"),
        ("policy", None, "must be a mapping"),
        ("policy", "dtype", "must be a mapping"),
        ("gold", 3, "a mapping of settings, a path, or null"),
        ("gold", "", "a mapping of settings, a path, or null"),
        ("sft", True, "a mapping of settings, a path, or null"),
        ("judge", ["a"], "a mapping of settings, a path, or null"),
        ("warmup", "runs/a", "a mapping of settings, or null"),
        ("audit", "runs/a", "a mapping of settings, or null"),
        ("cppo", "runs/a", "a mapping of settings, or null"),
        ("evaluation", 3, "a mapping of settings, or null"),
        ("seed", "1", "a whole number"),
        ("seed", True, "a whole number"),
        ("seed", -1, "a whole number from 0"),
        ("ignore_no_go", "no", "true or false"),
        ("allow_rejected_judge", 1, "true or false"),
        ("accelerate", 4, "a file, or null"),
        ("accelerate", "", "a file, or null"),
        ("teacher", "large", "a mapping with a model"),
    ],
)
def test_value_that_is_not_allowed_is_refused(setting, value, allowed):
    with pytest.raises(PipelineError) as refusal:
        PipelineConfig(**LEAST | {setting: value})
    said = str(refusal.value)
    assert said.startswith(setting)
    assert allowed in said
    assert repr(value[0] if isinstance(value, list) and setting == "held_out" else value) in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"teacher": {"model": ""}}, r"teacher\.model is ''; it must be the name"),
        ({"teacher": {"base_url": "u"}}, r"teacher\.model is None; it must be the name"),
        ({"teacher": {"model": "m", "url": "u"}}, "teacher has 'url'; there are model, base_url"),
        ({"teacher": None}, "gold tuples need a teacher"),
        ({"teacher": None, "gold": "g.jsonl"}, "labels need a teacher"),
        ({"teacher": None, "sft": "runs/sft"}, "labels need a teacher"),
        ({"gold": None}, "gold is null, but sft trains on gold tuples"),
        ({"sft": None}, "sft is null, but the plans that a judge is trained on"),
        ({"held_out": []}, "held_out is empty, but there is an evaluation"),
        ({"judge": {"labels": ["a", "b"]}}, r"judge\.labels is \['a', 'b'\]; it must be a file"),
        ({"judge": {"labels": None}}, r"judge\.labels is None; it must be a file"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, said):
    with pytest.raises(PipelineError, match=said):
        PipelineConfig(**LEAST | settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"teacher": None, "gold": "g.jsonl", "judge": {"labels": "l.jsonl"}},
        {"teacher": None, "gold": None, "sft": "runs/sft", "judge": "runs/judge"},
        {"teacher": None, "sft": None, "judge": None},
        {"teacher": None, "sft": None, "judge": {"labels": "l.jsonl"}},
        {"evaluation": None, "held_out": ()},
    ],
)
def test_what_a_stage_needs_may_come_from_elsewhere(settings):
    PipelineConfig(**LEAST | settings)


@pytest.mark.parametrize(
    ("settings", "owner"),
    [
        ({"teacher": {"model": "m", "api_key": "sk-1234"}}, r"teacher\.api_key"),
        ({"teacher": {"api_key": "sk-1234"}}, r"teacher\.api_key"),
        ({"teacher": {"model": "m", "base_url": "https://me:sk-1234@host/v1"}}, "base_url"),
        ({"teacher": {"model": "m", "base_url": "https://host/v1?key=sk-1234"}}, "base_url"),
        ({"policy": {"hub_token": "sk-1234"}}, r"policy\.hub_token"),
        ({"cppo": {"hub_token": "sk-1234"}}, r"cppo\.hub_token"),
    ],
)
def test_a_secret_is_refused_and_not_repeated(settings, owner):
    with pytest.raises(PipelineError, match=owner) as refusal:
        PipelineConfig(**LEAST | settings)
    assert "sk-1234" not in str(refusal.value)
    assert "environment" in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "name", "value"),
    [
        ("output=runs/b", "output", "runs/b"),
        ("seed=3", "seed", 3),
        ("judge=null", "judge", None),
        ("judge=runs/judge", "judge", "runs/judge"),
        ("ignore_no_go=true", "ignore_no_go", True),
        ("held_out=[a.jsonl, {name: b.jsonl, limit: 2}]", "held_out", None),
        ("cppo.learning_rate=2.0e-5", "cppo", {"max_steps": 5, "learning_rate": 2e-5}),
        ("cppo.max_steps=7", "cppo", {"max_steps": 7}),
        ("cppo={beta: 0.0}", "cppo", {"beta": 0.0}),
        ("evaluation.prompts.plan='{statement} = PLAN'", "evaluation", None),
    ],
)
def test_a_change_is_yaml_and_keeps_what_it_does_not_name(change, name, value, file):
    config = read_config(file, [change])
    before = asdict(read_config(file))
    if name == "held_out":
        value = ("a.jsonl", {"name": "b.jsonl", "limit": 2})
    if name == "evaluation":
        value = {"prompts": {"plan": "{statement} = PLAN"}}
    assert asdict(config) == before | {name: value}


def test_later_changes_win_and_reach_into_earlier_ones(file):
    config = read_config(file, ["cppo.max_steps=6", "cppo={beta: 1.0}", "cppo.max_steps=8"])
    assert config.cppo == {"beta": 1.0, "max_steps": 8}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("seed", "'seed' is no change; it must be name=value"),
        ("=3", "'' is no change"),
        ("cppo.=3", r"'cppo\.' is no change"),
        ("seed=[1", "seed is no YAML"),
        ("model.name=a", "model is 'base'; it has no name to change"),
        ("cppo.max_steps.x=1", "max_steps is 5; it has no x to change"),
        ("sed=1", "unknown field 'sed'; there are model, problems"),
        ("seed=x", "seed is 'x'; it must be a whole number"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(change, said, file):
    with pytest.raises(PipelineError, match=said):
        read_config(file, [change])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "must hold settings with values"),
        ("", "must hold settings with values"),
        ("a: [", "while parsing"),
        ("modell: a\n", "unknown field 'modell'; there are model"),
        ("1: a\n", "unknown field '1'"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused_by_its_name(text, said, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    with pytest.raises(PipelineError, match=said) as refusal:
        read_config(path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path):
    with pytest.raises(PipelineError, match=r"none\.yaml"):
        read_config(tmp_path / "none.yaml")


def test_the_pipeline_of_the_coordination_gap_loads():
    config = read_config(GAP)
    assert all(isinstance(getattr(config, stage), dict) for stage in ("gold", "sft", "judge"))
    assert config.warmup["max_steps"] != config.cppo["max_steps"]


def test_a_change_of_one_stage_leaves_the_stage_that_shares_its_settings_alone():
    config = read_config(GAP, ["warmup.num_generations=2"])
    assert config.warmup["num_generations"] == 2
    assert config.cppo["num_generations"] == read_config(GAP).cppo["num_generations"] != 2
