"""Programs that try to learn what is none of their business."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

READING = {
    "the environment of its parent": "attempt(open, f'/proc/{os.getppid()}/environ')",
    "the command line of its parent": "attempt(open, f'/proc/{os.getppid()}/cmdline')",
    "the memory of its parent": "attempt(open, f'/proc/{os.getppid()}/mem', 'rb')",
    "its own memory by file": "attempt(open, '/proc/self/mem', 'rb')",
    "memory of another process by a call": "attempt(raw, 310, os.getppid(), 0, 0, 0, 0, 0)",
    "tracing its parent": "attempt(raw, 101, 16, os.getppid(), 0, 0)",
    "the list of users": "attempt(open, '/etc/passwd')",
    "the passwords": "attempt(open, '/etc/shadow')",
    "root's home": "attempt(os.listdir, '/root')",
    "the root folder": "attempt(os.listdir, '/')",
    "the working folder": "attempt(os.listdir)",
    "the list of processes": "attempt(os.listdir, '/proc')",
    "files past the root link": "attempt(open, '/proc/self/root/etc/passwd')",
    "files relative to a folder": "attempt(lambda: os.open('../../etc/passwd', os.O_RDONLY,"
    " dir_fd=os.open('/usr/lib', os.O_PATH)))",
    "files by a newer call": "attempt(raw, 437, -100, b'/etc/passwd', bytes(24), 24)",
    "files by handle": "attempt(raw, 304, -100, bytes(100), 0)",
    "files by io_uring": "attempt(raw, 425, 8, bytes(200))",
    "the kernel's memory": "attempt(open, '/dev/mem', 'rb')",
    "the kernel's log": "attempt(raw, 103, 3, bytes(1000), 1000)",
    "kernel settings": "attempt(open, '/proc/sys/kernel/hostname')",
    "devices": "attempt(os.listdir, '/dev')",
    "keys": "attempt(raw, 250, 0, -3, 0, 0, 0)",
    "performance counters": "attempt(raw, 298, bytes(128), 0, -1, -1, 0)",
    "changes of files": "attempt(raw, 253)",
    "descriptors of another process": "attempt(raw, 434, os.getppid(), 0)",
    "robust lists of another process": "attempt(raw, 274, os.getppid(), bytes(8), bytes(8))",
}


@pytest.mark.parametrize("name", READING)
def test_it_cannot_read(any_target, name: str) -> None:
    any_target.holds_against(READING[name])


def test_it_cannot_read_a_file_of_the_trainer(any_target, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    any_target.holds_against(
        f"attempt(open, {str(secret)!r})\nattempt(os.open, {str(secret)!r}, 0)\n"
        f"attempt(os.listdir, {str(tmp_path)!r})\nattempt(raw, 2, {str(secret)!r}.encode(), 0, 0)"
    )


def test_no_variable_of_the_trainer_is_in_its_environment(
    any_target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    any_target.restart()
    any_target.holds_against("if 'hunter2' in repr(os.environ): print('ESCAPED')")


def test_no_descriptor_of_the_trainer_is_open(any_target, tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as file:
        os.set_inheritable(file.fileno(), True)
        any_target.holds_against(
            "for n in range(3, 4096):\n"
            "  try: s = os.fstat(n)\n  except OSError: continue\n"
            "  if s.st_ino not in [os.fstat(m).st_ino for m in range(3)] and n not in PIPES:\n"
            "    print('ESCAPED', n)".replace("PIPES", "(1028, 1029)")  # its own, to the zygote
        )
