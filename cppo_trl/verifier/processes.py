"""Files and processes of a run, and how to be rid of them whatever the program did."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path


def nameless_file() -> int:
    """A new empty file that no name leads to; not inherited unless passed on."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("cppo-trl")
    file, name = tempfile.mkstemp()
    os.unlink(name)
    return file


def kill_tree(runner: int) -> None:
    """Kills a runner and all that descends from it; it must not have been waited for."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(runner, signal.SIGSTOP)  # it starts no more, and orphans still come to it
    killed: set[int] = set()
    for _ in range(1000):
        fresh = set(_descendants(runner)) - killed
        if not fresh:
            break
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= fresh
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(runner, signal.SIGKILL)


def _descendants(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):  # gone meanwhile, or not Linux
        for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(word)
            yield from _descendants(int(word))


def tree_cpu_seconds(runner: int) -> float:
    """CPU time of all that descends from a runner, with what they waited for; 0 if unknown."""
    ticks = 0
    for pid in _descendants(runner):
        with contextlib.suppress(OSError):  # gone meanwhile
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def remove_folder(folder: str) -> None:
    """Removes a folder with all that is in it, as far as that can be done."""
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.exists(folder):
        return
    with contextlib.suppress(OSError):
        os.chmod(folder, 0o700)
        for path, names, _ in os.walk(folder):  # folders that the program made unreadable
            for name in names:
                if not os.path.islink(inside := os.path.join(path, name)):
                    os.chmod(inside, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
