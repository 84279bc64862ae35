"""ContinuousBatchingGenerator: the tokens of the batched backend, and a model left as it was."""

from __future__ import annotations

import gc
import logging
import threading
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.generation import ContinuousBatchingConfig
from transformers.generation.continuous_batching import PagedAttentionCache

from cppo_trl.cppo_config import CPPOConfig
from cppo_trl.generation import ContinuousBatchingGenerator, Sampling, TransformersGenerator
from cppo_trl.roles import add_roles
from cppo_trl.routing import BASE
from small_trainer import adapter_weights, moved, roles_of, sampling_trainer
from tiny_adapters import lora_config, randomise_adapters

GREEDY = Sampling(max_new_tokens=24, temperature=0.0)
SAMPLED = Sampling(max_new_tokens=24, temperature=0.7, top_p=0.95, top_k=50, min_p=0.01)
EOS = [1, *range(200, 240)]  # completions of many lengths


def random_prompts(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(5, 300, (n,), generator=generator).tolist() for n in lengths]


def load_model(directory: Path, attention: str = "sdpa") -> torch.nn.Module:
    base = AutoModelForCausalLM.from_pretrained(directory, attn_implementation=attention)
    model = add_roles(base, lora_config())
    randomise_adapters(model, seed=0)
    return model


@pytest.fixture(scope="module")
def model(qwen3_dir: Path) -> torch.nn.Module:
    return load_model(qwen3_dir)


@pytest.fixture(scope="module")
def tokenizer(qwen3_dir: Path):
    return AutoTokenizer.from_pretrained(qwen3_dir)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    a, b, c, d, e = random_prompts(300, 40, 40, 17, 1)
    return [a, b, c, b, d, e, b, a[:280], d]


@pytest.mark.parametrize("adapter", ["planner", "solver", BASE])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_greedy_tokens_are_those_of_the_batched_backend(
    adapter, attention, qwen3_dir, tokenizer, prompts
):
    model = load_model(qwen3_dir, attention)
    batched = TransformersGenerator(model, tokenizer, EOS)
    continuous = ContinuousBatchingGenerator(model, tokenizer, EOS)
    expected = batched.generate(prompts, adapter, GREEDY)
    assert continuous.generate(prompts, adapter, GREEDY) == expected
    assert len({len(completion.token_ids) for completion in expected}) > 2


def test_the_roles_speak_differently(model, tokenizer, prompts):
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS)
    planner, solver = (generator.generate(prompts, role, GREEDY) for role in ("planner", "solver"))
    assert planner != solver


@pytest.mark.parametrize(
    "batch_size, config",
    [
        (1, {}),
        (2, {}),
        (None, {"num_blocks": 3}),  # requests wait, and are put off, for a full cache
        (None, {"page_size": 16, "max_batch_tokens": 16}),  # prompts are cut into pieces
        (None, {"allow_block_sharing": False}),
    ],
)
def test_greedy_tokens_do_not_depend_on_the_size_of_cache_and_batch(
    batch_size, config, model, tokenizer, prompts
):
    expected = TransformersGenerator(model, tokenizer, EOS).generate(prompts, "solver", GREEDY)
    generator = ContinuousBatchingGenerator(
        model, tokenizer, EOS, batch_size, config=ContinuousBatchingConfig(**config)
    )
    assert generator.generate(prompts, "solver", GREEDY) == expected


def test_a_model_without_adapters_speaks_as_the_base(qwen3_dir, tokenizer, prompts):
    model = AutoModelForCausalLM.from_pretrained(qwen3_dir)
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS)
    expected = TransformersGenerator(model, tokenizer, EOS).generate(prompts, BASE, GREEDY)
    assert generator.generate(prompts, BASE, GREEDY) == expected
    with pytest.raises(ValueError, match="'planner'"):
        generator.generate(prompts, "planner", GREEDY)


def test_the_same_seed_draws_the_same_tokens(model, tokenizer, prompts):
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS)
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(generator.generate(prompts * 2, "solver", SAMPLED))
    assert drawn[0] == drawn[1] != drawn[2]


def test_one_rollout_after_the_other_draws_other_tokens(model, tokenizer, prompts):
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS)
    first, second = (generator.generate(prompts, "solver", SAMPLED) for _ in range(2))
    assert first != second


def test_log_probabilities_are_those_of_the_sampled_tokens(model, tokenizer, prompts):
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS)
    sampling = Sampling(max_new_tokens=24, temperature=0.7)
    completions = generator.generate(prompts, "planner", sampling)
    for prompt, completion in zip(prompts, completions, strict=True):
        ids = torch.tensor([prompt + completion.token_ids])
        with generator._speaking("planner") as speaking:
            logits = speaking(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        logps = (logits / 0.7).log_softmax(-1)
        expected = logps[range(len(logps)), completion.token_ids]
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, atol=1e-4, rtol=0)


def test_a_checkpoints_own_sampling_settings_do_not_count(qwen3_dir, tokenizer, prompts):
    model = load_model(qwen3_dir)
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS)
    own = model.get_base_model().generation_config
    own.top_k, own.suppress_tokens = 1, list(range(100))
    torch.manual_seed(0)
    drawn = generator.generate([prompts[1]] * 8, "solver", Sampling(8, 1.0))
    assert len({tuple(completion.token_ids) for completion in drawn}) > 1
    assert any(token < 100 for completion in drawn for token in completion.token_ids)
    assert model.get_base_model().generation_config is own


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was_found(
    attention, fails, qwen3_dir, tokenizer, prompts, monkeypatch
):
    # A record of the library's error, which pytest keeps, would keep the cache.
    monkeypatch.setattr(logging.getLogger("ContinuousBatchingLogger"), "disabled", True)
    model = load_model(qwen3_dir, attention).train()
    weights = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    config = ContinuousBatchingConfig(page_size=16, num_blocks=1) if fails else None
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS, config=config)
    threads = threading.active_count()
    if fails:
        with pytest.raises(RuntimeError):
            generator.generate(prompts, "solver", SAMPLED)
    else:
        generator.generate(prompts, "solver", SAMPLED)
    assert model.config._attn_implementation == attention
    assert model.training
    assert all(module.training for module in model.modules())
    assert weights == {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    assert generator.router.rows is None
    assert threading.active_count() == threads
    gc.collect()
    assert not any(type(object_) is PagedAttentionCache for object_ in gc.get_objects())


def test_a_request_that_fails_is_named(model, tokenizer):
    config = ContinuousBatchingConfig(page_size=16, num_blocks=1)
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS, config=config)
    prompts = random_prompts(5, 60)  # the second has no room
    with pytest.raises(RuntimeError) as failure:
        generator.generate(prompts, "solver", Sampling(4, 0.0))
    for part in ("of 2", "tokens", "'solver'", "No requests can be scheduled"):
        assert part in str(failure.value)


def test_no_prompts_give_no_completions(model, tokenizer):
    assert ContinuousBatchingGenerator(model, tokenizer, EOS).generate([], "solver", GREEDY) == []


def test_linear_attention_is_refused_with_what_to_use_instead(qwen3_5_dir, tokenizer):
    model = load_model(qwen3_5_dir)
    with pytest.raises(ValueError, match="linear_attention") as refusal:
        ContinuousBatchingGenerator(model, tokenizer, EOS)
    assert "'qwen3_5_text'" in str(refusal.value)
    assert "TransformersGenerator" in str(refusal.value)


def test_a_repetition_penalty_is_refused(model, tokenizer, prompts):
    generator = ContinuousBatchingGenerator(model, tokenizer, EOS)
    with pytest.raises(ValueError, match=r"repetition_penalty=1\.1"):
        generator.generate(prompts, "solver", Sampling(4, repetition_penalty=1.1))


def test_a_fixed_seed_is_refused(model, tokenizer):
    config = ContinuousBatchingConfig(seed=3)
    with pytest.raises(ValueError, match="seed=3"):
        ContinuousBatchingGenerator(model, tokenizer, EOS, config=config)


# ---- in the trainer ----


def test_the_trainer_learns_from_continuous_batching(qwen3_dir, tmp_path):
    trainer = sampling_trainer(
        qwen3_dir,
        tmp_path,
        use_transformers_continuous_batching=True,
        transformers_continuous_batching_config={"page_size": 32},
        rollout_batch_size=3,
    )
    generator = trainer.rollout_policy.speaker.generator.solver
    assert isinstance(generator, ContinuousBatchingGenerator)
    assert (generator.config.page_size, generator.batch_size) == (32, 3)
    before = adapter_weights(trainer.model)
    trainer.train()
    assert roles_of(moved(before, adapter_weights(trainer.model))) == {"planner", "solver"}


def test_the_trainer_uses_the_batched_backend_by_default(qwen3_dir, tmp_path):
    trainer = sampling_trainer(qwen3_dir, tmp_path)
    generator = trainer.rollout_policy.speaker.generator.solver
    assert isinstance(generator, TransformersGenerator)


def test_the_trainer_refuses_a_hybrid_model(qwen3_5_dir, tmp_path):
    with pytest.raises(ValueError, match="use_transformers_continuous_batching=False"):
        sampling_trainer(qwen3_5_dir, tmp_path, use_transformers_continuous_batching=True)


@pytest.mark.parametrize(
    "settings, says",
    [
        (
            {"transformers_continuous_batching_config": {"page_size": 32}},
            ["transformers_continuous_batching_config", "use_transformers_continuous_batching"],
        ),
        (
            {"use_transformers_continuous_batching": True, "repetition_penalty": 1.2},
            ["repetition_penalty=1.2", "repetition_penalty=1.0"],
        ),
        (
            {
                "use_transformers_continuous_batching": True,
                "transformers_continuous_batching_config": {"pages": 32},
            },
            ["'pages'", "page_size", "num_blocks"],
        ),
        (
            {
                "use_transformers_continuous_batching": True,
                "transformers_continuous_batching_config": {"seed": 1},
            },
            ["'seed'", "the field `seed`"],
        ),
        (
            {
                "use_transformers_continuous_batching": True,
                "transformers_continuous_batching_config": {"max_requests_per_batch": 1},
            },
            ["'max_requests_per_batch'", "`rollout_batch_size`"],
        ),
    ],
)
def test_settings_that_continuous_batching_would_ignore_are_refused(settings, says):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 - the message is checked below
        CPPOConfig("unused", use_cpu=True, report_to="none", **settings)
    assert [part for part in says if part not in str(refusal.value)] == []
