"""The process that forks a locked-in child for each program; standard library only.

Never imported by the trainer: `pool.py` starts a bare interpreter and sends this module and those
that it needs. It loads the modules that programs use, once, then serves one program at a time: it
forks a child that locks itself in, compiles the program and runs its tests one after another. The
zygote gives each test its input, waits, measures and passes on what came out; it has never seen an
answer. Its own life ends with the trainer's: it sees the socket close.
"""

from __future__ import annotations

import _signal  # `signal` makes enums of all answers
import functools
import gc
import importlib
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from cppo_trl.verifier import program
from cppo_trl.verifier.child import Child
from cppo_trl.verifier.memory import MemoryWatch
from cppo_trl.verifier.messages import (
    CANNOT_COMPILE,
    CANNOT_LOCK,
    COMPILE_LIMIT,
    END,
    READY,
    TROUBLE,
    Closed,
    Line,
)
from cppo_trl.verifier.sandbox import limits
from cppo_trl.verifier.sandbox.layers import Layers
from cppo_trl.verifier.sandbox.libc import PR_SET_PDEATHSIG, prctl
from cppo_trl.verifier.source import compile_program


def main(settings: dict[str, Any]) -> None:
    """Serves the trainer on descriptor 0 until it closes; never returns.

    `settings`: `without` (names of layers to leave out), `preload` (names of modules to load),
    `preload_blind` (more, where children cannot load any).
    """
    limits.apply_to_all()
    resource.setrlimit(resource.RLIMIT_NOFILE, (_open_files(), _open_files()))
    first_copy = min(1024, _open_files() - 8)
    control = os.dup(0)
    os.set_inheritable(control, False)
    os.dup2(os.open("/dev/null", os.O_RDWR), 0)
    os.chdir("/")
    os.umask(0o077)
    layers = Layers(settings["without"])
    layers.enter_group()
    if layers.enter_namespaces() and (pid := os.fork()):
        os.close(control)
        os.waitpid(pid, 0)
        os._exit(0)
    for name in [name for name in sys.modules if name.startswith("cppo_trl")]:
        del sys.modules[name]
    program.install_builtins()
    sys.set_int_max_str_digits(0)
    program.warm_up()
    _load(settings["preload"])
    time.tzset()  # reads its file now
    layers.prepare()
    if "namespaces" not in layers.missing:
        # With the process that waits above; a change of the user resets it.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if "landlock" in layers.missing:
        _load(settings["preload_blind"])
    _reset_signals()
    line = Line(control, layers.group and layers.group.make_room)
    zygote = Zygote(line, layers, first_copy)
    try:
        group = layers.group and layers.group.path
        line.answer(READY, told=repr((layers.missing, group)).encode())
        while True:
            kind, job = line.receive()
            if kind == b"R":  # others are late words about a program that has ended
                zygote.run(job)
    except (Closed, BrokenPipeError, ConnectionResetError):
        os._exit(0)


def _reset_signals() -> None:
    """Gives programs the signals of a new interpreter; how the trainer was started (`nohup`, in the
    background of a script) decides on no verdict.
    """
    python_ignores = (signal.SIGPIPE, signal.SIGXFSZ)
    for number in signal.valid_signals():
        if signal.getsignal(number) is signal.SIG_IGN and number not in python_ignores:
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGCHLD})


def _open_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 2048 if hard == resource.RLIM_INFINITY else min(hard, 2048)


_tried: set[str] = set()


def _load(names: tuple[str, ...]) -> None:
    """Imports modules for all programs from now on."""
    fresh = [name for name in names if name not in _tried]
    if not fresh:
        return
    _tried.update(fresh)
    for name in fresh:
        try:
            importlib.import_module(name)
        except Exception:
            pass  # the program hears of it itself
    gc.collect()
    gc.freeze()  # the children's garbage collector never looks at what is there already


class Zygote:
    """Forks children for the programs that the trainer sends.

    Args:
        line: to the trainer.
        layers: that the children lock themselves in with.
        first_copy: see `program.run`.
    """

    def __init__(self, line: Line, layers: Layers, first_copy: int) -> None:
        self._line = line
        self._layers = layers
        self._first_copy = first_copy
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            children = os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # the kernel was built without it
            children = None
        self._watch = MemoryWatch(children, layers.group)
        self._state = program.State()
        self._preludes: dict[str, tuple[dict[str, Any], int]] = {}
        # Standard input and output of functions.
        self._null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

    def run(self, job: dict[str, Any]) -> None:
        """Runs the program of a request, and answers for each test."""
        _load(job["modules"])
        self._of_prelude(job["prelude"])  # known from now on
        child, peak = None, 0
        try:
            for data in self._inputs(job):
                if child is None:
                    space, resident = self._memory()
                    fork = functools.partial(self._fork, job, space)
                    self._watch.begin(resident, job["memory"], job["output"])
                    child = Child(self._line, job, self._null, self._watch, fork)
                    if not child.starts():
                        return
                child.run(data)
                if child.pid == 0 or child.failed:
                    failed = child.failed
                    peak = max(peak, child.end())
                    child = None
                    if failed:
                        break
        except OSError as error:
            if isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise
            self._line.answer(TROUBLE, told=str(error).encode("utf-8", "replace"))
            return
        finally:
            if child is not None:
                peak = max(peak, child.end())
        self._line.answer(END, peak=peak)

    def _of_prelude(self, text: str) -> tuple[dict[str, Any], int]:
        """The names that a prelude of ours makes, and the limit of recursion that it sets."""
        if text not in self._preludes:
            before, names = sys.getrecursionlimit(), {}
            exec(compile(text, "<prelude>", "exec"), names)
            self._preludes[text] = names, sys.getrecursionlimit()
            sys.setrecursionlimit(before)
            del names["__builtins__"]
        return self._preludes[text]

    def _inputs(self, job: dict[str, Any]) -> Iterator[bytes]:
        yield job["input"]
        if not job["more"]:
            return
        kind, inputs = self._line.receive()
        if kind != b"G":
            return
        for data in inputs:
            yield data
            if self._line.is_told_to_stop():
                return

    def _memory(self) -> tuple[int, int]:
        """(address space, resident) of this process in bytes."""
        fields = os.pread(self._statm, 200, 0).split()
        page = resource.getpagesize()
        return int(fields[0]) * page, int(fields[1]) * page

    def _fork(self, job: dict[str, Any], space: int, files: dict[int, int]) -> int:
        """The number of a new child, locked in.

        Args:
            job: as `run` takes it.
            space: address space of this process, which the limit is on top of.
            files: its descriptors; 0 to 3 are there under their numbers as well, and all of them
                from `first_copy` on.
        """
        zygote = os.getpid()
        if pid := os.fork():
            return pid
        code = CANNOT_LOCK
        try:
            _signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
            for number, file in files.items():
                os.dup2(file, self._first_copy + number)
            own = [number for number in files if number <= program.RESULT]
            for number in own:
                os.dup2(self._first_copy + number, number)
            if "random" in job["code"] and "random" in sys.modules:
                sys.modules["random"].seed()
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
            os.closerange(len(own), self._first_copy)
            os.closerange(self._first_copy + program.COPIES, 1 << 20)
            if os.getppid() != zygote:
                os._exit(0)  # it died before the child asked to die with it
            provided = {}
            for name, (module, attribute) in job["names"].items():
                provided[name] = importlib.import_module(module)
                if attribute is not None:
                    provided[name] = getattr(provided[name], attribute)
            names, recursion_limit = self._of_prelude(job["prelude"])
            code = CANNOT_COMPILE
            compiled = compile_program(job["code"], script=job["fn_name"] is None)
            self._state.watch(job["code"], recursion_limit)
            program.run(compiled, job["fn_name"], provided | names, self._first_copy, self._state)
        except SyntaxError as error:
            _complain(f"{type(error).__name__}: {error.msg} (line {error.lineno})")
        except BaseException as error:
            _complain(f"{type(error).__name__}: {error}")
        finally:
            os._exit(code)


def _complain(message: str) -> None:
    os.write(2, message.encode("utf-8", "replace"))
