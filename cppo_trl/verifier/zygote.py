"""The process that forks a locked-in child for each program; standard library only.

Never imported by the trainer: `pool.py` starts a bare interpreter and sends this module and those
that it needs. It loads the modules that programs use, once, then serves one program at a time: it
forks a child that locks itself in, compiles the program and runs its tests one after another. The
zygote gives each test its input, waits, measures and passes on what came out; it has never seen an
answer. Its own life ends with the trainer's: it sees the socket close.

Requests are frames: a letter, 8 bytes of length, marshalled data. `R`: run the program in it on the
first input; `G`: go on with these inputs; `S`: stop. Answers have a fixed header (`HEADER`), which
is all that the trainer has to trust enough to parse, then bytes of output and of standard error.
"""

from __future__ import annotations

import gc
import importlib
import marshal
import math
import os
import resource
import select
import signal
import struct
import sys
import time
from collections.abc import Iterator
from typing import Any

from cppo_trl.verifier import program
from cppo_trl.verifier.sandbox import limits
from cppo_trl.verifier.sandbox.layers import Layers
from cppo_trl.verifier.sandbox.libc import PR_SET_PDEATHSIG, prctl
from cppo_trl.verifier.source import compile_program

# Kind, reason, wait status, CPU microseconds, peak KB, length of the output, bytes of output and of
# standard error that follow.
HEADER = struct.Struct("<c7q")
READY, TEST, INVALID, TROUBLE, END = b"R", b"T", b"X", b"!", b"E"
ENDED, CPU_LIMIT, WALL_LIMIT, MEMORY_LIMIT = range(4)  # why a test came to its end

CANNOT_LOCK, CANNOT_COMPILE = 100, 101  # exit codes of a child that has not run the program yet
LAST_LINE = 400  # bytes of standard error that are passed on
COMPILE_LIMIT = 30.0  # CPU and wall seconds
SHORTEST_LOOK, LONGEST_LOOK = 0.002, 0.1  # seconds between looks at a child that runs
STOP = object()


class Closed(Exception):
    """The trainer is gone."""


def main(settings: dict[str, Any]) -> None:
    """Serves the trainer on descriptor 0 until it closes; never returns.

    `settings`: `without` (names of layers to leave out), `preload` (names of modules).
    """
    resource.setrlimit(resource.RLIMIT_NOFILE, (_open_files(), _open_files()))
    first_copy = min(1024, _open_files() - 8)
    control = os.dup(0)
    os.set_inheritable(control, False)
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.chdir("/")
    os.umask(0o077)
    layers = Layers(settings["without"])
    if layers.enter_namespaces() and (pid := os.fork()):
        os.close(control)
        os.waitpid(pid, 0)
        os._exit(0)
    if "namespaces" not in layers.missing:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # with the process that waits above
    for name in [name for name in sys.modules if name.startswith("cppo_trl")]:
        del sys.modules[name]
    program.install_builtins()
    sys.set_int_max_str_digits(0)
    sys.stdin = sys.__stdin__ = None  # opened anew for each test
    _load(settings["preload"])
    time.tzset()  # reads its file now
    layers.prepare()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    zygote = Zygote(control, layers, first_copy)
    try:
        zygote.answer(READY, told=repr(layers.missing).encode())
        while True:
            kind, job = zygote.receive()
            if kind == b"R":  # others are late words about a program that has ended
                zygote.run(job)
    except (Closed, BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _open_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2048 if hard == resource.RLIM_INFINITY else min(hard, 2048)


def _load(names: tuple[str, ...]) -> None:
    """Imports modules for all programs from now on."""
    fresh = [name for name in names if name not in sys.modules]
    for name in fresh:
        try:
            importlib.import_module(name)
        except Exception:
            pass  # the program hears of it itself
    if fresh:
        gc.collect()
        gc.freeze()  # the children's garbage collector never looks at what is there already


class Zygote:
    """Forks children and talks to the trainer.

    Args:
        control: the socket's descriptor.
        first_copy: see `program.run`.
    """

    def __init__(self, control: int, layers: Layers, first_copy: int) -> None:
        self._control = control
        self._layers = layers
        self._first_copy = first_copy
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN | select.POLLHUP)
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._state = program.State()
        # Standard input and output of functions.
        self.null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

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
    ) -> None:
        """Sends one answer; the fields are those of `HEADER`."""
        header = HEADER.pack(
            kind, reason, status, int(cpu * 1e6), peak, length, len(output), len(told)
        )
        data = memoryview(header + output + told)
        while data:
            data = data[os.write(self._control, data) :]

    def receive(self) -> tuple[bytes, Any]:
        """The next request's letter and data; raises `Closed`."""
        header = self._read(9)
        return header[:1], marshal.loads(self._read(int.from_bytes(header[1:], "little")))

    def _read(self, length: int) -> bytes:
        parts = []
        while length:
            part = os.read(self._control, length)
            if not part:
                raise Closed
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def is_told_to_stop(self) -> bool:
        """Whether the trainer has said so; raises `Closed`."""
        return bool(self._poll.poll(0)) and self.receive()[0] == b"S"

    def run(self, job: dict[str, Any]) -> None:
        """Runs the program of a request, and answers for each test."""
        _load(job["modules"])
        child, peak = None, 0
        try:
            for data in self._inputs(job):
                if child is None:
                    child = _Child(self, job)
                    if not child.starts():
                        return
                child.run(data)
                if child.pid == 0:
                    failed = child.failed
                    peak = max(peak, child.end())
                    child = None
                    if failed:
                        break
        except OSError as error:
            if isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise
            self.answer(TROUBLE, told=str(error).encode("utf-8", "replace"))
            return
        finally:
            if child is not None:
                peak = max(peak, child.end())
        self.answer(END, peak=peak)

    def _inputs(self, job: dict[str, Any]) -> Iterator[bytes]:
        yield job["input"]
        if not job["more"]:
            return
        kind, inputs = self.receive()
        if kind != b"G":
            return
        for data in inputs:
            yield data
            if self.is_told_to_stop():
                return

    def memory_pages(self) -> tuple[int, int]:
        """(address space, resident) of this process in bytes."""
        fields = os.pread(self._statm, 200, 0).split()
        page = resource.getpagesize()
        return int(fields[0]) * page, int(fields[1]) * page

    def fork(self, job: dict[str, Any], files: tuple[int, ...], space: int) -> int:
        """The number of a new child, locked in, that has `files` as its descriptors.

        `space` is the address space of this process, which the limit is on top of.
        """
        zygote = os.getpid()
        if pid := os.fork():
            return pid
        code = CANNOT_LOCK
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            for number, file in enumerate(files):
                os.dup2(file, self._first_copy + number)
                os.dup2(file, number)
            for name in job["late"]:
                try:
                    importlib.import_module(name)
                except Exception:
                    pass
            self._layers.lock(
                space=space + job["memory"] + limits.RESERVED_SPACE,
                output=job["output"],
                cpu_seconds=math.ceil(job["time"] * job["tests"]) + math.ceil(COMPILE_LIMIT) + 5,
            )
            os.closerange(len(files), self._first_copy)
            os.closerange(self._first_copy + len(files), 1 << 20)
            if os.getppid() != zygote:
                os._exit(0)  # it died before the child asked to die with it
            names = {}
            for name, (module, attribute) in job["prelude"].items():
                names[name] = importlib.import_module(module)
                if attribute is not None:
                    names[name] = getattr(names[name], attribute)
            code = CANNOT_COMPILE
            compiled = compile_program(job["code"], script=job["fn_name"] is None)
            program.run(compiled, job["fn_name"], names, self._first_copy, self._state)
        except SyntaxError as error:
            _complain(f"{type(error).__name__}: {error.msg} (line {error.lineno})")
        except BaseException as error:
            _complain(f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)


def _complain(message: str) -> None:
    os.write(2, message.encode("utf-8", "replace")[:LAST_LINE])


class _Child:
    """A child that runs one program's tests."""

    def __init__(self, zygote: Zygote, job: dict[str, Any]) -> None:
        self._zygote = zygote
        self._job = job
        self._is_function = job["fn_name"] is not None
        self._files = [os.memfd_create(name) for name in ("in", "out", "err")]
        given, output, errors = self._files
        if self._is_function:
            null = zygote.null
            files: tuple[int, ...] = (null, null, errors, output)
        else:
            files = (given, output, errors)
        self.failed = False
        space, self._base = zygote.memory_pages()
        self._peak = 0
        self.pid = zygote.fork(job, files, space)

    def starts(self) -> bool:
        """Waits until the program is compiled; if it is not, answers so."""
        reason, status = self._wait(COMPILE_LIMIT, COMPILE_LIMIT, 0.0)
        if os.WIFSTOPPED(status):
            return True
        code = os.waitstatus_to_exitcode(status)
        kind = TROUBLE if code == CANNOT_LOCK else INVALID
        self._zygote.answer(kind, reason=reason, status=status, told=self._last_words())
        return False

    def run(self, data: bytes) -> None:
        """Runs the next test and answers with what came of it."""
        job = self._job
        given, output, errors = self._files
        for file in self._files:
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
        _fill(output if self._is_function else given, data)
        started = self._cpu_seconds()
        os.kill(self.pid, signal.SIGCONT)
        reason, status = self._wait(started + job["time"], job["wall"], job["busy"])
        cpu = self._used - started
        if job["fresh"] and self.pid:
            os.kill(self.pid, signal.SIGKILL)  # its peak is known at its end only
            self._reap(0)
        code = 0 if os.WIFSTOPPED(status) else status
        self.failed = reason != ENDED or code != 0
        length = os.fstat(output).st_size
        sent = b""
        if not self.failed and length < job["output"]:
            sent = os.pread(output, length, 0) if length < 1 << 30 else b""
        told = self._last_words() if os.fstat(errors).st_size else b""
        peak = 0 if self.pid else self._peak
        self._zygote.answer(TEST, reason, code, cpu, peak, length, sent, told)

    def end(self) -> int:
        """Kills what is left of it; its peak in KB above a child's that does nothing."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self._reap(0)
        for file in self._files:
            os.close(file)
        return self._peak

    def _wait(self, cpu_limit: float, wall: float, busy: float) -> tuple[int, int]:
        """Waits for a stop or an end; why it came, and the wait status.

        `cpu_limit` is on the child's clock. A child that used less than `busy` CPU seconds in
        `wall` seconds sleeps; one that used more waits for its turn and gets as much again.
        """
        look, reason = SHORTEST_LOOK, ENDED
        deadline = time.monotonic() + wall
        before = None if not busy else cpu_limit - self._job["time"]
        while True:
            if (status := self._reap(os.WNOHANG | os.WUNTRACED)) is not None:
                if reason == ENDED and self._used > cpu_limit:
                    reason = CPU_LIMIT
                return reason, status
            if signal.sigtimedwait({signal.SIGCHLD}, look) is not None:
                continue
            used, now = self._cpu_seconds(), time.monotonic()
            look = min(2 * look, LONGEST_LOOK, max(SHORTEST_LOOK, cpu_limit - used))
            if used > cpu_limit:
                reason = CPU_LIMIT
            elif now > deadline:
                if before is not None and used - before >= busy:
                    before, deadline = used, now + wall
                else:
                    reason = WALL_LIMIT
            if reason != ENDED or self._zygote.is_told_to_stop():
                os.kill(self.pid, signal.SIGKILL)

    def _reap(self, options: int) -> int | None:
        pid, status, usage = os.wait4(self.pid, options)
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            self._used = self._cpu_seconds()
            return status
        self.pid = 0
        self._used = usage.ru_utime + usage.ru_stime
        self._peak = max(0, usage.ru_maxrss - self._base // 1024)
        return status

    def _cpu_seconds(self) -> float:
        """On the process's own clock: clock_getcpuclockid(3), for which Python has no name."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def _last_words(self) -> bytes:
        errors = self._files[2]
        return os.pread(errors, LAST_LINE, max(0, os.fstat(errors).st_size - LAST_LINE))


def _fill(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
    os.lseek(file, 0, os.SEEK_SET)
