"""Answers that were paid for once, kept in a file that several processes may share."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path


class AnswerCache:
    """The texts of answers, by what was asked.

    Args:
        path: an SQLite file, made if it is not there; None keeps them in memory.

    Raises:
        OSError: the file cannot be opened as such.
    """

    def __init__(self, path: str | Path | None):
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._path = ":memory:" if path is None else str(path)
        try:
            self._file = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
            with self._file:
                self._file.execute(
                    "CREATE TABLE IF NOT EXISTS texts (asked TEXT PRIMARY KEY, answer TEXT)"
                )
        except sqlite3.Error as error:
            raise OSError(f"{path}: no file of answers ({error})") from error

    def get(self, asked: str) -> str | None:
        """The text of the answer, or None if it was not asked for yet."""
        row = self._file.execute(
            "SELECT answer FROM texts WHERE asked = ?", (_digest(asked),)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, asked: str, answer: str) -> None:
        """Keeps the text of an answer, at once."""
        with self._file:
            # As JSON, since an answer may hold half of a surrogate pair, which SQLite refuses.
            self._file.execute(
                "INSERT OR REPLACE INTO texts VALUES (?, ?)", (_digest(asked), json.dumps(answer))
            )


def _digest(asked: str) -> str:
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
