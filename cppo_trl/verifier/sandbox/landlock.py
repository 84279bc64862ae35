"""Landlock: a program may read the standard library and little else, and open no network port."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys

from cppo_trl.verifier.sandbox.libc import syscall

_CREATE, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all kinds of machines
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# Bits of file access that each version of Landlock's interface knows.
_ACCESS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
_LATEST_BITS = 16
_TCP = 0b11  # bind and connect, from version 4 on
_SCOPES = 0b11  # abstract sockets and signals, from version 6 on

# What loading a C extension, a time zone or an encoding needs; nothing here is secret.
_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
)


def make_ruleset() -> int:
    """A descriptor of the rules, for `restrict`.

    Raises:
        OSError: the kernel has no Landlock, or it is not enabled.
    """
    version = syscall(_CREATE, 0, 0, 1)
    attributes = struct.pack(
        "=QQQ", (1 << _ACCESS_BITS.get(version, _LATEST_BITS)) - 1, _TCP, _SCOPES
    )
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = syscall(_CREATE, ctypes.c_char_p(attributes), size, 0)
    for path in (*readable_folders(), *_SYSTEM):
        try:
            file = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            folder = stat.S_ISDIR(os.fstat(file).st_mode)
            rule = struct.pack("=Qi", _READ_FILE | (_READ_DIR if folder else 0), file)
            syscall(_ADD_RULE, ruleset, 1, ctypes.c_char_p(rule), 0)
        finally:
            os.close(file)
    return ruleset


def readable_folders() -> list[str]:
    """The folders with installed modules; not those that a development install adds."""
    standard = os.path.dirname(os.__file__)
    return [
        path
        for path in sys.path
        if path.startswith(standard)
        or os.path.basename(path) in ("site-packages", "dist-packages", "lib-dynload")
    ]


def restrict(ruleset: int) -> None:
    """Puts this process under the rules, for good; raises OSError."""
    syscall(_RESTRICT_SELF, ruleset, 0)
