"""The plan parser: lenient about decoration, strict about labels, and never raising."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cppo_trl.plans import (
    count_labels,
    format_plan,
    parse_plan,
    strategy_labels,
    strategy_spans,
)

FOUR = ("sort by end", "count the cover", "try each split", "reduce to a graph")

# Strategies as a model writes them: words and formulas on one line, never a label line by accident.
words = st.text(string.ascii_lowercase + string.digits + "+-*/=()[]_'", min_size=1, max_size=8)
sentences = st.lists(words, min_size=1, max_size=8).map(lambda found: "use " + " ".join(found))
any_line = st.text(min_size=1, max_size=30).map(lambda found: " ".join(found.split())).filter(bool)
prose = st.lists(sentences, max_size=3).map("\n".join)

DECORATIONS = (
    "{label}: {text}",
    "{label} : {text}",
    "{label}:{text}",
    "### {label}: {text}",
    "## Strategy {label}: {text}",
    "**{label}:** {text}",
    "**{label}**: {text}",
    "**{label}: {text}**",
    "**Strategy {label}:** {text}",
    "*{label}:* {text}",
    "__{label}:__ {text}",
    "- {label}) {text}",
    "- {label}: {text}",
    "- **{label}:** {text}",
    "* {label}: {text}",
    "+ {label}. {text}",
    "1. {label}: {text}",
    "12) **{label})** {text}",
    "> {label}: {text}",
    "> **{label}:** {text}",
    '"{label}: {text}"',
    "“{label}: {text}”",
    "`{label}:` {text}",
    "({label}) {text}",
    "[{label}] {text}",
    "   {label}. {text}",
    "\t{label}: {text}  ",
    "### {label}:\n{text}",
    "**{label}:**\n\n{text}",
)


@pytest.mark.parametrize("decoration", DECORATIONS)
def test_labels_are_counted_under_any_decoration(decoration: str) -> None:
    lines = [
        decoration.format(label=label, text=text) for label, text in zip("ABCD", FOUR, strict=True)
    ]
    extra = decoration.format(label="E", text="one more")
    assert count_labels("\n".join(lines), 4) == 4
    assert count_labels("\n".join([*lines, extra]), 4) == 5
    assert count_labels("\n".join([*lines, lines[1]]), 4) == 5


def test_labels_before_the_end_of_thinking_are_not_counted() -> None:
    assert count_labels(f"A: try this\n</think>\n{format_plan(FOUR)}", 4) == 4


@given(st.data(), st.integers(2, 26))
def test_format_then_parse_gives_the_strategies_back(data: st.DataObject, k: int) -> None:
    strategies = tuple(data.draw(st.lists(any_line, min_size=k, max_size=k)))
    plan = format_plan(strategies)
    assume("</think>" not in plan)
    assert parse_plan(plan, k) == strategies


@given(st.text(), st.integers(2, 26))
def test_any_text_parses_to_none_or_k_strategies(text: str, k: int) -> None:
    strategies = parse_plan(text, k)
    assert strategies is None or (len(strategies) == k and all(s.strip() for s in strategies))


@given(st.text("AB:*#\n -.)\"'`>1 x</think>", max_size=60))
def test_text_made_of_labels_and_decoration_never_raises(text: str) -> None:
    strategies = parse_plan(text, 2)
    assert strategies is None or (len(strategies) == 2 and all(s.strip() for s in strategies))


# Plans of three, with all that a parser has to tell apart, more often than not with every label.
plan_lines = st.one_of(
    st.tuples(st.sampled_from(DECORATIONS), st.sampled_from("ABCDE"), sentences).map(
        lambda found: found[0].format(label=found[1], text=found[2])
    ),
    st.sampled_from(["", " ", "---", "```", "</think>", "A: *", "B:", "**C: x", "x*", "\x0b", "𝒳"]),
    sentences,
)
ends_of_lines = st.sampled_from(["\n", "\r\n", "\n\n", "\u2028", "\x1c"])


@st.composite
def any_plans(draw: st.DrawFn) -> str:
    lines = draw(st.lists(plan_lines, max_size=6))
    for label in draw(st.permutations("ABC")):
        style = draw(st.sampled_from(DECORATIONS))
        lines.insert(draw(st.integers(0, len(lines))), style.format(label=label, text="use it"))
    return "".join(line + draw(ends_of_lines) for line in lines)


@given(any_plans() | st.text("AB:*#\n -.)\"'`>1 x</think>", max_size=60))
def test_the_text_of_a_span_alone_is_its_strategy(text: str) -> None:
    strategies, spans = parse_plan(text, 3), strategy_spans(text, 3)
    if strategies is None:
        assert spans is None
        return
    for label, strategy, (start, end) in zip("ABC", strategies, spans, strict=True):
        others = "\n".join(f"{other}: filler" for other in "ABC" if other != label)
        alone = parse_plan(f"{text[start:end]}\n{others}", 3)
        assert alone == tuple(strategy if other == label else "filler" for other in "ABC")


@given(any_plans())
def test_spans_are_whole_lines_apart_from_each_other(text: str) -> None:
    spans = strategy_spans(text, 3)
    assume(spans is not None)
    borders = {0}
    for line in text.splitlines(keepends=True):
        borders.add(max(borders) + len(line))
    thought = len(text) - len(text.rpartition("</think>")[2])
    end_before = thought
    for start, end in sorted(spans):
        assert end_before <= start < end
        assert {start, end} <= borders | {thought}
        end_before = end


def test_spans_of_a_formatted_plan_are_its_lines() -> None:
    plan = format_plan(FOUR)
    lines = [plan[start:end] for start, end in strategy_spans(plan, 4)]
    assert lines == plan.splitlines(keepends=True)


def test_spans_leave_thoughts_prefaces_repetitions_and_epilogues_out() -> None:
    plan = f"A: x\n</think>\nIdeas:\n{format_plan(FOUR)}\nA: again\n\nThat is all."
    lines = [plan[start:end] for start, end in strategy_spans(plan, 4)]
    assert lines == [f"{line}\n" for line in format_plan(FOUR).splitlines()]
    swapped = "B: count\nmore\n\nA: sort\nit\n\nThat is all."
    assert [swapped[a:b] for a, b in strategy_spans(swapped, 2)] == [
        "A: sort\nit\n",
        "B: count\nmore\n\n",
    ]


@given(st.data(), st.integers(2, 26), prose, prose)
@settings(deadline=None)
def test_decoration_and_surrounding_text_change_nothing(
    data: st.DataObject, k: int, preface: str, epilogue: str
) -> None:
    strategies = tuple(data.draw(st.lists(sentences, min_size=k, max_size=k)))
    style = data.draw(st.sampled_from(DECORATIONS))
    # A mark of the decoration at a strategy's own edge is not to be told from the decoration.
    assume(not any(text.endswith(("*", "_", "'", '"', "`")) for text in strategies))
    separator = data.draw(st.sampled_from(["\n", "\n\n", "\n---\n", "\r\n"]))
    lines = [
        style.format(label=label, text=text)
        for label, text in zip(strategy_labels(k), strategies, strict=True)
    ]
    thought = data.draw(st.sampled_from(["", "<think>\nA: draft\nB: draft\n</think>\n\n"]))
    plan = f"{thought}{preface}\n{separator.join(lines)}\n\n{epilogue}"
    assert parse_plan(plan, k) == strategies


@given(st.data(), st.integers(2, 26))
def test_order_of_the_labels_in_the_text_does_not_matter(data: st.DataObject, k: int) -> None:
    strategies = tuple(data.draw(st.lists(sentences, min_size=k, max_size=k)))
    lines = data.draw(st.permutations(format_plan(strategies).splitlines()))
    assert parse_plan("\n".join(lines), k) == strategies


@given(st.data(), st.integers(2, 26))
def test_a_missing_label_rejects_the_plan(data: st.DataObject, k: int) -> None:
    lines = format_plan(data.draw(st.lists(sentences, min_size=k, max_size=k))).splitlines()
    del lines[data.draw(st.integers(0, k - 1))]
    assert parse_plan("\n".join(lines), k) is None


@given(st.data(), st.integers(2, 26))
def test_the_first_occurrence_of_a_label_counts(data: st.DataObject, k: int) -> None:
    strategies = tuple(data.draw(st.lists(sentences, min_size=k, max_size=k)))
    again = tuple(data.draw(st.lists(sentences, min_size=k, max_size=k)))
    assert parse_plan(f"{format_plan(strategies)}\n{format_plan(again)}", k) == strategies


@given(st.lists(sentences, min_size=4, max_size=4), st.integers(1, 3))
def test_wrapped_lines_are_joined_by_a_space(strategies: list[str], width: int) -> None:
    wrapped = []
    for label, text in zip(strategy_labels(4), strategies, strict=True):
        found = text.split()
        pieces = [" ".join(found[i : i + width]) for i in range(0, len(found), width)]
        assume(all(any(c.isalnum() for c in piece) for piece in pieces))  # "---" is a rule
        wrapped.append(f"{label}: " + "\n   ".join(pieces))
    assert parse_plan("\n".join(wrapped), 4) == tuple(strategies)


@pytest.mark.parametrize("label", "ABCD")
def test_a_blank_strategy_rejects_the_plan(label: str) -> None:
    plan = "\n".join(
        line[:2] if line[0] == label else line for line in format_plan(FOUR).split("\n")
    )
    assert parse_plan(plan, 4) is None


def test_only_text_after_the_thought_is_read() -> None:
    draft = format_plan(["draft"] * 4)
    assert parse_plan(f"<think>{draft}</think>\n{format_plan(FOUR)}", 4) == FOUR
    assert parse_plan(f"<think>\n{draft}\n</think>\nI could not find a plan.", 4) is None


def test_an_epilogue_after_a_blank_line_is_left_out() -> None:
    assert (
        parse_plan(f"{format_plan(FOUR)}\n\nThese four differ in their data structure.", 4) == FOUR
    )


def test_a_surplus_label_is_not_part_of_the_last_strategy() -> None:
    assert parse_plan(f"{format_plan(FOUR)}\nE: use brute force\nF: guess", 4) == FOUR


def test_a_fenced_plan_is_read_without_its_fences() -> None:
    assert parse_plan(f"```text\n{format_plan(FOUR)}\n```", 4) == FOUR


def test_labels_in_the_middle_of_a_line_are_text() -> None:
    assert parse_plan("A: one B: two C: three D: four", 4) is None


def test_lowercase_labels_are_text() -> None:
    assert parse_plan("a: one\nb: two", 2) is None


def test_formulas_and_quotes_inside_a_strategy_stay() -> None:
    strategies = ('count "bad" pairs: C(n, 2) - good', "let f(n) = f(n-1) + f(n-2) * *w*")
    assert parse_plan(format_plan(strategies), 2) == strategies


def test_long_runs_of_decoration_are_parsed_in_linear_time() -> None:
    for piece in ("*", " ", "> ", "A", "A)", "1.", "Strategy ", "A: x\n", "\n"):
        run = piece * 200_000
        assert parse_plan(run, 4) is None
        assert parse_plan(f"{run} A: x\nB: {run}", 4) is None
        assert parse_plan(f"A: x\nB:{run}\ny", 2) is not None


def test_format_collapses_white_space_so_that_no_label_line_slips_in() -> None:
    assert format_plan(["one\nB: two", " three\t"]) == "A: one B: two\nB: three"


@pytest.mark.parametrize("strategies", [[], ["one"], ["one"] * 27, ["one", " \n"]])
def test_format_refuses_what_is_no_plan(strategies: list[str]) -> None:
    with pytest.raises(ValueError, match="strateg"):
        format_plan(strategies)


def test_labels_are_the_alphabet() -> None:
    assert strategy_labels(4) == ("A", "B", "C", "D")
    assert "".join(strategy_labels(26)) == string.ascii_uppercase


@pytest.mark.parametrize("k", [0, 1, 27, -3, 2.0, "4"])
def test_other_numbers_of_strategies_are_refused(k: object) -> None:
    with pytest.raises(ValueError, match="from 2 to 26"):
        parse_plan("A: x", k)
