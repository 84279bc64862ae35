"""The audit counts what there is to learn from, and says no where a criterion is not met."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bitsandbytes.nn import Linear4bit
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl import CodeVerifier, Prompts, RuleJudge
from cppo_trl.audit import audit, audit_policy, markdown
from cppo_trl.cli import main
from cppo_trl.generation import Sampling, Speaker, TransformersGenerator
from cppo_trl.judges import Judge, Judgement
from cppo_trl.problems import read_problems
from cppo_trl.rollouts import RolloutPolicy
from small_evaluation import PROMPTS, Guesser, K, write_guesses
from tiny_adapters import save_policy

NAN = float("nan")
TUPLES = st.tuples(
    st.booleans(), st.sampled_from([0.0, 1.0, NAN]), st.sampled_from([0.0, 1.0, NAN])
)


def by_name(found):
    return {criterion.name: criterion for criterion in found.criteria}


@given(st.integers(1, 5), st.integers(1, 4), st.data())
def test_shares_are_those_of_the_tuples(problems, tuples, data):
    rows = [data.draw(st.lists(TUPLES, min_size=tuples, max_size=tuples)) for _ in range(problems)]
    parsed, valid, rewards = np.moveaxis(np.array(rows, dtype=float), -1, 0)
    found = by_name(audit(parsed, valid, rewards))
    flat = [row for group in rows for row in group]

    def mean(values):
        return np.mean(values) if values else NAN

    known = [r for _, _, r in flat if r == r]
    groups = [[r for _, _, r in group if r == r] for group in rows]
    groups = [group for group in groups if group]
    expected = {
        "tuples rewarded": mean([r > 0 for r in known]),
        "problems with a rewarded tuple": mean([any(group) for group in groups]),
        "groups with variance": mean([len(set(group)) > 1 for group in groups]),
        "judge pass rate": mean([v for p, v, _ in flat if p and v == v]),
        "plans that parse": mean([p for p, _, _ in flat]),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, nan_ok=True), name
        if value == value:
            assert found[name].low <= found[name].value + 1e-9
            assert found[name].value <= found[name].high + 1e-9


GOOD = np.array([[1.0, 0.0] * 4] * 10)


@pytest.mark.parametrize(
    ("parsed", "valid", "rewards", "failed"),
    [
        (np.ones((10, 8)), GOOD, GOOD, []),
        (np.ones((10, 8)), GOOD, GOOD * 0, ["tuples rewarded", "problems with", "groups with"]),
        (np.ones((10, 8)), GOOD * 0 + 1, GOOD, ["judge pass rate"]),
        (np.ones((10, 8)), GOOD * 0, GOOD * 0, ["tuples", "problems", "groups", "judge"]),
        (GOOD, GOOD, GOOD, ["judge pass rate", "plans that parse"]),
        (np.ones((10, 8)), GOOD, GOOD * NAN, ["tuples", "problems", "groups"]),
    ],
)
def test_each_criterion_has_to_be_met(parsed, valid, rewards, failed):
    found = audit(parsed, valid, rewards)
    not_met = [criterion.name for criterion in found.criteria if not criterion.is_met]
    assert found.is_go == (not failed)
    assert len(not_met) == len(failed)
    assert all(name.startswith(words) for name, words in zip(not_met, failed, strict=True))
    text = markdown(found, {"policy": "p"})
    assert text.count("NOT met") == len(failed)
    assert all(c.advice in text for c in found.criteria if not c.is_met)
    json.dumps(found.to_dict(), allow_nan=False)


def test_intervals_are_over_problems():
    once = audit(np.ones((10, 1)), np.ones((10, 1)), np.eye(10)[:, :1])
    often = audit(np.ones((10, 50)), np.ones((10, 50)), np.repeat(np.eye(10)[:, :1], 50, axis=1))
    first, second = once.criteria[0], often.criteria[0]
    assert (first.low, first.high) == pytest.approx((second.low, second.high))
    assert not first.is_sure


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3), (3, 2)), ((0, 3),) * 3, ((3,),) * 3])
def test_other_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match="the shapes are"):
        audit(*(np.zeros(shape) for shape in shapes))


class Unsure(Judge):
    """Cannot tell about plans that begin with 0."""

    def judge_many(self, tuples):
        return [Judgement(None if t.strategies[0] == "0" else True) for t in tuples]


@pytest.mark.parametrize("judge", [RuleJudge(), Unsure()])
def test_a_policy_that_divides_the_answers_is_rewarded(judge, qwen3_dir, tmp_path):
    guesser = Guesser(qwen3_dir)
    prompts = Prompts(PROMPTS["plan"], PROMPTS["solve"])
    speaker = Speaker(guesser, guesser.tokenizer)
    policy = RolloutPolicy(speaker, prompts, K, Sampling(64), Sampling(64))
    problems = read_problems(write_guesses(tmp_path / "guesses.jsonl", 6))
    with CodeVerifier() as verifier:
        found = audit_policy(policy, problems, judge, verifier, num_generations=4, batch_size=4)
    criteria = by_name(found)
    assert (found.problems, found.tuples) == (6, 4)
    assert criteria["tuples rewarded"].value == 1.0  # one of the three numbers is right
    assert criteria["groups with variance"].value == 0.0
    assert (found.unknown > 0) == isinstance(judge, Unsure)
    assert not found.is_go


def test_the_command_audits_on_a_quantized_base_in_small_batches(
    qwen3_dir, tmp_path, monkeypatch, capsys
):
    seen = []
    generate = TransformersGenerator.generate

    def kept(self, prompts, *args):
        with self.unwrap() as model:
            is_quantized = any(isinstance(module, Linear4bit) for module in model.modules())
        seen.append((self.batch_size, is_quantized))
        return generate(self, prompts, *args)

    monkeypatch.setattr(TransformersGenerator, "generate", kept)
    policy = save_policy(qwen3_dir, tmp_path / "policy")
    problems = write_guesses(tmp_path / "guesses.jsonl", 3)
    typed = ["audit", "--policy", str(policy), "--problems", str(problems), "--load-in-4bit"]
    typed += ["--num-generations", "2", "--output", str(tmp_path), "--rollout-batch-size", "2"]
    assert main(typed) == 1
    assert set(seen) == {(2, True)}


def test_the_command_says_no_go_with_advice_and_exit_status_1(qwen3_dir, tmp_path, capsys):
    policy = save_policy(qwen3_dir, tmp_path / "policy")
    problems = write_guesses(tmp_path / "guesses.jsonl", 5)
    typed = ["audit", "--policy", str(policy), "--problems", str(problems), "--limit", "3"]
    typed += ["--num-generations", "2", "--output", str(tmp_path / "audit")]
    assert main(typed) == 1
    said = capsys.readouterr().out
    assert "**No-go**: 3 problems, 2 tuples each" in said
    assert "Train the planner on gold tuples" in said
    content = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert content["go"] is False
    assert [criterion["met"] for criterion in content["criteria"]][-1] is False
    assert (tmp_path / "audit" / "audit.md").read_text() in said


def test_a_policy_that_is_not_there_is_refused_in_one_line(tmp_path, capsys):
    problems = write_guesses(tmp_path / "guesses.jsonl", 2)
    typed = ["audit", "--policy", str(tmp_path), "--problems", str(problems), "--output", "o"]
    assert main(typed) == 2
    assert "holds no cppo_policy.json" in capsys.readouterr().err


def test_a_rejected_judge_is_refused_before_the_policy_is_loaded(tmp_path, capsys):
    problems = write_guesses(tmp_path / "guesses.jsonl", 2)
    rejected = {"quality": {"accepted": False, "failed": ["auc 0.600 is below 0.75"]}}
    (tmp_path / "cppo_judge.json").write_text(json.dumps(rejected))
    typed = ["audit", "--policy", "nowhere", "--problems", str(problems), "--output", "o"]
    assert main([*typed, "--judge", str(tmp_path)]) == 2
    assert "was rejected (auc 0.600 is below 0.75)" in capsys.readouterr().err
