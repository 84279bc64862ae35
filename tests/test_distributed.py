"""Two gloo ranks train as one process does, and end with the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distributed_training import AUDITED, CASES, audit, evaluate, train
from tiny_adapters import save_adapters

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def trained_dir(qwen3_dir, tmp_path_factory):
    """A folder with a trained-looking adapter for each role; treat it as read-only."""
    return save_adapters(qwen3_dir, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def ranks(qwen3_dir, trained_dir, tmp_path_factory):
    """What each of two ranks ended with, case by case; fails if they hang."""
    output = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [TESTS / "distributed_training.py", qwen3_dir, trained_dir, output]
    path = os.pathsep.join([str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    log = output / "log.txt"
    with log.open("w") as printed:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=os.environ | {"PYTHONPATH": path},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    try:
        process.wait(timeout=180)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its ranks, by force after a while
        process.wait(timeout=60)
        pytest.fail(f"the ranks hang:\n{log.read_text()[-4000:]}")
    assert process.returncode == 0, log.read_text()[-4000:]
    return [torch.load(output / f"rank{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_end_with_equal_bytes(ranks, case):
    first, second = (rank[case] for rank in ranks)
    assert (first["processes"], second["processes"]) == (2, 2)
    assert first["weights"].keys() == second["weights"].keys()
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name]), name


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_as_one_process(ranks, case, qwen3_dir, trained_dir, tmp_path):
    alone, together = train(case, qwen3_dir, trained_dir, tmp_path), ranks[0][case]
    assert alone["processes"] == 1
    losses = [entry["loss"] for entry in alone["log"]]
    assert len(losses) == 2
    assert [e["loss"] for e in together["log"]] == pytest.approx(losses, rel=1e-4, abs=1e-6)
    for name, weight in alone["weights"].items():
        torch.testing.assert_close(together["weights"][name], weight, rtol=1e-5, atol=1e-6)


def test_two_ranks_log_what_one_process_logs(ranks, qwen3_dir, trained_dir, tmp_path):
    case = "a problem over both ranks"
    alone = train(case, qwen3_dir, trained_dir, tmp_path)
    for ours, expected in zip(ranks[0][case]["log"], alone["log"], strict=True):
        timings = {name for name in expected if "seconds" in name or name == "step_time"}
        assert ours.keys() == expected.keys()
        for name in expected.keys() - timings:
            assert ours[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-6), name


def test_an_evaluation_on_two_ranks_counts_every_problem_once(ranks, qwen3_dir, tmp_path):
    alone = evaluate(qwen3_dir, tmp_path)
    for together in (rank["evaluation"] for rank in ranks):
        for name in ("eval_pass@1", "eval_pass@2", "eval_parse_rate", "eval_judge_pass_rate"):
            assert together[name] == pytest.approx(alone[name]), name


def test_an_audit_on_two_ranks_is_one_audit_of_all_problems(ranks, qwen3_dir, tmp_path):
    alone = [audit(qwen3_dir, tmp_path, count) for count in AUDITED]
    for together in (rank["audits"] for rank in ranks):
        for found, expected, count in zip(together, alone, AUDITED, strict=True):
            assert (found["problems"], found["tuples"]) == (count, 2)
            shares = {one["name"]: one["value"] for one in found["criteria"]}
            assert shares == {one["name"]: one["value"] for one in expected["criteria"]}
            assert shares["judge pass rate"] == (2 if count > 1 else 1) / count
    assert ranks[0]["audits"] == ranks[1]["audits"]
