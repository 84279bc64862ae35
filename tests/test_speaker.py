"""A base with any number of trained adapters answers as each of them, and as itself."""

from __future__ import annotations

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from cppo_trl.generation import Sampling
from cppo_trl.policy import load_speaker
from cppo_trl.roles import PLANNER, SOLVER
from cppo_trl.routing import BASE
from tiny_adapters import save_adapters

GREEDY = Sampling(12, temperature=0)
QUESTIONS = ["Read the input.", "Sort the numbers and scan them once, then stop."]


def ask(speaker, adapter):
    conversations = [[{"role": "user", "content": text}] for text in QUESTIONS]
    turns = speaker.answer(conversations, adapter, GREEDY)
    return [turn.completion.token_ids for turn in turns]


def alone(model, model_dir):
    """Greedy tokens of a model without our generator."""
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    found = []
    for text in QUESTIONS:
        messages = [{"role": "user", "content": text}]
        ids = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]
        output = model.generate(
            ids, max_new_tokens=12, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
        found.append(output[0, ids.shape[1] :].tolist())
    return found


@pytest.mark.parametrize("fixture", ["qwen3_dir", "qwen3_5_dir"])
def test_a_plain_base_answers_as_itself(fixture, request):
    model_dir = request.getfixturevalue(fixture)
    model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
    assert ask(load_speaker(model_dir), BASE) == alone(model, model_dir)


def test_a_plain_base_is_no_adapter(qwen3_dir):
    with pytest.raises(ValueError, match="adapter is 'solver'; this model has none"):
        ask(load_speaker(qwen3_dir), SOLVER)


def test_adapters_of_several_policies_answer_beside_each_other(qwen3_dir, tmp_path):
    save_adapters(qwen3_dir, tmp_path / "one")
    sources = {
        "planner": (PLANNER, str(tmp_path / "one")),
        "solver": (SOLVER, str(tmp_path / "one")),
        "planner-1": (PLANNER, str(tmp_path / "one" / "solver")),  # stands for another policy's
    }
    speaker = load_speaker(qwen3_dir, sources)
    answers = {}
    for name, (role, source) in sources.items():
        base = AutoModelForCausalLM.from_pretrained(qwen3_dir)
        folder = source if name == "planner-1" else f"{source}/{role}"
        answers[name] = alone(PeftModel.from_pretrained(base, folder).eval(), qwen3_dir)
        assert ask(speaker, name) == answers[name]
    base = alone(AutoModelForCausalLM.from_pretrained(qwen3_dir).eval(), qwen3_dir)
    assert ask(speaker, BASE) == base
    assert answers["planner"] != base != answers["solver"]


def test_nothing_of_a_loaded_policy_is_trainable(qwen3_dir, tmp_path):
    save_adapters(qwen3_dir, tmp_path)
    sources = {role: (role, str(tmp_path)) for role in (PLANNER, SOLVER)}
    with load_speaker(qwen3_dir, sources).generator.unwrap() as model:
        adapters = [p for name, p in model.named_parameters() if "lora_" in name]
        assert adapters
        assert not any(parameter.requires_grad for parameter in adapters)
        assert not model.training


def test_an_adapter_that_is_not_there_is_named(qwen3_dir, tmp_path):
    with pytest.raises(ValueError, match="holds no adapter for the planner"):
        load_speaker(qwen3_dir, {"planner": (PLANNER, str(tmp_path))})


def test_a_tokenizer_without_a_pad_token_gets_one(qwen3_dir, tmp_path):
    model = AutoModelForCausalLM.from_pretrained(qwen3_dir)
    tokenizer = AutoTokenizer.from_pretrained(qwen3_dir)
    tokenizer.pad_token = None
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert ask(load_speaker(tmp_path), BASE) == ask(load_speaker(qwen3_dir), BASE)
