"""The prompts: what each role sees, in which order, and which templates are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cppo_trl.problems import Problem, TestCase
from cppo_trl.prompts import Prompts

STDIN = Problem("p", "Count the ways to climb {n} stairs.", (TestCase("3", "3"),))
FUNCTION = Problem("f", "Add two.", (TestCase("1\n2", "3"),), io_mode="function", fn_name="add")
STARTER = "class Solution:\n    def add(self, a, b):\n        "
METHOD = Problem("m", "Add two.", FUNCTION.tests, "function", "add", starter_code=STARTER)


def content(messages: list[dict[str, str]]) -> str:
    (message,) = messages
    assert message["role"] == "user"
    return message["content"]


@given(st.integers(2, 26))
def test_plan_prompt_names_the_number_and_every_label(k: int) -> None:
    prompt = content(Prompts().plan_messages(STDIN, k))
    labels = [f"{chr(ord('A') + i)}:" for i in range(k)]
    assert ", ".join(labels) in prompt
    assert f"{k} lines" in prompt


def test_plan_prompt_refuses_one_strategy() -> None:
    with pytest.raises(ValueError, match="from 2 to 26"):
        Prompts().plan_messages(STDIN, 1)


@given(st.text(), st.text())
def test_statement_and_strategy_are_taken_literally(statement: str, strategy: str) -> None:
    problem = Problem("p", statement, STDIN.tests)
    prompt = content(Prompts(solve="{statement}|{strategy}").solve_messages(problem, strategy))
    assert prompt == f"{statement}|{strategy}"


@pytest.mark.parametrize("problem", [STDIN, FUNCTION, METHOD], ids=lambda problem: problem.id)
def test_attempts_of_a_problem_share_all_but_the_strategy(problem: Problem) -> None:
    first = content(Prompts().solve_messages(problem, "sort by end"))
    second = content(Prompts().solve_messages(problem, "build a graph"))
    assert first.endswith("sort by end")
    assert first.removesuffix("sort by end") == second.removesuffix("build a graph")
    assert first.startswith(problem.statement)


def test_contract_says_how_the_program_is_run() -> None:
    for messages in (Prompts().plan_messages, Prompts().solve_messages):
        assert "standard input" in content(messages(STDIN, 4))
        assert "the function `add`" in content(messages(FUNCTION, 4))
        assert "the method `add` of `class Solution`" in content(messages(METHOD, 4))


def test_starter_code_is_shown_when_there_is_some() -> None:
    assert f"```python\n{STARTER.rstrip()}\n```" in content(Prompts().solve_messages(METHOD, "s"))
    assert "```" not in content(Prompts().solve_messages(FUNCTION, "s"))


@pytest.mark.parametrize(
    ("templates", "named"),
    [
        ({"plan": "{statement} {strategy}"}, "strategy"),
        ({"plan": "{statement} {}"}, "{}"),
        ({"plan": "{statement.id}"}, "statement.id"),
        ({"plan": "{k} plans"}, "{statement}"),
        ({"plan": "{statement} {k:{width}}"}, "cannot be filled in"),
        ({"plan": "{statement} {k:q}"}, "cannot be filled in"),
        ({"plan": "{statement} {"}, "malformed"),
        ({"solve": "{statement}"}, "{strategy}"),
        ({"solve": "{strategy}"}, "{statement}"),
        ({"solve": "{statement} {strategy} {labels}"}, "labels"),
    ],
)
def test_bad_templates_are_refused_at_construction(templates: dict, named: str) -> None:
    with pytest.raises(ValueError, match=f"the {next(iter(templates))} template") as refusal:
        Prompts(**templates)
    assert named in str(refusal.value)


def test_literal_braces_are_written_twice() -> None:
    prompts = Prompts(plan="{statement} {{x}} {k:02d}")
    assert content(prompts.plan_messages(FUNCTION, 4)) == "Add two. {x} 04"
