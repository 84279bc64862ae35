"""Which problems of a training set are in an evaluation set too."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cppo_trl.problems import Problem

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Overlap:
    """Two problems that are the same, and how that shows."""

    train_id: str
    evaluation_id: str
    reason: Literal["statement", "source id"]


def statement_hash(statement: str) -> str | None:
    """A hash of the words and numbers of a statement, in lower case; None if it has none.

    White space, punctuation, markup's signs and forms of letters that look the same do not count:
    they are what copies of a statement differ in.
    """
    words = _WORD.findall(unicodedata.normalize("NFKC", statement).casefold())
    return hashlib.sha256(" ".join(words).encode()).hexdigest() if words else None


def find_overlap(train: Iterable[Problem], evaluation: Iterable[Problem]) -> list[Overlap]:
    """The pairs of a training and an evaluation problem that are one and the same.

    The same statement but for its form, or the same `metadata["source_id"]`, which the loaders of
    benchmarks set to the platform and its own id: a problem of Codeforces is found again whichever
    benchmark it came by. A statement that was reworded and has no such id is not found.
    """
    by_statement: dict[str, str] = {}
    by_source: dict[str, str] = {}
    for problem in train:
        statement, source = _keys(problem)
        if statement is not None:
            by_statement.setdefault(statement, problem.id)
        if source is not None:
            by_source.setdefault(source, problem.id)
    found = []
    for problem in evaluation:
        statement, source = _keys(problem)
        if statement in by_statement:
            found.append(Overlap(by_statement[statement], problem.id, "statement"))
        elif source in by_source:
            found.append(Overlap(by_source[source], problem.id, "source id"))
    return found


def _keys(problem: Problem) -> tuple[str | None, str | None]:
    source = problem.metadata.get("source_id")
    return statement_hash(problem.statement), source if isinstance(source, str) else None
