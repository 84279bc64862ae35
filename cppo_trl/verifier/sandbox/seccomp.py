"""A seccomp filter: the system calls that a program may make, all others fail with EPERM.

What a program can no longer do: start a process (threads it can), run a file, open or change a file
for writing, make, remove or rename one, use any socket (a pair of connected ones it can have, as
asyncio does), signal another process, trace, mount, change its user, limits beyond the hard ones,
namespaces or filters, use io_uring, bpf, keyrings, userfaultfd, shared memory of System V.
"""

from __future__ import annotations

import ctypes
import os
import struct

from cppo_trl.verifier.sandbox.libc import PR_SET_SECCOMP, prctl
from cppo_trl.verifier.sandbox.syscalls import ALWAYS, MACHINES

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, constant

_LOAD, _RETURN, _JUMP = 0x20, 0x06, 0x05
_EQUAL, _AT_LEAST, _ANY_BIT = 0x15, 0x35, 0x45
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

ALLOW: Instruction = (_RETURN, 0, 0, 0x7FFF0000)
KILL: Instruction = (_RETURN, 0, 0, 0x80000000)
REFUSE: Instruction = (_RETURN, 0, 0, 0x00050000 | 1)  # EPERM
UNKNOWN: Instruction = (_RETURN, 0, 0, 0x00050000 | 38)  # ENOSYS: libraries fall back on older ones

_OWN_PID = 0x7FFFFFF1  # stands for the process's own number until the filter is installed
_NEW_SYSCALLS = 440  # from here on there is nothing that libraries cannot do without
_X32 = 0x40000000

# O_WRONLY | O_RDWR, O_CREAT, O_TRUNC, __O_TMPFILE
_WRITING = 0o3 | 0o100 | 0o1000 | 0o20000000
_CLONE_FILES, _CLONE_THREAD, _CLONE_NEW = 0x00000400, 0x00010000, 0x7E020080
_CLOSE_RANGE_UNSHARE = 2
_AF_UNIX = 1
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_GET_SEALS
_FCNTL = (0, 1, 2, 3, 4, 1030, 1032, 1034)
_IOCTL = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # terminal?, bytes to read, flags
_PRCTL = (15, 16, 0x53564D41)  # the thread's name, names of memory areas (glibc's malloc)


def _argument(index: int, upper: bool = False) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index + 4 * upper)


def _one_of(index: int, *values: int) -> list[Instruction]:
    tests = [(_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)]
    return [_argument(index), *tests, REFUSE, ALLOW]


def _without(index: int, bits: int) -> list[Instruction]:
    return [_argument(index), (_ANY_BIT, 0, 1, bits), REFUSE, ALLOW]


def _null(index: int) -> list[Instruction]:
    return [
        _argument(index),
        (_EQUAL, 0, 2, 0),
        _argument(index, upper=True),
        (_EQUAL, 1, 0, 0),
        REFUSE,
        ALLOW,
    ]


# With descriptors of its own, each thread could have as many as the limit allows, full of data.
_THREADS_ONLY = [
    _argument(0),
    (_ANY_BIT, 0, 2, _CLONE_THREAD),
    (_ANY_BIT, 0, 1, _CLONE_FILES),
    (_ANY_BIT, 0, 1, _CLONE_NEW),
    REFUSE,
    ALLOW,
]


def _rules(reading: bool, limits: bool) -> dict[str, list[Instruction]]:
    rules = {name: [ALLOW] for name in ALWAYS}
    rules |= {
        "clone": _THREADS_ONLY,
        "close_range": _without(2, _CLOSE_RANGE_UNSHARE),
        "clone3": [UNKNOWN],  # its flags are out of a filter's sight
        "openat2": [UNKNOWN],
        "kill": _one_of(0, _OWN_PID),
        "tgkill": _one_of(0, _OWN_PID),
        "tkill": _one_of(0, _OWN_PID),
        "prctl": _one_of(0, *_PRCTL),
        "ioctl": _one_of(1, *_IOCTL),
        "fcntl": _one_of(1, *_FCNTL),
        "socketpair": _one_of(0, _AF_UNIX),
        "sendto": _null(4),  # to the other end of the pair, never to an address
        "prlimit64": _one_of(0, 0, _OWN_PID) if limits else _null(2),
    }
    if reading:
        rules |= {"open": _without(1, _WRITING), "openat": _without(2, _WRITING)}
        rules["getdents64"] = [ALLOW]
    return rules


def build(reading: bool, limits: bool, machine: str | None = None) -> bytearray:
    """The program as an array of `struct sock_filter`, for `Filter`.

    Args:
        reading: files may be opened for reading; only where Landlock says which.
        limits: the process may change its own limits; only without root's rights, which could
            raise the hard ones.
        machine: as `os.uname` names it; None for this one.

    Raises:
        OSError: no table of system calls for this kind of machine.
    """
    machine = machine or os.uname().machine
    if machine not in MACHINES or struct.calcsize("P") != 8:
        raise OSError(f"no table of system calls for {machine!r}; there is one for {[*MACHINES]}")
    arch, numbers = MACHINES[machine]
    bodies = {
        numbers[name]: body for name, body in _rules(reading, limits).items() if name in numbers
    }
    segments: list[tuple[int, list[Instruction]]] = [(0, [REFUSE])]
    for number in sorted(bodies):
        if segments[-1][0] == number:
            segments.pop()
        if not segments or segments[-1][1] != bodies[number]:  # neighbours share a body
            segments.append((number, bodies[number]))
        segments.append((number + 1, [UNKNOWN if number + 1 >= _NEW_SYSCALLS else REFUSE]))
    if segments[-1][0] < _NEW_SYSCALLS:
        segments.append((_NEW_SYSCALLS, [UNKNOWN]))
    segments.append((_X32, [KILL]))
    program = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        KILL,
        (_LOAD, 0, 0, _NUMBER),
        *_search(segments),
    ]
    return bytearray(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))


def _search(segments: list[tuple[int, list[Instruction]]]) -> list[Instruction]:
    """A binary search: the kernel walks the filter for each system call when it is installed."""
    if len(segments) == 1:
        return segments[0][1]
    middle = len(segments) // 2
    left, right = _search(segments[:middle]), _search(segments[middle:])
    start = segments[middle][0]
    if len(left) < 256:
        return [(_AT_LEAST, len(left), 0, start), *left, *right]
    return [(_AT_LEAST, 0, 1, start), (_JUMP, 0, 0, len(left)), *left, *right]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


class Filter:
    """A program of `build` where the kernel can read it, made once for many processes."""

    def __init__(self, program: bytearray) -> None:
        own_pid = struct.pack("=I", _OWN_PID)
        self._program = program
        self._own_pids = [at for at in range(4, len(program), 8) if program[at : at + 4] == own_pid]
        start = ctypes.addressof(ctypes.c_char.from_buffer(program))
        self._described = _Program(len(program) // 8, start)
        self._address = ctypes.addressof(self._described)

    def install(self) -> None:
        """Puts this process under the filter, for good; needs "no new privileges".

        Raises:
            OSError: the kernel has no seccomp, or refuses.
        """
        for at in self._own_pids:
            struct.pack_into("=I", self._program, at, os.getpid())
        prctl(PR_SET_SECCOMP, 2, self._address)
