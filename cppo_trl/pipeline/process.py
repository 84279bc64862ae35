"""Commands that are run for a person to watch: named, with their progress bar, and logged."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from rich.console import Console

_PATIENCE = 10  # seconds for a process to end by itself


class CommandFailed(RuntimeError):
    """A command ended with another status than 0; `status` is that, the message its last lines."""

    def __init__(self, status: int, log: Path, last: Sequence[str]):
        super().__init__("\n".join([*last, f"Ended with status {status}; the log is {log}."]))
        self.status = status


def run_with_bar(
    command: Sequence[str],
    log: Path,
    console: Console,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs a command, shows its standard error, which has the progress bar, and logs all it says.

    The log is appended to. Where this process is interrupted, the command is ended too, with all
    that it started.

    Args:
        command: the program and its arguments.
        log: the file.
        console: whose width the progress bar may have; a console that is quiet shows nothing.
        environment: variables beside those of this process.

    Raises:
        CommandFailed: it failed.
    """
    width = {"PYTHONUNBUFFERED": "1", "COLUMNS": str(console.width - 1)}
    with (
        log.open("ab", buffering=0) as kept,
        subprocess.Popen(
            command,
            stdout=kept,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, **width, **(environment or {})},
        ) as process,
    ):
        try:
            while shown := process.stderr.read(4096):
                kept.write(shown)
                if not console.quiet:
                    sys.stderr.buffer.write(shown)
                    sys.stderr.flush()
        except BaseException:
            # With all that it started: a launcher that ends alone leaves its training behind.
            with suppress(psutil.NoSuchProcess):
                launched = psutil.Process(process.pid)
                _end([*launched.children(recursive=True), launched])
            raise
    if process.returncode:
        last = log.read_text(errors="replace").splitlines()[-30:]
        raise CommandFailed(process.returncode, log, last)


def end_commands() -> None:
    """Ends all that this process has started, where it is interrupted while its threads wait for
    commands: an interrupt reaches the main thread alone.
    """
    _end(psutil.Process().children(recursive=True))


def _end(family: Sequence[psutil.Process]) -> None:
    for one in family:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    _, left = psutil.wait_procs(family, timeout=_PATIENCE)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def say_command(console: Console, command: Sequence[str]) -> None:
    """Prints a command as a person would give it: in one line, however long, to be copied."""
    said = f"$ {shlex.join(command)}"
    console.print(said, style="dim", highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Minutes and seconds, in words."""
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"
