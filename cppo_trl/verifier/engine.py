"""Run one untrusted program on its tests, isolated, and say how each run went.

One fresh interpreter a program (`python -I -S -B`, started with exec, never a fork of this
process), which compiles the program once and forks a child for each test. See `runner.py` for the
sandboxed side. Expected outputs never enter it: it gives outputs, `CodeVerifier` compares.

What the isolation covers:
- No secret of the environment: no variable is passed on (the interpreter sets LC_CTYPE; programs
  with third-party modules get two thread counts), all descriptors but the program's own 0, 1 and 2
  are closed (3 is for the result, in function mode), the command line holds nothing.
- An own session and, for each test, an own process group and an own, empty working folder.
- Limits for each test: CPU time, wall time, address space and resident memory, size of any file
  (output included), open files, no core dump; processes, where not run by root.
- All of the program's processes are killed after each test, those that left the session as well;
  they die with the engine, too (Linux).
- No new privileges by exec; on Linux the runner cannot be traced or read by the program, unless
  as root.
- Standard input and output are files in memory, so nothing can block on a full pipe.
- Nothing that the program prints, returns, exits with or leaves in files can claim a pass: only
  the right outputs with exit code 0 count.

What it does NOT cover; a seccomp sandbox or a container would:
- System calls are not filtered: the network is reachable, processes can be started.
- Files that this user may read or write can be read and written; that includes `/proc`, and with
  it the environment and (as root, or where ptrace is not restricted) the memory of this process.
- A program can kill or stop processes of the same user, this one included.
- What all files of a program hold together is not limited, in memory or on disk.
- Run by root, limits can be raised by the program and processes are not limited in number.
- A program that outruns the killing by forking, or that kills its runner, may leave processes.
- Away from Linux: no death with the engine, and processes that left their group stay.
"""

from __future__ import annotations

import marshal
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cppo_trl.verifier.messages import EngineError, Messages, ProgramVanished
from cppo_trl.verifier.prelude import modules_to_load, names_to_provide, needs_site_packages
from cppo_trl.verifier.processes import (
    kill_tree,
    nameless_file,
    remove_folder,
    tree_cpu_seconds,
)
from cppo_trl.verifier.verdict import Status

MB = 1 << 20
WALL_FACTOR = 2.5  # wall seconds for a CPU second, for programs that sleep ...
WALL_EXTRA = 1.0  # ... plus seconds
BUSY = 0.05  # CPU seconds a wall second above which a program waits for its turn and is no sleeper
START_LIMIT = 60.0  # seconds for a bare interpreter to come up, on a very busy machine
COMPILE_LIMIT = 30.0  # wall seconds
# Address space that is reserved but not touched (stacks of threads, arenas of malloc) is no memory
# in use; solutions that recurse in a thread with a stack of 512 MB are common.
RESERVED_SPACE = 768 * MB
PROCESS_LIMIT = 4096  # for all processes of the user together, so a lower one would hit the trainer
LAST_LINE = 400  # bytes of standard error that are looked at

_RUNNER = marshal.dumps(
    compile(Path(__file__).with_name("runner.py").read_text("utf-8"), "<runner>", "exec")
)
_START = (
    "import marshal, posix; data = b''\n"
    "while part := posix.read(0, 1 << 30): data += part\n"
    "job = marshal.loads(data); exec(marshal.loads(job['runner']), {'job': job})"
)


class CompileError(Exception):
    """The program is no valid Python; the message says why and where."""


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
    none); empty after a failure. `message` is the last line of standard error, or what happened.
    """

    failure: Status | None
    output: bytes
    cpu_seconds: float
    message: str


class Engine:
    """Starts programs and ends them; safe to use from several threads."""

    def __init__(self) -> None:
        self._live: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(
        self, program: str, inputs: Sequence[bytes], limits: Limits, fn_name: str | None = None
    ) -> Iterator[Run]:
        """Runs the program on each input, in order, and gives a `Run` for each as it ends.

        For a function, an input holds one JSON value per line. Close the iterator to stop early.

        Raises:
            CompileError: the program does not compile.
            ProgramVanished: the program's process or its runner was killed.
            EngineError: a process could not be started, the disk is full, `close` was called.
        """
        errors = folder = process = None
        try:
            errors = nameless_file()
            folder = tempfile.mkdtemp(prefix="cppo-trl-")
            process = self._start(program, inputs, limits, fn_name, folder, errors)
            yield from _watch(process, len(inputs), limits, errors)
        except OSError as error:
            raise EngineError(f"cannot run programs: {error}") from error
        finally:
            if process is not None:
                with self._lock:  # `close` must signal no process that was waited for
                    self._live.discard(process)
                _end(process)
            if folder is not None:
                remove_folder(folder)
            if errors is not None:
                os.close(errors)

    def close(self) -> None:
        """Ends all programs that run; `run` raises `EngineError` from now on."""
        with self._lock:
            self._closed = True
            for process in self._live:
                kill_tree(process.pid)

    def _start(
        self,
        program: str,
        inputs: Sequence[bytes],
        limits: Limits,
        fn_name: str | None,
        folder: str,
        errors: int,
    ) -> subprocess.Popen[bytes]:
        site = needs_site_packages(program)
        job = {
            "runner": _RUNNER,
            "parent": os.getpid(),
            "folder": folder,
            "code": program,
            "inputs": tuple(inputs),
            "fn_name": fn_name,
            "preload": modules_to_load(program),
            "prelude": names_to_provide(program) if fn_name is not None else {},
            # The kernel counts in ticks here and may be early; `_outcome` looks at the exact time.
            "time": math.ceil(limits.time * 1.1),
            "memory": limits.memory * MB + RESERVED_SPACE,
            "output": limits.output * MB,
            "processes": None if os.geteuid() == 0 else PROCESS_LIMIT,
        }
        command = [sys.executable, "-I", "-B", "-X", "utf8", *([] if site else ["-S"])]
        source = nameless_file()
        try:
            with open(source, "wb", closefd=False) as file:
                marshal.dump(job, file)
            os.lseek(source, 0, os.SEEK_SET)
            process = subprocess.Popen(
                [*command, "-c", _START],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                cwd=folder,
                # Several threads make several stacks that count as address space.
                env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} if site else {},
                start_new_session=True,
                umask=0o077,
            )
        finally:
            os.close(source)
        with self._lock:
            closed = self._closed
            if not closed:
                self._live.add(process)
        if closed:
            _end(process)
            raise EngineError("the verifier is closed")
        return process


def _watch(
    process: subprocess.Popen[bytes], tests: int, limits: Limits, errors: int
) -> Iterator[Run]:
    messages = Messages(process, limits.output * MB)
    try:
        messages.expect(START_LIMIT, b"ready")
    except (TimeoutError, EOFError):
        said = _last_line(errors) or "no reason given"
        raise EngineError(f"the interpreter did not come up: {said}") from None
    try:
        kind, numbers = messages.expect(COMPILE_LIMIT, b"compiled", b"invalid")
        if kind == b"invalid":
            raise CompileError(messages.body(numbers[-1]).decode("utf-8", "replace"))
    except TimeoutError:
        raise CompileError("compiling takes too long") from None
    except EOFError:  # deep nesting can crash the compiler
        # Without reaping: the process id stays ours until `_end`.
        end = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if end is not None and end.si_status == signal.SIGKILL:
            raise ProgramVanished("killed while compiling") from None
        raise CompileError("the compiler crashed") from None
    wall = limits.time * WALL_FACTOR + WALL_EXTRA
    for index in range(tests):
        used = 0.0
        while True:
            try:
                _, numbers = messages.expect(wall, b"test")
                output = messages.body(numbers[-1]) if len(numbers) == 6 else b""
                break
            except TimeoutError:
                before, used = used, tree_cpu_seconds(process.pid)
                if used > limits.time:
                    yield Run(Status.TIME_LIMIT, b"", used, _over_time(limits))
                    return
                if used - before < BUSY * wall:
                    message = f"no end after {wall:g} s of wall time"
                    yield Run(Status.TIME_LIMIT, b"", used, message)
                    return
            except EOFError:
                raise ProgramVanished("the program's runner was killed") from None
        if len(numbers) != 6 or numbers[0] != index:
            raise ProgramVanished("the program tampered with its runner")
        yield _outcome(numbers, output, limits, errors)


def _outcome(numbers: list[int], output: bytes, limits: Limits, errors: int) -> Run:
    _, status, microseconds, peak_kb, length, _ = numbers
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    cpu = microseconds / 1e6
    failure: Status | None = None
    message = ""
    if cpu > limits.time or code == -signal.SIGXCPU:
        failure, message = Status.TIME_LIMIT, _over_time(limits)
    elif length >= limits.output * MB:
        failure, message = Status.OUTPUT_LIMIT, f"more than {limits.output} MB of output"
    elif peak_kb * 1024 > limits.memory * MB:
        failure, message = Status.MEMORY_LIMIT, f"more than {limits.memory} MB of memory"
    elif code == -signal.SIGKILL:
        raise ProgramVanished("killed by SIGKILL")
    elif code < 0:
        failure, message = Status.RUNTIME_ERROR, f"killed by {_signal_name(-code)}"
    else:
        message = _last_line(errors)
        if code > 0 and message.startswith("MemoryError"):
            failure = Status.MEMORY_LIMIT
        elif code > 0:
            failure, message = Status.RUNTIME_ERROR, message or f"exit code {code}"
    return Run(failure, b"" if failure else output, cpu, message)


def _over_time(limits: Limits) -> str:
    return f"more than {limits.time:g} s of CPU time"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _last_line(errors: int) -> str:
    size = os.fstat(errors).st_size
    tail = os.pread(errors, LAST_LINE, max(0, size - LAST_LINE)).decode("utf-8", "replace")
    lines = tail.strip().splitlines()
    return lines[-1].strip() if lines else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    kill_tree(process.pid)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
