"""Trainings with credit for the strategies of a plan."""

from __future__ import annotations

import math

import pytest

from scripted_rollouts import scripted_problems
from small_trainer import make_trainer, training_logs

# All tuples are solved: credit alone tells the strategies apart.
ALL_SOLVED = (("pass: pass fail", "pass: fail pass"),) * 4


def test_credit_trains_a_planner_whose_tuples_are_all_solved(qwen3_dir, tmp_path) -> None:
    for credit, moves in (("none", False), ("shapley", True)):
        trainer = make_trainer(
            qwen3_dir, tmp_path / credit, ALL_SOLVED, strategy_credit=credit, beta=0.0
        )
        trainer.train()
        (log,) = training_logs(trainer)
        assert (log["grad_norm/planner"] > 0) == moves
        assert (log["advantage/planner"] > 0) == moves
        assert log["batches_without_variance"] == (not moves)
        assert log["grad_norm/solver"] > 0


def test_a_batch_without_credit_is_the_methods(qwen3_dir, tmp_path) -> None:
    rows = {}
    for credit in ("none", "leave-one-out"):
        trainer = make_trainer(qwen3_dir, tmp_path / credit, strategy_credit=credit)
        batch = trainer.get_train_dataloader()
        trainer.model.train()
        inputs = next(iter(batch))
        tuples = trainer._generate_and_score_completions(inputs)["tuples"]
        rows[credit] = [row for tuple_ in tuples for row in tuple_]
    assert all(isinstance(row.advantage, float) for row in rows["none"])
    assert any(isinstance(row.advantage, list) for row in rows["leave-one-out"])
    for row in rows["leave-one-out"]:
        assert isinstance(row.advantage, float) or row.role == "planner"


def test_an_evaluation_with_other_numbers_of_tuples_and_attempts_works(qwen3_dir, tmp_path) -> None:
    script = (("pass: pass/fail/fail fail/fail/pass", "fail: pass/pass/fail fail/fail/fail"),) * 4
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        script,
        eval_dataset=scripted_problems(4),
        num_generations_eval=1,
        solver_group="strategy",
        attempts_per_strategy=3,
        solver_pass_k=3,
        strategy_credit="leave-one-out",
    )
    assert math.isfinite(trainer.evaluate()["eval_loss"])
    trainer.train()
    assert math.isfinite(training_logs(trainer)[0]["loss"])


@pytest.mark.parametrize("loss_type", ["grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo"])
def test_credit_goes_with_every_loss(loss_type: str, qwen3_dir, tmp_path) -> None:
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        ALL_SOLVED,
        loss_type=loss_type,
        strategy_credit="shapley",
        off_policy_mask_threshold=0.5,
        num_iterations=2,
        max_steps=2,
    )
    trainer.train()
    for log in training_logs(trainer):
        assert math.isfinite(log["loss"])
        assert log["grad_norm/planner"] > 0
