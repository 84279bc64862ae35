"""The trainer's side of the zygotes: starts them, hands each to one thread at a time, ends them."""

from __future__ import annotations

import ast
import contextlib
import errno
import logging
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cppo_trl.verifier.messages import HEADER
from cppo_trl.verifier.prelude import PRELOADED, PRELOADED_BLIND

START_LIMIT = 60.0  # seconds for a zygote to come up, on a very busy machine
STACK = 512 << 20  # bytes, for deep recursion; counts from the start of an interpreter only
_CHUNK = 1 << 20

# What the zygote is made of, in the order in which the modules need each other.
_MODULES = (
    "sandbox.libc",
    "sandbox.syscalls",
    "sandbox.seccomp",
    "sandbox.landlock",
    "sandbox.namespaces",
    "sandbox.user",
    "sandbox.limits",
    "sandbox.cgroup",
    "sandbox.layers",
    "source",
    "streams",
    "messages",
    "program",
    "memory",
    "child",
    "zygote",
)
# What modules do after a fork repairs locks that other threads hold; the zygote has one thread, its
# children cannot fork, and it would cost them a tenth of their time.
_START = f"""
import builtins, marshal, os, posix, resource, sys
os.register_at_fork = lambda **hooks: None
soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
if 0 <= soft < {STACK} and not soft == hard:
    resource.setrlimit(resource.RLIMIT_STACK, ({STACK} if hard < 0 else min({STACK}, hard), hard))
    posix.execv(sys.executable, sys.orig_argv)
def read(length):
    data = b""
    while len(data) < length:
        part = posix.read(0, length - len(data))
        if not part:
            posix._exit(1)
        data += part
    return data
modules, settings = marshal.loads(read(int.from_bytes(read(8), "little")))
for name, code in modules:
    module = sys.modules[name] = type(sys)(name)
    module.__builtins__ = dict(vars(builtins))  # programs may patch theirs
    exec(code, module.__dict__)
    parent, _, last = name.rpartition(".")
    if parent not in sys.modules:
        sys.modules[parent] = type(sys)(parent)
    setattr(sys.modules[parent], last, module)
module.main(settings)
"""

log = logging.getLogger("cppo_trl.verifier")
_shared: dict[frozenset[str], Pool] = {}
_sharing = threading.Lock()


class EngineError(Exception):
    """Trouble that may be ours and not the program's; trying again is sensible."""


class SandboxError(RuntimeError):
    """Programs cannot be kept in on this machine; see `cppo-trl doctor`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a zygote says; see `messages.HEADER`. `cpu` is in seconds, `peak` in KB."""

    kind: bytes
    reason: int
    status: int
    cpu: float
    peak: int
    length: int
    output: bytes
    told: bytes


@lru_cache(1)
def _code() -> list[tuple[str, Any]]:
    folder = Path(__file__).parent
    return [
        (
            f"cppo_trl.verifier.{name}",
            compile(
                folder.joinpath(*name.split(".")).with_suffix(".py").read_text("utf-8"),
                f"<{name}>",
                "exec",
            ),
        )
        for name in _MODULES
    ]


class Zygote:
    """One zygote process and the line to it; for one thread at a time.

    Args:
        site: whether third-party modules are there to import.
        without: names of layers to leave out.

    Raises:
        OSError: the interpreter cannot be started.
        EngineError: it does not come up.
    """

    def __init__(self, site: bool, without: Collection[str]) -> None:
        self.site = site
        self._socket, other = socket.socketpair()
        self._buffer = bytearray()
        self._group: str | None = None
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        with open(os.memfd_create("errors"), "w+b") as errors:
            try:
                options = ["-I", "-B", "-X", "utf8", *([] if site else ["-S"])]
                self.process = subprocess.Popen(
                    [sys.executable, *options, "-c", _START],
                    stdin=other,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    cwd="/",
                    # Several threads make several stacks that count as address space.
                    env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} if site else {},
                    start_new_session=True,
                )
            except OSError:
                self._socket.close()
                raise
            finally:
                other.close()
            try:
                settings = {
                    "without": tuple(without),
                    "preload": PRELOADED,
                    "preload_blind": PRELOADED_BLIND,
                }
                self._send_data(marshal.dumps((_code(), settings)))
                ready = self.receive(START_LIMIT)
            except (EngineError, TimeoutError):
                self.end()
                errors.seek(0)
                lines = errors.read().decode("utf-8", "replace").strip().splitlines()
                said = lines[-1] if lines else "no reason given"
                raise EngineError(f"the interpreter did not come up: {said}") from None
        self.missing: dict[str, str]
        self.missing, self._group = ast.literal_eval(ready.told.decode())

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def send(self, letter: bytes, data: Any = None) -> None:
        """Sends a request; raises `EngineError` when the zygote is gone."""
        self._send_data(marshal.dumps(data), letter)

    def _send_data(self, data: bytes, letter: bytes = b"") -> None:
        try:
            self._socket.sendall(letter + len(data).to_bytes(8, "little") + data)
        except OSError as error:
            raise EngineError(f"the sandbox's process is gone: {error}") from error

    def receive(self, seconds: float) -> Answer:
        """The next answer.

        Raises:
            TimeoutError: it did not come.
            EngineError: it never will.
        """
        deadline = time.monotonic() + seconds
        size = HEADER.size
        self._fill(size, deadline)
        fields = HEADER.unpack_from(self._buffer)
        kind, reason, status, microseconds, peak, length, sent, told = fields
        self._fill(size + sent + told, deadline)
        body = bytes(self._buffer[size : size + sent + told])
        del self._buffer[: size + sent + told]
        return Answer(
            kind, reason, status, microseconds / 1e6, peak, length, body[:sent], body[sent:]
        )

    def _fill(self, length: int, deadline: float) -> None:
        while len(self._buffer) < length:
            left = deadline - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise TimeoutError("the sandbox's process does not answer")
            try:
                data = self._socket.recv(max(_CHUNK // 16, min(_CHUNK, length)))
            except OSError as error:
                raise EngineError(f"the sandbox's process is gone: {error}") from error
            if not data:
                raise EngineError("the sandbox's process is gone")
            self._buffer += data

    def kill(self) -> None:
        """Kills the process and its child; another thread may be waiting for its answer."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Kills the process and its child and frees what they held."""
        self.kill()
        self.process.wait()
        self._socket.close()
        if self._group is not None:
            _remove_group(self._group)

    def forget(self) -> None:
        """Closes the line in a process that was forked from the one that owns the zygote."""
        self._socket.close()
        self._group = None
        self.process.returncode = 0  # not a child of this process: nothing to wait for


def _remove_group(path: str) -> None:
    for _ in range(20):  # the last of its processes may still be ending
        try:
            os.rmdir(path)
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.005)


class Pool:
    """Zygotes, as many as threads use at a time; safe to use from several threads.

    Args:
        without: names of layers to leave out, for tests.
    """

    def __init__(self, without: Collection[str] = ()) -> None:
        self.users = 0  # how many share it
        self._without = frozenset(without)
        self._lock = threading.Lock()
        self._live: set[Zygote] = set()
        self._idle: list[Zygote] = []
        self._closed = False
        self._told = False

    def take(self, site: bool) -> Zygote:
        """A zygote for this thread alone, until it is given back.

        Raises:
            SandboxError: this is not Linux.
            OSError, EngineError: no zygote could be started; the pool is closed.
        """
        if sys.platform != "linux":
            raise SandboxError(f"programs are verified on Linux only, and this is {sys.platform}")
        while True:
            with self._lock:
                if self._closed:
                    raise EngineError("the verifier is closed")
                found = next((item for item in reversed(self._idle) if item.site == site), None)
                if found is None:
                    break
                self._idle.remove(found)
            if found.is_alive():
                return found
            self.drop(found)  # killed while it waited
        fresh = Zygote(site, self._without)
        with self._lock:
            self._live.add(fresh)
            closed, told, self._told = self._closed, self._told, True
        if closed:
            self.drop(fresh)
            raise EngineError("the verifier is closed")
        if not told:
            _report(fresh.missing)
        return fresh

    def give_back(self, zygote: Zygote) -> None:
        """Ends the use of a zygote that waits for the next request."""
        with self._lock:
            if not self._closed:
                self._idle.append(zygote)
                return
        self.drop(zygote)

    def drop(self, zygote: Zygote) -> None:
        """Ends a zygote, whatever it does."""
        with self._lock:
            self._live.discard(zygote)
        zygote.end()

    def close(self) -> None:
        """Ends all zygotes; those in use are left to `drop`, by the threads that use them."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for zygote in self._live:
                zygote.kill()
        for zygote in idle:
            self.drop(zygote)

    def forget(self) -> None:
        """Gives all up, in a process that was forked from the one that owns the zygotes."""
        self._lock = threading.Lock()  # another thread may have held it
        self._closed = True
        for zygote in self._live:
            zygote.forget()
        self._live, self._idle = set(), []


def share(without: Collection[str] = ()) -> Pool:
    """The one pool of this process, to be given to `release` at the end; layers as in `Pool`."""
    key = frozenset(without)
    with _sharing:
        pool = _shared.get(key)
        if pool is None or not pool.users:
            pool = _shared[key] = Pool(key)
        pool.users += 1
    return pool


def release(pool: Pool) -> None:
    """Ends the use of a shared pool; with the last one it closes."""
    with _sharing:
        pool.users -= 1
        if pool.users:
            return
    pool.close()


def _report(missing: dict[str, str]) -> None:
    if missing:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in missing.items())
        log.warning("verifier: layers missing here: %s", reasons)
    else:
        log.info("verifier: all layers hold")


def _begin_anew() -> None:
    """In a process that was forked: what was shared belongs to the other one."""
    global _sharing
    _sharing = threading.Lock()
    for pool in _shared.values():
        pool.forget()
    _shared.clear()


os.register_at_fork(after_in_child=_begin_anew)
