"""A control group for a zygote and its children, which bounds all memory that they cause together.

Where it can be had: as root, mostly, or where a part of the tree was left to the user.
"""

from __future__ import annotations

import contextlib
import os
import time

_NAME = "cppo-trl-"
_TRIES = 3
# Version of the interface -> the file with the limit, the file that counts those killed for it.
_FILES = {
    1: ("memory.limit_in_bytes", "memory.oom_control"),
    2: ("memory.max", "memory.events"),
}


class Group:
    """A new memory group with this process in it; its children will be.

    `path` is to be removed once they are gone, by someone who may.

    Raises:
        OSError: there is none to be had.
    """

    def __init__(self) -> None:
        version, base = _find()
        for entry in os.listdir(base):
            if entry.startswith(_NAME):  # left by someone who was killed; those in use resist
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(base, entry))
        for tried in range(_TRIES):
            self.path = os.path.join(base, f"{_NAME}{os.getpid()}-{time.time_ns()}")
            os.mkdir(self.path)
            try:
                _write(os.path.join(self.path, "cgroup.procs"), str(os.getpid()))
                break
            except FileNotFoundError:  # another took it for left
                if tried == _TRIES - 1:
                    raise
            except OSError:
                os.rmdir(self.path)
                raise
        limit, events = (os.path.join(self.path, name) for name in _FILES[version])
        # Opened now, with the rights that go.
        self._limit = os.open(limit, os.O_WRONLY | os.O_CLOEXEC)
        self._events = os.open(events, os.O_RDONLY | os.O_CLOEXEC)
        self._bytes = 0

    def limit(self, limit: int) -> None:
        """Bounds the bytes of memory of all processes in the group, from now on."""
        if limit != self._bytes:
            os.pwrite(self._limit, str(limit).encode(), 0)
            self._bytes = limit

    def make_room(self, more: int) -> None:
        """Allows bytes on top of the limit, if there is one."""
        if self._bytes:
            with contextlib.suppress(OSError):
                self.limit(self._bytes + more)

    def kills(self) -> int:
        """How many processes were killed for the limit so far."""
        for line in os.pread(self._events, 4096, 0).decode().splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
        return 0


def _find() -> tuple[int, str]:
    """The version of the interface, and the folder where a memory group can be made."""
    own = {}  # controllers -> path in their tree
    with open("/proc/self/cgroup") as lines:
        for line in lines:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), path))
    with open("/proc/self/mountinfo") as lines:
        mounts = [line.split() for line in lines]
    for fields in mounts:
        root, point, (kind, _, options) = fields[3], fields[4], fields[fields.index("-") + 1 :][:3]
        if kind == "cgroup" and "memory" in options.split(",") and "memory" in own:
            return 1, _inside(point, root, own["memory"])
        if kind == "cgroup2" and "" in own:
            # Groups that hold processes, but for the root, can have none with a limit below them.
            here = _inside(point, root, own[""])
            for folder in dict.fromkeys((here, os.path.dirname(here))):
                with contextlib.suppress(OSError), open(f"{folder}/cgroup.subtree_control") as file:
                    if "memory" in file.read().split():
                        return 2, folder
    raise OSError("no tree of memory groups that may be added to")


def _inside(point: str, root: str, path: str) -> str:
    """The folder of a group of that path, for a tree mounted from `root` on at `point`."""
    inner = os.path.relpath(path, root)
    return point if inner.startswith("..") else os.path.normpath(os.path.join(point, inner))


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
