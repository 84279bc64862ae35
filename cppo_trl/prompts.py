"""The chat messages that ask for a plan and for a program."""

from __future__ import annotations

import string
from dataclasses import dataclass

from .plans import strategy_labels
from .problems import Problem

DEFAULT_PLAN = """\
{statement}

{contract}

Do not solve this problem yet. Write {k} different strategies for it, of which each will be handed \
to a programmer who sees the problem and that one strategy only. At least one of the {k} programs \
has to be right, so spread them: choose strategies that do not fail for the same reason.

Each strategy:
- covers the whole problem on its own; it is never one step of a shared walk-through;
- names a concrete hook into this problem: a state, an invariant, a sort key, a graph, a formula;
- differs from the others in the route it takes, its complexity or its way to fail, not in wording;
- is one sentence of at most 45 words, without code, imports or final answers.

Answer with exactly {k} lines that start with {labels}, and nothing before {first} or after {last}.\
"""

# The strategy comes last, so that all attempts at a problem share a prefix that caches.
DEFAULT_SOLVE = """\
{statement}

{contract}{starter_code}

Write a complete Python 3 program that follows the strategy below. \
Answer with one fenced python block and nothing else.

Strategy: {strategy}\
"""

# For a judge that answers in words. The plan comes last: the tuples of a problem share a prefix.
DEFAULT_JUDGE = """\
Someone was asked for {k} different strategies for the problem below, of which each is handed to a \
programmer who sees the problem and that one strategy only. Decide whether the plan is valid. You \
are not asked whether the strategies are right.

The plan fails if any of these holds:
- there are not exactly {k} strategies;
- two strategies lead to the same program, whatever their wording (variants of one idea that \
differ in implementation, complexity or way to fail are fine);
- the strategies are steps of one workflow and not attempts of their own at the whole problem;
- a strategy is filler, or fluent but so general that it would fit most problems;
- a strategy belongs to another problem, or takes for granted what the problem does not say;
- a strategy contains code, or gives away a final answer.

Problem:
{statement}

Plan:
{plan}

Answer with one JSON object and nothing else: {{"verdict": "pass" or "fail", "reason": "one \
sentence"}}\
"""

# For a judge whose next token is the answer.
DEFAULT_VALIDITY = """\
Problem:
{statement}

Plan of {k} strategies:
{plan}

Is each strategy an attempt of its own at this whole problem, by another route than the others?
Answer:\
"""

_NUMBERS = ("k", "z")
_PLAN_FIELDS = ("statement", "k", "labels", "first", "last", "contract")
_SOLVE_FIELDS = ("statement", "contract", "starter_code", "strategy")


@dataclass(frozen=True)
class Prompts:
    """The templates of both roles, filled in with `str.format`; a literal brace is written twice.

    `plan` may use `{statement}` (required), `{k}`, `{labels}` ("A:, B:, C:"), `{first}` and
    `{last}` (the first and last label, "A:"), and `{contract}`. `solve` may use `{statement}` and
    `{strategy}` (both required), `{contract}`, and `{starter_code}`, which is empty for a problem
    without starter code and otherwise a paragraph of its own, with the blank line before it.
    `{contract}` is one sentence that says how the program gets its input and gives its answer.

    Raises:
        ValueError: a template is malformed, has an unknown field, or lacks a required one.
    """

    plan: str = DEFAULT_PLAN
    solve: str = DEFAULT_SOLVE

    def __post_init__(self) -> None:
        check_template("plan", self.plan, _PLAN_FIELDS, required=("statement",))
        check_template("solve", self.solve, _SOLVE_FIELDS, required=("statement", "strategy"))

    def plan_messages(self, problem: Problem, k: int) -> list[dict[str, str]]:
        """The chat that asks the planner for `k` strategies (2 to 26)."""
        labels = [f"{label}:" for label in strategy_labels(k)]
        content = self.plan.format(
            statement=problem.statement,
            k=k,
            labels=", ".join(labels),
            first=labels[0],
            last=labels[-1],
            contract=contract(problem),
        )
        return [{"role": "user", "content": content}]

    def solve_messages(self, problem: Problem, strategy: str) -> list[dict[str, str]]:
        """The chat that asks the solver for one program that follows `strategy`."""
        content = self.solve.format(
            statement=problem.statement,
            contract=contract(problem),
            starter_code=starter_code(problem),
            strategy=strategy,
        )
        return [{"role": "user", "content": content}]


def contract(problem: Problem) -> str:
    """One sentence: how a program for the problem gets its input and gives its answer."""
    if problem.io_mode == "stdin":
        return "The program reads standard input and prints its answer to standard output."
    if "class Solution" in problem.starter_code:
        kind = f"the method `{problem.fn_name}` of `class Solution`"
    else:
        kind = f"the function `{problem.fn_name}`"
    return f"Implement {kind}: it is called with the arguments and returns the answer."


def starter_code(problem: Problem) -> str:
    """The paragraph that shows the code to start from, with the blank line before it, or ""."""
    if not problem.starter_code.strip():
        return ""
    return f"\n\nStart from this code:\n\n```python\n{problem.starter_code.rstrip()}\n```"


def check_template(
    name: str, template: str, allowed: tuple[str, ...], required: tuple[str, ...]
) -> None:
    """Raises ValueError where a template is malformed or its fields are not those it may have."""
    try:
        used = {found for _, found, _, _ in string.Formatter().parse(template) if found is not None}
    except ValueError as error:
        raise ValueError(f"the {name} template is malformed: {error}") from error
    unknown = sorted(used.difference(allowed))
    if unknown:
        raise ValueError(
            f"the {name} template has the unknown field {{{unknown[0]}}}; allowed are "
            f"{', '.join(f'{{{known}}}' for known in allowed)} (write a literal brace twice)"
        )
    for field in required:
        if field not in used:
            raise ValueError(f"the {name} template lacks the required field {{{field}}}")
    try:
        # Finds what the names do not show: a format that does not suit its field, a nested field.
        template.format(**{known: 2 if known in _NUMBERS else "" for known in allowed})
    except (ValueError, LookupError) as error:
        raise ValueError(f"the {name} template cannot be filled in: {error}") from error
