"""Which layers hold on this machine, and how a child of the zygote gets behind them."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Collection

from cppo_trl.verifier.sandbox import cgroup, landlock, limits, namespaces, seccomp, user
from cppo_trl.verifier.sandbox.libc import (
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    prctl,
)


class Layers:
    """The layers that hold, probed once; `missing` maps the name of each other to the reason.

    Made by the zygote, which itself gets behind "namespaces", "user" and "cgroup", for it and its
    children; `group` is the last, if it holds.

    Args:
        without: names of layers to leave out.
    """

    def __init__(self, without: Collection[str] = ()) -> None:
        self.missing = dict.fromkeys(without, "switched off")
        self.group: cgroup.Group | None = None
        self._ruleset = -1
        self._filter: seccomp.Filter | None = None
        self._reads_all = False

    def enter_group(self) -> None:
        """Puts this process, and those that it will fork, into a memory group of their own."""
        self._try("cgroup", self._make_group)

    def enter_namespaces(self) -> bool:
        """Whether this process got namespaces of its own; the next that it forks is in them."""
        return self._try("namespaces", namespaces.enter)

    def prepare(self) -> None:
        """Probes the other layers, changes this process's user, prepares what `lock` needs."""
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        if self._try("landlock", self._make_ruleset):
            self._try("landlock", lambda: _in_child(lambda: landlock.restrict(self._ruleset)))
        self._try("user", self._drop_user)
        prctl(PR_SET_DUMPABLE, 0)  # a change of the user resets it; children inherit it
        self._try("seccomp", self._make_filter)

    def lock(self, space: int, output: int, cpu_seconds: int) -> None:
        """Puts this process, a child of the zygote, behind all layers that hold.

        Args:
            space, output: bytes of address space, and of any one file.
            cpu_seconds: as a backstop.

        Raises:
            OSError: a layer that held when it was probed does not.
        """
        limits.apply(space, output, cpu_seconds)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if "landlock" not in self.missing:
            landlock.restrict(self._ruleset)
        elif self._reads_all:
            user.drop_capabilities()
        if self._filter is not None:
            self._filter.install()

    def _make_group(self) -> None:
        self.group = cgroup.Group()

    def _make_ruleset(self) -> None:
        self._ruleset = landlock.make_ruleset()

    def _drop_user(self) -> None:
        self._reads_all = os.geteuid() == 0 and user.needs_reading_right()
        drop = functools.partial(user.drop, keep_reading=self._reads_all)
        _in_child(drop)
        drop()

    def _make_filter(self) -> None:
        unprivileged = os.geteuid() != 0
        program = seccomp.build(reading="landlock" not in self.missing, limits=unprivileged)
        made = seccomp.Filter(program)
        _in_child(made.install)
        self._filter = made

    def _try(self, name: str, probe: Callable[[], object]) -> bool:
        if name in self.missing:
            return False
        try:
            probe()
        except OSError as error:
            self.missing[name] = str(error)
            return False
        return True


def _in_child(action: Callable[[], None]) -> None:
    """Does something that cannot be undone in a process of its own; raises its OSError."""
    pid = os.fork()
    if pid == 0:
        code = 255
        try:
            action()
            code = 0
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code) if code > 0 else f"killed by signal {-code}")
