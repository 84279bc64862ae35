"""How much memory a child of the zygote uses, while it runs and at its end."""

from __future__ import annotations

import contextlib
import os
import resource

from cppo_trl.verifier.sandbox.cgroup import Group

PAGE = resource.getpagesize()
FILE_COPIES = 6  # the child's three files, and as much again in the zygote that sends one of them
GROUP_EXTRA = 32 << 20  # bytes: what the kernel needs for a process beside its memory


class MemoryWatch:
    """Sees how much memory a child uses, and whether it was killed for it.

    Args:
        children: a descriptor that lists the numbers of this process's children, if there is one;
            as /proc knows them, which are not those of this process's own namespace.
        group: the memory group of this process and its children, if there is one.
    """

    def __init__(self, children: int | None, group: Group | None) -> None:
        self._children = children
        self._group = group
        self._statm: int | None = None
        self._kills = 0

    def begin(self, resident: int, memory: int, output: int) -> None:
        """Gets ready for the next child.

        Args:
            resident: bytes that this process has, which do not count.
            memory, output: bytes that the child may use, and write to any file.
        """
        self._resident, self._memory = resident, memory
        if self._group is not None:
            with contextlib.suppress(OSError):  # what is in use already cannot be taken back
                files = FILE_COPIES * output
                self._group.limit(2 * resident + memory + files + GROUP_EXTRA)

    def exceeds(self) -> bool:
        """Whether the child uses more than it may now, as far as can be seen."""
        if self._children is None:
            return False
        try:
            if self._statm is None:
                number = os.pread(self._children, 32, 0).split()[0].decode()
                self._statm = os.open(f"/proc/{number}/statm", os.O_RDONLY | os.O_CLOEXEC)
            pages = int(os.pread(self._statm, 200, 0).split()[1])
        except (OSError, IndexError):  # it is no more, or hidden
            return False
        return pages * PAGE > self._resident + self._memory

    def ends(self, usage: resource.struct_rusage) -> int:
        """Takes in the end of the child; its peak in KB above a child's that does nothing."""
        if self._statm is not None:
            os.close(self._statm)
            self._statm = None
        return max(0, usage.ru_maxrss - self._resident // 1024)

    def has_killed(self) -> bool:
        """Whether the group's limit has killed a child since this was asked last."""
        if self._group is None:
            return False
        before, self._kills = self._kills, self._group.kills()
        return self._kills > before
