"""Colours and marks of the figures, and a figure as markup for the page."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any colour vision; grey is for the baseline.
METHOD_COLOURS = (
    "#767676",
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#000000",
)
MARKERS = "osD^vPX*"
INK, MUTED, LINE, CELL = "#222222", "#5f6368", "#d8dce1", "#eaedf0"
ALSO, ONLY = "#0072b2", "#e69f00"  # solved by others as well, solved by this attempt only
WIDTH = 360  # points: what a phone shows without making words smaller
# The page has colours of its own for these, for light and dark; `page.css` names them.
_VARIABLES = {colour: f"var(--m{place})" for place, colour in enumerate(METHOD_COLOURS)} | {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    CELL: "var(--cell)",
}


def method_places(methods: Sequence[str], baseline: str) -> dict[str, int]:
    """The place of each method among colours and markers: 0 for the baseline, then in order."""
    others = [name for name in methods if name != baseline]
    size = len(METHOD_COLOURS)
    return {baseline: 0} | {name: 1 + n % (size - 1) for n, name in enumerate(others)}


def shown(name: str, length: int) -> str:
    """A name of any origin as a figure can show it: cut to `length`, never mathematics."""
    name = " ".join(name.split())
    cut = name if len(name) <= length else name[: length - 1] + "…"
    # matplotlib leaves names with an underscore first out of legends
    return (" " + cut if cut.startswith("_") else cut).replace("$", r"\$")


def save_png(figure: Figure, path: object) -> None:
    """Writes an image; the same figure gives the same bytes."""
    figure.savefig(path, format="png", dpi=200, facecolor="white", metadata={"Software": None})


def svg_markup(figure: Figure, name: str, label: str) -> str:
    """The figure as an `svg` element that scales, has the page's colours, and repeats no id.

    Args:
        figure: without a background.
        name: of the figure, another for each on a page.
        label: what it shows, for those who cannot see it.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="(image[0-9a-f]+|[A-Za-z0-9.]+_\d+)"', "", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    colours = "|".join(_VARIABLES)
    svg = re.sub(rf": ({colours})\b", lambda found: f": {_VARIABLES[found[1]]}", svg)
    opening = f'<svg role="img" aria-label="{html.escape(label)}" '
    size = r'<svg ([^>]*?)width="[^"]*" height="[^"]*"'
    return re.sub(size, lambda found: opening + found[1], svg, count=1)
