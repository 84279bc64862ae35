"""On two gloo ranks, over which a group is spread, the baselines do what one process does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cppo_trl.advantages import pass_at_k_training_advantages, pkpo_rewards
from distributed_baselines import CASES, REWARDS, train

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def ranks(qwen3_dir, tmp_path_factory):
    """What each of two ranks saw, method by method."""
    output = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(part) for part in (TESTS / "distributed_baselines.py", qwen3_dir, output)]
    path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(output / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", ["pkpo", "pass_at_k"])
def test_each_rank_gets_its_part_of_the_advantages_of_the_whole_group(name, ranks):
    first, second = (rank[name] for rank in ranks)
    assert first["rewards"] + second["rewards"] == list(REWARDS)
    rewards = torch.tensor(REWARDS)
    if name == "pkpo":
        expected = 6 * pkpo_rewards(rewards, 3, "loo-1")
    else:
        expected = pass_at_k_training_advantages(rewards, 3)
    assert first["advantages"] + second["advantages"] == pytest.approx(expected.tolist())
    assert first["shown"] == pytest.approx(expected.tolist())


def test_latent_numbers_go_on_from_rank_to_rank(ranks):
    first, second = (rank["upskill"]["latent"] for rank in ranks)
    assert (first, second) == ([1, 2, 1], [2, 1, 2])


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_train_as_one_process(name, ranks, qwen3_dir, tmp_path):
    alone = train(name, qwen3_dir, tmp_path)
    first, second = (rank[name] for rank in ranks)
    assert first["advantages"] + second["advantages"] == pytest.approx(
        alone["advantages"], abs=1e-3
    )
    assert first["loss"] == pytest.approx(alone["loss"], abs=1e-3)
    for key, weight in alone["weights"].items():
        assert torch.equal(first["weights"][key], second["weights"][key]), key
        torch.testing.assert_close(first["weights"][key], weight, rtol=1e-3, atol=1e-5)
