"""Batches that teach a role nothing are found, counted, and warned of with their cause."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import TrainerState

from cppo_trl.generation import Sampling, Speaker
from cppo_trl.guards.callbacks import VarianceCallback
from cppo_trl.guards.variance import CAUSES, likely_cause, role_without_variance
from cppo_trl.metrics import rollout_facts
from cppo_trl.prompts import Prompts
from cppo_trl.rollouts import RolloutPolicy
from cppo_trl.scores import Scores
from cppo_trl.scoring import RolloutScorer
from scripted_rollouts import (
    PLAN_TEMPLATE,
    SOLVE_TEMPLATE,
    ScriptedGenerator,
    judge,
    scripted_problems,
    verifier,
)
from small_trainer import make_trainer, training_logs
from tiny_models import make_tokenizer

P, M, K = 2, 3, 2
TRILEAN = st.sampled_from([0.0, 1.0, math.nan])
REWARDS = st.sampled_from(["product", "judge", "outcome", "sum"])


@st.composite
def batches(draw):
    """Scores of any batch that could be, its planner reward and its solver group."""
    parsed = torch.tensor(draw(arrays("float32", (P, M), elements=st.sampled_from([0.0, 1.0]))))
    cut = torch.tensor(draw(arrays("float32", (P, M), elements=st.sampled_from([0.0, 1.0]))))
    valid = torch.tensor(draw(arrays("float32", (P, M), elements=TRILEAN)))
    passed = torch.tensor(draw(arrays("float32", (P, M, K, 1), elements=TRILEAN)))
    reward, group = draw(REWARDS), draw(st.sampled_from(["tuple", "problem"]))
    attempted = parsed if reward != "judge" else torch.zeros_like(parsed)
    valid = valid.masked_fill(parsed == 0, 0.0)
    passed = passed.masked_fill(attempted[..., None, None] == 0, math.nan)
    unknown = torch.full_like(parsed, math.nan)
    facts = [parsed, parsed * 2, cut * (1 - parsed), unknown, parsed + 1, attempted * 5, parsed]
    scores = Scores.of(torch.stack(facts, -1), valid, passed, reward, group, "population")
    return scores, reward, group


def differ(rewards):
    """Whether two of the known ones do."""
    known = [reward for reward in rewards if not math.isnan(reward)]
    return any(a != b for a, b in itertools.product(known, known))


@given(batches())
def test_a_planner_without_variance_has_no_group_with_two_different_known_rewards(batch):
    scores, *_ = batch
    found = role_without_variance(scores, ("planner",)) is None
    assert found == any(differ(group) for group in scores.rewards_PM.tolist())


@given(batches())
def test_a_solver_without_variance_has_no_group_with_two_different_known_verdicts(batch):
    scores, _, group = batch
    groups = scores.passed_PMKL.flatten(2).flatten(0, 1)
    if group == "problem":
        groups = scores.passed_PMKL.flatten(1)
    found = role_without_variance(scores, ("solver",)) is None
    assert found == any(differ(group) for group in groups.tolist())


@given(batches())
def test_what_is_said_of_a_batch_is_true_of_it(batch):
    scores, reward, _ = batch
    parsed, cut = scores.facts_PMF[..., 0].bool(), scores.facts_PMF[..., 2].bool()
    valid, passed = scores.valid_PM, scores.passed_PMKL >= 1
    for role in ("planner",) if reward == "judge" else ("planner", "solver"):
        if role_without_variance(scores, (role,)) is None:
            continue
        cause = likely_cause(scores, role, reward)
        assert CAUSES[cause].advice
        true = {
            "plans_cut": cut.all(),
            "no_plan_parses": not parsed.any(),
            "no_judgement": valid.isnan().any(),
            "judge_rejects_all": not (valid > 0).any() and (valid[parsed] == 0).any(),
            "judge_passes_all": (valid > 0).all(),
            "no_verdict": scores.passed_PMKL[parsed].isnan().any(),
            "attempts_cut": not passed.any(),
            "no_attempt_passes": not passed.any(),
            "all_solved": (scores.outcome_PM[parsed].nan_to_num(1.0) == 1).all(),
            "valid_never_solved": (valid > 0).any() and passed.any(),
            "equal_in_groups": True,
        }
        assert true[cause], cause


def scores_of(script, planner_reward, solve_invalid):
    """The scores of scripted tuples, from the library's own rollouts."""
    tokenizer = make_tokenizer()
    policy = RolloutPolicy(
        Speaker(ScriptedGenerator(script, tokenizer), tokenizer),
        Prompts(PLAN_TEMPLATE, SOLVE_TEMPLATE),
        2,
        Sampling(64, 1.0),
        Sampling(64, 1.0),
    )
    problems = [problem for problem in scripted_problems(len(script)) for _ in script[0]]
    rows = [{} for _ in problems]
    scorer = RolloutScorer(judge, verifier, 2, log_extra=lambda *_: None)
    rollouts = policy.plan(problems)
    valid = scorer.judge(rows, rollouts)
    if planner_reward != "judge":
        kept = zip(rollouts, valid.tolist(), strict=True)
        policy.solve([one for one, v in kept if solve_invalid or v != 0])
    passed = scorer.verify(rows, rollouts, 1)
    shape = (0, (len(script), len(script[0])))
    return Scores.of(
        rollout_facts(rollouts).unflatten(*shape),
        valid.unflatten(*shape),
        passed.unflatten(*shape),
        planner_reward,
        "tuple",
        "population",
    )


GOOD, BAD = "pass: pass fail", "pass: fail fail"


@pytest.mark.parametrize(
    ("cause", "script", "planner_reward"),
    [
        ("plans_cut", (("pass~: pass pass",) * 2,) * 2, "product"),
        ("plans_cut", (("pass~: pass pass",) * 2,) * 2, "judge"),
        ("no_plan_parses", (("broken", "broken"),) * 2, "product"),
        ("no_plan_parses", (("broken", "pass~: pass pass"),) * 2, "judge"),
        ("no_judgement", (("lost: pass fail",) * 2,) * 2, "product"),
        ("no_judgement", (("lost: pass fail",) * 2,) * 2, "judge"),
        ("no_judgement", (("lost: pass fail", GOOD),) * 2, "product"),
        ("no_judgement", (("lost: pass fail", GOOD),) * 2, "judge"),
        ("judge_rejects_all", (("fail: pass fail", "fail: fail fail"),) * 2, "product"),
        ("judge_rejects_all", (("fail: pass fail", "broken"),) * 2, "judge"),
        ("judge_passes_all", ((GOOD, BAD),) * 2, "judge"),
        ("no_verdict", (("pass: lost lost",) * 2,) * 2, "product"),
        ("no_verdict", (("pass: lost lost",) * 2,) * 2, "outcome"),
        ("attempts_cut", (("pass: fail~ fail~",) * 2,) * 2, "product"),
        ("no_attempt_passes", ((BAD, BAD),) * 2, "product"),
        ("no_attempt_passes", (("fail: fail fail", "broken"), (BAD, BAD)), "product"),
        ("no_attempt_passes", (("fail: fail fail", BAD),) * 2, "outcome"),
        ("all_solved", ((GOOD, "pass: pass pass"),) * 2, "product"),
        ("all_solved", ((GOOD, GOOD),) * 2, "sum"),
        ("all_solved", ((GOOD, "fail: fail pass"),) * 2, "outcome"),
        ("valid_never_solved", ((BAD, "fail: pass fail"),) * 2, "product"),
        ("valid_never_solved", ((BAD, "fail: pass fail"),) * 2, "sum"),
        ("equal_in_groups", ((GOOD, GOOD), (BAD, BAD)), "product"),
        ("equal_in_groups", ((GOOD, GOOD), (BAD, BAD)), "sum"),
        ("equal_in_groups", (("broken", "broken"), (GOOD, GOOD)), "judge"),
    ],
)
def test_a_planner_without_variance_is_told_why(cause, script, planner_reward):
    scores = scores_of(script, planner_reward, solve_invalid=True)
    assert role_without_variance(scores, ("planner", "solver")) == "planner"
    assert likely_cause(scores, "planner", planner_reward) == cause


@pytest.mark.parametrize(
    ("cause", "script", "solve_invalid"),
    [
        ("no_plan_parses", (("broken", "broken"),), True),
        ("judge_rejects_all", (("fail: pass fail", "broken"),), False),
        ("no_verdict", (("pass: lost lost", "pass: lost fail"),), True),
        ("attempts_cut", (("fail: fail~ fail~", "pass: fail~ fail~"),), True),
        ("no_attempt_passes", (("fail: fail fail", BAD),), True),
        ("all_solved", (("fail: pass pass", "pass: pass pass"),), True),
        ("equal_in_groups", (("pass: pass pass", BAD),), True),
    ],
)
def test_a_solver_without_variance_is_told_why(cause, script, solve_invalid):
    scores = scores_of(script, "product", solve_invalid)
    assert role_without_variance(scores, ("solver",)) == "solver"
    assert likely_cause(scores, "solver", "product") == cause


def test_a_solver_that_passes_more_than_enough_for_pass_at_k_is_told_so():
    script = (("pass: pass fail", "pass: fail fail"),)
    plain = scores_of(script, "product", solve_invalid=True)
    for passed, k, cause in (
        ([[1.0, 1.0, 1.0, 0.0], [0.0] * 4], 4, "passes_to_spare"),
        ([[1.0, 1.0, 1.0, 1.0], [0.0] * 4], 4, "equal_in_groups"),
        ([[1.0, 1.0, 1.0, 1.0]] * 2, 2, "all_solved"),
        ([[1.0, 1.0, 1.0, 0.0], [0.0] * 4], 2, None),
    ):
        scores = Scores.of(
            plain.facts_PMF,
            plain.valid_PM,
            torch.tensor([passed]).unsqueeze(-1),
            "product",
            "tuple",
            "population",
            solver_pass_k=k,
        )
        assert (role_without_variance(scores, ("solver",)) is None) == (cause is None)
        if cause is not None:
            assert likely_cause(scores, "solver", "product") == cause


def test_variance_of_one_role_is_none_of_the_other():
    planner_only = scores_of((("pass: pass pass", BAD),), "product", solve_invalid=True)
    solver_only = scores_of(((GOOD, GOOD),), "product", solve_invalid=True)
    both = ("planner", "solver")
    assert role_without_variance(planner_only, both) == "solver"
    assert role_without_variance(solver_only, both) == "planner"
    assert role_without_variance(planner_only, ("planner",)) is None


def test_each_cause_is_warned_of_at_powers_of_two_and_every_batch_is_counted(caplog):
    callback = VarianceCallback(("planner",), "product")
    still, other = (
        scores_of(((text, text),), "product", solve_invalid=True) for text in (BAD, "broken")
    )
    moving = scores_of(((GOOD, BAD),), "product", solve_invalid=True)
    found = []
    for step in range(9):
        state = TrainerState(global_step=step)
        found.append([callback.count(scores, state) for scores in (still, moving)])
    assert found == [[n, n] for n in range(1, 10)]
    assert callback.count(other, TrainerState(global_step=9)) == 10
    said = [record.getMessage() for record in caplog.records]
    assert [(text[:7], text.split("for the ")[1][:6]) for text in said] == [
        ("Step 1:", "first "),
        ("Step 2:", "second"),
        ("Step 4:", "4th ti"),
        ("Step 8:", "8th ti"),
        ("Step 10", "first "),
    ]
    assert CAUSES["no_attempt_passes"].advice in said[0]
    assert CAUSES["no_plan_parses"].seen in said[-1]


def test_other_ranks_count_but_do_not_warn(caplog):
    callback = VarianceCallback(("planner",), "product")
    scores = scores_of(((BAD, BAD),), "product", solve_invalid=True)
    assert callback.count(scores, TrainerState(is_world_process_zero=False)) == 1
    assert not caplog.records


REJECTED = (("fail: pass fail", "fail: fail fail"),) * 4


def rejecting(model, output_dir, **settings):
    return make_trainer(
        model, output_dir, REJECTED, save_strategy="steps", save_steps=1, **settings
    )


@pytest.mark.parametrize("restored_by_trainer", [False, True])
def test_a_training_with_a_judge_that_rejects_all_warns_counts_and_resumes(
    restored_by_trainer, qwen3_dir, tmp_path, caplog
):
    rejecting(qwen3_dir, tmp_path, max_steps=3).train()
    warned = [r.getMessage() for r in caplog.records if r.name == "cppo_trl.training"]
    assert len(warned) == 2
    assert all("the judge passes no plan that parses" in text for text in warned)
    caplog.clear()
    again = rejecting(
        qwen3_dir,
        tmp_path,
        max_steps=5,
        restore_callback_states_from_checkpoint=restored_by_trainer,
    )
    again.train(resume_from_checkpoint=True)
    counts = [log["batches_without_variance"] for log in training_logs(again)]
    assert counts == [1, 2, 3, 4, 5]
    warned = [r.getMessage() for r in caplog.records if r.name == "cppo_trl.training"]
    assert [text[:7] for text in warned] == ["Step 4:"]
    state = json.loads((tmp_path / "checkpoint-5" / "trainer_state.json").read_text())
    saved = state["stateful_callbacks"]["VarianceCallback"]["attributes"]
    assert saved == {"counts": {"judge_rejects_all/planner": 5}}


def test_an_evaluation_is_not_counted(qwen3_dir, tmp_path, caplog):
    trainer = make_trainer(qwen3_dir, tmp_path, REJECTED, eval_dataset=scripted_problems(4))
    assert "eval_batches_without_variance" not in trainer.evaluate()
    assert not [r for r in caplog.records if r.name == "cppo_trl.training"]


def test_a_training_with_variance_counts_none(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path)
    trainer.train()
    assert training_logs(trainer)[0]["batches_without_variance"] == 0
