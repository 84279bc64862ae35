"""Programs that try to use more time, memory or anything else than they may."""

from __future__ import annotations

import time

import pytest

from cppo_trl.verifier import Status

CPU = {
    "loop": "while True: pass",
    "loop in C": "sum(iter(int, 1))",
    "big integers": "10 ** 10 ** 9",
    "text of a big integer": "str(7 ** 10 ** 7)",
    "regular expression": "import re; re.match(r'(a|a)*b', 'a' * 60)",
    "sorting": "x = list(range(10**6))\nwhile True: x.sort(key=lambda n: n)",
    "exceptions swallowed": "while True:\n  try:\n    while True: pass\n"
    "  except BaseException: pass",
    "signals ignored": "import signal\nfor n in range(1, 65):\n"
    "  try: signal.signal(n, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n"
    "while True: pass",
    "signals blocked": "import signal\n"
    "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
    "threads": "import threading, hashlib\ndef f():\n"
    "  while True: hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**5)\n"
    "for _ in range(4): threading.Thread(target=f).start()",
    "a daemon thread and no end": "import threading\ndef f():\n  while True: pass\n"
    "threading.Thread(target=f, daemon=True).start()\nthreading.Event().wait()",
    "a loop at exit": "import atexit\n@atexit.register\ndef f():\n  while True: pass",
    "a loop in a finalizer": "class C:\n  def __del__(self):\n    while True: pass\nx = C()",
    "a loop in str": "class E(Exception):\n  def __str__(self):\n    while True: pass\nraise E",
    "loops between signals to go on": "import os, signal\nwhile True:\n"
    "  for _ in range(10**6): pass\n  os.kill(os.getpid(), signal.SIGCONT)",
}


@pytest.mark.parametrize("name", CPU)
def test_cpu_time_is_limited(target, name: str) -> None:
    start = time.monotonic()
    verdict = target.run(CPU[name])
    assert verdict.status is Status.TIME_LIMIT, verdict
    assert verdict.cpu_seconds < 1.5
    assert time.monotonic() - start < 10


ASLEEP = {
    "sleep": "import time; time.sleep(10**6)",
    "pause": "import signal; signal.pause()",
    "deadlock": "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()",
    "an empty pipe": "import os\nr, w = os.pipe()\nos.read(r, 1)",
    "a full pipe": "import os\nr, w = os.pipe()\nwhile True: os.write(w, bytes(65536))",
    "a pair of sockets": "import socket\na, b = socket.socketpair()\na.recv(1)",
    "a thread that sleeps": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(10**6,)).start()",
    "sleep in slices": "import time\nwhile True:\n  try: time.sleep(0.01)\n"
    "  except BaseException: pass",
    "a stop": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "waiting for a word of the zygote": "import os\nwhile True: os.read(1029, 1)",
    "sleep at exit": "import atexit, time; atexit.register(time.sleep, 10**6)",
}


@pytest.mark.parametrize("name", ASLEEP)
def test_wall_time_is_limited(target, name: str) -> None:
    start = time.monotonic()
    verdict = target.run(ASLEEP[name])
    assert verdict.status is Status.TIME_LIMIT, verdict
    assert "wall time" in verdict.message
    assert time.monotonic() - start < 10


FAILED = (Status.MEMORY_LIMIT, Status.RUNTIME_ERROR, Status.TIME_LIMIT)
MEMORY = {
    "one block": "x = bytearray(10**11)",
    "touched blocks": "x = []\nwhile True: x.append(bytearray(b'1') * 10**6)",
    "a list": "x = [0]\nwhile True: x += x",
    "text": "x = 'x'\nwhile True: x += x",
    "maps": "import mmap\nx = []\nwhile True:\n  x.append(mmap.mmap(-1, 10**7))\n"
    "  x[-1].write(b'1' * 10**7)",
    "stacks": "import threading, time\nthreading.stack_size(64 << 20)\n"
    "while True: threading.Thread(target=time.sleep, args=(100,)).start()",
    "threads": "import threading, time\n"
    "while True: threading.Thread(target=time.sleep, args=(100,)).start()",
    "recursion in C": "import sys\nsys.setrecursionlimit(10**9)\n"
    "class C:\n  def __repr__(self): return repr([self])\nrepr(C())",
    "a decompressed bomb": "import zlib\nx = zlib.compress(bytes(10**7), 9)\ny = []\n"
    "while True: y.append(zlib.decompress(x))",
    "memory again and again": "while True:\n  try:\n    x = []\n"
    "    while True: x.append('x' * 10**6)\n"
    "  except MemoryError: pass",
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_limited(target, name: str) -> None:
    verdict = target.run(MEMORY[name])
    assert verdict.status in FAILED, verdict
    assert verdict.peak_memory < 128 + 768 + 64


OUTPUT = {
    "printing": "while True: print('x' * 1000)",
    "writing": "import os\nwhile True: os.write(1, bytes(10**6))",
    "a hole": "import os\nos.ftruncate(1, 10**12)",
    "a hole by seeking": "import os\nos.lseek(1, 10**12, 0)\nos.write(1, b'x')",
    "allocating": "import os\nos.posix_fallocate(1, 0, 10**12)",
    "errors": "import sys\nwhile True: sys.stderr.write('x' * 10**6)",
    "its own input": "import os\nwhile True: os.write(0, bytes(10**6))",
}


@pytest.mark.parametrize("name", OUTPUT)
def test_output_is_limited(target, name: str) -> None:
    verdict = target.run(OUTPUT[name])
    assert verdict.reward == 0.0, verdict
    assert verdict.status in (Status.OUTPUT_LIMIT, Status.RUNTIME_ERROR), verdict


OTHERS = {
    "descriptors": "import os\nwhile True: os.dup(0)",
    "pipes": "import os\nwhile True: os.pipe()",
    "sockets": "import socket\nx = []\nwhile True: x.append(socket.socketpair())",
    "events": "import select\nx = []\nwhile True: x.append(select.epoll())",
    "a crash": "import ctypes; ctypes.string_at(0)",
    "a crash of the stack": "import sys\nsys.setrecursionlimit(10**9)\n"
    "x = None\nfor _ in range(10**6): x = [x]\nprint(x == x.copy())",
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_used_up_is_the_programs_own(target, name: str) -> None:
    assert target.run(OTHERS[name]).reward == 0.0


COMPILING = {
    "signs": "-" * 500_000 + "1",
    "brackets": "(" * 100_000 + ")" * 100_000,
    "lists": "[" * 100_000 + "]" * 100_000,
    "attributes": "x" + ".x" * 200_000,
    "blocks": "\n".join(" " * n + "if 1:" for n in range(99)) + "\n" + " " * 99 + "pass",
    "folded text": "x = ('x' * 4096 * 4096 * 4096)",
    "formatted text": "f'" + "{" * 1000 + "}" * 1000 + "'",
    "a long line of sums": "x = " + "1+" * 200_000 + "1",
    "not text": "x = '\ud800'",
    "null bytes": "\0" * 1000,
}


@pytest.mark.parametrize("name", COMPILING)
def test_compiling_cannot_harm(target, name: str) -> None:
    assert target.run(COMPILING[name]).reward == 0.0
