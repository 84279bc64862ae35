"""The tiny base of the coordination gap: its tokenizer, its lessons, its cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from cppo_trl.benchmarks.coordination_gap import (
    LAYOUTS,
    RULES,
    base,
    belongs,
    make_problems,
    rule_of,
)
from cppo_trl.benchmarks.coordination_gap.base import (
    PLAN_TEMPLATE,
    SOLVE_TEMPLATE,
    BaseSettings,
    _batch,
    _example,
    fenced,
    make_tokenizer,
    train_base,
)
from cppo_trl.benchmarks.coordination_gap.world import split_wordings
from cppo_trl.plans import parse_plan
from cppo_trl.prompts import Prompts
from cppo_trl.verifier import extract_code

TOKENIZER = make_tokenizer()
TINY = BaseSettings(steps=2, batch_size=2, hidden_size=64, num_layers=1)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_tokenizer_keeps_any_text(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


def test_programs_survive_the_tokenizer_and_are_found_in_their_fence():
    for rule in RULES.values():
        for layout in LAYOUTS:
            tokens = TOKENIZER(fenced(rule.program(layout)))["input_ids"]
            assert extract_code(TOKENIZER.decode(tokens)).strip() == rule.program(layout)
            assert len(tokens) <= 16


def test_templates_are_those_of_prompts():
    problem = make_problems(1)[0]
    prompts = Prompts(plan=PLAN_TEMPLATE, solve=SOLVE_TEMPLATE)
    messages = prompts.plan_messages(problem, 4)
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == PLAN_TEMPLATE.format(statement=problem.statement)
    messages = prompts.solve_messages(problem, "add the numbers")
    text = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == SOLVE_TEMPLATE.format(statement=problem.statement, strategy="add the numbers")


@pytest.mark.parametrize("task", ["direct", "solve", "plan"])
def test_prompt_and_completion_tokens_meet_where_the_text_does(task):
    """Encoding the halves apart, as generation does, gives the tokens of the whole."""
    draw = random.Random(0)
    for wording in split_wordings("train")[:100]:
        prompt, completion = _example(task, wording, BaseSettings(), draw)
        first, second = (TOKENIZER(text)["input_ids"] for text in (prompt, completion))
        assert first + second == TOKENIZER(prompt + completion)["input_ids"]


def test_labels_cover_the_completion_and_its_end_only():
    examples = [("one two\n", "A: sum"), ("one\n", "B:")]
    tokens, labels = _batch(examples, TOKENIZER)
    for row, (prompt, completion) in enumerate(examples):
        counted = labels[row] != -100
        assert torch.equal(tokens[row][counted], labels[row][counted])
        assert TOKENIZER.decode(labels[row][counted]) == completion + TOKENIZER.eos_token
        assert counted.nonzero()[0].item() == len(TOKENIZER(prompt)["input_ids"])


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_distinct_fraction_is_the_share_of_plans_without_repetition(fraction):
    settings, draw = BaseSettings(distinct_fraction=fraction), random.Random(0)
    wordings = split_wordings("train")
    plans = [
        parse_plan(_example("plan", draw.choice(wordings), settings, draw)[1], 4)
        for _ in range(1000)
    ]
    share = sum(len(set(plan)) == 4 for plan in plans) / len(plans)
    # Independent draws repeat nothing by chance in 4!/4^4 = 0.094 of the plans.
    assert share == pytest.approx(1.0 if fraction else 24 / 256, abs=0.03)


def test_lessons_are_admissible_and_programs_follow_the_strategy():
    draw = random.Random(0)
    problems = make_problems(768, 0, "train")
    by_statement = {problem.statement: problem for problem in problems}
    for wording in split_wordings("train")[::7]:
        problem = by_statement[wording.statement]
        plan = parse_plan(_example("plan", wording, BaseSettings(), draw)[1], 4)
        assert belongs(problem, plan) is None
        prompt, completion = _example("solve", wording, BaseSettings(), draw)
        strategy = prompt.split("IDEA ")[1].split("\n")[0]
        assert completion == fenced(rule_of(strategy).program(wording.layout))


def test_checkpoint_is_small_ordinary_and_tied(tmp_path):
    folder = train_base(tmp_path / "base", dataclasses.replace(BaseSettings(), steps=1))
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_500_000
    assert model.lm_head.weight is model.model.embed_tokens.weight
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = fenced(RULES["half_up"].program("lines"))
    assert tokenizer(text)["input_ids"] == TOKENIZER(text)["input_ids"]
    assert (tokenizer.padding_side, tokenizer.eos_token) == (
        "left",
        TOKENIZER.eos_token,
    )
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_second_call_finds_the_checkpoint_and_other_settings_replace_it(tmp_path):
    folder = train_base(tmp_path, TINY, progress=False)
    weights = folder / "model.safetensors"
    before = weights.read_bytes(), weights.stat().st_mtime_ns
    train_base(tmp_path, TINY, progress=False)
    assert (weights.read_bytes(), weights.stat().st_mtime_ns) == before
    train_base(tmp_path, dataclasses.replace(TINY, seed=1), progress=False)
    assert weights.read_bytes() != before[0]


def test_unfinished_checkpoint_is_trained_anew(tmp_path):
    folder = train_base(tmp_path, TINY, progress=False)
    (folder / "coordination_gap.json").unlink()
    (folder / "model.safetensors").write_bytes(b"cut off")
    train_base(tmp_path, TINY, progress=False)
    AutoModelForCausalLM.from_pretrained(folder)


def test_a_folder_that_holds_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    train_base(tmp_path, TINY, progress=False)
    train_base(tmp_path, dataclasses.replace(TINY, seed=1), progress=False)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_training_depends_on_its_seed_only(tmp_path):
    before = torch.random.get_rng_state()
    one = train_base(tmp_path / "one", TINY, progress=False)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(123)
    other = train_base(tmp_path / "other", TINY, progress=False)
    weights = [AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (one, other)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("distinct_fraction", 1.5),
        ("num_strategies", 1),
        ("num_strategies", 5),
        ("steps", 0),
        ("learning_rate", 0.0),
    ],
)
def test_impossible_settings_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        dataclasses.replace(BaseSettings(), **{field: value})


def test_a_base_without_latent_numbers_is_found_by_what_it_was_before_there_were_any():
    settings = BaseSettings()
    taught = dataclasses.asdict(settings)
    del taught["latents"]
    parts = [taught, base._RECIPE_VERSION, base._TOKEN_PATTERN, base._vocabulary(), base.READINGS]
    assert settings.digest() == hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    assert BaseSettings(latents=4).digest() != settings.digest()
