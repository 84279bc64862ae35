"""The warm-up ends where the acceptance rate levels off, and nowhere else."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TrainerControl, TrainerState

from cppo_trl import CPPOConfig
from cppo_trl.guards.callbacks import LevelOffCallback
from cppo_trl.guards.level_off import level_off
from small_trainer import make_trainer

WINDOW = 20
SEEDS = st.integers(0, 2**32 - 1)
RATES = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=40)


def noisy(rates, seed, noise=0.03):
    """A logged history, one entry a step."""
    drawn = np.random.default_rng(seed).normal(rates, noise).clip(0, 1)
    return [{"step": step, "R_plan": float(rate)} for step, rate in enumerate(drawn, start=1)]


def stop_of(history, **config):
    """The step at which the callback stops a training that logs this history, or None."""
    settings = {"planner_reward": "judge", "level_off_steps": 3, "use_cpu": True, "bf16": False}
    args = CPPOConfig("unused", report_to="none", **(settings | config))
    callback, state, control = LevelOffCallback(), TrainerState(), TrainerControl()
    for entry in history:
        state.log_history.append(entry)
        state.global_step = entry["step"]
        callback.on_log(args, state, control)
        if control.should_training_stop:
            return state.global_step
    return None


@given(SEEDS, st.floats(0.0, 0.2), st.floats(0.004, 0.008))
def test_a_rate_that_rises_never_ends_the_warm_up(seed, start, slope):
    rates = start + slope * np.arange(100)
    assert level_off(noisy(rates, seed), WINDOW) is None


@given(SEEDS, st.floats(0.1, 0.9), st.integers(0, 3))
def test_a_rate_that_no_longer_rises_ends_it_within_a_few_windows(seed, rate, rising):
    ramp = np.linspace(0, rate, rising * WINDOW, endpoint=False)
    found = level_off(noisy([*ramp, *[rate] * 10 * WINDOW], seed), WINDOW)
    assert found is not None
    assert found.step <= (rising + 10) * WINDOW


@given(SEEDS)
def test_a_rise_over_two_windows_is_seen_where_one_window_hides_it(seed):
    rates = [0.3 + 0.02 * (step // WINDOW) for step in range(3 * WINDOW)]
    assert level_off(noisy(rates, seed, noise=0.002), WINDOW) is None
    # The last is no higher than the window before it, but than the one before that.
    flat_end = noisy([0.3] * WINDOW + [0.5] * 2 * WINDOW, seed, noise=0.002)
    assert level_off(flat_end, WINDOW) is None


def test_a_slow_rise_under_the_noise_of_sixteen_tuples_is_seldom_taken_for_level():
    draw = np.random.default_rng(0)
    rates = np.linspace(0.3, 0.9, 150)
    early = 0
    for _ in range(200):
        drawn = draw.binomial(16, rates) / 16
        history = [{"step": step, "R_plan": r} for step, r in enumerate(drawn, start=1)]
        early += level_off(history, WINDOW) is not None
    assert early / 200 < 0.05


def test_a_rate_of_about_one_ends_it_even_where_it_rose():
    history = [{"step": n, "R_plan": 0.3 if n <= 4 else 1.0} for n in range(1, 9)]
    assert level_off(history, 4) == (8, (1.0,), 0.0)


def test_a_rise_that_noise_explains_is_level_and_one_that_it_does_not_is_none():
    rises = [
        [{"step": n, "R_plan": rate} for n, rate in enumerate(rates, start=1)]
        for rates in ([0.2, 0.4, 0.3, 0.4, 0.3, 0.4], [0.2, 0.21, 0.3, 0.31, 0.4, 0.41])
    ]
    assert [level_off(history, 2) is None for history in rises] == [False, True]


def test_entries_weigh_the_steps_that_they_are_the_mean_of():
    steps, rates = (1, 4, 5, 8, 9, 12), (0.0, 0.4, 0.1, 0.1, 0.1, 0.1)
    history = [{"step": s, "R_plan": r} for s, r in zip(steps, rates, strict=True)]
    found = level_off(history, 4)
    assert found.step == 12
    assert found.rates == pytest.approx(((1 * 0.0 + 3 * 0.4) / 4, 0.1, 0.1))
    # Differences of entries of 1 and 3 steps, over windows of 4 steps each.
    variance = np.mean(np.square([0.4, 0.3, 0.0, 0.0, 0.0]) / (1 + 1 / 3))
    assert found.noise == pytest.approx(np.sqrt(variance * (1 / 4 + 1 / 4)))


@given(SEEDS, st.data())
def test_unknown_rates_and_other_entries_do_not_count(seed, data):
    history = noisy([0.5] * 60, seed)
    lost = data.draw(st.sets(st.integers(0, 59), max_size=10))
    mixed = []
    for place, entry in enumerate(history):
        mixed.append({"step": entry["step"], "eval_R_plan": 1.0, "eval_loss": 0.0})
        unknown = data.draw(st.sampled_from([None, float("nan")])) if place in lost else None
        mixed.append(entry | {"R_plan": unknown} if place in lost else entry)
        mixed.append({"step": entry["step"], "train_runtime": 1.0})
    kept = [entry for place, entry in enumerate(history) if place not in lost]
    # Entries that are missing altogether would leave their steps to the next: renumber.
    kept = [entry | {"step": step} for step, entry in enumerate(kept, start=1)]
    found, expected = level_off(mixed, 10), level_off(kept, 10)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found.rates == pytest.approx(expected.rates)


@settings(max_examples=30)
@given(RATES, st.integers(0, 40))
def test_a_resumed_run_ends_where_the_unbroken_one_does(tmp_path_factory, rates, cut):
    history = [{"step": step, "R_plan": rate} for step, rate in enumerate(rates, start=1)]
    stop = stop_of(history)
    if stop is not None and stop <= cut:
        return  # it was over before
    path = str(tmp_path_factory.mktemp("state") / "state.json")
    TrainerState(log_history=history[:cut]).save_to_json(path)
    saved = TrainerState.load_from_json(path).log_history
    assert stop_of(saved + history[cut:]) == stop


@pytest.mark.parametrize(
    "config", [{"level_off_steps": 0}, {"planner_reward": "product"}, {"planner_reward": "sum"}]
)
def test_only_the_warm_up_ends_and_only_if_it_is_asked_to(config):
    history = [{"step": step, "R_plan": 1.0} for step in range(1, 50)]
    assert stop_of(history) == 3
    assert stop_of(history, **config) is None


def test_a_warm_up_stops_early_says_why_and_is_saved(qwen3_dir, tmp_path, caplog):
    # The judge passes 3 and 2 of the 4 tuples in turn, whatever the planner learns.
    trainer = make_trainer(
        qwen3_dir,
        tmp_path,
        planner_reward="judge",
        verifier=None,
        level_off_steps=2,
        max_steps=9,
        save_strategy="steps",
        save_steps=100,
    )
    with caplog.at_level(logging.WARNING, "cppo_trl"):
        trainer.train()
    assert trainer.state.global_step == 6
    assert (
        "The warm-up ends at step 6: the acceptance rate (R_plan) has levelled off at 0.625"
        in caplog.text
    )
    assert (tmp_path / "checkpoint-6" / "planner").is_dir()


def test_training_with_the_product_goes_on_to_its_last_step(qwen3_dir, tmp_path):
    trainer = make_trainer(qwen3_dir, tmp_path, level_off_steps=2, max_steps=8)
    trainer.train()
    assert trainer.state.global_step == 8
