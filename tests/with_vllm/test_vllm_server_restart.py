"""A real server that is killed and comes back."""

from __future__ import annotations

import threading
import time

import pytest

from cppo_trl.generation import (
    AdapterSync,
    Sampling,
    TransformersGenerator,
    VLLMServerError,
    VLLMServerGenerator,
)
from tiny_adapters import randomise_adapters

GREEDY = Sampling(max_new_tokens=12, temperature=0)


@pytest.fixture
def client(server, policy, tokenizer):
    adapters, end = AdapterSync(policy), [tokenizer.eos_token_id]
    generator = VLLMServerGenerator(server.url, adapters, end, timeout=900)
    generator.sync()
    yield generator
    generator.close()


def test_prompts_survive_a_server_that_is_killed_and_comes_back(server, client, policy, tokenizer):
    prompts = [tokenizer(f"Sort {n} numbers.")["input_ids"] for n in range(6)]
    long = Sampling(max_new_tokens=400, temperature=0)
    given, client.eos_token_ids = client.eos_token_ids, []  # as long as the limit
    tickets = {
        client.submit(prompt_ids, role, long): (role, prompt_ids)
        for prompt_ids in prompts
        for role in ("planner", "solver")
    }
    time.sleep(1.0)
    server.kill()
    restart = threading.Timer(2.0, server.start)
    restart.start()
    found = {}
    while finished := client.finished():
        found |= dict(finished)
    restart.join()
    client.eos_token_ids = given
    reference = TransformersGenerator(policy, tokenizer, [10**6])  # no token at all
    assert found.keys() == tickets.keys()
    for ticket, (role, prompt_ids) in tickets.items():
        (expected,) = reference.generate([prompt_ids], role, GREEDY)
        assert found[ticket].token_ids[:12] == expected.token_ids
        assert len(found[ticket].token_ids) == 400

    # ... and so does an update: the server that came back gets the new weights.
    randomise_adapters(policy, seed=31)
    client.sync()
    reference.eos_token_ids = given
    for role in ("planner", "solver"):
        expected = [c.token_ids for c in reference.generate(prompts, role, GREEDY)]
        assert [c.token_ids for c in client.generate(prompts, role, GREEDY)] == expected


def test_a_prompt_as_long_as_the_context_is_refused(client):
    with pytest.raises(ValueError, match="1024 tokens; the server's --max-model-len is 1024"):
        client.submit([5] * 1024, "planner", GREEDY)


def test_a_folder_that_the_server_cannot_see_is_an_error(server, policy, tokenizer, tmp_path):
    adapters = AdapterSync(policy, folder=tmp_path / "elsewhere")  # written by no one
    end = [tokenizer.eos_token_id]
    generator = VLLMServerGenerator(server.url, adapters, end, timeout=900)
    with pytest.raises(VLLMServerError, match=r"did not load .*elsewhere.*must see that folder"):
        generator.sync()
