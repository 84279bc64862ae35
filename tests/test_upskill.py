"""UpSkill: which latent number each attempt is asked with, and what showing it is worth."""

from __future__ import annotations

import math

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from cppo_trl import CodeVerifier, UpSkillConfig, UpSkillTrainer
from cppo_trl.baselines.attempts import attempt_rows
from cppo_trl.baselines.mutual_information import pointwise_mutual_information
from cppo_trl.generation import Completion, Sampling, Speaker
from cppo_trl.methods import Latent, Voice
from small_baselines import PROBLEMS, baseline_trainer, kept_batches
from small_trainer import adapter_weights, moved
from tiny_adapters import lora_config, randomise_adapters

TEMPLATE = "{statement} Route {z} of {k}."
K = 2


@pytest.fixture(scope="module")
def verifier():
    with CodeVerifier(workers=1) as verifier:
        yield verifier


def upskill_trainer(model, output_dir, reward, *args, **settings):
    settings = {"num_latents": K, "latent_template": TEMPLATE} | settings
    return baseline_trainer(
        UpSkillTrainer, UpSkillConfig, model, output_dir, reward, *args, **settings
    )


def trained_looking(model_dir, seed=0):
    """A model whose adapter is no identity; a trainer goes on from it."""
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(model_dir), lora_config())
    randomise_adapters(model, seed)
    return model


class Kept:
    """A reward function that keeps what it is called with."""

    __name__ = "kept"

    def __init__(self, reward):
        self.reward = reward
        self.calls = []

    async def __call__(self, **kwargs):
        self.calls.append(kwargs)
        return await self.reward(**kwargs)


def test_the_attempts_of_a_group_go_through_the_latent_numbers(qwen3_dir, tmp_path, verifier):
    reward = Kept(verifier)
    trainer = upskill_trainer(qwen3_dir, tmp_path, reward)
    trainer.train()
    (call,) = reward.calls
    assert call["latent"] == [1, 2, 1, 2] * 2
    for prompt, z, problem in zip(call["prompts"], call["latent"], call["problem"], strict=True):
        assert prompt == [
            {"role": "user", "content": TEMPLATE.format(statement=problem.statement, z=z, k=K)}
        ]
    assert list(trainer._logs["extra"]["latent"]) == call["latent"]


class Listener:
    """A generation backend that keeps the prompts it gets."""

    def __init__(self):
        self.prompts = []

    def generate(self, prompts, adapter, sampling):
        self.prompts += prompts
        return [Completion([0], truncated=False) for _ in prompts]


def test_training_asks_with_the_tokens_that_an_evaluation_asks_with(qwen3_dir, tmp_path, verifier):
    trainer = upskill_trainer(qwen3_dir, tmp_path, verifier, num_generations=K)
    batches = kept_batches(trainer)
    trainer.train()
    rows = zip(batches[0]["prompt_ids"], batches[0]["prompt_mask"], strict=True)
    trained = [ids[mask.bool()].tolist() for ids, mask in rows]
    listener = Listener()
    voice = Voice(Speaker(listener, trainer.processing_class), "", Sampling(1))
    Latent(voice, K, TEMPLATE).attempt(PROBLEMS)
    assert trained == listener.prompts


def logps_alone(model, tokenizer, prompt, completion_ids, temperature):
    """log pi of one completion, by a plain forward of its row alone."""
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    prompt_ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([prompt_ids + completion_ids])
    with torch.no_grad():
        logits = model(ids).logits[0, len(prompt_ids) - 1 : -1].double() / temperature
    targets = torch.tensor(completion_ids)
    return logits.log_softmax(-1).gather(1, targets[:, None]).sum()


def test_the_information_is_what_single_rows_say(qwen3_dir, tmp_path, verifier):
    reward = Kept(verifier)
    attempts = ("```python\nprint(0)\n```", "no", "```python\nprint( 1 )\n```", "```python\n1\n```")
    trainer = upskill_trainer(
        *(trained_looking(qwen3_dir), tmp_path, reward, attempts),
        temperature=0.7,
        learning_rate=0.0,
        per_device_train_batch_size=4,  # scored in several chunks
        gradient_accumulation_steps=2,
        beta=0.0,
    )
    trainer.train()
    found = list(trainer._logs["rewards"]["mutual_information"])
    (call,) = reward.calls
    expected = []
    model = trainer.model.eval()
    for problem, z, ids in zip(
        call["problem"], call["latent"], call["completion_ids"], strict=True
    ):
        prompts = [TEMPLATE.format(statement=problem.statement, z=n, k=K) for n in (1, 2)]
        logps = [logps_alone(model, trainer._tokenizer, p, ids, 0.7) for p in prompts]
        mean = (logps[0].exp() + logps[1].exp()) / 2  # of a few tokens: no underflow
        expected.append((logps[z - 1] - mean.log()).item())
    assert found == pytest.approx(expected, abs=1e-4)
    assert max(map(abs, found)) > 0.01
    logged = trainer.state.log_history[0]
    assert logged["rewards/mutual_information/mean"] == pytest.approx(sum(found) / 8, abs=1e-5)
    mean = logged["rewards/kept/mean"] + 5.0 * logged["rewards/mutual_information/mean"]
    assert logged["reward"] == pytest.approx(mean, abs=1e-4)


def test_a_policy_that_ignores_the_latent_number_has_no_information(qwen3_dir, tmp_path, verifier):
    model = AutoModelForCausalLM.from_pretrained(qwen3_dir)
    for layer in model.model.layers:  # no token sees another one
        layer.self_attn.o_proj.weight.data.zero_()
    reward = Kept(verifier)
    trainer = upskill_trainer(model, tmp_path, reward)
    trainer.train()
    found = trainer._logs["rewards"]["mutual_information"]
    assert list(found) == pytest.approx([0.0] * 8, abs=1e-5)


def test_information_is_at_most_log_k_and_reaches_it():
    logps = torch.tensor([[0.0, -900.0, -900.0, -900.0], [-2000.0, -2000.0, -1000.0, -2000.0]])
    found = pointwise_mutual_information(logps, torch.tensor([1, 3]))
    assert found.tolist() == pytest.approx([math.log(4)] * 2)
    drawn = torch.randn(100, 4) * 10 - 500  # whole programs: exp of them is 0 in any float
    found = pointwise_mutual_information(drawn, torch.arange(100) % 4 + 1)
    assert found.isfinite().all()
    assert found.max() <= math.log(4)


def test_an_attempt_without_a_verdict_teaches_nothing(qwen3_dir, tmp_path, verifier):
    async def forgetful(**kwargs):
        rewards = await verifier(**kwargs)
        return [None, *rewards[1:]]

    trainer = upskill_trainer(trained_looking(qwen3_dir), tmp_path, forgetful, beta=0.0)
    batches = kept_batches(trainer)
    trainer.train()
    assert math.isnan(trainer._logs["rewards"]["mutual_information"][0])
    assert batches[0]["advantages"][0] == 0
    assert batches[0]["advantages"][1:4].abs().min() > 0


def test_the_whole_adapter_learns_and_the_model_stays_in_training_mode(
    qwen3_dir, tmp_path, verifier
):
    trainer = upskill_trainer(
        *(trained_looking(qwen3_dir), tmp_path, verifier),
        max_steps=2,
    )
    before = adapter_weights(trainer.model)
    trainer.train()
    assert trainer.model.training
    still = {name for name in before if ".ref." in name}
    assert moved(before, adapter_weights(trainer.model)) == set(before) - still


def test_a_4_bit_base_is_scored_and_trained_in_turn(qwen3_dir, tmp_path, verifier):
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(qwen3_dir, quantization_config=quantized)
    trainer = upskill_trainer(model, tmp_path, verifier, max_steps=2)
    before = adapter_weights(trainer.model)
    trainer.train()
    assert moved(before, adapter_weights(trainer.model)) == set(before)
    assert {weight.dtype for weight in before.values()} == {torch.float32}


def test_weights_are_for_the_other_rewards(qwen3_dir, tmp_path, verifier):
    trainer = upskill_trainer(qwen3_dir, tmp_path, verifier, reward_weights=[2.0], mi_weight=3.0)
    assert trainer.reward_weights.tolist() == [2.0, 3.0]
    assert trainer.args.reward_weights == [2.0]
    with pytest.raises(ValueError, match="2 weights for 1 reward functions"):
        upskill_trainer(qwen3_dir, tmp_path, verifier, reward_weights=[2.0, 3.0])


def test_an_evaluation_asks_with_latent_numbers_too(qwen3_dir, tmp_path, verifier):
    reward = Kept(verifier)
    trainer = upskill_trainer(
        qwen3_dir, tmp_path, reward, num_generations_eval=3, per_device_eval_batch_size=6
    )
    found = trainer.evaluate(attempt_rows(PROBLEMS))
    assert [z for call in reward.calls for z in call["latent"]] == [1, 2, 1] * 4
    assert "eval_rewards/mutual_information/mean" in found


def test_rows_of_another_kind_are_refused(qwen3_dir, tmp_path, verifier):
    model = AutoModelForCausalLM.from_pretrained(qwen3_dir)
    args = UpSkillConfig(str(tmp_path), use_cpu=True, bf16=False)
    rows = attempt_rows(PROBLEMS).remove_columns("tests")
    with pytest.raises(ValueError, match="'tests' is missing; make the rows with"):
        UpSkillTrainer(model, verifier, args, rows)
