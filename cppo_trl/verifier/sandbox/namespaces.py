"""Namespaces of its own for the zygote: no network, no other process to see or signal."""

from __future__ import annotations

import os

from cppo_trl.verifier.sandbox.libc import unshare

_USER = 0x10000000
_MOUNT, _UTS, _IPC, _PID, _NET = 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000
_OTHERS = _MOUNT | _UTS | _IPC | _PID | _NET


def enter() -> None:
    """Leaves the machine's namespaces; processes forked from now on are in the new ones.

    To be called while this process is dumpable: its maps of users cannot be written otherwise.

    Raises:
        OSError: the system does not allow it.
    """
    user, group = os.geteuid(), os.getegid()
    if user == 0:  # in a user namespace of one user there would be no one to change to
        unshare(_OTHERS)
        return
    unshare(_USER | _OTHERS)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
