"""Which tokens of a plan are paid for which strategy, from the text to the batch."""

from __future__ import annotations

import itertools
from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cppo_trl.batches import Row, collate
from cppo_trl.generation import Completion, Turn
from cppo_trl.metrics import loss_terms
from cppo_trl.plan_tokens import strategy_tokens, token_advantages
from cppo_trl.plans import format_plan, strategy_spans
from tiny_models import make_tokenizer

CPU = torch.device("cpu")


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
    mixed.append(Row.placeholder("solver"))
    batch = collate(mixed, 0, CPU)
    assert batch["advantages"].tolist() == [[0, 0.5, 0.5], [-1, -1, -1], [0, 0.25, 2], [0, 0, 0]]
    assert batch["advantages"].shape == batch["completion_ids"].shape


def test_a_row_adds_nothing_only_if_no_token_of_it_has_an_advantage() -> None:
    assert Row("planner", [1], [2, 3], [0.0, -0.1]).has_advantage
    assert not Row("planner", [1], [2, 3], [0.0, 0.0]).has_advantage
    assert Row("planner", [1], [2, 3], 0.1).has_advantage
    assert not Row("planner", [1], [2, 3], 0.0).has_advantage


def test_placeholders_stand_in_beside_rows_with_an_advantage_for_each_token() -> None:
    rows = [Row("planner", [1], [2, 3], [0.5, 0.0]), Row.placeholder("solver")]
    batch = collate(rows, 0, CPU)
    assert batch["advantages"].tolist() == [[0.5, 0], [0, 0]]
    assert batch["tool_mask"].tolist() == [[1, 1], [0, 0]]


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
