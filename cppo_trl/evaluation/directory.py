"""The directory of an evaluation: what was asked for, of which problems, and the attempts.

    evaluation.json                 settings, problems, each session with its versions
    attempts/apps-test/cppo.jsonl   a `Record` a line, for each benchmark and method
    summary.json, report.md, report.html

An evaluation is gone on with where it was, and never with other settings or problems.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cppo_trl.problems import Problem

from .records import Record, RecordError

FILE = "evaluation.json"
# Settings by benchmark, method, or role, to which more of them may be added.
GROWING = ("grading", "methods", "adapters", "fingerprints")


class DirectoryError(ValueError):
    """A directory that cannot be gone on with or read; the message says why."""


class EvaluationDirectory:
    """Where an evaluation goes, and where a killed one is gone on with.

    Attributes:
        path: of the directory.
        settings: what decides the attempts, as JSON holds it; empty in a new directory.
        problems: for each benchmark the digest of each problem by its id.
        sessions: one entry for each time that the evaluation was started.

    Raises:
        DirectoryError: the file that describes it is damaged.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.settings: dict[str, Any] = {}
        self.problems: dict[str, dict[str, str]] = {}
        self.sessions: list[dict[str, Any]] = []
        if self.path.exists() and not self.path.is_dir():
            raise DirectoryError(f"output {self.path}: it is a file; name a directory")
        self._read()

    def _read(self) -> None:
        if not self.exists:
            return
        try:
            content = json.loads((self.path / FILE).read_text(encoding="utf-8"))
            parts = [content[name] for name in ("settings", "problems", "sessions")]
        except (ValueError, KeyError, TypeError) as error:
            raise DirectoryError(f"{self.path / FILE} is damaged ({error!r})") from error
        if [type(part) for part in parts] != [dict, dict, list]:
            raise DirectoryError(f"{self.path / FILE} is damaged (other types than were written)")
        self.settings, self.problems, self.sessions = parts

    @property
    def exists(self) -> bool:
        """Whether an evaluation was begun here."""
        return (self.path / FILE).is_file()

    def records_path(self, benchmark: str, method: str) -> Path:
        """The file of the records of one benchmark and method."""
        return self.path / "attempts" / _folder(benchmark) / f"{method}.jsonl"

    def methods(self, benchmark: str) -> list[str]:
        """The methods that have records of a benchmark."""
        folder = self.records_path(benchmark, "any").parent
        return sorted(path.stem for path in folder.glob("*.jsonl") if path.stat().st_size)

    def read_records(self, benchmark: str, method: str) -> list[Record]:
        """The records of one benchmark and method; raises `RecordError` where one is damaged."""
        path = self.records_path(benchmark, method)
        records = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                records.append(Record.from_dict(json.loads(line)))
            except (ValueError, TypeError, KeyError) as error:
                raise RecordError(f"{path}, line {number}: no record ({error})") from None
        return records

    def check(self, settings: Mapping[str, Any], problems: Mapping[str, Sequence[Problem]]) -> None:
        """Refuses what does not fit the attempts that are there.

        Benchmarks, methods and seeds may be added to them. All else that decides the attempts has
        to be the same, or two halves of one table would be of two evaluations.

        Raises:
            DirectoryError: a setting or a problem is another one; it is named.
        """
        folders: dict[str, str] = {}
        for name in (*self.problems, *problems):
            other = folders.setdefault(_folder(name), name)
            if other != name:
                raise DirectoryError(
                    f"the benchmarks {other!r} and {name!r} have the same folder; give one of them "
                    "another label"
                )
        for key, value in _as_json(settings).items():
            old = self.settings.get(key, value)
            if key == "seeds" and value < old:
                raise DirectoryError(f"seeds is {value}; {self.path} holds attempts of {old}")
            if key != "seeds" and not _goes_on(key, old, value):
                raise DirectoryError(
                    f"{self.path} holds attempts made with {_different(key, old, value)}; give "
                    "another output directory, or the same settings"
                )
        for name, listed in problems.items():
            if name in self.problems and (what := difference(self.problems[name], digests(listed))):
                raise DirectoryError(
                    f"{self.path} holds attempts at other problems of {name!r}: {what}; give "
                    "another output directory, or the same problems"
                )

    def begin(
        self,
        settings: Mapping[str, Any],
        problems: Mapping[str, Sequence[Problem]],
        session: Mapping[str, Any],
    ) -> None:
        """Notes what is evaluated from now on, beside what was; `check` has found that it fits."""
        for key, value in _as_json(settings).items():
            known = self.settings.get(key)
            grows = key in GROWING and isinstance(known, dict)
            self.settings[key] = _longer(known, value) if grows else value
        self.problems |= {name: digests(listed) for name, listed in problems.items()}
        self.sessions.append(dict(session))
        self._write()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from evaluating into this directory.

        Raises:
            DirectoryError: one does already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise DirectoryError(f"{self.path}: another process evaluates into it") from None
        try:
            self._read()  # what another process wrote before
            yield
        finally:
            lock.release()

    def _write(self) -> None:
        content = {
            "settings": self.settings,
            "sessions": self.sessions,
            "problems": self.problems,
        }
        spare = self.path / f"{FILE}.new"
        spare.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(spare, self.path / FILE)


def digest(problem: Problem) -> str:
    """A fingerprint of what is asked and what is tested; metadata and source play no part."""
    found = hashlib.blake2b(digest_size=12)
    own = (problem.statement, problem.io_mode, problem.fn_name, problem.starter_code)
    limits = (problem.time_limit, problem.memory_limit, len(problem.tests))
    texts = [repr((own, limits))]
    for test in problem.tests:
        texts += [test.input, test.output]
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8))
        found.update(data)
    return found.hexdigest()


def digests(problems: Sequence[Problem]) -> dict[str, str]:
    """The digest of each problem by its id."""
    return {problem.id: digest(problem) for problem in problems}


def difference(first: Mapping[str, str], second: Mapping[str, str]) -> str:
    """What two lists of problems do not share, in words, or ""; both map ids to digests."""
    parts = []
    for words, ids in (
        ("only the first has", first.keys() - second.keys()),
        ("only the second has", second.keys() - first.keys()),
        (
            "other statements, tests or limits of",
            {name for name in first.keys() & second.keys() if first[name] != second[name]},
        ),
    ):
        if ids:
            listed = ", ".join(map(repr, sorted(ids)[:3])) + (", ..." if len(ids) > 3 else "")
            parts.append(f"{words} {len(ids)} ({listed})")
    return "; ".join(parts)


def _folder(benchmark: str) -> str:
    return re.sub(r"[^\w.-]+", "-", benchmark)


def _goes_on(key: str, old: Any, new: Any) -> bool:
    """Whether a setting is the same, or one list of seeds goes on where the other ends."""
    if key in GROWING and isinstance(old, dict) and isinstance(new, dict):
        return all(_same_start(old[name], new[name]) for name in old.keys() & new.keys())
    return old == new


def _same_start(old: Any, new: Any) -> bool:
    if isinstance(old, list) and isinstance(new, list):
        return all(first == second for first, second in zip(old, new, strict=False))
    return old == new


def _longer(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Both together; of two lists the longer one."""
    return old | {
        name: max(old[name], value, key=len)
        if isinstance(value, list) and isinstance(old.get(name), list)
        else value
        for name, value in new.items()
    }


def _different(key: str, old: Any, new: Any) -> str:
    """Which setting it is, as far down as it goes, what it was and what it is."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in {**old, **new}:
            if name not in old or name not in new:
                if key.partition(".")[0] in GROWING and "." not in key:
                    continue
                return f"{key} {_shown(old)}, and now it is {_shown(new)}"
            if not _same_start(old[name], new[name]):
                return _different(f"{key}.{name}", old[name], new[name])
    return f"{key} {_shown(old)}, and now it is {_shown(new)}"


def _as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As they will be read."""
    return json.loads(json.dumps(settings))


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:197] + "..."
