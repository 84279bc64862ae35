"""An unprivileged user without capabilities for the program."""

from __future__ import annotations

import ctypes
import os
import stat
import struct

from cppo_trl.verifier.sandbox.libc import PR_SET_KEEPCAPS, prctl, syscall

NOBODY = 65534
_CAPSET = {"x86_64": 126, "aarch64": 91}
_VERSION = 0x20080522
_READ_ANY_FILE = 1 << 2  # CAP_DAC_READ_SEARCH


def needs_reading_right() -> bool:
    """Whether the standard library lies where only root can read, as in root's home folder."""
    path = os.path.realpath(os.__file__)
    if not os.stat(path).st_mode & stat.S_IROTH:
        return True
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & stat.S_IXOTH:
            return True
    return False


def drop(keep_reading: bool) -> None:
    """Gives up root's user id and all capabilities, for good.

    `keep_reading` keeps the right to read any file: the zygote's, to load modules, and its
    children's under Landlock, which says what may be read.

    Raises:
        OSError: the user cannot be changed, as by root without that capability.
    """
    if os.geteuid() == 0:
        if keep_reading:
            prctl(PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    drop_capabilities(_READ_ANY_FILE if keep_reading else 0)


def drop_capabilities(but: int = 0) -> None:
    """Gives up all capabilities but some, for good; raises OSError."""
    header = struct.pack("=Ii", _VERSION, 0)
    sets = struct.pack("=6I", but, but, 0, 0, 0, 0)  # effective, permitted, inheritable
    syscall(_CAPSET[os.uname().machine], ctypes.c_char_p(header), ctypes.c_char_p(sets))
