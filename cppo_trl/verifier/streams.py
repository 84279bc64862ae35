"""Standard streams as an interpreter makes them, and the devices that programs open by name."""

from __future__ import annotations

import builtins
import io
import os
import sys
from typing import Any


def reset_standard_streams() -> None:
    """Makes sys.stdin, sys.stdout and sys.stderr anew, for descriptors 0, 1 and 2."""
    sys.stdin = sys.__stdin__ = _standard(0, "<stdin>", "r", "surrogateescape")
    sys.stdout = sys.__stdout__ = _standard(1, "<stdout>", "w", "surrogateescape")
    sys.stderr = sys.__stderr__ = _standard(2, "<stderr>", "w", "backslashreplace")


def install_open() -> None:
    """Lets the built-in `open` know the names of devices."""
    builtins.open = io.open = _open


def _standard(file: int, name: str, mode: str, errors: str) -> io.TextIOWrapper:
    """As the interpreter makes sys.stdin, sys.stdout and sys.stderr for a pipe."""
    raw = io.FileIO(file, mode, closefd=False)
    raw.name = name
    buffer = io.BufferedReader(raw) if mode == "r" else io.BufferedWriter(raw)
    # sys.stderr shows each line at once.
    stream = io.TextIOWrapper(buffer, "utf-8", errors, "\n", line_buffering=file == 2)
    stream.mode = mode
    return stream


# Opening for writing is not allowed, so what can be had without it is given by name.

_DEVICES = {
    **dict.fromkeys(("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"), 0),
    **dict.fromkeys(("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"), 1),
    **dict.fromkeys(("/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"), 2),
}
_real_open = io.open


class _Nothing(io.RawIOBase):
    """`/dev/null`: empty, and takes everything."""

    name = "/dev/null"

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return 0

    def write(self, data: Any) -> int:
        return memoryview(data).nbytes


def _open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> Any:
    """As the built-in `open`, which stands behind it."""
    if isinstance(file, (str, os.PathLike)) and opener is None:
        path = os.fspath(file)
        if path in _DEVICES:
            file = os.dup(_DEVICES[path])
        elif path == "/dev/null":
            return _open_nothing(mode, encoding, errors, newline)
    return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)


def _open_nothing(mode: str, encoding: str | None, errors: str | None, newline: str | None) -> Any:
    raw = _Nothing()
    buffer = io.BufferedReader(raw) if "r" in mode and "+" not in mode else io.BufferedWriter(raw)
    return buffer if "b" in mode else io.TextIOWrapper(buffer, encoding, errors, newline)


_open.__name__ = _open.__qualname__ = "open"
_open.__module__ = "_io"
