"""A verifier under attack: after each program it must still work, with nothing left running."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier import CodeVerifier, Verdict, engine
from cppo_trl.verifier.engine import Engine

SUM = Problem("sum", "", (TestCase("1 2\n", "3\n"), TestCase("10 20\n", "30\n")))
RIGHT = "a, b = map(int, input().split())\nprint(a + b)\n"
HELD = Problem("held", "", (TestCase("", "held\n"),))

# `attempt(f, *args)` says so if the system lets it; the programs end with "held".
PREAMBLE = """
import ctypes, errno, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def raw(number, *args):
    result = libc.syscall(number, *args)
    if result < 0: raise OSError(ctypes.get_errno(), "")
    return result
def attempt(what, *args, **named):
    try: result = what(*args, **named)
    except (OSError, subprocess.SubprocessError, ImportError, LookupError): return
    print("ESCAPED", what, args, repr(result)[:100])
"""

# Each optional layer switched off, and all of them: seccomp alone must hold, too.
SETUPS = {
    "all layers": (),
    "no landlock": ("landlock",),
    "no user": ("user",),
    "no namespaces": ("namespaces",),
    "no cgroup": ("cgroup",),
    "seccomp alone": ("landlock", "user", "namespaces", "cgroup"),
}


class Target:
    """A verifier with one pool of zygotes."""

    def __init__(self, without: tuple[str, ...] = ()) -> None:
        # CPU seconds, MB, MB: an attack that gets through does little harm.
        self.verifier = CodeVerifier(
            workers=1, time_limit=0.5, memory_limit=128, output_limit=2, cache_size=0
        )
        self._without = without
        self.restart()

    def restart(self) -> None:
        """Goes on with new processes."""
        self.verifier._engine.close()
        self.verifier._engine = Engine(without=self._without)
        assert self.verifier.verify(SUM, RIGHT).passed
        self._before = descendants(os.getpid())

    def run(self, program: str, problem: Problem = SUM) -> Verdict:
        """The verdict on an attack, once the verifier is seen to be as good as before."""
        verdict = self.verifier.verify(problem, program)
        assert self.verifier.verify(SUM, RIGHT).passed
        assert self.verifier.verify(SUM, "print(3)").first_failed == 1
        assert wait_for(lambda: len(descendants(os.getpid())) <= len(self._before))
        return verdict

    def holds_against(self, program: str) -> None:
        """Runs attempts, none of which may succeed.

        Those that name system calls by number are for the machine whose numbers they are; the
        filter's tables for others are tested in `test_seccomp.py`.
        """
        if "attempt(raw," in program and os.uname().machine != "x86_64":
            pytest.skip("this attack makes system calls by their x86-64 numbers")
        verdict = self.run(f"{PREAMBLE}\n{program}\nprint('held')", HELD)
        assert verdict.passed, verdict


@pytest.fixture(scope="module")
def target(module_wall: None) -> Iterator[Target]:
    made = Target()
    yield made
    made.verifier.close()


@pytest.fixture(scope="module", params=SETUPS)
def any_target(request: pytest.FixtureRequest, module_wall: None) -> Iterator[Target]:
    made = Target(SETUPS[request.param])
    yield made
    made.verifier.close()


@pytest.fixture(scope="module")
def module_wall() -> Iterator[None]:
    """Programs that sleep are ended sooner than they would be, to save time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "WALL_EXTRA", 0.0)
        yield


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def descendants(pid: int) -> set[int]:
    """The processes that come from one, without itself."""
    found: set[int] = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(map(int, file.read_text().split()))
    return found.union(*map(descendants, found))
