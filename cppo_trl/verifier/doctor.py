"""Which layers of isolation hold on this machine, whether they do what they say, and what to do."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier.code_verifier import CodeVerifier
from cppo_trl.verifier.pool import EngineError, release, share
from cppo_trl.verifier.verdict import Status

TAKES = {
    "seccomp": "processes, network, changing files, signals",
    "landlock": "reading files but installed modules",
    "user": "root's rights",
    "namespaces": "network, other processes, System V IPC, once more",
    "cgroup": "memory, all that it causes; seen and ended late without it",
}
ADVICE = {
    "seccomp": "Needed. It takes Linux on x86-64 or aarch64 with CONFIG_SECCOMP_FILTER; in a "
    "container, a runtime whose own profile allows prctl(PR_SET_SECCOMP), as Docker's default "
    "does. Without it, `CodeVerifier(unsafe=True)` runs programs that can do what you can.",
    "landlock": "It takes Linux 5.13 with `landlock` among the kernel's `lsm=`. Without it "
    "programs can open no file at all, and modules that others import late may be missing.",
    "user": "Run as an unprivileged user, or give root the capabilities SETUID and SETGID.",
    "namespaces": "Allow user namespaces (sysctl user.max_user_namespaces above 0; on Ubuntu also "
    "kernel.apparmor_restrict_unprivileged_userns=0), or give root the capability SYS_ADMIN.",
    "cgroup": "Run as root where /sys/fs/cgroup can be written, or under `systemd-run --user "
    "--scope -p Delegate=yes`. Without it a program may have the address space of its limit and "
    "768 MB for some milliseconds.",
}

# What a self-test runs: the program, and how it must end. Each attempt prints "held" if refused.
_ATTEMPT = "try:\n  {}\nexcept OSError: print('held')\nelse: print('not held')"
_SELF_TESTS = {
    "a right program passes": ("print('held')", Status.PASS),
    "a wrong program fails": ("print('no')", Status.WRONG_ANSWER),
    "a loop is ended": ("while True: pass", Status.TIME_LIMIT),
    "memory is limited": ("x = bytearray(b'1') * 10**10", Status.MEMORY_LIMIT),
    "no process can be started": (_ATTEMPT.format("import os; os.fork()"), Status.PASS),
    "no socket can be had": (_ATTEMPT.format("import socket; socket.socket()"), Status.PASS),
    "no file can be written": (_ATTEMPT.format("open('/tmp/cppo-trl-doctor', 'x')"), Status.PASS),
    "no other file can be read": (_ATTEMPT.format("open('/etc/passwd')"), Status.PASS),
    "no other process can be ended": (
        _ATTEMPT.format("import os; os.kill(os.getppid() or 1, 0)"),
        Status.PASS,
    ),
}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found: for each layer why it is missing, None if it holds; what failed, in words.

    `start_seconds` is the time that the first verdict takes, `program_seconds` that of one more.
    """

    machine: str
    missing: dict[str, str | None]
    failed: dict[str, str]
    start_seconds: float
    program_seconds: float

    @property
    def is_safe(self) -> bool:
        """Whether programs can be run here: the needed layer holds and all self-tests passed."""
        return self.missing["seccomp"] is None and not self.failed


def diagnose() -> Diagnosis:
    """Starts the verifier and tries it.

    Raises:
        EngineError: it does not start; the message says why.
        SandboxError: this is not Linux.
    """
    pool = share()
    try:
        zygote = pool.take(site=False)
        missing = {name: zygote.missing.get(name) for name in TAKES}
        pool.give_back(zygote)
    except OSError as error:
        raise EngineError(f"cannot run programs: {error}") from error
    finally:
        release(pool)
    problem = Problem("self-test", "", (TestCase("", "held\n"),))
    failed = {}
    with CodeVerifier(workers=1, time_limit=0.5, memory_limit=256, unsafe=True) as verifier:
        start = time.monotonic()
        verifier.verify(problem, "print('held')  # first")
        first = time.monotonic()
        verifier.verify(problem, "print('held')  # second")
        second = time.monotonic()
        if missing["seccomp"] is None:  # otherwise attempts would not be attempts
            for name, (program, status) in _SELF_TESTS.items():
                verdict = verifier.verify(problem, program)
                if verdict.status is not status:
                    failed[name] = f"{verdict.status.value}: {verdict.message}"
    machine = f"{platform.system()} {platform.release()}, {platform.machine()}, Python "
    return Diagnosis(
        machine + platform.python_version(), missing, failed, first - start, second - first
    )


def describe(diagnosis: Diagnosis) -> str:
    """The diagnosis for people, one finding a line."""
    lines = [diagnosis.machine, ""]
    for name, reason in diagnosis.missing.items():
        state = "holds  " if reason is None else "MISSING"
        lines.append(f"{name:12}{state}  {TAKES[name]}")
        if reason is not None:
            lines += [f"{'':12}{reason}", f"{'':12}{ADVICE[name]}"]
    lines.append("")
    for name in _SELF_TESTS:
        if name in diagnosis.failed:
            lines.append(f"FAILED  {name}: {diagnosis.failed[name]}")
        elif diagnosis.missing["seccomp"] is None:
            lines.append(f"ok      {name}")
    lines += [
        "",
        (
            f"first verdict after {diagnosis.start_seconds * 1e3:.0f} ms, the next one after "
            f"{diagnosis.program_seconds * 1e3:.1f} ms"
        ),
        "Programs can be run here." if diagnosis.is_safe else "Programs should not be run here.",
    ]
    return "\n".join(lines)
