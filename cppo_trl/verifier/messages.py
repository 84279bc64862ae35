"""What the sandboxed runner tells the engine, none of it trusted."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time

_HEADER = re.compile(rb"([a-z]+)((?: \d{1,19})*)")
_LONGEST_HEADER = 200  # bytes
_CHUNK = 1 << 20  # bytes


class EngineError(Exception):
    """Trouble that may be ours and not the program's; trying again is sensible."""


class ProgramVanished(EngineError):
    """The program's run ended by a kill from outside, or by the program's own."""


class Messages:
    """What the runner writes, read with a time limit; nothing in it is trusted."""

    def __init__(self, process: subprocess.Popen[bytes], longest: int) -> None:
        assert process.stdout is not None
        self._file = process.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)
        self._buffer = bytearray()
        self._longest = longest
        self._deadline = 0.0

    def expect(self, seconds: float, *kinds: bytes) -> tuple[bytes, list[int]]:
        """The next message's kind and numbers; `seconds` count for its body as well.

        Raises:
            TimeoutError, EOFError: it did not come, or never will.
            EngineError: the runner reports trouble; `ProgramVanished`: not the runner's words.
        """
        self._deadline = time.monotonic() + seconds
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_HEADER:
                raise ProgramVanished("the program tampered with its runner")
            self._fill()
        header = _HEADER.fullmatch(bytes(self._buffer[:end]))
        del self._buffer[: end + 1]
        if header is None:
            raise ProgramVanished("the program tampered with its runner")
        kind, numbers = header[1], [int(word) for word in header[2].split()]
        if kind == b"trouble" and numbers:
            raise EngineError(self.body(numbers[-1]).decode("utf-8", "replace"))
        if kind not in kinds:
            raise ProgramVanished("the program tampered with its runner")
        return kind, numbers

    def body(self, length: int) -> bytes:
        """The `length` bytes after the last message; raises as `expect`."""
        if length > self._longest:
            raise ProgramVanished("the program tampered with its runner")
        while len(self._buffer) < length:
            self._fill()
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data

    def _fill(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0 or not self._poll.poll(left * 1000):
            raise TimeoutError
        data = os.read(self._file, _CHUNK)
        if not data:
            raise EOFError
        self._buffer += data
