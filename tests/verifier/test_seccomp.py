"""The filter decides as it should, for both kinds of machines; only one of them is at hand."""

from __future__ import annotations

import struct

import pytest

from cppo_trl.verifier.sandbox.seccomp import build
from cppo_trl.verifier.sandbox.syscalls import ALWAYS, MACHINES

OWN_PID = 0x7FFFFFF1
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


def decide(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What a filter returns: an interpreter of classic BPF, as far as filters here use it."""
    words = [argument & (1 << 64) - 1 for argument in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("=iIQ6Q", number, arch, 0, *words)
    at, value = 0, 0
    while True:
        code, jump, other, constant = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        if code == 0x20:  # load
            (value,) = struct.unpack_from("=I", data, constant)
        elif code == 0x06:  # return
            return constant
        elif code == 0x05:  # jump
            at += constant
        elif code == 0x15:
            at += jump if value == constant else other
        elif code == 0x35:
            at += jump if value >= constant else other
        elif code == 0x45:
            at += jump if value & constant else other
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


@pytest.fixture(params=MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def answers(machine: str, name: str, *arguments: int, **options: bool) -> int:
    arch, numbers = MACHINES[machine]
    program = build(**{"reading": True, "limits": True, **options}, machine=machine)
    return decide(bytes(program), arch, numbers[name], *arguments)


def test_only_calls_on_the_list_are_allowed(machine: str) -> None:
    arch, numbers = MACHINES[machine]
    program = bytes(build(reading=True, limits=True, machine=machine))
    listed = {numbers[name] for name in ALWAYS if name in numbers}
    ruled = set(numbers.values()) - listed
    for number in range(1000):
        if number in listed:
            assert decide(program, arch, number) == ALLOW
        elif number not in ruled:
            assert decide(program, arch, number) == (ENOSYS if number >= 440 else EPERM)


@pytest.mark.parametrize(
    ("name", "arguments", "allowed"),
    [
        ("openat", (0, 0, 0), True),
        ("openat", (0, 0, 0o2000000), True),  # O_CLOEXEC
        ("openat", (0, 0, 1), False),
        ("openat", (0, 0, 2), False),
        ("openat", (0, 0, 0o100), False),
        ("openat", (0, 0, 0o1000), False),
        ("openat", (0, 0, 0o20200000), False),
        ("clone", (0x3D0F00,), True),  # as pthread_create
        ("clone", (0x3D0B00,), False),  # with descriptors of its own
        ("clone", (17,), False),
        ("close_range", (3, 99, 0), True),
        ("close_range", (3, 99, 4), True),  # at the next exec
        ("close_range", (3, 99, 2), False),  # with descriptors of its own
        ("clone", (0x4111,), False),  # vfork
        ("clone", (0x10000 | 0x10000000,), False),
        ("kill", (OWN_PID, 9), True),
        ("kill", (1, 9), False),
        ("kill", (0, 9), False),
        ("kill", (-1, 9), False),
        ("tgkill", (OWN_PID, 5, 9), True),
        ("tgkill", (1, 1, 9), False),
        ("prctl", (15,), True),
        ("prctl", (4, 1), False),
        ("ioctl", (0, 0x5401), True),
        ("ioctl", (0, 0x5412), False),
        ("fcntl", (0, 3), True),
        ("fcntl", (0, 8), False),
        ("socketpair", (1,), True),
        ("socketpair", (2,), False),
        ("sendto", (0, 0, 0, 0, 0), True),
        ("sendto", (0, 0, 0, 0, 1), False),
        ("sendto", (0, 0, 0, 0, 1 << 32), False),
        ("prlimit64", (0, 1, 1), True),
        ("prlimit64", (1, 1, 1), False),
    ],
)
def test_arguments_decide(
    machine: str, name: str, arguments: tuple[int, ...], allowed: bool
) -> None:
    assert answers(machine, name, *arguments) == (ALLOW if allowed else EPERM)


def test_calls_whose_arguments_cannot_be_seen_look_absent(machine: str) -> None:
    assert answers(machine, "clone3") == answers(machine, "openat2") == ENOSYS


def test_without_landlock_nothing_is_opened(machine: str) -> None:
    assert answers(machine, "openat", 0, 0, 0, reading=False) == EPERM
    assert answers(machine, "getdents64", reading=False) == EPERM


def test_with_roots_rights_limits_can_only_be_asked_for(machine: str) -> None:
    assert answers(machine, "prlimit64", 0, 1, 0, limits=False) == ALLOW
    assert answers(machine, "prlimit64", 0, 1, 1, limits=False) == EPERM


def test_calls_for_another_kind_of_machine_kill(machine: str) -> None:
    program = bytes(build(reading=True, limits=True, machine=machine))
    assert decide(program, 0x40000003, 1) == KILL  # 32 bit
    assert decide(program, MACHINES[machine][0], 0x40000001) == KILL  # x32


def test_a_machine_without_a_table_is_refused_by_name() -> None:
    with pytest.raises(OSError, match=r"'riscv64'.*x86_64"):
        build(reading=True, limits=True, machine="riscv64")
