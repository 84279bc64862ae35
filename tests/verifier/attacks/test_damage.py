"""Programs that try to change something, to reach the network, or to start or end a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# {f}: a file that everyone may write, {d}: the folder that it is in, likewise.
FILES = {
    "write": "attempt(open, '{f}', 'w')",
    "append": "attempt(open, '{f}', 'a')",
    "update": "attempt(open, '{f}', 'r+')",
    "create": "attempt(open, '{d}/new', 'x')",
    "create by creat": "attempt(raw, 85, b'{d}/new', 0o777)",
    "create without a name": "attempt(os.open, '{d}', os.O_TMPFILE | os.O_WRONLY)",
    "truncate": "attempt(os.truncate, '{f}', 0)",
    "unlink": "attempt(os.unlink, '{f}')",
    "rename": "attempt(os.rename, '{f}', '{d}/other')",
    "link": "attempt(os.link, '{f}', '{d}/other')",
    "symlink": "attempt(os.symlink, '/etc/passwd', '{d}/other')",
    "chmod": "attempt(os.chmod, '{f}', 0)",
    "chown": "attempt(os.chown, '{f}', 1, 1)",
    "utime": "attempt(os.utime, '{f}', (1, 1))",
    "mkdir": "attempt(os.mkdir, '{d}/sub')",
    "rmdir": "attempt(os.rmdir, '{d}/empty')",
    "mkfifo": "attempt(os.mkfifo, '{d}/fifo')",
    "mknod": "attempt(os.mknod, '{d}/node', 0o20666, 0x103)",
    "setxattr": "attempt(os.setxattr, '{f}', 'user.x', b'1')",
}


@pytest.mark.parametrize("name", FILES)
def test_it_cannot_change_files(any_target, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "empty").mkdir()
    file = folder / "file"
    file.write_text("x")
    for path in (tmp_path, folder, folder / "empty", file):
        path.chmod(0o777)
    state = os.stat(file)
    any_target.holds_against(FILES[name].format(f=file, d=folder))
    after = os.stat(file)
    assert sorted(os.listdir(folder)) == ["empty", "file"]
    assert file.read_text() == "x"
    assert (after.st_mode, after.st_uid, after.st_mtime_ns, after.st_nlink) == (
        state.st_mode,
        state.st_uid,
        state.st_mtime_ns,
        1,
    )


ELSEWHERE = {
    "shared memory": "attempt(open, '/dev/shm/cppo-attack', 'w')",
    "temporary files": "import tempfile\nattempt(tempfile.TemporaryFile)",
    "the standard library": "attempt(open, os.__file__, 'a')",
    "a file in memory": "attempt(os.memfd_create, 'x')",
    "secret memory": "attempt(raw, 447, 0)",
    "its input for writing": "attempt(os.open, '/proc/self/fd/0', os.O_RDWR)",
    "TCP": "attempt(socket.socket)",
    "UDP": "attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)",
    "IPv6": "attempt(socket.socket, socket.AF_INET6)",
    "raw IP": "attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)",
    "local sockets": "attempt(socket.socket, socket.AF_UNIX)",
    "netlink": "attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0)",
    "packets": "attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)",
    "the hypervisor": "attempt(socket.socket, 40, socket.SOCK_STREAM)",
    "kernel cryptography": "attempt(socket.socket, socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "bluetooth": "attempt(socket.socket, 31, socket.SOCK_RAW, 1)",
    "a name through a pair of sockets": "a, b = socket.socketpair(type=socket.SOCK_DGRAM)\n"
    "attempt(a.sendto, b'x', '\\0cppo')\nattempt(a.sendmsg, [b'x'], [], 0, '\\0cppo')\n"
    "attempt(a.connect, '\\0cppo')\nattempt(a.bind, '\\0cppo')",
    "passing descriptors on": "a, b = socket.socketpair()\n"
    "attempt(socket.send_fds, a, [b'x'], [0])",
    "pairs of network sockets": "attempt(socket.socketpair, 2)",
    "names of hosts": "attempt(socket.gethostbyname, 'localhost.invalid')",
    "a signal to its parent": "attempt(os.kill, os.getppid(), 9)",
    "a signal to all": "attempt(os.kill, -1, 9)",
    "a signal to its group": "attempt(os.killpg, 0, 9)\nattempt(os.kill, 0, 9)",
    "a signal to the first process": "attempt(os.kill, 1, 9)",
    "a signal to a thread of its parent": "attempt(raw, 234, os.getppid(), os.getppid(), 9)",
    "a signal to a thread by its number": "attempt(raw, 200, os.getppid(), 9)",
    "a queued signal": "attempt(raw, 129, os.getppid(), 9, bytes(128))",
    "a signal by descriptor": "attempt(os.pidfd_open, os.getppid())",
    "a signal by ownership of a file": "import fcntl\n"
    "attempt(fcntl.fcntl, 0, fcntl.F_SETOWN, os.getppid())",
    "running a program": "attempt(os.execv, '/bin/true', ['true'])",
    "running a descriptor": "attempt(raw, 322, 0, b'', 0, 0, 0x1000)",
    "fork": "attempt(os.fork)",
    "vfork": "attempt(raw, 58)",
    "clone": "attempt(raw, 56, 17, 0, 0, 0, 0)",
    "clone into namespaces": "attempt(raw, 56, 0x10000000 | 17, 0, 0, 0, 0)",
    "clone3": "attempt(raw, 435, bytes(88), 88)",
    "posix_spawn": "attempt(os.posix_spawn, '/bin/true', ['true'], {})",
    "a shell": "if os.system('true') == 0: print('ESCAPED')",
    "subprocess": "attempt(subprocess.run, ['true'])",
    "multiprocessing": "import multiprocessing\n"
    "attempt(multiprocessing.get_context('fork').Process(target=print).start)",
    "descriptors of its own for a thread": "attempt(raw, 436, 3, 3, 2)",
    "a session of its own": "attempt(os.setsid)",
    "a group of its own": "attempt(os.setpgid, 0, 0)",
    "mount": "attempt(raw, 165, b'none', b'/tmp', b'tmpfs', 0, 0)",
    "unmount": "attempt(raw, 166, b'/tmp', 2)",
    "chroot": "attempt(os.chroot, '/tmp')",
    "namespaces": "attempt(raw, 272, 0x10000000)",
    "joining namespaces": "attempt(raw, 308, 0, 0)",
    "its user": "attempt(os.setuid, 0) if os.getuid() else None\nattempt(os.setresuid, 0, 0, 0)",
    "its groups": "attempt(os.setgroups, [0])",
    "its capabilities": "import struct\n"
    "attempt(raw, 126, struct.pack('=Ii', 0x20080522, 0), struct.pack('=6I', *[2**32 - 1] * 6))",
    "being read again": "attempt(raw, 157, 4, 1, 0, 0, 0)",
    "surviving its parent": "attempt(raw, 157, 1, 0, 0, 0, 0)",
    "another filter": "attempt(raw, 317, 0, 0, 0)\nattempt(raw, 157, 22, 1, 0, 0, 0)",
    "kernel programs": "attempt(raw, 321, 0, bytes(128), 128)",
    "kernel modules": "attempt(raw, 175, 0, 0, b'')",
    "page faults": "attempt(raw, 323, 0)",
    "swap": "attempt(raw, 167, b'/tmp/x', 0)",
    "the clock": "attempt(time.clock_settime, time.CLOCK_REALTIME, time.time())",
    "the host's name": "attempt(socket.sethostname, 'x')",
    "reboot": "attempt(raw, 169, 0xfee1dead, 672274793, 0, 0)",
    "priorities": "attempt(os.setpriority, os.PRIO_PROCESS, 0, -5)\nattempt(os.nice, 1)",
    "scheduling": "attempt(os.sched_setscheduler, 0, os.SCHED_IDLE, os.sched_param(0))",
    "shared memory of System V": "attempt(raw, 29, 0, 4096, 0o1666)",
    "message queues": "attempt(raw, 68, 0, 0o1666)\nattempt(raw, 240, b'x', 0o102, 0o666, 0)",
    "semaphores": "attempt(raw, 64, 0, 1, 0o1666)",
    "limits of its parent": "import resource\n"
    "attempt(resource.prlimit, os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    "its own hard limits": "import resource\nfor kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU,"
    " resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):\n"
    "  try: resource.setrlimit(kind, (-1, -1))\n  except (OSError, ValueError): pass\n"
    "  else: print('ESCAPED')",
    "locked memory": "attempt(raw, 151, 1)",
    "terminal input": "import fcntl\nattempt(fcntl.ioctl, 0, 0x5412, b'x')",
    "another personality": "attempt(raw, 135, 0x0400000)",
    "old calls by new numbers": "attempt(raw, 999)",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_it_cannot_reach_out(any_target, name: str) -> None:
    any_target.holds_against(ELSEWHERE[name])


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="only x86-64 has a second kind, x32")
def test_a_call_of_another_kind_of_machine_ends_it(any_target) -> None:
    verdict = any_target.run("import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 39)\nprint(3)")
    assert verdict.status == "runtime_error", verdict
    assert "SIGSYS" in verdict.message
