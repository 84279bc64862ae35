"""Tables as data, which Markdown and the page draw each in its own way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

NONE = "–"  # where there is no number
BETTER, WORSE = "▲", "▼"


@dataclass(frozen=True)
class Cell:
    """A number as text, what belongs to it (an interval), a mark, and whether it is the best."""

    text: str
    detail: str = ""
    mark: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Row:
    """What one method has in each column."""

    method: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """Numbers by method.

    Attributes:
        caption: what the numbers are.
        columns: their names.
        sections: title and rows; one without a title where there are no sections.
        groups: title and number of the columns under it; empty where columns are not grouped.
        corner: what the rows are.
        notes: what a reader must know beside the caption.
    """

    caption: str
    columns: tuple[str, ...]
    sections: tuple[tuple[str, tuple[Row, ...]], ...]
    groups: tuple[tuple[str, int], ...] = ()
    corner: str = "method"
    notes: tuple[str, ...] = ()


def best_marked(columns: Sequence[Sequence[float | None]], cells: Sequence[Sequence[Cell]]) -> None:
    """Marks the highest value of each column, all of them in a tie; in place, lists of lists.

    A column of equal values, or of one, has no best.
    """
    for values, column in zip(columns, cells, strict=True):
        known = [value for value in values if value is not None]
        if not known or max(known) - min(known) < 1e-12:
            continue
        for place, value in enumerate(values):
            if value is not None and max(known) - value < 1e-12:
                column[place] = replace(column[place], is_best=True)


def percent(share: float | None) -> str:
    """A share in percent, without the sign."""
    return NONE if share is None else f"{100 * share:.1f}"


def interval(low: float, high: float) -> str:
    """Two shares in percent."""
    return f"({percent(low)}–{percent(high)})"


def points(difference: float) -> str:
    """The difference of two shares in points of percent, with its sign."""
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def p_value(p: float) -> str:
    """A p-value with its relation, in spaces that no line breaks at."""
    return "p\u00a0<\u00a00.001" if p < 0.001 else f"p\u00a0=\u00a0{p:.3f}"


def count(number: float | None) -> str:
    """A mean of things counted: fewer digits where it is large, none where there are no things."""
    if number is None:
        return NONE
    if number == 0:
        return "0"
    return f"{number:,.0f}" if number >= 100 else f"{number:.2f}"


def seconds(number: float) -> str:
    """A mean time: two digits that count where it is below one second."""
    return count(number) if number >= 1 else f"{number:.2g}"


def listed(names: Sequence[str]) -> str:
    """Names as a sentence has them: "a, b and c"."""
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last


def markdown_text(text: str) -> str:
    """Text of any origin on one line of Markdown, without markup of its own."""
    return re.sub(r"([\\`*<>|\[\]~&])", r"\\\1", " ".join(text.split()))


def markdown_table(table: Table) -> str:
    """The table as GitHub draws it: one header line, sections as a first column."""
    titles = [title for title, span in table.groups for _ in range(span)] or [""] * len(
        table.columns
    )
    header = [
        markdown_text(f"{title} {column}")
        for title, column in zip(titles, table.columns, strict=True)
    ]
    has_sections = any(title for title, _ in table.sections)
    lines = [
        [*["benchmark"] * has_sections, table.corner, *header],
        [*["---"] * (1 + has_sections), *["---:"] * len(header)],
    ]
    for title, rows in table.sections:
        for number, row in enumerate(rows):
            section = [markdown_text(title) if number == 0 else ""] * has_sections
            lines.append([*section, markdown_text(row.method), *map(_markdown_cell, row.cells)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _markdown_cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.is_best else cell.text
    return " ".join(filter(None, (text, cell.detail, cell.mark)))
