"""Credit for the strategies of a plan: who earned the outcome, and how much of it."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings

from cppo_trl.advantages import strategy_advantages
from cppo_trl.guards.variance import likely_cause, role_without_variance
from cppo_trl.rewards import outcome_rewards, strategy_contributions
from cppo_trl.scores import Scores
from test_rewards import verdicts

NAN = math.nan
KINDS = ("leave-one-out", "shapley")
CPU = torch.device("cpu")


# ---- contributions ----


def outcome(shares: list[Fraction]) -> Fraction:
    return 1 - math.prod((1 - share for share in shares), start=Fraction(1))


def brute_force(shares: list[Fraction], kind: str) -> list[Fraction]:
    """Marginal contributions, listed set by set or order by order."""
    K = len(shares)
    found = []
    for i in range(K):
        marginals = []
        for order in itertools.permutations(range(K)):
            before = [shares[j] for j in order[: order.index(i)]]
            if kind == "shapley" or len(before) == K - 1:
                marginals.append(outcome([*before, shares[i]]) - outcome(before))
        found.append(sum(marginals) / Fraction(len(marginals)))
    return found


def shares_of(tuple_: list[list[float]]) -> list[Fraction | None]:
    """The share of known attempts that pass, of each strategy; None without any."""
    shares = []
    for attempts in tuple_:
        known = [verdict for verdict in attempts if not math.isnan(verdict)]
        shares.append(Fraction(sum(v >= 1 for v in known), len(known)) if known else None)
    return shares


@pytest.mark.parametrize("kind", KINDS)
@given(verdicts((0.0, 1.0), most=4))
@settings(deadline=None)
def test_contributions_are_those_of_all_orders(kind: str, passed: torch.Tensor) -> None:
    found = strategy_contributions(passed, kind).flatten(0, 1).tolist()
    for tuple_, contributions in zip(passed.flatten(0, 1).tolist(), found, strict=True):
        expected = [float(value) for value in brute_force(shares_of(tuple_), kind)]
        assert contributions == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(verdicts((0.0, 1.0, NAN), most=3))
@settings(deadline=None)
def test_contributions_are_unknown_where_unknown_strategies_decide_them(
    kind: str, passed: torch.Tensor
) -> None:
    found = strategy_contributions(passed, kind).flatten(0, 1).tolist()
    for tuple_, contributions in zip(passed.flatten(0, 1).tolist(), found, strict=True):
        shares = shares_of(tuple_)
        unknown = shares.count(None)
        possible = []
        for fills in itertools.product((Fraction(0), Fraction(1, 3), Fraction(1)), repeat=unknown):
            values = iter(fills)
            filled = [next(values) if share is None else share for share in shares]
            possible.append(brute_force(filled, kind))
        for contribution, values in zip(contributions, zip(*possible, strict=True), strict=True):
            if len(set(values)) == 1:
                assert contribution == pytest.approx(float(values[0]), abs=1e-6)
            else:
                assert math.isnan(contribution)


@given(verdicts((0.0, 1.0), most=5))
@settings(deadline=None)
def test_shapley_contributions_of_a_tuple_sum_to_its_outcome(passed: torch.Tensor) -> None:
    total = strategy_contributions(passed, "shapley").sum(-1)
    torch.testing.assert_close(total, outcome_rewards(passed), rtol=0, atol=1e-6)


def test_contributions_of_26_strategies_are_exact() -> None:
    draw = random.Random(0)
    passed = torch.tensor([[[[float(draw.random() < 0.2) for _ in range(5)] for _ in range(26)]]])
    shares = shares_of(passed[0, 0].tolist())
    assert 0 < sum(shares) < 10

    def integral(others: list[Fraction]) -> Fraction:
        """Of prod (1 - t p) over t in [0, 1], by its coefficients."""
        coefficients = [Fraction(1)]
        for share in others:
            shifted = [Fraction(0), *(-share * value for value in coefficients)]
            pairs = itertools.zip_longest(coefficients, shifted, fillvalue=Fraction(0))
            coefficients = [a + b for a, b in pairs]
        return sum(value / (power + 1) for power, value in enumerate(coefficients))

    shapley, alone = [], []
    for i, share in enumerate(shares):
        others = shares[:i] + shares[i + 1 :]
        shapley.append(float(share * integral(others)))
        alone.append(float(share * (1 - outcome(others))))
    assert sum(shapley) == pytest.approx(float(outcome(shares)))
    found = strategy_contributions(passed, "shapley").flatten().tolist()
    assert found == pytest.approx(shapley, rel=1e-6)
    found = strategy_contributions(passed, "leave-one-out").flatten().tolist()
    assert found == pytest.approx(alone, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_are_those_of_a_simulation(kind: str) -> None:
    """One attempt at each strategy is drawn, and the strategies come in a random order."""
    chances = torch.tensor([0.25, 0.5, 0.0, 0.75])
    passed = torch.tensor([[[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]]]).float()
    N = 200_000
    generator = torch.Generator().manual_seed(0)
    drawn_NK = torch.rand(N, 4, generator=generator) < chances
    rank_NK = torch.rand(N, 4, generator=generator)
    found = strategy_contributions(passed, kind).flatten().tolist()
    for i in range(4):
        before_NK = rank_NK < rank_NK[:, i : i + 1]
        if kind == "leave-one-out":
            before_NK = torch.arange(4) != i
        adds_N = (drawn_NK[:, i] & ~(drawn_NK & before_NK).any(1)).double()
        error = adds_N.std() / math.sqrt(N)
        assert abs(adds_N.mean() - found[i]) <= 4 * error


@pytest.mark.parametrize("kind", KINDS)
def test_a_useless_strategy_earns_nothing(kind: str) -> None:
    passed = torch.tensor([[[0.0, 1.0, 0.0, 1.0]], [[0.0, 0.0, 0.0, 0.0]], [[0.0, NAN, 1.0, NAN]]])
    contributions = strategy_contributions(passed, kind)
    assert not contributions[passed == 0].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_solver_earns_all_of_it(kind: str) -> None:
    assert strategy_contributions(torch.tensor([[[0.0, 0.0, 1.0, 0.0]]]), kind).tolist() == [
        [[0, 0, 1, 0]]
    ]


def test_two_equal_strategies_share() -> None:
    sure = torch.tensor([[[1.0, 0.0, 1.0]]])
    assert strategy_contributions(sure, "shapley").tolist() == [[[0.5, 0, 0.5]]]
    # One would have done: without either, the outcome is the same.
    assert strategy_contributions(sure, "leave-one-out").tolist() == [[[0, 0, 0]]]
    halves = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])  # each passes half of the time
    assert strategy_contributions(halves, "shapley").tolist() == [[[0.375, 0.375]]]
    assert strategy_contributions(halves, "leave-one-out").tolist() == [[[0.25, 0.25]]]


def test_one_attempt_a_strategy_needs_no_fourth_dimension() -> None:
    passed = torch.tensor([[[1.0, 0.0, NAN], [1.0, 1.0, 0.0]]])
    for kind in KINDS:
        found = strategy_contributions(passed, kind)
        expected = strategy_contributions(passed.unsqueeze(-1), kind)
        torch.testing.assert_close(found, expected, equal_nan=True, rtol=0, atol=0)


def test_other_kinds_and_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="kind is 'none'; it must be 'leave-one-out' or 'shapley'"):
        strategy_contributions(torch.zeros(1, 2, 3), "none")
    with pytest.raises(ValueError, match=r"passed_PMKL has shape \(2, 3\)"):
        strategy_contributions(torch.zeros(2, 3), "shapley")


# ---- credit: contributions against those of the other tuples ----


def test_credit_is_the_contribution_against_those_at_the_same_place() -> None:
    contributions = torch.tensor([[[1.0, 0.5], [0.0, 0.5], [NAN, 0.2], [0.5, NAN]]])
    expected = torch.tensor([[[0.5, 0.1], [-0.5, 0.1], [0.0, -0.2], [0.0, 0.0]]])
    torch.testing.assert_close(strategy_advantages(contributions), expected)


def test_equal_contributions_give_exactly_no_credit() -> None:
    third = torch.tensor([1.0, 1.0, 1.0]) / 3
    assert not strategy_advantages(third.repeat(1, 7, 1)).any()
    assert not strategy_advantages(torch.tensor([[[0.3], [NAN], [NAN]]])).any()  # only one is known


def scores_of(valid, passed, parsed=None, planner_reward="product", credit="shapley", **settings):
    """Scores of one problem's tuples."""
    valid, passed = torch.tensor([valid]), torch.tensor([passed]).unsqueeze(-1)
    parsed = torch.ones_like(valid) if parsed is None else torch.tensor([parsed])
    none, some = torch.zeros_like(parsed), parsed * 5
    facts = torch.stack([parsed, parsed * 2, none, none, some, some, some], -1)
    return Scores.of(
        facts,
        valid,
        passed,
        planner_reward,
        "tuple",
        "population",
        strategy_credit=credit,
        **settings,
    )


SOLVED = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
CENTRED = torch.tensor([[[0.5, -0.5], [-0.5, 0.5], [0.0, 0.0]]])


@pytest.mark.parametrize("planner_reward", ["outcome", "sum"])
def test_credit_is_not_gated_where_the_outcome_is_not(planner_reward: str) -> None:
    scores = scores_of([1.0, 0.0, NAN], SOLVED, planner_reward=planner_reward)
    torch.testing.assert_close(scores.credit_PMK, CENTRED)


def test_a_tuple_that_the_judge_rejects_earns_no_credit() -> None:
    scores = scores_of([1.0, 1.0, 0.0], SOLVED)
    third = 1 / 3
    expected = [[[2 * third, -third], [-third, 2 * third], [-third, -third]]]
    torch.testing.assert_close(scores.credit_PMK, torch.tensor(expected))


def test_an_unknown_judgement_leaves_credit_unknown_but_for_what_fails() -> None:
    scores = scores_of([1.0, 1.0, NAN], [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    # The third tuple's first strategy failed, its second is unknown.
    expected = [[[2 / 3, -0.5], [-1 / 3, 0.5], [-1 / 3, 0.0]]]
    torch.testing.assert_close(scores.credit_PMK, torch.tensor(expected))


def test_a_plan_that_does_not_parse_takes_no_part_in_the_credit() -> None:
    passed = [*SOLVED[:2], [NAN, NAN]]
    scores = scores_of([1.0, 1.0, 0.0], passed, parsed=[1.0, 1.0, 0.0])
    expected = torch.tensor([[[0.5, -0.5], [-0.5, 0.5], [0.0, 0.0]]])
    torch.testing.assert_close(scores.credit_PMK, expected)


def test_without_the_option_there_is_no_credit() -> None:
    scores = scores_of([1.0, 1.0, 1.0], SOLVED, credit="none")
    assert scores.credit_PMK.shape == (1, 3, 2)
    assert not scores.credit_PMK.any()


def test_tuples_that_are_all_solved_have_variance_if_their_credits_differ() -> None:
    valid = [1.0, 1.0, 1.0]
    assert role_without_variance(scores_of(valid, SOLVED), ("planner",)) is None
    plain = scores_of(valid, SOLVED, credit="none")
    equal = scores_of(valid, [[1.0, 0.0]] * 3)
    for scores in (plain, equal):
        assert role_without_variance(scores, ("planner",)) == "planner"
        assert likely_cause(scores, "planner", "product") == "all_solved"


def test_first_keeps_the_first_problems_of_everything() -> None:
    one = scores_of([1.0, 1.0, 1.0], SOLVED)
    tensors = {name: value for name, value in vars(one).items() if torch.is_tensor(value)}
    twice = Scores(**vars(one) | {name: torch.cat([t, t + 1]) for name, t in tensors.items()})
    first = twice.first(1)
    assert first.solver_group == "tuple"
    assert tensors.keys() >= {"credit_PMK", "advantages_PMKL", "facts_PMF"}
    for name, tensor in tensors.items():
        torch.testing.assert_close(getattr(first, name), tensor, equal_nan=True, rtol=0, atol=0)
