"""What a zygote and the trainer say to each other.

Requests are frames: a letter, 8 bytes of length, marshalled data. `R`: run the program in it on the
first input; `G`: go on with these inputs; `S`: stop. Answers have a fixed header (`HEADER`), which
is all that the trainer has to trust enough to parse, then bytes of output and of standard error.
"""

from __future__ import annotations

import marshal
import os
import select
import struct
import time
from collections.abc import Callable
from typing import Any

# Kind, reason, wait status, CPU microseconds, peak KB, length of the output, bytes of output and of
# standard error that follow.
HEADER = struct.Struct("<c7q")
READY, TEST, INVALID, TROUBLE, END = b"R", b"T", b"X", b"!", b"E"
ASSERTIONS = "assert"  # for a function's name, which a keyword never is: the input is code to run
ENDED, CPU_LIMIT, WALL_LIMIT, MEMORY_LIMIT = range(4)  # why a test came to its end

CANNOT_LOCK, CANNOT_COMPILE = 100, 101  # exit codes of a child that has not run the program yet
COMPILE_LIMIT = 30.0  # CPU and wall seconds
LONG = 1 << 20  # bytes of a request
LONGEST_WAIT = 0.002  # seconds that the answer on a test may wait for the next one


class Closed(Exception):
    """The trainer is gone."""


class Line:
    """The zygote's end of the line to the trainer.

    Args:
        control: the socket's descriptor.
        make_room: called before a long request is read, with the bytes that it takes.
    """

    def __init__(self, control: int, make_room: Callable[[int], None] | None = None) -> None:
        self._control = control
        self._make_room = make_room
        self._unsent = bytearray()
        self._oldest = 0.0  # of those answers, on the monotonic clock
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN | select.POLLHUP)

    def answer(
        self,
        kind: bytes,
        reason: int = 0,
        status: int = 0,
        cpu: float = 0.0,
        peak: int = 0,
        length: int = 0,
        output: bytes = b"",
        told: bytes = b"",
        may_wait: bool = False,
    ) -> None:
        """Gives one answer; the fields are those of `HEADER`.

        One that `may_wait` is sent with others, soon: short tests would wake the trainer each time.
        """
        header = HEADER.pack(
            kind, reason, status, int(cpu * 1e6), peak, length, len(output), len(told)
        )
        if not self._unsent:
            self._oldest = time.monotonic()
        for part in (header, output, told):
            self._unsent += part
        if not may_wait or time.monotonic() > self._oldest + LONGEST_WAIT:
            self.flush()

    def flush(self) -> None:
        """Sends the answers that were left to wait."""
        with memoryview(self._unsent) as data:
            sent = 0
            while sent < len(data):
                sent += os.write(self._control, data[sent:])
        self._unsent.clear()

    def receive(self) -> tuple[bytes, Any]:
        """The next request's letter and data; raises `Closed`."""
        header = self._read(9)
        length = int.from_bytes(header[1:], "little")
        if self._make_room is not None and length > LONG:
            self._make_room(2 * length)
        return header[:1], marshal.loads(self._read(length))

    def _read(self, length: int) -> bytes:
        parts = []
        while length:
            part = os.read(self._control, length)
            if not part:
                raise Closed
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def poll_with(self, file: int) -> select.poll:
        """What waits for a word of the trainer or for something to read from `file`."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN | select.POLLHUP)
        poll.register(file, select.POLLIN)
        return poll

    def is_told_to_stop(self) -> bool:
        """Whether the trainer has said so; raises `Closed`."""
        return bool(self._poll.poll(0)) and self.receive()[0] == b"S"
