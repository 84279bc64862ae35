"""vLLM beside transformers: the same tokens and log-probabilities, for both roles, at any time."""

from __future__ import annotations

import pytest
import torch

from cppo_trl.generation import Sampling, TransformersGenerator, VLLMGenerator
from cppo_trl.routing import BASE, role_router
from tiny_adapters import randomise_adapters

GREEDY = Sampling(max_new_tokens=16, temperature=0)


@pytest.fixture
def prompts(tokenizer):
    texts = ("Sort the numbers.", "Sort the numbers. Then scan them once.", "Print the sum.")
    return [tokenizer(text)["input_ids"] for text in texts]


@pytest.fixture
def reference(policy, tokenizer):
    return TransformersGenerator(policy, tokenizer, [tokenizer.eos_token_id])


@pytest.fixture(params=["engine", "server"])
def backend(request, policy, tokenizer):
    """Each backend, with the adapters as they are."""
    if request.param == "engine":
        generator = request.getfixturevalue("engine")
    else:
        generator = request.getfixturevalue("client")
    generator.sync()
    return generator


@pytest.fixture(scope="session")
def client(server, policy, tokenizer):
    from cppo_trl.generation import AdapterSync, VLLMServerGenerator

    adapters, end = AdapterSync(policy), [tokenizer.eos_token_id]
    generator = VLLMServerGenerator(server.url, adapters, end, timeout=900)
    yield generator
    generator.close()


def tokens(completions):
    return [(completion.token_ids, completion.truncated) for completion in completions]


def logprobs_of(policy, adapter, prompt_ids, token_ids, temperature):
    """The log-probabilities of a completion's tokens by a plain forward."""
    with torch.no_grad(), role_router(policy).route(adapter):
        logits = policy(torch.tensor([prompt_ids + token_ids])).logits[0, len(prompt_ids) - 1 : -1]
    logps = (logits / temperature).log_softmax(-1)
    return logps.gather(-1, torch.tensor(token_ids)[:, None])[:, 0]


def test_greedy_tokens_are_those_of_transformers(backend, reference, prompts):
    for adapter in ("planner", "solver", BASE):
        expected = reference.generate(prompts, adapter, GREEDY)
        assert tokens(backend.generate(prompts, adapter, GREEDY)) == tokens(expected)


def test_no_adapter_is_stale_after_an_update(backend, reference, policy, prompts):
    seen = set()
    for seed in (11, 12, 13):  # the same prompts each time: their keys and values are cached
        randomise_adapters(policy, seed)
        backend.sync()
        for adapter in ("planner", "solver"):
            found = tokens(backend.generate(prompts, adapter, GREEDY))
            assert found == tokens(reference.generate(prompts, adapter, GREEDY))
            seen.add(str(found))
    assert len(seen) == 6


def test_an_update_of_one_role_leaves_the_other(backend, reference, policy, prompts):
    before = tokens(backend.generate(prompts, "planner", GREEDY))
    for name, parameter in policy.named_parameters():
        if ".solver." in name and "lora_B" in name:
            parameter.data.mul_(-3.0)
    backend.sync()
    assert tokens(backend.generate(prompts, "planner", GREEDY)) == before
    expected = tokens(reference.generate(prompts, "solver", GREEDY))
    assert tokens(backend.generate(prompts, "solver", GREEDY)) == expected


@pytest.mark.parametrize("temperature", [0.7, 1.3])
def test_sampled_logprobs_are_those_of_the_model(backend, policy, prompts, temperature):
    sampling = Sampling(max_new_tokens=12, temperature=temperature)
    for adapter in ("planner", "solver"):
        for prompt_ids, completion in zip(
            prompts, backend.generate(prompts, adapter, sampling), strict=True
        ):
            expected = logprobs_of(policy, adapter, prompt_ids, completion.token_ids, temperature)
            found = torch.tensor(completion.logprobs)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_streamed_prompts_of_both_roles_are_continued_as_in_a_batch(backend, prompts):
    # Servers on a CPU mix up the bare base with adapters (see vllm_server).
    adapters = ("planner", "solver", BASE)[: 3 if isinstance(backend, VLLMGenerator) else 2]
    expected = {
        (adapter, i): completion.token_ids
        for adapter in adapters
        for i, completion in enumerate(backend.generate(prompts, adapter, GREEDY))
    }
    tickets = {
        backend.submit(prompt_ids, adapter, GREEDY): (adapter, i)
        for i, prompt_ids in enumerate(prompts)
        for adapter in adapters
    }
    found = {}
    while finished := backend.finished():
        found |= {tickets[ticket]: completion.token_ids for ticket, completion in finished}
    assert found == expected


@pytest.fixture
def endless(backend):
    """The backend without end tokens: completions are as long as their limit."""
    given, backend.eos_token_ids = backend.eos_token_ids, []
    yield backend
    backend.eos_token_ids = given


def test_a_prompt_may_follow_while_others_are_open(endless, prompts):
    backend = endless
    long = backend.submit(prompts[0], "planner", Sampling(max_new_tokens=200))
    short = backend.submit(prompts[1], "planner", Sampling(max_new_tokens=2))
    (first, _), *rest = backend.finished()
    assert first == short
    assert rest == []
    attempt = backend.submit(prompts[2], "solver", Sampling(max_new_tokens=2))
    (second, _), *rest = backend.finished()
    assert second == attempt
    assert rest == []
    ((last, completion),) = backend.finished()
    assert last == long
    assert len(completion.token_ids) == 200
    assert backend.finished() == []


def test_a_batch_leaves_the_open_prompts_to_finished(backend, prompts):
    ticket = backend.submit(prompts[0], "planner", Sampling(max_new_tokens=1))
    assert len(backend.generate(prompts, "solver", GREEDY)) == len(prompts)
    assert [number for number, _ in backend.finished()] == [ticket]


def test_prompts_that_are_given_up_leave_nothing_behind(endless, prompts):
    backend = endless
    for adapter in ("planner", "solver"):
        backend.submit(prompts[0], adapter, Sampling(max_new_tokens=200))
    backend.cancel()
    assert backend.finished() == []
    backend.sync()
    (completion,) = backend.generate(prompts[:1], "solver", Sampling(max_new_tokens=2))
    assert len(completion.token_ids) == 2


def test_nothing_may_be_finished_in_a_short_time(endless, prompts):
    backend = endless
    ticket = backend.submit(prompts[0], "planner", Sampling(max_new_tokens=500))
    assert backend.finished(0.01) == []
    assert [number for number, _ in backend.finished()] == [ticket]


def test_every_end_token_ends_a_completion(endless, prompts):
    (whole,) = endless.generate(prompts[:1], "solver", GREEDY)
    assert whole.truncated
    assert len(whole.token_ids) == 16
    end = whole.token_ids[4]
    endless.eos_token_ids = [*range(3), end]
    (cut,) = endless.generate(prompts[:1], "solver", GREEDY)
    ends = [i for i, token in enumerate(whole.token_ids) if token in endless.eos_token_ids]
    assert cut.token_ids == whole.token_ids[: ends[0] + 1]
    assert not cut.truncated


def test_filters_are_those_of_transformers(backend, reference, prompts):
    only = Sampling(max_new_tokens=8, temperature=1.0, top_k=1)
    assert tokens(backend.generate(prompts, "planner", only)) == tokens(
        reference.generate(prompts, "planner", Sampling(max_new_tokens=8, temperature=0))
    )
    penalised = Sampling(max_new_tokens=16, temperature=0, repetition_penalty=1.8)
    expected = [reference.generate([p], "planner", penalised)[0] for p in prompts]
    assert tokens(backend.generate(prompts, "planner", penalised)) == tokens(expected)


def test_an_unknown_adapter_is_refused_with_what_there_is(backend, prompts):
    with pytest.raises(ValueError, match=r"'judge'; allowed: __base__, planner, solver"):
        backend.submit(prompts[0], "judge", GREEDY)


def test_adapters_do_not_change_under_open_prompts(backend, policy, prompts):
    ticket = backend.submit(prompts[0], "planner", GREEDY)
    randomise_adapters(policy, seed=21)
    with pytest.raises(RuntimeError, match="1 prompts are open"):
        backend.sync()
    assert [number for number, _ in backend.finished()] == [ticket]


def test_the_engine_leaves_the_random_state_alone(base_dir, engine):
    state = torch.get_rng_state()
    engine.sync()
    assert torch.equal(torch.get_rng_state(), state)
