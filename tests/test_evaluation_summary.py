"""A table's numbers are those of its records, whatever way they are computed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from cppo_trl.evaluation import holm, paired_bootstrap
from cppo_trl.evaluation.records import AttemptRecord, Record
from cppo_trl.evaluation.summary import pass_at_k_scores, summarise, without_unknown

STATUS = {"+": "pass", "-": "wrong_answer", "?": "infrastructure"}


def record(
    outcomes: str,
    problem: str = "p",
    seed: int = 0,
    draw: int = 0,
    strategies: tuple[str, ...] | None = None,
    tokens: tuple[int, int] = (0, 100),
    program: str = "print({place})",
) -> Record:
    attempts = tuple(
        AttemptRecord("", program.format(place=place), STATUS[outcome], 0, 1, 0.5)
        for place, outcome in enumerate(outcomes)
    )
    planner, solver = tokens
    spent = {
        "planner_calls": int(planner > 0),
        "planner_tokens": planner,
        "solver_calls": len(outcomes),
        "solver_tokens": solver,
    }
    return Record(seed, draw, problem, strategies, attempts, spent)


def random_records(
    rate: float, seeds: int = 2, problems: int = 30, rng_seed: int = 0
) -> list[Record]:
    rng = np.random.default_rng(rng_seed)
    return [
        record("".join("+" if x else "-" for x in rng.random(4) < rate), f"p{problem}", seed)
        for seed in range(seeds)
        for problem in range(problems)
    ]


def test_up_to_a_tuple_pass_at_k_is_that_of_subsets_within_tuples() -> None:
    drawn = ["++--", "----", "+---"]
    records = [record(outcomes, draw=draw) for draw, outcomes in enumerate(drawn)]
    for k in range(1, 5):
        subsets = [any(o == "+" for o in s) for d in drawn for s in itertools.combinations(d, k)]
        assert pass_at_k_scores(records, k) == pytest.approx(np.array([[np.mean(subsets)]]))


def test_a_budget_of_whole_tuples_is_that_of_subsets_of_tuples() -> None:
    drawn = ["++--", "----", "+---"]
    records = [record(outcomes, draw=draw) for draw, outcomes in enumerate(drawn)]
    for k in (8, 12):
        subsets = [any("+" in o for o in s) for s in itertools.combinations(drawn, k // 4)]
        assert pass_at_k_scores(records, k) == pytest.approx(np.array([[np.mean(subsets)]]))


def test_between_whole_tuples_the_attempts_of_all_draws_are_pooled() -> None:
    drawn = ["++--", "----", "+---"]
    records = [record(outcomes, draw=draw) for draw, outcomes in enumerate(drawn)]
    for k in (5, 7, 11):
        subsets = [any(o == "+" for o in s) for s in itertools.combinations("".join(drawn), k)]
        assert pass_at_k_scores(records, k) == pytest.approx(np.array([[np.mean(subsets)]]))
    with pytest.raises(ValueError, match="k is 13; there are 12 attempts at problem 'p'"):
        pass_at_k_scores(records, 13)
    with pytest.raises(ValueError, match="k is 0; it must be"):
        pass_at_k_scores(records, 0)


def test_scores_have_a_row_for_each_seed_and_a_column_for_each_problem() -> None:
    records = [
        record("+-", "a", 0),
        record("--", "b", 0),
        record("++", "a", 1),
        record("+-", "b", 1),
    ]
    assert pass_at_k_scores(records, 1).tolist() == [[0.5, 0], [1, 0.5]]


def test_an_unknown_verdict_is_no_failure() -> None:
    methods = {
        "one": [record("+-", "a"), record("?-", "b"), record("--", "c")],
        "two": [record("+-", "a"), record("--", "b"), record("-?", "c")],
    }
    kept, unknown = without_unknown(methods)
    assert unknown == ["b", "c"]
    assert [[r.problem_id for r in records] for records in kept.values()] == [["a"], ["a"]]
    with pytest.raises(ValueError, match="problem 'b' has attempts without a verdict"):
        pass_at_k_scores(methods["one"], 1)


def test_pass_at_the_size_of_a_tuple_is_tested_and_adjusted_for_all_cells_of_the_table() -> None:
    benchmarks = {
        benchmark: {
            name: random_records(rate, rng_seed=n + shift)
            for n, (name, rate) in enumerate([("low", 0.2), ("same", 0.2), ("high", 0.6)])
        }
        for shift, benchmark in ((0, "one"), (10, "two"))
    }
    found = summarise(benchmarks, [1, 4])
    assert [found[benchmark][0].against for benchmark in found] == [None, None]
    plain = {
        (benchmark, name): paired_bootstrap(
            pass_at_k_scores(methods[name], 4), pass_at_k_scores(methods["low"], 4)
        )
        for benchmark, methods in benchmarks.items()
        for name in ("same", "high")
    }
    adjusted = dict(zip(plain, holm([test.p_value for test in plain.values()]), strict=True))
    for (benchmark, name), test in plain.items():
        (summary,) = (s for s in found[benchmark] if s.method == name)
        assert summary.against == replace(test, p_value=adjusted[benchmark, name])
        assert summary.is_significant == (name == "high")


def test_any_method_can_be_the_baseline() -> None:
    methods = {"a": random_records(0.2), "b": random_records(0.6, rng_seed=1)}
    first, second = summarise({"any": methods}, [1], baseline="b")["any"]
    assert first.against.difference < 0
    assert second.against is None


def test_means_are_over_all_records() -> None:
    records = [
        record("+---", "a", strategies=("x", "y", "X", "z"), tokens=(20, 100)),
        record("++--", "b", tokens=(40, 300), program="print(1)"),
    ]
    (found,) = summarise({"any": {"m": records}}, [4])["any"]
    assert found.scores[0].mean == 1.0
    assert (found.distinct, found.parse_rate) == (3.0, 0.5)
    assert (found.planner_tokens, found.solver_tokens) == (30.0, 200.0)
    assert (found.planner_calls, found.solver_calls) == (1.0, 4.0)
    assert found.pass_per_10k_tokens == pytest.approx(1 / 230 * 10_000)
    assert found.solved_by_one == 0.5
    assert found.near_duplicates == (0 + 1) / 2
    assert found.cpu_seconds == 2.0


def test_methods_without_plans_have_no_parse_rate() -> None:
    (found,) = summarise({"any": {"direct": [record("+-")]}}, [1])["any"]
    assert (found.distinct, found.parse_rate) == (None, None)


@pytest.mark.parametrize(
    ("methods", "baseline", "message"),
    [
        ({}, None, "nothing to summarise"),
        ({"a": []}, None, "nothing to summarise"),
        ({"a": [record("+")]}, "b", "baseline is 'b'; it must be one of"),
        (
            {"a": [record("+")], "b": [record("+", "q")]},
            None,
            "'b' and 'a' were not run on the same",
        ),
        ({"a": [record("+")], "b": [record("+", seed=1)]}, None, "not run on the same"),
    ],
)
def test_what_cannot_be_compared_is_refused(methods, baseline, message) -> None:
    with pytest.raises(ValueError, match=message):
        summarise({"any": methods}, [1], baseline)
