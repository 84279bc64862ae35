"""One process at a time in the directory of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from .config import PipelineError


@contextmanager
def locked(output: Path, what: str = "pipeline") -> Iterator[None]:
    """Makes the directory and keeps other processes out; may be entered again by the same one.

    Args:
        output: the directory.
        what: runs there.

    Raises:
        PipelineError: another process is there.
    """
    output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output / ".lock", is_singleton=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise PipelineError(f"output is {str(output)!r}; another {what} runs into it") from None
    try:
        yield
    finally:
        lock.release()
