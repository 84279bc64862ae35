"""A program as it runs in a child of the zygote: a real `__main__`, test after test.

Descriptors 0, 1 and 2 are files in memory; for a function problem 0 and 1 are /dev/null, and 3, a
file in memory, holds the arguments (one JSON value a line) before and the result (JSON) after the
call. A test ends well by a byte to the zygote, which sends one for the next test; any other end of
a test is an end of the process, with the exit code that the program alone would have.

Nothing here is out of the program's reach, and need not be: all that it could forge is that it
ended well, which `os._exit(0)` says as well, and answers are compared elsewhere.

Assertions are the exception: they are checked in the program's own process. Their code comes with a
random token, both read before the program runs and gone from the descriptor by then, and the token
is given back after the last assertion: a program that ends before, in whatever way and with
whatever exit code, does not know it. What a program can still do, if it is written to:
- find the token in the frames of its callers and give it back itself;
- change what assertions mean: results with an `__eq__` that always agrees, names of modules or
  builtins that the tests use. The benchmarks' own graders have no answer to this either.
"""

from __future__ import annotations

import _signal  # `signal.getsignal` makes an enum of each answer, which takes a tenth of a ms
import _thread
import atexit
import builtins
import contextlib
import gc
import io
import json
import os
import signal
import sys
import threading
import types
from collections.abc import Mapping
from typing import Any

from cppo_trl.verifier.messages import ASSERTIONS
from cppo_trl.verifier.source import FILE, RETURN, TopLevelReturn, compile_program
from cppo_trl.verifier.streams import install_open, reset_standard_streams

RESULT = 3  # the descriptor of a function's arguments and result
# Where the pipes to and from the zygote are, and how many descriptors in all, from `first_copy` on.
DONE, NEXT, COPIES = 4, 5, 6
_STACK = 8 << 20  # of threads, unless the program says otherwise; the main one has all it needs

_WARM_UPS = 20  # more than it takes CPython to specialise a function
_WARMING = """
import sys
from collections import defaultdict

def main():
    a, b = map(int, input().split())
    counts = defaultdict(list)
    for line in sys.stdin:
        counts[a + b].append(int(line))
    print(*sorted(counts), sep=" ")

if __name__ == "__main__":
    main()
"""

_leave, _close_range = os._exit, os.closerange
# What a program puts in the place of these is not what is called here.
_execute, _compile, _from_json, _to_json = exec, compile, json.loads, json.dumps


def install_builtins() -> None:
    """`exit` and `quit`, as `site` makes them, what a top-level `return` raises, and devices that
    work without opening them.
    """
    if not hasattr(builtins, "exit"):
        import site  # as it comes, it does nothing

        site.setquit()
        site.setcopyright()
        site.sethelper()
    setattr(builtins, RETURN, TopLevelReturn)
    install_open()


def warm_up() -> None:
    """Runs a small program of ours in the zygote itself.

    A child then finds code specialised and caches filled: what it does not write, the kernel need
    not copy for it.
    """
    kept = [os.dup(number) for number in range(3)]
    state = State()
    for _ in range(_WARM_UPS):
        for number in range(3):
            file = os.memfd_create("")
            os.dup2(file, number)
            os.close(file)
        os.pwrite(0, b"1 2\n3\n", 0)
        _run_script(compile_program(_WARMING, script=True), {}, state)
        state.is_worn()
        state.reset()
    for number, file in enumerate(kept):
        os.dup2(file, number)
        os.close(file)


def run(
    code: types.CodeType,
    fn_name: str | None,
    provided: Mapping[str, Any],
    first_copy: int,
    state: State,
) -> None:
    """Runs the program on one test after another; never returns.

    Args:
        code: of the program.
        fn_name: the function to call, None for standard input and output, or `ASSERTIONS`.
        provided: what its namespace begins with.
        first_copy: where the copies of the descriptors 0 to 2, or 3, begin: a test that closes
            them, as `open(0).read()` does, does not leave the next one without.
        state: of an interpreter that has not run the program.
    """
    last = 2 if fn_name is None else RESULT
    status = 1
    try:
        _wait_for_next(first_copy)
        while True:
            status = (
                _run_script(code, provided, state)
                if fn_name is None
                else _run_function(code, fn_name, provided)
            )
            if status or state.is_worn() or not _wait_for_next(first_copy):
                break
            for file in range(last + 1):
                os.dup2(first_copy + file, file)
            _close_range(last + 1, 64)
            state.reset()
    except BaseException as error:
        status = 1
        describe(error)
    finally:
        while True:
            try:
                _leave(status)
            except BaseException:  # a signal handler of the program's
                pass


def _wait_for_next(first_copy: int) -> bool:
    """Whether there is a next test; not if the program closed the pipes, which is not its task."""
    try:
        return os.write(first_copy + DONE, b"d") == 1 == len(os.read(first_copy + NEXT, 1))
    except OSError:
        return False


class State:
    """What one test of a program may not leave to the next; the rest is for fresh processes.

    Made by the zygote, before it forks: a page of memory that a child does not write to is one that
    the kernel does not copy. For the same reason a program that does not name a thing is not
    watched for having changed it. One that hides the name has only its own next tests to spoil.
    """

    def __init__(self) -> None:
        self._builtins = dict(builtins.__dict__)
        self._signals = _signal_handlers()
        self._environment = dict(os.environ)
        self._path = list(sys.path)
        self._hooks = (sys.excepthook, sys.displayhook, threading.excepthook)
        self._may_change_builtins = self._may_change_signals = self._may_change_environment = True
        self._recursion_limit = 1000
        self.ended_threads = False
        self.reset()

    def watch(self, text: str, recursion_limit: int) -> None:
        """Says which program is to be run, and with which limit of recursion."""
        self._recursion_limit = recursion_limit
        sys.setrecursionlimit(recursion_limit)
        self._may_change_builtins = "builtins" in text
        self._may_change_signals = "signal" in text
        self._may_change_environment = "env" in text

    def reset(self) -> None:
        """Makes ready for a test."""
        self._restore_builtins()
        if self._may_change_environment and os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        sys.path[:] = self._path
        sys.excepthook, sys.displayhook, threading.excepthook = self._hooks
        sys.setrecursionlimit(self._recursion_limit)
        sys.set_int_max_str_digits(0)
        _thread.stack_size(_STACK)
        gc.enable()
        reset_standard_streams()
        sys.argv = [FILE]

    def _restore_builtins(self) -> None:
        if self._may_change_builtins and builtins.__dict__ != self._builtins:
            builtins.__dict__.clear()
            builtins.__dict__.update(self._builtins)

    def is_worn(self) -> bool:
        """Whether something is left that only a new process is free of."""
        self._restore_builtins()
        return (
            self.ended_threads
            or _thread._count() > 0
            or sys.gettrace() is not None
            or sys.getprofile() is not None
            or (self._may_change_signals and self._signals != _signal_handlers())
        )


def _signal_handlers() -> list[Any]:
    handlers = [_signal.getsignal(number) for number in range(1, signal.NSIG)]
    return handlers + [_signal.getitimer(kind)[0] > 0 for kind in range(3)]


def _run_script(code: types.CodeType, provided: Mapping[str, Any], state: State) -> int:
    """Runs the program as `__main__`, then what an interpreter does at its end; the exit code."""
    names = _new_module("__main__", provided)
    stdout = sys.stdout
    status = 0
    try:
        exec(code, names)
    except SystemExit as stop:
        status = _exit_status(stop.code)
    except BaseException as error:
        status = 1
        describe(error)
    try:
        if _thread._count() > 0:
            state.ended_threads = True
            threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException as error:
        describe(error)
    files = [value for value in names.values() if isinstance(value, io.BufferedWriter)]
    files += [value for value in names.values() if isinstance(value, io.TextIOWrapper)]
    for file in (*files[::-1], stdout):
        try:
            if not file.closed:
                file.flush()
        except (OSError, ValueError):
            pass
    try:
        current = vars(sys).get("stdout")  # it may be deleted, or anything
        if current is not None and not getattr(current, "closed", False):
            current.flush()
    except BaseException as error:
        describe(error)
        return 120  # as the interpreter's own
    # Finalizers come last and print to the stream that the interpreter made.
    sys.stdout = stdout
    if not state.ended_threads:  # daemons would find their names gone
        sys.settrace(None)  # so would these, which are called for what comes now
        sys.setprofile(None)
        sys.modules.pop("__main__", None)
        names.clear()
        with contextlib.suppress(OSError, ValueError):
            stdout.flush()
    return status


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    _write(2, f"\n{code}".encode("utf-8", "replace"))
    return 1


def _run_function(code: types.CodeType, name: str, provided: Mapping[str, Any]) -> int:
    """Calls the function on the arguments in `RESULT` and leaves its result there; exit code."""
    with open(
        RESULT, encoding="utf-8", errors="surrogatepass", newline="\n", closefd=False
    ) as file:
        arguments = [_from_json(line) for line in file if line.strip()]
    os.ftruncate(RESULT, 0)
    names = _new_module("solution", provided)
    if name == ASSERTIONS:
        _run_with_assertions(code, names, *arguments)
        return 0
    exec(code, names)
    holder = names.get("Solution")
    if isinstance(holder, type) and hasattr(holder, name):
        function = getattr(holder(), name)
    elif name in names:
        function = names[name]
    else:
        _write(2, f"\nNameError: no function {name!r} and no Solution.{name}".encode())
        return 1
    result = function(*arguments)
    try:
        text = json.dumps(result, default=_plain).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        _write(2, f"\n{error}".encode("utf-8", "replace"))
        return 0  # the run is fine, its answer is nothing that could be right
    _leave_result(text)
    return 0


def _run_with_assertions(
    code: types.CodeType, names: dict[str, Any], before: str, after: str, token: str
) -> None:
    """Runs the program between two pieces of test code; leaves the token if all end well."""
    _execute(_compile(before, "tests", "exec", dont_inherit=True), names)
    _execute(code, names)
    _execute(_compile(after, "tests", "exec", dont_inherit=True), names)
    _leave_result(_to_json(token).encode("ascii"))


def _leave_result(text: bytes) -> None:
    os.lseek(RESULT, 0, os.SEEK_SET)
    os.ftruncate(RESULT, 0)
    _write(RESULT, text)


def _plain(value: object) -> Any:
    """Called for what JSON does not know; numpy's scalars are numbers to every grader."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"the result holds a {type(value).__name__}, which is not plain JSON data")


def _new_module(name: str, provided: Mapping[str, Any]) -> dict[str, Any]:
    module = types.ModuleType(name)
    module.__dict__.update(provided)
    for stream in provided.keys() & {"stdin", "stdout", "stderr"}:
        # From a prelude's `from sys import *`, which ran before this test's streams were made.
        module.__dict__[stream] = getattr(sys, stream)
    module.__builtins__ = builtins
    module.__file__ = FILE
    sys.modules[name] = module
    return module.__dict__


def describe(error: BaseException) -> None:
    """Writes the last line of standard error: what was raised, and where in the program."""
    line, entry = None, error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == FILE:
            line = entry.tb_lineno
        entry = entry.tb_next
    error.__traceback__ = error.__context__ = None  # they hold on to memory that is needed below
    name = "MemoryError" if isinstance(error, MemoryError) else type(error).__name__
    try:
        text = f"{name}: {error}"[:300].replace("\n", " ").removesuffix(": ")
        where = "" if line is None else f" (line {line})"
        _write(2, f"\n{text}{where}".encode("utf-8", "replace"))
    except BaseException:
        try:
            _write(2, b"\n" + name.encode("utf-8", "replace"))
        except OSError:
            pass  # it closed its standard error


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
