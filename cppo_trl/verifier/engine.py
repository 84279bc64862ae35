"""Run one untrusted program on its tests, isolated, and say how each run went.

A zygote (`zygote.py`), a bare interpreter that never was part of this process, forks one child for
each program, which locks itself in (`sandbox/`) and runs the tests one after another. Expected
outputs never enter those processes: they give outputs, `CodeVerifier` compares.

What the isolation covers:
- System calls are filtered (seccomp): no processes but threads, no running of files, no network, no
  signal to another process, no opening of files for writing, no making, changing or removing them.
- Files can be read where modules are installed and in the system's libraries (Landlock); without
  Landlock none can be opened.
- No root's rights, no capabilities; own network, process numbers and System V IPC (namespaces).
- No secret of the environment: no variable is passed on (the interpreter sets LC_CTYPE; programs
  with third-party modules get two thread counts), the command line holds nothing. Open descriptors
  are the program's own 0, 1 and 2, 3 for the result of a function, and high up copies of them and
  two pipes, on which it says that a test has ended and is told of the next one.
- Limits for each test: CPU time, wall time, resident memory (looked at while it runs, and bounded
  by a control group where one can be made), size of output; for each process: address space, open
  files, no core dump.
- One kill ends a program, as it can have no other process; it dies with its zygote, and that with
  this process.
- Nothing that the program prints, returns, exits with or does to its interpreter can claim a pass:
  only the right outputs with exit code 0 count (but assertions can be fooled on purpose, as
  `program.py` says).

What it does NOT cover:
- A hole in the kernel behind an allowed system call.
- Names and sizes of files can be asked for (stat) anywhere that the program's user may look; so can
  the kernel's version, the load and the memory of the machine.
- Time can be taken, so what other processes do to caches can be felt (side channels).
- The layers that a machine does not have, which the log names; `cppo-trl doctor` lists them.
- A program's tests share a process while they pass: it may remember one test in the next, and then
  gets the answers right by itself or not at all. `fresh_process=True` shares nothing.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cppo_trl.verifier import messages
from cppo_trl.verifier.pool import Answer, EngineError, SandboxError, Zygote, release, share
from cppo_trl.verifier.prelude import (
    imported_modules,
    modules_to_load,
    modules_to_load_late,
    names_to_provide,
    needs_site_packages,
    prelude_modules,
)
from cppo_trl.verifier.verdict import Status

MB = 1 << 20
WALL_FACTOR = 2.5  # wall seconds for a CPU second, for programs that sleep ...
WALL_EXTRA = 1.0  # ... plus seconds
BUSY = 0.05  # CPU seconds a wall second above which a program waits for its turn and is no sleeper
PATIENCE = 600.0  # seconds more than a test may take, after which the zygote itself must be stuck
STOP_LIMIT = 5.0  # seconds for a zygote to leave a program


class CompileError(Exception):
    """The program is no valid Python; the message says why and where."""


class ProgramVanished(EngineError):
    """The program's run ended by a kill from outside, or by the program's own."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one test may use: CPU seconds, resident MB, MB of output."""

    time: float
    memory: int
    output: int


@dataclass(frozen=True, slots=True)
class Run:
    """How the run on one test went; `failure` is None when it ended by itself with exit code 0.

    `output` is what it printed, or, for a function, its result as JSON text (empty when there is
    none); empty after a failure. `peak_memory` is in MB, 0 where tests that follow share the
    process. `message` is the last line of standard error, or what happened.
    """

    failure: Status | None
    output: bytes
    cpu_seconds: float
    peak_memory: float
    message: str


class Engine:
    """Runs programs; safe to use from several threads. All engines of a process share zygotes.

    Args:
        unsafe: programs may run where seccomp cannot be had.
        without: names of layers to leave out, for tests.
    """

    def __init__(self, unsafe: bool = False, without: Collection[str] = ()) -> None:
        self._unsafe = unsafe
        self._lock = threading.Lock()
        self._taken: set[Zygote] = set()
        self._closed = False
        self._pool = share(without)
        self._release = weakref.finalize(self, release, self._pool)  # or at the end of Python

    def run(
        self,
        program: str,
        inputs: Sequence[bytes],
        limits: Limits,
        fn_name: str | None = None,
        fresh: bool = False,
        prelude: str = "",
        test_code: str = "",
    ) -> Iterator[Run]:
        """Runs the program on each input, in order, and gives a `Run` for each as it ends.

        For a function, an input holds one JSON value per line; for `ASSERTIONS`, three: the code
        to run before and after the program, and what is the result if nothing is raised. The tests
        share a process unless `fresh`, as long as they end with exit code 0. A failure is the last
        that is given. Close the iterator to stop early. `prelude` is run before the program, in its
        namespace.
        `test_code` is what the inputs hold of Python code, whose modules are made ready too.

        Raises:
            CompileError: the program does not compile.
            ProgramVanished: the program's process was killed.
            EngineError: a process could not be started or was lost, `close` was called.
            SandboxError: programs cannot be kept in on this machine.
        """
        imported = imported_modules(program) | imported_modules(test_code)
        zygote = self._take(needs_site_packages(imported))
        conversation = _Conversation(zygote, limits, len(inputs))
        try:
            try:
                blind = "landlock" in zygote.missing
                job = _job(program, inputs, limits, fn_name, fresh, prelude, imported, blind)
                zygote.send(b"R", job)
            except ValueError as error:  # text that is none: it cannot be marshalled
                raise CompileError(f"{type(error).__name__}: {error}") from None
            yield from conversation.runs(inputs)
        finally:
            fit = conversation.ends()
            with self._lock:
                self._taken.discard(zygote)
            if fit:
                self._pool.give_back(zygote)
            else:
                self._pool.drop(zygote)

    def close(self) -> None:
        """Ends all programs that run; `run` raises `EngineError` from now on."""
        with self._lock:
            self._closed = True
            for zygote in self._taken:
                zygote.kill()
        self._release()

    def _take(self, site: bool) -> Zygote:
        try:
            zygote = self._pool.take(site)
        except OSError as error:
            raise EngineError(f"cannot run programs: {error}") from error
        refusal: Exception | None = None
        if "seccomp" in zygote.missing and not self._unsafe:
            refusal = SandboxError(
                f"seccomp cannot be had here ({zygote.missing['seccomp']}), so programs could do "
                "whatever this user can; `unsafe=True` runs them nevertheless"
            )
        with self._lock:
            if self._closed:
                refusal = EngineError("the verifier is closed")
            elif refusal is None:
                self._taken.add(zygote)
        if refusal is not None:
            self._pool.give_back(zygote)
            raise refusal
        return zygote


def _job(
    program: str,
    inputs: Sequence[bytes],
    limits: Limits,
    fn_name: str | None,
    fresh: bool,
    prelude: str,
    imported: set[str],
    blind: bool,
) -> dict[str, Any]:
    wall = limits.time * WALL_FACTOR + WALL_EXTRA
    names = names_to_provide(program) if fn_name is not None else {}
    needed = imported.union(module for module, _ in names.values())
    return {
        "code": program,
        "input": inputs[0],
        "more": len(inputs) > 1,
        "tests": len(inputs),
        "fn_name": fn_name,
        "modules": (*prelude_modules(prelude), *modules_to_load(needed)),
        "late": modules_to_load_late(imported) if blind else (),
        "names": names,
        "prelude": prelude,
        "time": limits.time,
        "wall": wall,
        "busy": BUSY * wall,
        "memory": limits.memory * MB,
        "output": limits.output * MB,
        "fresh": fresh,
    }


class _Conversation:
    """What is said about one program."""

    def __init__(self, zygote: Zygote, limits: Limits, tests: int) -> None:
        self._zygote = zygote
        self._limits = limits
        self._tests = tests
        self._in_order = True  # the zygote has done what it should so far
        self._over = False  # it waits for the next program

    def runs(self, inputs: Sequence[bytes]) -> Iterator[Run]:
        last = None
        for index in range(len(inputs)):
            answer = self._receive()
            if index == len(inputs) - 1 or answer.reason or answer.status:
                last = answer
                break
            yield _outcome(answer, self._limits, answer.peak)
            if index == 0:
                self._zygote.send(b"G", tuple(inputs[1:]))
        assert last is not None
        end = self._receive()  # only now is the peak of a shared process known
        yield _outcome(last, self._limits, max(last.peak, end.peak))

    def ends(self) -> bool:
        """Whether the zygote can serve another program, once it has left this one."""
        if self._in_order and not self._over:
            with suppress(EngineError, TimeoutError):
                self._zygote.send(b"S")
                while self._in_order and not self._over:
                    self._take_in(self._zygote.receive(STOP_LIMIT))
        return self._over

    def _receive(self) -> Answer:
        self._in_order = False
        wall = self._limits.time * WALL_FACTOR + WALL_EXTRA
        try:
            answer = self._zygote.receive(messages.COMPILE_LIMIT + wall + PATIENCE)
        except TimeoutError as error:
            raise EngineError(str(error)) from None
        self._in_order = True
        self._take_in(answer)
        if answer.kind == messages.TROUBLE:
            raise EngineError(answer.told.decode("utf-8", "replace") or "no reason given")
        if answer.kind == messages.INVALID:
            raise _compile_failure(answer)
        return answer

    def _take_in(self, answer: Answer) -> None:
        if answer.kind == messages.TROUBLE:
            self._in_order = False  # a new one may have none
        elif answer.kind != messages.TEST:
            self._over = True


def _compile_failure(answer: Answer) -> Exception:
    if answer.reason == messages.MEMORY_LIMIT:
        return CompileError("compiling takes too much memory")
    if answer.reason != messages.ENDED:
        return CompileError("compiling takes too long")
    code = os.waitstatus_to_exitcode(answer.status)
    if code == -signal.SIGKILL:
        return ProgramVanished("killed while compiling")
    if code != messages.CANNOT_COMPILE:  # deep nesting can crash the compiler
        return CompileError("the compiler crashed")
    return CompileError(answer.told.decode("utf-8", "replace"))


def _outcome(answer: Answer, limits: Limits, peak_kb: int) -> Run:
    code = os.waitstatus_to_exitcode(answer.status)
    peak = peak_kb / 1024
    failure: Status | None = None
    message = ""
    if answer.reason == messages.CPU_LIMIT or code == -signal.SIGXCPU:
        failure, message = Status.TIME_LIMIT, f"more than {limits.time:g} s of CPU time"
    elif answer.reason == messages.WALL_LIMIT:
        wall = limits.time * WALL_FACTOR + WALL_EXTRA
        failure, message = Status.TIME_LIMIT, f"no end after {wall:g} s of wall time"
    elif answer.length >= limits.output * MB:
        failure, message = Status.OUTPUT_LIMIT, f"more than {limits.output} MB of output"
    elif answer.reason == messages.MEMORY_LIMIT or peak > limits.memory:
        failure, message = Status.MEMORY_LIMIT, f"more than {limits.memory} MB of memory"
    elif code == -signal.SIGKILL:
        raise ProgramVanished("killed by SIGKILL")
    elif code < 0:
        failure, message = Status.RUNTIME_ERROR, f"killed by {_signal_name(-code)}"
    else:
        message = _last_line(answer.told)
        if code > 0 and message.startswith("MemoryError"):
            failure = Status.MEMORY_LIMIT
        elif code > 0:
            failure, message = Status.RUNTIME_ERROR, message or f"exit code {code}"
    return Run(failure, b"" if failure else answer.output, answer.cpu, peak, message)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _last_line(told: bytes) -> str:
    lines = told.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else ""
