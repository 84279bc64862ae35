"""What an evaluation leaves behind: one line for each problem attempted, with all that was said."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cppo_trl.problems import read_rows
from cppo_trl.verifier import Status


@dataclass(frozen=True)
class AttemptRecord:
    """One attempt and its verdict; an attempt that was never made has no completion.

    `first_failed` counts tests from 0; `message` says how that one failed.
    """

    completion: str | None
    program: str | None
    status: str
    tests_passed: int
    tests_total: int
    cpu_seconds: float
    first_failed: int | None = None
    message: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether it passed all tests; None where the verifier itself had trouble."""
        return None if self.status == Status.INFRASTRUCTURE else self.status == Status.PASS


@dataclass(frozen=True)
class Record:
    """K attempts at one problem.

    Attributes:
        seed, draw: which of the runs, and which of its tuples for the problem, both from 0.
        problem_id: of the problem.
        strategies: as in `methods.Attempted`.
        attempts: K.
        spent: as in `methods.Spent`.
        seconds: its share of the time that its batch took to generate.
    """

    seed: int
    draw: int
    problem_id: str
    strategies: tuple[str, ...] | None
    attempts: tuple[AttemptRecord, ...]
    spent: dict[str, int]
    seconds: float = 0.0

    @property
    def key(self) -> tuple[int, int, str]:
        """What tells it apart from the other records of its method."""
        return self.seed, self.draw, self.problem_id

    def to_line(self) -> str:
        """As a line of JSON, with its end."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> Record:
        """From what `to_line` wrote."""
        strategies = row["strategies"]
        attempts = tuple(AttemptRecord(**attempt) for attempt in row["attempts"])
        return cls(**row | {"strategies": strategies and tuple(strategies), "attempts": attempts})

    @classmethod
    def checked(cls, row: Any, where: str) -> Record:
        """From a row of a file that may hold anything; `where` says which row.

        Raises:
            RecordError: the row is no record; the message names the field and what it may be.
        """
        if not isinstance(row, Mapping):
            raise RecordError(f"{where}: must be an object")
        strategies, attempts = row.get("strategies"), row.get("attempts")
        is_attempts = isinstance(attempts, list) and all(map(_is_attempt, attempts))
        is_strategies = strategies is None or (
            isinstance(strategies, list)
            and all(isinstance(text, str) for text in strategies)
            and (not is_attempts or len(strategies) == len(attempts))
        )
        for field, is_right, allowed in (
            ("problem_id", isinstance(row.get("problem_id"), str), "a text"),
            ("attempts", is_attempts, "a list of attempts, each with its program and status"),
            ("strategies", is_strategies, "null, or a list of texts, one for each attempt"),
        ):
            if not is_right:
                shown = repr(row.get(field))[:80]
                raise RecordError(f"{where}: field {field!r} is {shown}; it must be {allowed}")
        try:
            return cls.from_dict(dict(row))
        except (TypeError, KeyError) as error:
            raise RecordError(f"{where}: no record of an evaluation ({error})") from None


class RecordError(ValueError):
    """A file of records that cannot be used; the message says why."""


def read_records(path: str | Path, problems: Container[str]) -> list[Record]:
    """The records of a file, in order.

    Args:
        path: a JSONL file, as an evaluation writes it.
        problems: the ids that a record may be of, such as problems by their ids.

    Raises:
        RecordError: a row is no record, or one of another problem.
        ProblemError: a line is not JSON.
        OSError: the file cannot be read.
    """
    records = []
    for where, row in read_rows(path):
        record = Record.checked(row, where)
        if record.problem_id not in problems:
            shown = repr(record.problem_id)[:80]
            raise RecordError(
                f"{where}: field 'problem_id' is {shown}; it must be the id of a problem"
            )
        records.append(record)
    return records


class RecordFile:
    """The records of one method, which a killed run can go on with.

    Lines are written in the order of `keys`, so the file is always a beginning of them; a line that
    a kill left unfinished is dropped.

    Args:
        path: the file, made with its folder if it is not there.
        keys: (seed, draw, problem id) of every record that there will be.

    Raises:
        RecordError: the file holds records of something else.
    """

    def __init__(self, path: Path, keys: Sequence[tuple[int, int, str]]):
        self.path = path
        self.records: list[Record] = []
        self._torn = False
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for number, line in enumerate(lines):
            if not line.endswith(b"\n"):
                self._torn = True
                break
            try:
                record = Record.from_dict(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise RecordError(f"{path}, line {number + 1}: no record ({error})") from None
            expected = keys[number] if number < len(keys) else None
            if record.key != expected:
                raise RecordError(
                    f"{path}, line {number + 1}: seed, draw and problem are {record.key}, and this "
                    f"run has {expected} there; give another output directory, or the same settings"
                )
            self.records.append(record)

    def keep(self, count: int) -> None:
        """Forgets all but the first `count` records, on disk as well, and what is no whole line."""
        if count < len(self.records) or self._torn:
            self.replace(self.records[:count])

    def replace(self, records: Sequence[Record]) -> None:
        """Puts other records in the place of all, at once or not at all."""
        spare = self.path.with_suffix(".new")
        with open(spare, "w", encoding="utf-8") as file:
            file.writelines(record.to_line() for record in records)
            file.flush()
            os.fsync(file.fileno())
        os.replace(spare, self.path)
        self.records = list(records)
        self._torn = False

    def add(self, records: Sequence[Record]) -> None:
        """Writes more records, and has them on disk when it returns."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.writelines(record.to_line() for record in records)
            file.flush()
            os.fsync(file.fileno())
        self.records += records


def _is_attempt(attempt: Any) -> bool:
    """Whether what is looked at in an attempt can be: a program that passed is there."""
    if not isinstance(attempt, Mapping) or attempt.get("status") not in list(Status):
        return False
    program = attempt.get("program")
    return isinstance(program, str) or (program is None and attempt["status"] != Status.PASS)
