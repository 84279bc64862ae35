"""Plan text and the tuple of strategies that it holds.

A plan is K label lines, one strategy each (arXiv 2605.27000, planner prompt):

    A: Sort the intervals by end and keep each that starts after the last one kept.
    B: Count, for every point, how many intervals cover it.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# Decoration that models put before a label: quotes, headings, bullets, numbers, emphasis, brackets.
# Emphasis and quotation marks are the last of it, and are looked for again after the label.
_LABEL_LINE = re.compile(
    r"""(?P<before>[\s>\#+\-•–\d.()\[*_`"'“”‘’]*)
        (?:(?i:strategy|approach|plan|option|idea|method)\s+)?
        (?P<label>[A-Z])
        (?P<closed>[*_`"'”’)\]]*)\s*
        (?:[:：)\]]|\.(?=[\s*_`"'”’]|$))
        (?P<text>.*)""",
    re.VERBOSE,
)
_MARKS = "*_`\"'“‘"
_CLOSING = str.maketrans("“‘", "”’")
_RULE_OR_FENCE = re.compile(r"[\s`~*_\-=\#>]*")


def strategy_labels(k: int) -> tuple[str, ...]:
    """The labels of a plan of `k` strategies: "A", "B", and so on.

    Raises:
        ValueError: `k` is not a whole number from 2 to 26.
    """
    if not isinstance(k, int) or not 2 <= k <= 26:
        raise ValueError(f"k is {k!r}; a plan has from 2 to 26 strategies")
    return tuple(string.ascii_uppercase[:k])


def format_plan(strategies: Sequence[str]) -> str:
    """The plan text of a tuple of strategies, one label line each, white space collapsed.

    `parse_plan` reads it back, as long as no strategy holds a literal `</think>`.

    Raises:
        ValueError: not 2 to 26 strategies, or one of them is blank.
    """
    labels = strategy_labels(len(strategies))
    lines = []
    for label, strategy in zip(labels, strategies, strict=True):
        text = " ".join(strategy.split())
        if not text:
            raise ValueError(f"strategy {label} is {strategy!r}; it must hold text")
        lines.append(f"{label}: {text}")
    return "\n".join(lines)


def parse_plan(text: str, k: int) -> tuple[str, ...] | None:
    """The `k` strategies of a plan in the order of their labels, or None when the plan has not all.

    Decoration around labels (`### A:`, `**A:**`, `- A)`, `1. A.`, `> "A: ..."`) and text before the
    first label are ignored, and so is all before the last `</think>`. The first occurrence of each
    label counts. A strategy reaches to the next label line and is joined to one line; the last one
    ends at a blank line, since what follows is an epilogue. Never raises on any `text`.

    Raises:
        ValueError: `k` is not a whole number from 2 to 26.
    """
    sections = _sections(text, k)
    return None if sections is None else tuple(section.strategy() for section in sections)


def strategy_spans(text: str, k: int) -> tuple[tuple[int, int], ...] | None:
    """Where `parse_plan` finds each strategy: (start, end) in `text`, in the order of the labels.

    A span is whole lines, from that of the label to the next label line, or to the epilogue. None
    where `parse_plan` gives None.

    Raises:
        ValueError: `k` is not a whole number from 2 to 26.
    """
    sections = _sections(text, k)
    if sections is None:
        return None
    return tuple((section.start, section.ends[-1]) for section in sections)


@dataclass
class _Section:
    """One strategy as it is written: its lines without the label, and where they are.

    `mark` was opened before the label and is not closed yet; `ends` has the end of each line.
    """

    start: int
    mark: str
    lines: list[str]
    ends: list[int]

    def strategy(self) -> str:
        text = " ".join(" ".join(self.lines).split())
        return text.removesuffix(self.mark).rstrip()

    def drop_epilogue(self) -> None:
        """Cuts the lines at the first blank one after the strategy's text."""
        started = False
        for index, line in enumerate(self.lines):
            if started and not line.strip():
                del self.lines[index:], self.ends[index:]
                return
            started = started or bool(line.strip())


def _sections(text: str, k: int) -> list[_Section] | None:
    """The sections of the `k` strategies in the order of their labels, or None without all."""
    labels = strategy_labels(k)
    ends = _ending_labels(k)
    sections: dict[str, _Section] = {}
    answer = text.rpartition("</think>")[2]
    place = len(text) - len(answer)
    current = _Section(place, "", [], [])
    for line, whole in zip(answer.splitlines(), answer.splitlines(keepends=True), strict=True):
        start, place = place, place + len(whole)
        match = _LABEL_LINE.fullmatch(line)
        if match is None or match["label"] not in ends:
            current.lines.append("" if _RULE_OR_FENCE.fullmatch(line) else line)
            current.ends.append(place)
            continue
        body, mark = _split_mark(match)
        current = _Section(start, mark, [body], [place])
        if match["label"] in labels:
            sections.setdefault(match["label"], current)
    if len(sections) < k:
        return None
    *_, last = sections.values()
    last.drop_epilogue()
    found = [sections[label] for label in labels]
    return found if all(section.strategy() for section in found) else None


def count_labels(text: str, k: int) -> int:
    """The number of label lines in a plan of `k` strategies: repeated and surplus ones count too.

    A plan that keeps to the format has exactly `k`. Looks at what `parse_plan` looks at.

    Raises:
        ValueError: `k` is not a whole number from 2 to 26.
    """
    ends = _ending_labels(k)
    matches = map(_LABEL_LINE.fullmatch, text.rpartition("</think>")[2].splitlines())
    return sum(match is not None and match["label"] in ends for match in matches)


def _ending_labels(k: int) -> set[str]:
    """The labels that end the strategy before them: a surplus one (E for k = 4) is no strategy, but
    no part of one either.
    """
    return {*strategy_labels(k), string.ascii_uppercase[k : k + 1]}


def _split_mark(match: re.Match[str]) -> tuple[str, str]:
    """The text of a label line, and the mark opened before the label and not closed yet."""
    text = match["text"].strip()
    before = match["before"]
    mark = before[len(before.rstrip(_MARKS)) :].translate(_CLOSING)[::-1]
    if not mark or match["closed"]:
        return text, ""
    if text.startswith(mark):
        return text.removeprefix(mark), ""
    return text, mark


def normalise_strategy(strategy: str) -> str:
    """The strategy without what does not make it another one: equal results mean a repetition.

    Case, white space, Unicode form, markdown emphasis, quotation marks, hyphens between letters
    and sentence punctuation are set aside; operators and the points in numbers are kept, since
    "a+b" and "a-b", "0.5" and "5" are different ideas.
    """
    text = unicodedata.normalize("NFKC", strategy).casefold()
    text = re.sub(r"\*\*+|__+|[`\"“”„«»]", "", text)
    text = re.sub(r"(?<=[^\W\d_])[-‐‑](?=[^\W\d_]{2})", " ", text)  # two-pointer, but not n-k
    text = re.sub(r"[,;:!?…]|\.(?!\d)|(?<!\w)'|'(?!\w)", " ", text)
    return " ".join(text.split())
