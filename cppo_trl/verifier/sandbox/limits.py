"""Resource limits of a process that runs a program."""

from __future__ import annotations

import os
import resource

MB = 1 << 20
OPEN_FILES = 64
PROCESSES = 4096  # for all processes of the user together: a lower one would hit the trainer
# Address space that is reserved but not touched (stacks of threads, arenas of malloc) is no memory
# in use; solutions that recurse in a thread with a stack of 512 MB are common.
RESERVED_SPACE = 768 * MB


_ceilings = {
    kind: resource.getrlimit(kind)[1]
    for name, kind in vars(resource).items()
    if name.startswith("RLIMIT_")
}


def apply_to_all() -> None:
    """Sets the limits that a process leaves to its children; raises OSError.

    What was only advised to the trainer (`ulimit -S`) is none of theirs.
    """
    for kind in (resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_AS):
        _limit(kind, resource.RLIM_INFINITY)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)


def apply(space: int, output: int, cpu_seconds: int) -> None:
    """Sets the other limits, the hard ones as well: bytes of address space and of any file, CPU.

    The CPU limit is for the case that the zygote, which measures exactly, cannot.

    Raises:
        OSError: the system refuses.
    """
    _limit(resource.RLIMIT_AS, space)
    _limit(resource.RLIMIT_FSIZE, output)
    _limit(resource.RLIMIT_CPU, cpu_seconds)
    _limit(resource.RLIMIT_NOFILE, OPEN_FILES)
    if os.geteuid() != 0:
        _limit(resource.RLIMIT_NPROC, PROCESSES)


def _limit(kind: int, value: int) -> None:
    ceiling = _ceilings[kind]
    if ceiling != resource.RLIM_INFINITY:
        value = min(value, ceiling) if value != resource.RLIM_INFINITY else ceiling
    try:
        resource.setrlimit(kind, (value, value))
    except ValueError as error:
        raise OSError(f"limit {kind} cannot be set: {error}") from error
