"""A learned judge's score is the model's own, however it is batched, padded, cut and routed."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from cppo_trl.judges import Judgement, StrategyTuple
from cppo_trl.judges.learned import FAIL, PASS, LearnedJudge, ValidityQuestion
from cppo_trl.problems import Problem, TestCase
from cppo_trl.roles import load_adapters
from tiny_adapters import lora_config, randomise_adapters, save_adapters

TEMPLATE = "Problem: {statement}\n{k} strategies:\n{plan}\nIs it valid? Answer:"
TUPLES = [
    StrategyTuple(
        Problem(f"p{n}", "Add the numbers. " * (1 + n), (TestCase("1", "1"),)),
        ("sort them " * (5 - n), "scan once", "count")[: 2 + n % 2],
    )
    for n in range(5)
]


@pytest.fixture(scope="module", params=["qwen3_dir", "qwen3_5_dir"])
def model_dir(request):
    return request.getfixturevalue(request.param)


def make(model_dir, model=None, **settings):
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = model or AutoModelForCausalLM.from_pretrained(model_dir).eval()
    limits = {"max_length": settings.pop("max_length", 1024)}
    question = ValidityQuestion(tokenizer, TEMPLATE, **limits)
    return LearnedJudge(model, question, tokenizer.pad_token_id, **settings)


def alone(model, model_dir, text):
    """The softmax over Pass and Fail after a text, by a forward without padding.

    The tiny tokenizer has no token for either word: they differ from the second on.
    """
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    words = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in (PASS, FAIL)]
    assert words[0][0] == words[1][0]
    ids = torch.tensor([[*tokenizer(text)["input_ids"], words[0][0]]])
    with torch.no_grad():
        logits = model(ids).logits[0, -1]
    return torch.softmax(logits[[words[0][1], words[1][1]]], 0)[0].item()


def as_text(item):
    plan = "\n".join(f"{'ABC'[n]}: {text.strip()}" for n, text in enumerate(item.strategies))
    k = len(item.strategies)
    return TEMPLATE.format(statement=item.problem.statement, plan=plan, k=k)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_scores_are_those_of_each_question_alone(model_dir, batch_size):
    judge = make(model_dir, batch_size=batch_size)
    expected = [alone(judge.model, model_dir, as_text(item)) for item in TUPLES]
    assert judge.scores(TUPLES) == pytest.approx(expected, abs=1e-5)
    assert len({round(score, 4) for score in expected}) > 1


def test_a_tuple_passes_from_the_threshold_on(qwen3_dir):
    scores = make(qwen3_dir).scores(TUPLES)
    middle = sorted(scores)[2]
    found = make(qwen3_dir, threshold=middle).judge_many(TUPLES)
    assert [item.valid for item in found] == [score >= middle for score in scores]
    assert all("is below" in item.reason for item in found if not item.valid)
    assert Judgement(True) in found


def test_the_model_trains_on_where_it_did(qwen3_dir):
    judge = make(qwen3_dir)
    judge.model.train()
    judge.scores(TUPLES)
    assert judge.model.training


@pytest.mark.parametrize("max_length", [12, 20, 40, 60, 1024])
def test_a_long_question_loses_plan_tokens_first_and_its_marker_never(qwen3_dir, max_length):
    tokenizer = AutoTokenizer.from_pretrained(qwen3_dir)
    question = ValidityQuestion(tokenizer, TEMPLATE, max_length=1024)
    item = TUPLES[2]
    whole = question.encode(item)
    head, marker = TEMPLATE.split("{plan}")
    k = len(item.strategies)
    head_ids = tokenizer(head.format(statement=item.problem.statement, k=k))["input_ids"]
    marker_ids = tokenizer(marker + " ", add_special_tokens=False)["input_ids"]
    plan_ids = whole[len(head_ids) : len(whole) - len(marker_ids)]
    cut = ValidityQuestion(tokenizer, TEMPLATE, max_length=max(max_length, len(marker_ids)))
    found = cut.encode(item)
    assert len(found) == min(cut.max_length, len(whole))
    assert found[len(found) - len(marker_ids) :] == marker_ids
    before = found[: len(found) - len(marker_ids)]
    assert before == [*head_ids, *plan_ids][: len(before)]


def test_an_adapter_beside_the_roles_scores_as_a_model_that_it_is_merged_into(qwen3_dir, tmp_path):
    save_adapters(qwen3_dir, tmp_path)
    own = get_peft_model(
        AutoModelForCausalLM.from_pretrained(qwen3_dir), lora_config(), adapter_name="judge"
    )
    randomise_adapters(own, seed=9)
    own.save_pretrained(tmp_path)
    sources = {name: (name, str(tmp_path)) for name in ("planner", "solver", "judge")}
    shared = load_adapters(AutoModelForCausalLM.from_pretrained(qwen3_dir), sources)
    separate = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(qwen3_dir), tmp_path, subfolder="judge"
    )
    plain = separate.merge_and_unload().eval()
    expected = [alone(plain, qwen3_dir, as_text(item)) for item in TUPLES]
    assert make(qwen3_dir, shared, adapter="judge").scores(TUPLES) == pytest.approx(
        expected, abs=1e-5
    )
    base = make(qwen3_dir).scores(TUPLES)
    assert make(qwen3_dir, shared, adapter="__base__").scores(TUPLES) == pytest.approx(
        base, abs=1e-5
    )
    assert expected != pytest.approx(base, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"template": "{plan} Answer:"}, "validity template lacks the required field"),
        ({"template": "{statement}{plan}{plan}"}, "must have the field {plan} once"),
        ({"template": "{statement}{plan}{z}"}, "unknown field {z}"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(qwen3_dir, settings, said):
    tokenizer = AutoTokenizer.from_pretrained(qwen3_dir)
    with pytest.raises(ValueError, match=said):
        ValidityQuestion(tokenizer, **settings)


def test_a_marker_longer_than_the_question_may_be_is_refused(qwen3_dir):
    question = ValidityQuestion(AutoTokenizer.from_pretrained(qwen3_dir), TEMPLATE, max_length=3)
    with pytest.raises(ValueError, match="max_length is 3; the marker has"):
        question.encode(TUPLES[0])


@pytest.mark.parametrize(
    ("settings", "said"), [({"threshold": 1.5}, "threshold is 1.5"), ({"batch_size": 0}, "is 0")]
)
def test_bad_settings_are_refused(qwen3_dir, settings, said):
    with pytest.raises(ValueError, match=said):
        make(qwen3_dir, **settings)
