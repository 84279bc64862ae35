"""Credit for the strategies of a plan: who earned the outcome, and which tokens are paid for it."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import asdict
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cppo_trl.advantages import strategy_advantages
from cppo_trl.batches import Row, collate, with_every_role
from cppo_trl.generation import Completion, Turn
from cppo_trl.guards.variance import likely_cause, role_without_variance
from cppo_trl.metrics import loss_terms
from cppo_trl.plan_tokens import strategy_tokens, token_advantages
from cppo_trl.plans import format_plan, strategy_spans
from cppo_trl.rewards import outcome_rewards, strategy_contributions
from cppo_trl.scores import Scores
from scripted_rollouts import scripted_problems
from small_trainer import make_trainer, training_logs
from test_rewards import verdicts
from tiny_models import make_tokenizer

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


# ---- tokens ----


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def bytes_of(tokenizer, token_id: int) -> bytes:
    """The bytes that a token stands for; none for a special token."""
    if token_id in tokenizer.all_special_ids:
        return b""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet |= {chr(256 + n): byte for n, byte in enumerate(others)}
    return bytes(alphabet[char] for char in tokenizer.convert_ids_to_tokens(token_id))


def decoder(tokenizer):
    return lambda ids: tokenizer.decode(ids, skip_special_tokens=True)


@given(st.data())
@settings(deadline=None)
def test_tokens_are_those_of_the_strategys_characters(tokenizer, data: st.DataObject) -> None:
    texts = st.text(st.sampled_from("ab :\n€😀é*-"), min_size=1, max_size=12).filter(str.strip)
    lines = data.draw(st.lists(texts, min_size=2, max_size=2))
    preface = data.draw(st.sampled_from(["", "Ideas 😀:\n", "<think>A: x</think>\n"]))
    epilogue = data.draw(st.sampled_from(["", "\n\nThat is all €."]))
    text = f"{preface}A: {lines[0]}\n**B:** {lines[1]}{epilogue}"
    # Not the tokens that encoding the text gives: cut anywhere, also within characters.
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=4).map(sorted))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    ids: list[int] = []
    for piece in pieces:
        found = tokenizer(piece)["input_ids"]
        if data.draw(st.booleans()):
            found = [
                tokenizer.convert_tokens_to_ids(char)
                for char in tokenizer.convert_ids_to_tokens(found)
                for char in char
            ]
        ids += found
    ids.append(tokenizer.eos_token_id)
    decode = decoder(tokenizer)
    assert decode(ids) == text

    spans = strategy_spans(text, 2)
    found = strategy_tokens(text, 2, ids, decode)
    if spans is None:
        assert found is None
        return
    position = 0
    for place, token_id in enumerate(ids):
        # The character that the token's first byte belongs to.
        whole = text.encode()[: position + 1].decode(errors="ignore")
        at = len(whole) - (len(whole.encode()) == position + 1)
        if not bytes_of(tokenizer, token_id):
            at = len(text)
        owner = [start <= at < end for start, end in spans]
        assert [place in tokens for tokens in found] == owner, (place, at)
        position += len(bytes_of(tokenizer, token_id))


def test_each_token_gets_its_strategys_credit_on_top(tokenizer) -> None:
    text = f"Let me see.\n{format_plan(['add 😀', 'count'])}\n\nBoth are quick."
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    found = token_advantages(1.0, [0.25, -2.0], text, ids, decoder(tokenizer))
    said = {1.0: "", 1.25: "", -1.0: ""}
    for token_id, advantage in zip(ids, found, strict=True):
        said[advantage] += tokenizer.decode([token_id], skip_special_tokens=True)
    assert said[-1.0] == "B: count\n"
    assert said[1.25].startswith("A: add ")
    assert said[1.0] == "Let me see.\n\nBoth are quick."
    assert found[-1] == 1.0  # the end of the sequence


def test_without_credit_a_plan_has_one_advantage(tokenizer) -> None:
    text = format_plan(["add", "count"])
    ids = tokenizer(text)["input_ids"]

    def never(_):
        raise AssertionError("there is nothing to look for")

    assert token_advantages(0.5, [0.0, 0.0], text, ids, never) == 0.5


# ---- rows ----


def test_a_batch_has_an_advantage_for_each_token_as_soon_as_one_row_does() -> None:
    plain = [Row("planner", [1], [2, 3], 0.5), Row("solver", [1, 1], [4, 5, 6], -1.0)]
    assert collate(plain, 0, CPU)["advantages"].tolist() == [0.5, -1.0]
    mixed = [*plain, Row("planner", [1], [7, 8], [0.25, 2.0])]
    mixed.append(Row.placeholder("solver", mixed[0]))
    batch = collate(mixed, 0, CPU)
    assert batch["advantages"].tolist() == [[0.5, 0.5, 0], [-1, -1, -1], [0.25, 2, 0], [0, 0, 0]]
    assert batch["advantages"].shape == batch["completion_ids"].shape


def test_a_row_adds_nothing_only_if_no_token_of_it_has_an_advantage() -> None:
    assert Row("planner", [1], [2, 3], [0.0, -0.1]).has_advantage
    assert not Row("planner", [1], [2, 3], [0.0, 0.0]).has_advantage
    assert Row("planner", [1], [2, 3], 0.1).has_advantage
    assert not Row("planner", [1], [2, 3], 0.0).has_advantage


def test_placeholders_stand_in_beside_rows_with_an_advantage_for_each_token() -> None:
    rows = with_every_role([Row("planner", [1], [2, 3], [0.5, 0.0])], ("planner", "solver"))
    batch = collate(rows, 0, CPU)
    assert batch["advantages"].tolist() == [[0.5, 0], [0, 0]]
    assert batch["completion_mask"].tolist() == [[1, 1], [0, 0]]


def test_terms_of_equal_advantages_do_not_depend_on_how_they_are_given() -> None:
    once = [Row("planner", [1], [2, 3, 4], 0.5), Row("solver", [1], [5], -1.5)]
    each = [Row(r.role, r.prompt_ids, r.completion_ids, r.token_advantages()) for r in once]
    logps, entropies = torch.randn(2, 3), torch.rand(2, 3)
    terms = [
        loss_terms(logps, entropies, collate(rows, 0, CPU), 0.2, 0.2, 0.0) for rows in (once, each)
    ]
    for name, values in terms[0].items():
        torch.testing.assert_close(terms[1][name], values)


def test_logged_advantage_is_the_mean_magnitude_over_tokens() -> None:
    batch = collate([Row("planner", [1], [2, 3, 4], [1.0, -3.0, 2.0])], 0, CPU)
    zeros = torch.zeros(1, 3)
    terms = loss_terms(zeros, zeros, batch, 0.2, 0.2, 0.0)
    assert [value.tolist() for value in terms["advantage"]] == [[2.0], [1.0]]
    assert terms["loss"][0].tolist() == [0.0]


def test_a_row_with_an_advantage_for_each_token_survives_a_checkpoint(tmp_path) -> None:
    turn = Turn([], [1, 2], Completion([3, 4], truncated=False), "ab")
    row = Row.of("planner", turn, [0.5, -1.0])
    torch.save(asdict(row), tmp_path / "row.pt")
    assert Row(**torch.load(tmp_path / "row.pt", weights_only=True)) == row


# ---- training ----


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
