"""What is measured on the coordination gap, and how the report tells it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cppo_trl.benchmarks.coordination_gap import RULES, independent_limit, make_problems
from cppo_trl.benchmarks.coordination_gap.base import (
    PLAN_TEMPLATE,
    SOLVE_TEMPLATE,
    BaseSettings,
    fenced,
    make_tokenizer,
    train_base,
)
from cppo_trl.benchmarks.coordination_gap.measure import (
    Measurement,
    Tried,
    measure_direct,
    measure_policy,
    passed_readings,
    untrained_policy,
)
from cppo_trl.benchmarks.coordination_gap.plot import plot, training_curve
from cppo_trl.benchmarks.coordination_gap.report import conclusion, markdown_table
from cppo_trl.benchmarks.coordination_gap.results import Interval, Result
from cppo_trl.generation import Completion, Sampling, Speaker
from cppo_trl.plans import format_plan
from cppo_trl.prompts import Prompts
from cppo_trl.roles import PLANNER
from cppo_trl.rollouts import RolloutPolicy
from cppo_trl.verifier import CodeVerifier

PROBLEMS = make_problems(6, 0, "development")
PROBLEM = PROBLEMS[0]
READINGS = PROBLEM.metadata["readings"]


def sentences(*names):
    return tuple(RULES[name].strategy for name in names)


class Player:
    """A generator that knows the world: its plans are made of `moves`, of which each is the place
    of a reading; it solves as its strategy says, and directly as the first move does.
    """

    def __init__(self, moves):
        self.moves = moves
        self.tokenizer = make_tokenizer()
        self.by_prompt = {p.statement: p for p in PROBLEMS}

    def generate(self, prompts, adapter, sampling):
        texts = [self.answer(self.tokenizer.decode(prompt), adapter) for prompt in prompts]
        return [Completion(self.tokenizer(text)["input_ids"], truncated=False) for text in texts]

    def answer(self, prompt, adapter):
        problem = self.by_prompt[prompt.split("\n")[0]]
        readings = [RULES[name] for name in problem.metadata["readings"]]
        if adapter == PLANNER and self.moves is None:
            return "no plan"
        if adapter == PLANNER:
            return format_plan([readings[move].strategy for move in self.moves])
        rule = readings[0]
        if "IDEA " in prompt:
            strategy = prompt.split("IDEA ")[1].split("\n")[0]
            (rule,) = [rule for rule in readings if rule.strategy == strategy]
        return fenced(rule.program(problem.metadata["layout"]))


def player(moves):
    generator = Player(moves)
    sampling = Sampling(64)
    prompts = Prompts(PLAN_TEMPLATE, SOLVE_TEMPLATE)
    speaker = Speaker(generator, generator.tokenizer)
    return RolloutPolicy(speaker, prompts, 4, sampling, sampling)


def tried(*passed, strategies=None, tokens=10):
    return Tried(PROBLEM, strategies, passed, tokens)


@pytest.fixture(scope="module")
def verifier():
    with CodeVerifier() as verifier:
        yield verifier


@pytest.mark.parametrize(
    ("moves", "pass_at_4"), [((0, 1, 2, 3), 1.0), ((0, 0, 1, 1), 0.5), ((2, 2, 2, 2), 0.25)]
)
def test_pass_at_k_is_the_share_of_readings_that_the_plan_covers(moves, pass_at_4, verifier):
    measured = measure_policy(player(moves), PROBLEMS, verifier, tuples=2)
    np.testing.assert_allclose(measured.pass_at(4), pass_at_4)
    np.testing.assert_allclose(measured.pass_at(1), 0.25)
    assert measured.distinct == len(set(moves))
    assert measured.coordinated == (len(set(moves)) == 4)
    assert measured.admissible == measured.faithful == measured.parse_rate == 1


def test_unparsable_plan_is_k_failures_and_costs_its_tokens(verifier):
    measured = measure_policy(player(None), PROBLEMS, verifier)
    np.testing.assert_array_equal(measured.pass_at(1), 0)
    np.testing.assert_array_equal(measured.pass_at(4), 0)
    assert measured.attempts == 4
    assert measured.tokens == len(make_tokenizer()("no plan")["input_ids"])
    assert measured.parse_rate == 0
    assert math.isnan(measured.distinct)


def test_tokens_are_those_of_the_plan_and_its_attempts(verifier):
    measured = measure_policy(player((0, 1, 2, 3)), [PROBLEM], verifier)
    rules, layout = [RULES[name] for name in READINGS], PROBLEM.metadata["layout"]
    texts = [format_plan([rule.strategy for rule in rules])]
    texts += [fenced(rule.program(layout)) for rule in rules]
    assert measured.tokens == sum(len(make_tokenizer()(text)["input_ids"]) for text in texts)


def test_direct_sampling_sees_the_statement_alone_and_has_no_strategies(verifier):
    measured = measure_direct(player((0, 1, 2, 3)), PROBLEMS, verifier)
    np.testing.assert_allclose(measured.pass_at(4), 0.25)
    assert measured.attempts == 4
    assert Result.of("Direct", [measured]).distinct is None


def test_shares_count_what_they_say():
    first, second, third, _ = READINGS
    other = next(name for name in RULES if name not in READINGS)
    measured = Measurement(
        (
            (
                tried(first, None, strategies=sentences(first, second), tokens=8),
                tried(first, first, strategies=sentences(first, first), tokens=6),
            ),
            (
                tried(third, None, strategies=sentences(third, other), tokens=4),
                tried(None, None, tokens=2),
            ),
        )
    )
    assert measured.parse_rate == 3 / 4
    assert measured.distinct == pytest.approx((2 + 1 + 2) / 3)
    assert measured.admissible == pytest.approx(5 / 6)
    assert measured.coordinated == 1 / 4
    assert measured.faithful == pytest.approx(4 / 5)
    assert measured.tokens == 5
    # By hand: passes (1, 0), (1, 1) | (1, 0), (0, 0) over four readings and two tuples each.
    np.testing.assert_allclose(measured.pass_at(1), [(0.5 + 1) / 8, 0.5 / 8])
    np.testing.assert_allclose(measured.pass_at(2), [2 / 8, 1 / 8])


def test_passed_readings_names_the_reading_that_a_program_computes(verifier):
    layout = PROBLEM.metadata["layout"]
    completions = [fenced(RULES[name].program(layout)) for name in READINGS]
    completions += ["no program", fenced("print(1)")]
    passed = passed_readings([PROBLEM] * len(completions), completions, verifier)
    assert passed == [*READINGS, None, None]


def test_a_short_training_shows_in_the_rates(tmp_path, verifier):
    """A short training is far from the finished base and still far above an untrained model."""
    base = train_base(tmp_path, BaseSettings(steps=120, batch_size=8), progress=False)
    problems = make_problems(24, 0, "development")
    policy = untrained_policy(base)
    planned = measure_policy(policy, problems, verifier)
    assert planned.parse_rate > 0.8
    assert planned.admissible > 0.3
    assert planned.faithful > 0.3
    assert 1 <= planned.distinct <= 4
    again = measure_policy(policy, problems, verifier)
    assert again == planned
    assert measure_policy(policy, problems, verifier, seed=1) != planned
    assert measure_direct(policy, problems, verifier).pass_at(4).mean() > 0.1


def result(name, low, mean, high):
    first = Interval(0.2, 0.1, 0.3)
    return Result(name, first, Interval(mean, low, high), 3.5, 0.9, 0.4, 1.0, 4, 60.0)


def test_conclusion_claims_the_gap_only_when_the_whole_interval_is_above_the_limit():
    limit = independent_limit(4, 4)
    assert "is above" in conclusion(result("CPPO", limit + 0.001, 0.8, 0.9))
    assert "does not show" in conclusion(result("CPPO", limit - 0.001, 0.8, 0.9))


def test_table_shows_both_limits_beside_the_results():
    rows = markdown_table([result("CPPO", 0.7, 0.8, 0.9)]).splitlines()
    assert rows[2].startswith("| independent limit | 0.250 | 0.684 |")
    assert rows[3].startswith("| coordinated limit | 0.250 | 1.000 |")
    assert "| CPPO | 0.200 (0.100–0.300) | 0.800 (0.700–0.900) | 3.50 | 0.900 | 4 | 60 |" in rows


def test_several_seeds_are_one_result_with_a_wider_interval():
    def measured(share):
        return Measurement(
            tuple((tried(*(READINGS if i < share else [None] * 4)),) for i in range(10))
        )

    one, both = Result.of("", [measured(5)]), Result.of("", [measured(2), measured(8)])
    assert one.pass_k.mean == both.pass_k.mean == 0.5
    assert both.pass_k.high - both.pass_k.low > one.pass_k.high - one.pass_k.low


def test_training_curve_is_the_evaluations_in_the_state(tmp_path):
    history = [
        {"step": 0, "eval_pass@1": 0.1, "eval_pass@4": 0.5, "eval_loss": 1.0},
        {"step": 1, "pass@4": 0.9, "loss": 0.0},
        {"step": 10, "eval_pass@1": 0.2, "eval_pass@4": 0.75},
    ]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    assert training_curve(tmp_path) == [(0, 0.5), (10, 0.75)]


@pytest.mark.parametrize("seeds", [1, 3])
def test_plot_is_an_image_for_any_number_of_seeds(seeds, tmp_path):
    curves = {seed: [(0, 0.6), (10, 0.7 + seed / 10)] for seed in range(seeds)}
    results = [result("Direct sampling", 0.6, 0.65, 0.7), result("CPPO after", 0.7, 0.8, 0.9)]
    plot(curves, results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
