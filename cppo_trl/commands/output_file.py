"""The file that a command writes, looked at before the work."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def check_output(output: Path, inputs: Iterable[Path]) -> None:
    """Refuses a file that cannot be written or is read, before hours of work and not after.

    Raises:
        ValueError: it is one of the inputs.
        OSError: it cannot be written.
    """
    if any(output.exists() and path.exists() and output.samefile(path) for path in inputs):
        raise ValueError(f"--output is {output}, which is read; name another file")
    open(output, "a", encoding="utf-8").close()  # what is there stays, should the work fail
