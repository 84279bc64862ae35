"""TransformersGenerator: what prompts begin with alike goes through the model once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from cppo_trl.generation import Sampling, TransformersGenerator
from cppo_trl.generation.roomy_cache import roomy_cache
from cppo_trl.generation.shared_prefill import group_prompts
from cppo_trl.roles import add_roles
from cppo_trl.routing import BASE
from tiny_adapters import lora_config, randomise_adapters

GREEDY = Sampling(max_new_tokens=16, temperature=0.0)
SPEAKERS = ("planner", "solver", BASE)


def random_prompts(*lengths: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(5, 300, (n,), generator=generator).tolist() for n in lengths]


def load(directory: Path, **settings: object) -> TransformersGenerator:
    """A generator over both roles with random adapters."""
    base = AutoModelForCausalLM.from_pretrained(directory, **settings)
    model = add_roles(base, lora_config())
    randomise_adapters(model, seed=0)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    return TransformersGenerator(model, tokenizer, [tokenizer.eos_token_id])


@pytest.fixture(scope="module", params=["qwen3_dir", "qwen3_5_dir"])
def generator(request: pytest.FixtureRequest) -> TransformersGenerator:
    return load(request.getfixturevalue(request.param))


@contextmanager
def recorded_batches(generator: TransformersGenerator) -> Iterator[list[tuple[int, int]]]:
    """Lists (rows, tokens) of each forward of the decoder."""
    with generator.unwrap() as model:
        shapes: list[tuple[int, int]] = []
        hook = model.get_base_model().base_model.register_forward_pre_hook(
            lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)),
            with_kwargs=True,
        )
        yield shapes
        hook.remove()


@pytest.mark.parametrize("adapter", SPEAKERS)
def test_greedy_tokens_are_those_of_each_prompt_alone(generator, adapter):
    a, b, short = random_prompts(40, 23, 1)
    prompts = [a, b, a, short, b, a, a[:23], short, a]
    alone = [generator.generate([ids], adapter, GREEDY)[0] for ids in prompts]
    assert generator.generate(prompts, adapter, GREEDY) == alone


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_greedy_tokens_do_not_depend_on_the_attention(attention, qwen3_dir):
    generator = load(qwen3_dir, attn_implementation=attention)
    a, b = random_prompts(40, 23)
    alone = [generator.generate([ids], "solver", GREEDY)[0] for ids in (a, b)]
    assert generator.generate([a, b, a, b], "solver", GREEDY) == alone * 2


def test_a_penalty_sees_the_whole_shared_prompt(generator):
    (prompt,) = random_prompts(200)
    sampling = Sampling(max_new_tokens=16, temperature=0.0, repetition_penalty=10.0)
    (alone,) = generator.generate([prompt], "solver", sampling)
    assert generator.generate([prompt] * 3, "solver", sampling) == [alone] * 3
    assert alone != generator.generate([prompt], "solver", GREEDY)[0]


def test_equal_prompts_are_prefilled_once(generator):
    a, b = random_prompts(40, 23)
    with recorded_batches(generator) as shapes:
        generator.generate([a, b] * 4, "planner", GREEDY)
    assert shapes[0] == (2, 39)
    assert set(shapes[1:]) == {(8, 1)}


@pytest.mark.parametrize("adapter", SPEAKERS)
def test_greedy_tokens_after_a_common_beginning_are_those_of_each_prompt_alone(generator, adapter):
    a, b, *rests = random_prompts(40, 31, 1, 2, 9, 5)
    prompts = [begin + rest for begin in (a, b) for rest in rests] + [a, a]
    alone = [generator.generate([ids], adapter, GREEDY)[0] for ids in prompts]
    assert generator.generate(prompts, adapter, GREEDY) == alone


def test_a_common_beginning_is_prefilled_once(qwen3_dir):
    generator = load(qwen3_dir)
    a, b, *rests = random_prompts(40, 31, 6, 2, 9)
    with recorded_batches(generator) as shapes:
        generator.generate([begin + rest for begin in (a, b) for rest in rests], "solver", GREEDY)
    assert shapes[:2] == [(2, 40), (6, 8)]
    assert set(shapes[2:]) == {(6, 1)}


def test_a_hybrid_model_prefills_different_prompts_as_they_are(qwen3_5_dir):
    generator = load(qwen3_5_dir)
    begin, *rests = random_prompts(40, 6, 2, 9)
    with recorded_batches(generator) as shapes:
        generator.generate([begin + rest for rest in rests], "solver", GREEDY)
    assert shapes[0] == (3, 49)


def test_prompts_of_a_problem_are_one_group_and_those_of_another_are_not():
    a, b = random_prompts(20, 20)
    prompts = [[*b, 1, 2], [*a, 3], [*b, 4], [*a, 3], a[:5] + b]
    groups = [(sorted(group.rows), group.shared) for group in group_prompts(prompts, False)]
    assert sorted(groups) == [([0, 2], 20), ([1, 3], 20), ([4], 24)]
    equal = [sorted(group.rows) for group in group_prompts(prompts, only_equal=True)]
    assert sorted(equal) == [[0], [1, 3], [2], [4]]


def test_a_roomy_cache_holds_what_a_dynamic_one_holds(qwen3_dir):
    config = AutoModelForCausalLM.from_pretrained(qwen3_dir).config
    roomy, dynamic = roomy_cache(config), DynamicCache(config=config)
    numbers = torch.Generator().manual_seed(0)
    for step, tokens in enumerate([7, 1, 300, 1, 1]):
        keys, values = torch.randn(2, 3, 2, tokens, 4, generator=numbers)
        for layer in range(2):
            found = roomy.update(keys + layer, values - layer, layer)
            expected = dynamic.update(keys + layer, values - layer, layer)
            assert all(map(torch.equal, found, expected))
        if step == 1:  # in place, and then with other rows
            roomy.crop(-3)
            dynamic.crop(-3)
        if step == 2:
            order = torch.tensor([2, 0, 0])
            roomy.reorder_cache(order)
            dynamic.reorder_cache(order)
        assert roomy.get_seq_length() == dynamic.get_seq_length()


def test_a_cache_with_room_keeps_its_tokens_where_they_are(qwen3_dir):
    config = AutoModelForCausalLM.from_pretrained(qwen3_dir).config
    cache = roomy_cache(config)
    places = set()
    for _ in range(100):
        keys, _ = cache.update(torch.zeros(1, 2, 1, 4), torch.zeros(1, 2, 1, 4), 0)
        places.add(keys.data_ptr())
    assert len(places) == 1


def test_different_prompts_are_prefilled_as_one_batch(generator):
    with recorded_batches(generator) as shapes:
        generator.generate(random_prompts(40, 23, 31), "planner", GREEDY)
    assert shapes[0] == (3, 40)


def test_equal_prompts_stay_in_one_batch(generator, monkeypatch):
    prompts = random_prompts(30, 30, 30, 30)
    monkeypatch.setattr(generator, "batch_size", 4)
    with recorded_batches(generator) as shapes:
        completions = generator.generate(prompts * 4, "solver", GREEDY)
    assert [shape for shape in shapes if shape[1] > 1] == [(1, 29)] * 4
    assert completions == [generator.generate([ids], "solver", GREEDY)[0] for ids in prompts] * 4


def test_no_logits_are_computed_for_a_prompt_but_for_its_last_token(generator):
    (prompt,) = random_prompts(40)
    with generator.unwrap() as model:
        positions = []
        hook = model.get_base_model().lm_head.register_forward_pre_hook(
            lambda _, args: positions.append(args[0].shape[1])
        )
        generator.generate([prompt] * 4, "solver", GREEDY)
        hook.remove()
    assert set(positions) == {1}


def test_attempts_with_equal_prompts_are_drawn_apart(generator):
    (prompt,) = random_prompts(40)
    torch.manual_seed(0)
    sampling = Sampling(max_new_tokens=16, temperature=1.0)
    completions = generator.generate([prompt] * 8, "solver", sampling)
    assert len({tuple(completion.token_ids) for completion in completions}) == 8


def test_first_tokens_follow_the_distribution_of_the_prompt(generator):
    """Chi-squared of 2,000 draws against the softmax at the prompt's end."""
    (prompt,) = random_prompts(40)
    sampling = Sampling(max_new_tokens=1, temperature=2.0, top_k=8)
    with generator._speaking("solver") as model:
        logits = model(input_ids=torch.tensor([prompt])).logits[0, -1] / sampling.temperature
    scores, tokens = logits.topk(8)
    expected = 2000 * scores.softmax(0)
    torch.manual_seed(0)
    drawn = generator.generate([prompt] * 2000, "solver", sampling)
    counts = torch.zeros(384).index_add(
        0, torch.tensor([c.token_ids[0] for c in drawn]), torch.ones(2000)
    )
    assert counts[tokens].sum() == 2000
    assert ((counts[tokens] - expected) ** 2 / expected).sum() < 24.3  # p = 0.001 at 7 degrees


def test_the_model_is_left_as_it_was_found_when_generation_fails(qwen3_dir):
    generator = load(qwen3_dir)
    with generator.unwrap() as model:
        model.train()
        config = model.get_base_model().generation_config
        with pytest.raises(IndexError):  # no such token
            generator.generate([[10**6]], "solver", GREEDY)
        assert (model.training, generator.router.rows) == (True, None)
        assert model.get_base_model().generation_config is config
