"""A child of the zygote, seen from the zygote: it is told of each test, watched and measured."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from typing import Any

from cppo_trl.verifier.memory import MemoryWatch
from cppo_trl.verifier.messages import (
    CANNOT_LOCK,
    COMPILE_LIMIT,
    CPU_LIMIT,
    ENDED,
    INVALID,
    MEMORY_LIMIT,
    TEST,
    TROUBLE,
    WALL_LIMIT,
    Line,
)
from cppo_trl.verifier.program import DONE, NEXT, RESULT

FILES = ("input", "output", "errors")
LAST_LINE = 400  # bytes of standard error that are passed on
SHORTEST_LOOK, LONGEST_LOOK = 0.002, 0.1  # seconds between looks at a child that runs


class Child:
    """A child that runs one program's tests.

    Args:
        line: to answer on.
        job: what was asked for.
        null: a descriptor of /dev/null, standard input and output of functions.
        memory: its memory's watch.
        fork: makes the process, from its descriptors, as `Zygote._fork` takes them.
    """

    def __init__(
        self,
        line: Line,
        job: dict[str, Any],
        null: int,
        memory: MemoryWatch,
        fork: Callable[[dict[int, int]], int],
    ) -> None:
        self._line = line
        self._job = job
        self._memory = memory
        self._is_function = job["fn_name"] is not None
        self._files = [os.memfd_create(name) for name in FILES]
        given, output, errors = self._files
        self._done, done = os.pipe()
        following, self._next = os.pipe()
        if self._is_function:
            files = {0: null, 1: null, 2: errors, RESULT: output}
        else:
            files = {0: given, 1: output, 2: errors}
        os.set_blocking(self._done, False)  # it can open the pipe and take its word back
        os.set_blocking(self._next, False)
        self._poll = line.poll_with(self._done)
        self.failed = self._ran = False
        self._peak = 0
        try:
            self.pid = fork(files | {DONE: done, NEXT: following})
        finally:
            os.close(done)
            os.close(following)

    def starts(self) -> bool:
        """Waits until the program is compiled; if it is not, answers so."""
        reason, status = self._wait(COMPILE_LIMIT, COMPILE_LIMIT, 0.0)
        if status is None:
            return True
        code = os.waitstatus_to_exitcode(status)
        kind = TROUBLE if code == CANNOT_LOCK else INVALID
        self._line.answer(kind, reason=reason, status=status, told=self._last_words())
        return False

    def run(self, data: bytes) -> None:
        """Runs the next test and answers with what came of it."""
        job = self._job
        given, output, errors = self._files
        for file in self._files:
            os.lseek(file, 0, os.SEEK_SET)
            os.ftruncate(file, 0)
        _fill(output if self._is_function else given, data)
        started = self._cpu_seconds()
        with contextlib.suppress(BrokenPipeError, BlockingIOError):  # it does not read
            os.write(self._next, b"n")
        reason, status = self._wait(started + job["time"], job["wall"], job["busy"])
        cpu = self._used - started
        if job["fresh"] and self.pid:
            os.kill(self.pid, signal.SIGKILL)  # its peak is known at its end only
            self._reap(0)
        self.failed = reason != ENDED or bool(status)
        length = os.fstat(output).st_size
        sent = b""
        if not self.failed and length < job["output"]:
            sent = os.pread(output, length, 0) if length < 1 << 30 else b""
        told = self._last_words() if os.fstat(errors).st_size else b""
        peak = 0 if self.pid else self._peak
        may_wait = not self.failed and self._ran
        self._line.answer(TEST, reason, status or 0, cpu, peak, length, sent, told, may_wait)
        self._ran = True

    def end(self) -> int:
        """Kills what is left of it; its peak in KB above a child's that does nothing."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._reap(0)
        for file in (*self._files, self._done, self._next):
            os.close(file)
        return self._peak

    def _wait(self, cpu_limit: float, wall: float, busy: float) -> tuple[int, int | None]:
        """Waits for the end of the test, or of the process; why it came, and the wait status.

        `cpu_limit` is on the child's clock. A child that used less than `busy` CPU seconds in
        `wall` seconds sleeps; one that used more waits for its turn and gets as much again.
        """
        look, reason = SHORTEST_LOOK, ENDED
        deadline = time.monotonic() + wall
        before = None if not busy else cpu_limit - self._job["time"]
        while True:
            happened = dict(self._poll.poll(look * 1e3))
            if not happened:
                self._line.flush()
            if happened.get(self._done, 0) & select.POLLIN:
                heard = self._hears()
                self._used = self._cpu_seconds()
                if heard and reason == ENDED:
                    return (CPU_LIMIT if self._used > cpu_limit else ENDED), None
            elif self._done in happened:  # it ends, or has closed its end of the pipe
                signal.sigtimedwait({signal.SIGCHLD}, look)
            if (status := self._reap(os.WNOHANG)) is not None:
                if reason == ENDED and self._used > cpu_limit:
                    reason = CPU_LIMIT
                elif reason == ENDED and status == signal.SIGKILL and self._memory.has_killed():
                    reason = MEMORY_LIMIT
                return reason, status
            used, now = self._cpu_seconds(), time.monotonic()
            look = min(2 * look, LONGEST_LOOK, max(SHORTEST_LOOK, cpu_limit - used))
            if used > cpu_limit:
                reason = CPU_LIMIT
            elif self._memory.exceeds():
                reason = MEMORY_LIMIT
            elif now > deadline:
                if before is not None and used - before >= busy:
                    before, deadline = used, now + wall
                else:
                    reason = WALL_LIMIT
            if reason != ENDED or self._line.is_told_to_stop():
                os.kill(self.pid, signal.SIGKILL)

    def _hears(self) -> bool:
        try:
            return bool(os.read(self._done, 1))
        except BlockingIOError:
            return False

    def _reap(self, options: int) -> int | None:
        """The wait status, if the child has ended; frees what it held."""
        pid, status, usage = os.wait4(self.pid, options)
        if pid == 0:
            return None
        self.pid = 0
        self._used = usage.ru_utime + usage.ru_stime
        self._peak = self._memory.ends(usage)
        return status

    def _cpu_seconds(self) -> float:
        """On the process's own clock: clock_getcpuclockid(3), for which Python has no name."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def _last_words(self) -> bytes:
        errors = self._files[2]
        return os.pread(errors, LAST_LINE, max(0, os.fstat(errors).st_size - LAST_LINE))


def _fill(file: int, data: bytes) -> None:
    done = 0
    with memoryview(data) as rest:
        while done < len(data):  # a child that is not done may move the place they share
            done += os.pwrite(file, rest[done:], done)
    os.lseek(file, 0, os.SEEK_SET)
