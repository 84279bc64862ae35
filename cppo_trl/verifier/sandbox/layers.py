"""Which layers hold on this machine, and how a child of the zygote gets behind them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection

from cppo_trl.verifier.sandbox import landlock, limits, namespaces, seccomp, user
from cppo_trl.verifier.sandbox.libc import (
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    prctl,
)

LAYERS = ("seccomp", "landlock", "user", "namespaces")


class Layers:
    """The layers that hold, probed once; `missing` maps the name of each other to the reason.

    Made by the zygote, which itself stays outside of all but namespaces: it has to fork.

    Args:
        without: names of layers to leave out.
    """

    def __init__(self, without: Collection[str] = ()) -> None:
        self.missing = dict.fromkeys(without, "switched off")
        self._ruleset = -1
        self._filter = bytearray()
        self._keep_reading = False
        self._drops_user = False

    def enter_namespaces(self) -> bool:
        """Whether this process got namespaces of its own; the next that it forks is in them."""
        return self._try("namespaces", namespaces.enter)

    def prepare(self) -> None:
        """Probes the other layers and prepares what `lock` needs."""
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        prctl(PR_SET_DUMPABLE, 0)
        if self._try("landlock", self._make_ruleset):
            self._try("landlock", lambda: _in_child(lambda: landlock.restrict(self._ruleset)))
        reading = "landlock" not in self.missing
        self._keep_reading = reading and os.geteuid() == 0 and user.needs_reading_right()
        self._drops_user = self._try(
            "user", lambda: _in_child(lambda: user.drop(self._keep_reading))
        )
        unprivileged = self._drops_user or os.geteuid() != 0

        def build_and_install() -> None:
            self._filter = seccomp.build(reading=reading, limits=unprivileged)
            _in_child(lambda: seccomp.install(self._filter))

        self._try("seccomp", build_and_install)

    def lock(self, space: int, output: int, cpu_seconds: int) -> None:
        """Puts this process, a child of the zygote, behind all layers that hold.

        Args:
            space, output: bytes of address space, and of any one file.
            cpu_seconds: as a backstop.

        Raises:
            OSError: a layer that held when it was probed does not.
        """
        limits.apply(space, output, cpu_seconds)
        if self._drops_user:
            user.drop(self._keep_reading)
        # Changing the user resets both.
        prctl(PR_SET_DUMPABLE, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if "landlock" not in self.missing:
            landlock.restrict(self._ruleset)
        if "seccomp" not in self.missing:
            seccomp.install(self._filter)

    def _make_ruleset(self) -> None:
        self._ruleset = landlock.make_ruleset()

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
