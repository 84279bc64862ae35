"""The report as one page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from cppo_trl.evaluation.results import Evaluation

from .as_json import flat
from .conclusion import benchmark_conclusion, conclusion, left_out
from .curves import curves_figure
from .numbers import (
    cost_table,
    curves_note,
    difference_table,
    diversity_table,
    num_scored,
    score_at,
    score_table,
    solved_table,
)
from .problem_data import packed, problem_index, problem_pages
from .solved_plot import solved_figure
from .style import method_places, svg_markup
from .table import percent
from .title import about, attempts, command, title


def page(evaluation: Evaluation) -> str:
    """The whole report, programs included, as HTML."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FunctionLoader(_own_file),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = _own_file("page.js")
    return environment.get_template("page.html").render(
        title=title(evaluation),
        about=about(evaluation),
        conclusion=conclusion(evaluation),
        benchmarks=_benchmarks(evaluation),
        has_others=len(evaluation.benchmarks[0].summaries) > 1,
        curves_note=curves_note(evaluation),
        scores=score_table(evaluation),
        differences=difference_table(evaluation),
        solved=solved_table(evaluation),
        diversity=diversity_table(evaluation),
        cost=cost_table(evaluation),
        places=method_places(list(evaluation.benchmarks[0].records), evaluation.baseline),
        attempts=attempts(evaluation.k),
        command=command(evaluation),
        settings=flat(evaluation.settings),
        sessions=_sessions(evaluation),
        num_sessions=len(evaluation.sessions),
        style=Markup(_own_file("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        index=Markup(packed(problem_index(evaluation))),
        pages=[Markup(text) for text in problem_pages(evaluation)],
    )


def _own_file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _benchmarks(evaluation: Evaluation) -> list[dict[str, Any]]:
    found = []
    for place, benchmark in enumerate(evaluation.benchmarks):
        k = evaluation.k
        at_k = [f"{s.method} {percent(score_at(s, k).mean)} %" for s in benchmark.summaries]
        told = ", ".join(at_k)
        found.append(
            {
                "name": benchmark.name,
                "described": benchmark.described,
                "conclusion": benchmark_conclusion(benchmark, k),
                "left_out": left_out(benchmark),
                "unknown": benchmark.unknown,
                "scored": num_scored(benchmark),
                "curves": Markup(
                    svg_markup(
                        curves_figure([benchmark], evaluation),
                        f"curves-{place}",
                        f"pass@k over k on {benchmark.name}; pass@{k}: {told}",
                    )
                ),
                "solved": Markup(
                    svg_markup(
                        solved_figure([benchmark], legend=False),
                        f"solved-{place}",
                        f"Which attempt solved which problem of {benchmark.name}; the "
                        "shares are in the table below",
                    )
                ),
            }
        )
    return found


def _sessions(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    """Each entry with its value in every session; "" where a session has none."""
    told = [flat(session) for session in evaluation.sessions]
    names = dict.fromkeys(name for session in told for name in session)
    return [(name, [session.get(name, "") for session in told]) for name in names]
