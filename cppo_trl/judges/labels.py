"""Tuples with a label, valid or not: what a judge is trained and measured on."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cppo_trl.problems import Problem, read_rows

from .corruption import FOREIGN, corrupt
from .judgement import Judgement

CORRUPTION = "corruption"  # begins the source of a label that an operator made


class LabelError(ValueError):
    """A label that cannot be used; the message names the row and the field."""


@dataclass(frozen=True)
class Label:
    """Whether a tuple is valid for a problem.

    Attributes:
        problem_id: of the problem.
        strategies: the tuple.
        valid: the label.
        source: who said so: a judge, or "corruption/" and the operator.
        reason: why it is not valid, where that was said.
    """

    problem_id: str
    strategies: tuple[str, ...]
    valid: bool
    source: str
    reason: str = ""

    @property
    def is_swapped(self) -> bool:
        """Whether it is surely invalid by the strategies of another problem."""
        kind, _, operator = self.source.partition("/")
        return not self.valid and kind == CORRUPTION and operator in FOREIGN

    @classmethod
    def of(
        cls, problem: Problem, strategies: Sequence[str], judgement: Judgement, source: str
    ) -> Label | None:
        """The label that a judgement gives; None where the judge could not tell."""
        if judgement.valid is None:
            return None
        return cls(problem.id, tuple(strategies), judgement.valid, source, judgement.reason)


def corrupted_labels(
    problems: Mapping[str, Problem], labels: Iterable[Label], seed: int = 0
) -> list[Label]:
    """Sure negatives, made of the valid ones by every operator of `corruption.corrupt`.

    Those that swap in strategies of other problems are applied K times, which makes them half of
    the negatives: to see them takes more than a look at the form, and a judge that does not learn
    it pays for distinct nonsense.

    Args:
        problems: by id.
        labels: of which those that say valid are corrupted; the strategies of other problems are
            what is swapped in.
        seed: of what is drawn.
    """
    valid = [label for label in labels if label.valid]
    foreign = {  # by problem: the strategies of all others
        name: [text for one in valid if one.problem_id != name for text in one.strategies]
        for name in {label.problem_id for label in valid}
    }
    foreign = {name: list(dict.fromkeys(texts)) for name, texts in foreign.items()}
    made = []
    for number, label in enumerate(valid):
        others = foreign[label.problem_id]
        problem = problems[label.problem_id]
        made_of_it = corrupt(problem, label.strategies, others, seed + number)
        for again in range(1, len(label.strategies)):
            more = f"{seed + number} {again}"
            made_of_it += corrupt(problem, label.strategies, others, more, FOREIGN)
        for item in made_of_it:
            source = f"{CORRUPTION}/{item.operator}"
            made.append(Label(problem.id, item.strategies, False, source, item.operator))
    return made


def balanced(labels: Iterable[Label], seed: int = 0) -> list[Label]:
    """As many valid as invalid labels for each problem, drawn without repetition.

    A judge that only knows which problems are hard gains nothing then. Problems without labels of
    both kinds are left out.
    """
    chosen = []
    for problem_id, own in _by_problem(labels).items():
        kinds = [[label for label in own if label.valid is valid] for valid in (True, False)]
        size = min(map(len, kinds))
        rng = random.Random(f"{seed} {problem_id}")
        for kind in kinds:
            chosen += rng.sample(kind, size)
    return chosen


def split_by_problem(
    labels: Iterable[Label], held_out: float = 0.2, seed: int = 0
) -> tuple[list[Label], list[Label]]:
    """Labels to train on and labels to measure on; no problem has labels in both.

    Which problems are held out depends on their ids and the seed alone, so more labels of the same
    problems change nothing.

    Raises:
        LabelError: `held_out` is not between 0 and 1, or there are not two problems.
    """
    if not 0 < held_out < 1:
        raise LabelError(f"held_out is {held_out!r}; it must be between 0 and 1")
    groups = _by_problem(labels)
    if len(groups) < 2:
        raise LabelError(f"there are labels of {len(groups)} problems; it takes 2 to hold one out")
    order = sorted(groups, key=lambda name: hashlib.sha256(f"{seed} {name}".encode()).digest())
    count = min(len(order) - 1, max(1, round(held_out * len(order))))
    away = set(order[:count])
    parts: tuple[list[Label], list[Label]] = ([], [])
    for name, own in groups.items():
        parts[name in away].extend(own)
    return parts


def read_labels(path: str | Path) -> list[Label]:
    """The labels of a JSONL file.

    Raises:
        LabelError: a row is no label; it is named.
        ProblemError: a line is not JSON.
        OSError: the file cannot be read.
    """
    labels = []
    for where, row in read_rows(path):
        if not isinstance(row, Mapping):
            raise LabelError(f"{where}: must be an object")
        strategies = row.get("strategies")
        if not isinstance(row.get("problem_id"), str):
            raise LabelError(f"{where}: field 'problem_id' is {row.get('problem_id')!r}; text")
        if not isinstance(strategies, list) or not all(isinstance(s, str) for s in strategies):
            raise LabelError(f"{where}: field 'strategies' is {strategies!r}; a list of texts")
        if not isinstance(row.get("valid"), bool):
            raise LabelError(f"{where}: field 'valid' is {row.get('valid')!r}; true or false")
        source, reason = (_text(row, name) for name in ("source", "reason"))
        labels.append(Label(row["problem_id"], tuple(strategies), row["valid"], source, reason))
    return labels


def write_labels(labels: Iterable[Label], path: str | Path) -> None:
    """Writes labels as JSONL, which `read_labels` reads back."""
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(label)) + "\n" for label in labels)


def _by_problem(labels: Iterable[Label]) -> dict[str, list[Label]]:
    groups: dict[str, list[Label]] = {}
    for label in labels:
        groups.setdefault(label.problem_id, []).append(label)
    return groups


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name, "")
    return value if isinstance(value, str) else str(value)
