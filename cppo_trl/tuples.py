"""Tuples of strategies in a file: one JSON object a line.

    {"problem_id": "sum", "strategies": ["Add them.", "Count up."]}

A line may have `"passed"`: whether any attempt at the tuple passed. The attempts of an evaluation
(`attempts/*/*.jsonl`) are such lines too.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .evaluation.records import Record, RecordError
from .problems import read_rows


class PlanError(ValueError):
    """A row that is no tuple; the message names the row, the field and what it may be."""


@dataclass(frozen=True)
class Plan:
    """A tuple of a file, and whether any attempt at it passed, where that is known."""

    problem_id: str
    strategies: tuple[str, ...]
    passed: bool | None = None


def read_plans(path: str | Path, problems: Container[str]) -> list[Plan]:
    """The tuples of a file, in order, repetitions included.

    Of an evaluation's attempts, `passed` is None where none passed and one has no verdict. Those
    without strategies are left out.

    Args:
        path: a JSONL file.
        problems: the ids that a tuple may be of, such as problems by their ids.

    Raises:
        PlanError: a row is no tuple, or the file has none.
        ProblemError: a line is not JSON.
        OSError: the file cannot be read.
    """
    plans = []
    for where, row in read_rows(path):
        if not isinstance(row, Mapping):
            raise PlanError(f"{where}: must be an object")
        if "attempts" in row:
            plan = _attempted(row, where)
            if plan is None:
                continue
            row = {"problem_id": plan.problem_id, "strategies": [*plan.strategies]}
            row["passed"] = plan.passed
        plans.append(_plan(row, where, problems))
    if not plans:
        raise PlanError(f"{path} has no plans")
    return plans


def write_plans(plans: Iterable[Plan], path: str | Path) -> None:
    """Writes tuples as JSONL, which `read_plans` reads back."""
    with open(path, "w", encoding="utf-8") as file:
        for plan in plans:
            row = {"problem_id": plan.problem_id, "strategies": plan.strategies}
            known = {} if plan.passed is None else {"passed": plan.passed}
            file.write(json.dumps(row | known) + "\n")


def _plan(row: Mapping[str, Any], where: str, problems: Container[str]) -> Plan:
    name, texts, passed = (row.get(key) for key in ("problem_id", "strategies", "passed"))
    is_tuple = isinstance(texts, list) and len(texts) > 1
    for field, is_right, allowed in (
        ("problem_id", isinstance(name, str) and name in problems, "the id of a problem"),
        (
            "strategies",
            is_tuple and all(isinstance(text, str) for text in texts),
            "a list of 2 texts or more",
        ),
        ("passed", isinstance(passed, (bool, type(None))), "true, false or null"),
    ):
        if not is_right:
            shown = repr(row.get(field))[:80]
            raise PlanError(f"{where}: field {field!r} is {shown}; it must be {allowed}")
    return Plan(name, tuple(texts), passed)


def _attempted(row: Mapping[str, Any], where: str) -> Plan | None:
    try:
        record = Record.checked(row, where)
    except RecordError as error:
        raise PlanError(str(error)) from None
    if record.strategies is None:
        return None
    passed = {attempt.passed for attempt in record.attempts}
    outcome = True if True in passed else None if None in passed else False
    return Plan(record.problem_id, record.strategies, outcome)
