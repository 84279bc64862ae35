"""The tiny checkpoints behave as real ones: the rest of the suite stands on that."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from tiny_models import make_tokenizer

TOKENIZER = make_tokenizer()
PROMPTS = [
    "A:",
    "Write one line for each label, then stop.",
    "keep a table of sums and scan it once",
]


@pytest.fixture(params=["qwen3", "qwen3_5"])
def model_dir(request):
    return request.getfixturevalue(f"{request.param}_dir")


def greedy(model, tokenizer, texts):
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    tokens = model.generate(**batch, max_new_tokens=12, do_sample=False)
    return tokens[:, batch["input_ids"].shape[1] :]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_tokenizer_keeps_any_text(text):
    assert TOKENIZER.decode(TOKENIZER(text)["input_ids"]) == text


def test_saved_tokenizer_loads_unchanged(model_dir):
    loaded = AutoTokenizer.from_pretrained(model_dir)
    messages = [{"role": "user", "content": "Sort  the numbers\n1 2"}]
    expected = TOKENIZER.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    assert loaded.apply_chat_template(messages, add_generation_prompt=True)["input_ids"] == expected
    assert (loaded.eos_token, loaded.pad_token) == (TOKENIZER.eos_token, TOKENIZER.pad_token)
    assert loaded.padding_side == "left"
    assert loaded.decode(expected) == TOKENIZER.decode(expected)


def test_left_padded_batch_generates_the_tokens_of_single_prompts(model_dir):
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
    batched = greedy(model, tokenizer, PROMPTS)
    for row, prompt in zip(batched, PROMPTS, strict=True):
        single = greedy(model, tokenizer, [prompt])[0]
        torch.testing.assert_close(row[: len(single)], single)
        assert (row[len(single) :] == tokenizer.pad_token_id).all()


def test_greedy_tokens_depend_on_the_prompt(model_dir):
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir).eval()
    assert len({tuple(row) for row in greedy(model, tokenizer, PROMPTS).tolist()}) == len(PROMPTS)


def test_qwen3_5_is_hybrid(qwen3_5_dir):
    model = AutoModelForCausalLM.from_pretrained(qwen3_5_dir)
    assert type(model).__name__ == "Qwen3_5ForCausalLM"
    assert set(model.config.layer_types) == {"linear_attention", "full_attention"}


def test_four_bit_base_stays_near_the_full_one_on_cpu(model_dir):
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    quantized = AutoModelForCausalLM.from_pretrained(
        model_dir, quantization_config=quantization, dtype=torch.float32
    )
    full = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    assert any(type(module).__name__ == "Linear4bit" for module in quantized.modules())
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    with torch.no_grad():
        logits, expected = quantized(**batch).logits, full(**batch).logits
    mask = batch["attention_mask"].bool()
    cosine = torch.nn.functional.cosine_similarity(logits[mask], expected[mask], dim=-1)
    assert cosine.mean() > 0.8
    assert not torch.equal(logits, expected)
