"""Programs run as they would by themselves, and can neither reach out nor talk their way to a pass.

Programs here may be hostile, but never so that a hole in the isolation harms the machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier import CodeVerifier, Status, Verdict, engine

SUM = Problem("sum", "", (TestCase("1 2\n", "3\n"), TestCase("10 20\n", "30\n")))
READ = "a, b = map(int, input().split())\n"
RIGHT = READ + "print(a + b)\n"


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    with CodeVerifier(workers=2, time_limit=2, memory_limit=256, output_limit=4) as verifier:
        yield verifier


@pytest.fixture(scope="module")
def hasty() -> Iterator[CodeVerifier]:
    with CodeVerifier(workers=2, time_limit=0.5, memory_limit=256, output_limit=4) as verifier:
        yield verifier


def function(output: str, *arguments: str) -> Problem:
    return Problem("f", "", (TestCase("\n".join(arguments), output),), "function", "f")


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def is_busy(pid: int) -> bool:
    """Whether it has used half a second of CPU time by itself."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) > 0.5 * os.sysconf("SC_CLK_TCK")
    return False


def descendants(pid: int) -> set[int]:
    """The processes that come from one, without itself."""
    found: set[int] = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):  # thread by thread
        with contextlib.suppress(OSError):
            found.update(map(int, file.read_text().split()))
    return found.union(*map(descendants, found))


VALID = {
    "input": RIGHT,
    "read all": "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
    "readline": "import sys\ninput = sys.stdin.readline\nprint(sum(map(int, input().split())))",
    "iterate": "import sys\nfor line in sys.stdin: print(sum(map(int, line.split())))",
    "buffer": "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))",
    "open 0": "print(sum(map(int, open(0).read().split())))",
    "fstat": "import os\nprint(sum(map(int, os.read(0, os.fstat(0).st_size).split())))",
    "/dev/stdin": "print(sum(map(int, open('/dev/stdin').read().split())))",
    "fileinput": "import fileinput\nfor x in fileinput.input(): print(sum(map(int, x.split())))",
    "end of input": RIGHT + "try: input()\nexcept EOFError: pass",
    "write": READ + "import sys\nsys.stdout.write(f'{a + b}\\n')",
    "write bytes": READ + "import sys\nsys.stdout.buffer.write(b'%d\\n' % (a + b))",
    "write to 1": READ + "import os\nos.write(1, b'%d\\n' % (a + b))",
    "file left open": READ + "out = open(1, 'w', closefd=False)\nout.write(str(a + b))",
    "/dev/stdout": READ + "with open('/dev/stdout', 'w') as out: out.write(str(a + b))",
    "fast output": READ
    + "import io, os, sys, atexit\nsys.stdout = io.StringIO()\n"
    + "atexit.register(lambda: os.write(1, sys.stdout.getvalue().encode()))\nprint(a + b)",
    "reopened": READ
    + "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer)\nprint(a+b)",
    "at exit": READ + "import atexit\natexit.register(print, a + b)",
    "thread": READ
    + "import threading, time\n"
    + "threading.Thread(target=lambda: (time.sleep(0.05), print(a + b))).start()",
    "executor": READ
    + "from concurrent.futures import ThreadPoolExecutor\n"
    + "print(sum(ThreadPoolExecutor(2).map(int, (a, b))))",
    "big stack": "import sys, threading\nsys.setrecursionlimit(10**6)\n"
    "threading.stack_size(1 << 28)\n"
    "def main():\n    a, b = map(int, input().split())\n"
    "    def f(n): return n and f(n - 1)\n    print(a + b + f(20000))\n"
    "threading.Thread(target=main).start()",
    "deep recursion": READ + "import sys\nsys.setrecursionlimit(10**6)\n"
    "def f(n): return n and f(n - 1)\nprint(a + b + f(50000))",
    "deep recursion in C": READ + "import sys\nfrom functools import lru_cache\n"
    "sys.setrecursionlimit(10**6)\n"
    "@lru_cache(None)\ndef f(n): return n and f(n - 1)\n"
    "print(a + b + f(20000 if sys.version_info < (3, 12) else 100))",
    "exit": RIGHT + "exit()\nprint(0)",
    "quit": RIGHT + "quit(0)\nprint(0)",
    "sys.exit": RIGHT + "import sys\nsys.exit()\nprint(0)",
    "os._exit": RIGHT + "import os, sys\nsys.stdout.flush()\nos._exit(0)",
    "SystemExit": RIGHT + "raise SystemExit",
    "main guard": "def main():\n    print(a + b)\n" + READ + "if __name__ == '__main__': main()",
    "global": "def f():\n    global a, b\n    a, b = map(int, input().split())\nf()\nprint(a + b)",
    "global at top level": "global a\n" + RIGHT,
    "pickle": READ + "import pickle\nclass C:\n    def __init__(self): self.x = a + b\n"
    "print(pickle.loads(pickle.dumps(C())).x)",
    "dataclass": READ + "from dataclasses import dataclass\n"
    "@dataclass(order=True)\nclass C:\n    x: int\nprint(max(C(a + b), C(0)).x)",
    "import __main__": READ + "import __main__\nprint(__main__.a + b)",
    "future": "from __future__ import annotations\n" + RIGHT,
    "long ints": READ + "print(a + b + int('9' * 5000) - int('9' * 5000)); x = str(10**5000)",
    "errors printed": RIGHT + "import sys\nprint('debug', file=sys.stderr)",
    "warning": RIGHT + "x = '\\d' is '\\d'",
    "state of its own": "seen = []\n" + RIGHT + "assert not seen\nseen.append(1)",
    "return at top level": RIGHT + "if a:\n    return\nprint(0)",
    "return of a call": READ + "try:\n    return print(a + b)\nfinally:\n    x = 1\nprint(0)",
    "return out of a try": READ
    + "try:\n    print(a + b)\n    for _ in range(2):\n        if a: return\n"
    + "except: print('caught')\nelse: print(0)\nprint(0)",
    "exit in a try beside a return": READ
    + "try:\n    if a == b: return\n    exit()\nexcept SystemExit: print(a + b)",
    "byte order mark": "\ufeff" + RIGHT,
    "carriage returns": RIGHT.replace("\n", "\r\n"),
    "unusual text": RIGHT + "x = 'é \U0001f600'",
    "a class for fast output": READ
    + "import os, sys\nfrom io import BytesIO, IOBase\n"
    + "class Fast(IOBase):\n"
    + "  def __init__(self, file): self.file, self.buffer = file.fileno(), BytesIO()\n"
    + "  def write(self, text): self.buffer.write(text.encode())\n"
    + "  def flush(self):\n    os.write(self.file, self.buffer.getvalue())\n"
    + "    self.buffer.truncate(0), self.buffer.seek(0)\n"
    + "sys.stdout = Fast(sys.stdout)\nprint(a + b)",
    "a finalizer that prints": READ
    + "class C:\n  def __del__(self): print(self.x)\nc = C()\nc.x = a + b",
    "asyncio": "import asyncio\nasync def main():\n  await asyncio.sleep(0)\n"
    "  print(sum(map(int, input().split())))\nasyncio.run(main())",
    "errors to nowhere": "import os, sys\nsys.stderr = open(os.devnull, 'w')\n"
    "print('debug', file=sys.stderr)\n" + RIGHT,
    "limits": "import resource\nhard = resource.getrlimit(resource.RLIMIT_STACK)[1]\n"
    "resource.setrlimit(resource.RLIMIT_STACK, (hard, hard))\n" + RIGHT,
    "random": RIGHT + "import random\nrandom.shuffle(list(range(9)))",
}


@pytest.mark.parametrize("name", VALID)
def test_a_valid_program_passes(verifier: CodeVerifier, name: str) -> None:
    verdict = verifier.verify(SUM, VALID[name])
    assert verdict == Verdict(Status.PASS, 2, 2, None, verdict.cpu_seconds), verdict


def test_a_program_may_use_third_party_modules(verifier: CodeVerifier) -> None:
    assert verifier.verify(SUM, READ + "import numpy as np\nprint(np.add(a, b))").passed


def test_input_and_output_of_any_size_and_kind_go_through(verifier: CodeVerifier) -> None:
    text = "é\U0001f600 x\n" * 150_000 + "\t"
    echo = "import sys\nsys.stdout.write(sys.stdin.read())"
    problem = Problem("echo", "", (TestCase(text, text),))
    assert verifier.verify(problem, echo).passed


def test_output_longer_than_the_limit_is_fine_where_it_is_asked_for() -> None:
    problem = Problem("long", "", (TestCase("", "ab" * 1_000_000),))
    with CodeVerifier(output_limit=1) as verifier:
        assert verifier.verify(problem, "print('ab' * 1_000_000)").passed


FAILING = {
    "wrong": (READ + "print(a * b)", Status.WRONG_ANSWER, "got '2\\n', expected '3\\n'"),
    "no output": ("pass", Status.WRONG_ANSWER, "got ''"),
    "more output": (RIGHT + "print(1)", Status.WRONG_ANSWER, "got '3\\n1\\n'"),
    "exception": (
        "x = 1\n1 / 0",
        Status.RUNTIME_ERROR,
        "ZeroDivisionError: division by zero (line 2)",
    ),
    "exception at the end": (RIGHT + "1 / 0", Status.RUNTIME_ERROR, "ZeroDivisionError"),
    "exit code": (RIGHT + "exit(3)", Status.RUNTIME_ERROR, "exit code 3"),
    "exit message": (RIGHT + "exit('bad')", Status.RUNTIME_ERROR, "bad"),
    "fast exit code": (RIGHT + "import os; os._exit(1)", Status.RUNTIME_ERROR, "exit code 1"),
    "module": ("import nowhere_to_be_found", Status.RUNTIME_ERROR, "No module named"),
    "recursion": ("def f(): f()\nf()", Status.RUNTIME_ERROR, "RecursionError"),
    "signal": ("import os; os.kill(os.getpid(), 11)", Status.RUNTIME_ERROR, "SIGSEGV"),
    "abort": ("import os; os.abort()", Status.RUNTIME_ERROR, "SIGABRT"),
    "syntax": ("print(", Status.COMPILE_ERROR, "SyntaxError: '(' was never closed (line 1)"),
    "indentation": (" x = 1\n y", Status.COMPILE_ERROR, "(line 1)"),
    "null byte": ("x = 1\0", Status.COMPILE_ERROR, "null byte"),
    "surrogate": ("x = '\ud800'", Status.COMPILE_ERROR, "surrogates"),
    "compiler bomb": ("-" * 200_000 + "1", Status.COMPILE_ERROR, "MemoryError"),
    "yield at top level": ("yield 1", Status.COMPILE_ERROR, "'yield' outside function"),
    "loop": ("while True: pass", Status.TIME_LIMIT, "0.5 s of CPU time"),
    "stubborn loop": (
        (
            "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\n"
            "while True:\n  try:\n    while True: pass\n  except BaseException: pass"
        ),
        Status.TIME_LIMIT,
        "",
    ),
    "loop in C": ("10 ** 10 ** 9", Status.TIME_LIMIT, "0.5 s of CPU time"),
    "sleep": ("import time; time.sleep(1000)", Status.TIME_LIMIT, "wall time"),
    "stubborn sleep": (
        (
            "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n"
            "while True:\n  try: time.sleep(1)\n  except BaseException: pass"
        ),
        Status.TIME_LIMIT,
        "wall time",
    ),
    "output": ("while True: print('x' * 1000)", Status.OUTPUT_LIMIT, "more than 4 MB"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_failing_program_gets_its_status_and_a_reason(hasty: CodeVerifier, name: str) -> None:
    program, status, message = FAILING[name]
    verdict = hasty.verify(SUM, program)
    assert (verdict.status, verdict.reward) == (status, 0.0), verdict
    assert message in verdict.message
    assert verdict.tests_passed == 0
    assert verdict.first_failed == (None if status is Status.COMPILE_ERROR else 0)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("x = bytearray(10**10)", "MemoryError (line 1)"),
        ("x = []\nwhile True: x.append(bytearray(10**6))", "more than 256 MB"),
        (RIGHT + "x = bytearray(b'1') * (400 << 20)", "more than 256 MB"),
    ],
)
def test_memory_is_limited_whether_or_not_it_is_got_all_at_once(
    verifier: CodeVerifier, program: str, message: str
) -> None:
    # Touching memory takes time, more so on a virtual machine.
    verdict = verifier.verify(replace(SUM, time_limit=20), program)
    assert verdict.status is Status.MEMORY_LIMIT, verdict
    assert message in verdict.message


def test_a_failure_stops_the_remaining_tests(verifier: CodeVerifier) -> None:
    tests = [TestCase(f"{index}", f"{min(index, 3)}") for index in range(50)]
    program = "import time\nn = int(input())\nif n > 5: time.sleep(0.3)\nprint(n)"
    start = time.monotonic()
    verdict = verifier.verify(Problem("p", "", tuple(tests)), program)
    assert (verdict.tests_passed, verdict.first_failed, verdict.tests_total) == (4, 4, 50)
    assert time.monotonic() - start < 44 * 0.3 / 2


def test_cpu_time_counts_and_other_time_does_not(hasty: CodeVerifier) -> None:
    asleep = hasty.verify(SUM, "import time; time.sleep(0.7)\n" + RIGHT)
    assert asleep.passed
    assert asleep.cpu_seconds < 0.5
    busy = (
        "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
    ) + RIGHT
    assert 0.4 <= hasty.verify(SUM, busy).cpu_seconds < 0.8


def test_a_busy_program_on_a_crowded_machine_may_take_longer_than_a_sleeper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A wall limit of a second is what a program sees that gets a small share of a core.
    monkeypatch.setattr(engine, "WALL_FACTOR", 0.5)
    monkeypatch.setattr(engine, "WALL_EXTRA", 0)
    with CodeVerifier(time_limit=2) as verifier:
        busy = "import time\nwhile time.process_time() < 1.5: pass\n" + RIGHT
        assert verifier.verify(SUM, busy).passed
        asleep = "import time; time.sleep(2)\n" + RIGHT
        assert verifier.verify(SUM, asleep).status is Status.TIME_LIMIT


def test_time_used_by_threads_counts(hasty: CodeVerifier) -> None:
    program = RIGHT + (
        "import hashlib, threading, time\n"
        "def work():\n"
        "  while time.thread_time() < 0.3: hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10_000)\n"
        "threads = [threading.Thread(target=work) for _ in range(3)]\n"
        "for thread in threads: thread.start()\nfor thread in threads: thread.join()"
    )
    assert hasty.verify(SUM, program).status is Status.TIME_LIMIT


FUNCTIONS = {
    "plain": "def f(a, b): return [b, a]",
    "method": "class Solution:\n    def f(self, a, b): return [b, a]",
    "method beside a function": "f = 1\nclass Solution:\n    def f(self, a, b): return [b, a]",
    "function beside a class": "class Solution: pass\ndef f(a, b): return [b, a]",
    "lambda": "f = lambda a, b: [b, a]",
    "static": "class Solution:\n    @staticmethod\n    def f(a, b): return [b, a]",
    "tuple": "def f(a, b): return (b, tuple(a))",
    "names that graders provide": "def f(a: List[int], b: Optional[str]) -> Deque:\n"
    "    return [b, [heapq.nsmallest(2, a)[0], gcd(a[1], 4)]]",
    "own name of a provided one": "def gcd(x): return x\ndef f(a, b): return gcd([b, a])",
    "prints": "def f(a, b):\n    print('[9]'); import sys; sys.stdout.flush()\n    return [b, a]",
    "reads nothing": "import sys\ndef f(a, b): return [b, a] if not sys.stdin.read() else 0",
    "main guard": "def f(a, b): return [b, a]\nif __name__ == '__main__': print(f(*input()))",
    "exits at exit": "import atexit, os\natexit.register(os._exit, 1)\ndef f(a, b): return [b, a]",
    "dataclass": "@dataclass\nclass C:\n    x: list\ndef f(a, b): return [b, C(a).x]",
    "subclasses": "class L(list): pass\nclass S(str): pass\ndef f(a, b): return L([S(b), L(a)])",
    "numpy": "import numpy as np\ndef f(a, b): return [b, [np.int64(a[0]), a[1]]]",
    "changes its argument": "def f(a, b):\n    a.reverse(); a.reverse()\n    return [b, a]",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_right_function_passes(verifier: CodeVerifier, name: str) -> None:
    verdict = verifier.verify(function('["x", [1, 2]]', "[1, 2]", '"x"'), FUNCTIONS[name])
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("result", "status", "message"),
    [
        ("1", Status.PASS, ""),
        ("1.0", Status.PASS, ""),
        ("True", Status.WRONG_ANSWER, "got 'true', expected 1"),
        ("'1'", Status.WRONG_ANSWER, "got '\"1\"', expected 1"),
        ("None", Status.WRONG_ANSWER, "got 'null'"),
        ("{1}", Status.WRONG_ANSWER, "holds a set"),
        ("iter([1])", Status.WRONG_ANSWER, "holds a list_iterator"),
        ("type('X', (), {'__eq__': lambda *_: True})()", Status.WRONG_ANSWER, "holds a X"),
        ("type('X', (int,), {'__repr__': lambda _: '1'})(2)", Status.WRONG_ANSWER, "got '2'"),
        ("(lambda x: x.append(x) or x)([])", Status.WRONG_ANSWER, "Circular"),
        ("float('nan')", Status.WRONG_ANSWER, "got 'NaN'"),
        ("1 / 0", Status.RUNTIME_ERROR, "ZeroDivisionError: division by zero (line 1)"),
        ("exit(0)", Status.RUNTIME_ERROR, "SystemExit"),
        ("__import__('os')._exit(0)", Status.WRONG_ANSWER, "without a result"),
        ("__import__('os').write(3, b'1') and __import__('os')._exit(1)", Status.RUNTIME_ERROR, ""),
    ],
)
def test_a_result_is_judged_as_plain_data(
    verifier: CodeVerifier, result: str, status: Status, message: str
) -> None:
    verdict = verifier.verify(function("1"), f"def f(): return {result}")
    assert verdict.status is status, verdict
    assert message in verdict.message


def test_a_missing_function_is_a_runtime_error(verifier: CodeVerifier) -> None:
    verdict = verifier.verify(function("1"), "class Solution: pass")
    assert verdict.status is Status.RUNTIME_ERROR
    assert "no function 'f' and no Solution.f" in verdict.message


@pytest.mark.parametrize(
    "value", ["1" * 5000, "-0.0", "1e400", '"\\ud800 \\u00e9"', "[[[]]]", "{}"]
)
def test_values_reach_the_function_and_come_back(verifier: CodeVerifier, value: str) -> None:
    assert verifier.verify(function(value, value), "def f(x): return x").passed


def test_blank_lines_between_arguments_are_none(verifier: CodeVerifier) -> None:
    assert verifier.verify(
        function("[1, 2]", " 1 ", "", "2", ""), "def f(a, b): return a, b"
    ).passed


# Isolation


def told(verifier: CodeVerifier, program: str, tests: int = 1) -> str:
    """What a program prints."""
    problem = Problem("tell", "", (TestCase("", "nothing that it prints"),) * tests)
    verdict = verifier.verify(problem, program)
    assert verdict.status is Status.WRONG_ANSWER, verdict
    return verdict.message


def test_no_secret_of_the_environment_reaches_a_program(
    verifier: CodeVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    program = (
        "import os\nseen = [*os.environ.values()]\n"
        "for pid in 'self', os.getppid():\n  for name in 'environ', 'cmdline':\n"
        "    try: seen.append(open(f'/proc/{pid}/{name}').read())\n"
        "    except OSError: pass\n"  # not dumpable, so only root may look
        "print('hunter2' in str(seen), [*os.environ])"
    )
    assert told(verifier, program).startswith("got \"False ['LC_CTYPE']")
    assert told(verifier, program.replace("import os", "import os, numpy")).startswith('got "False')


def test_no_descriptor_reaches_a_program(verifier: CodeVerifier, tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as file:
        os.set_inheritable(file.fileno(), True)
        program = (
            "import os\ndef is_open(n):\n  try: os.fstat(n)\n  except OSError: return False\n"
            "  return True\nprint([n for n in range(1024) if is_open(n)])"
        )
        assert told(verifier, program).startswith("got '[0, 1, 2]")


def test_no_answer_is_anywhere_in_the_sandbox(verifier: CodeVerifier) -> None:
    # What the runner was sent is all that it can know.
    problem = Problem("p", "", (TestCase("", "forty" + "two"), TestCase("", "forty" + "two")))
    program = (
        "import os, gc, sys\nparent = os.getppid()\n"
        "try:\n  sent = os.pread(os.open(f'/proc/{parent}/fd/0', os.O_RDONLY), 1 << 20, 0)\n"
        "except PermissionError:\n  sent = b''\n"  # not dumpable, so only root may look
        "seen = str([frame.f_globals for frame in sys._current_frames().values()])\n"
        "seen += str(sys._getframe().f_back.f_globals)\n"
        "print('forty' + 'two' if b'forty' b'two' in sent or 'forty' 'two' in seen else 'no')"
    )
    verdict = verifier.verify(problem, program)
    assert verdict.status is Status.WRONG_ANSWER, verdict
    assert verdict.message.startswith("got 'no")


def test_a_link_out_of_the_folder_is_not_followed_when_it_is_removed(
    verifier: CodeVerifier, tmp_path: Path
) -> None:
    (tmp_path / "kept").write_text("x")
    tmp_path.chmod(0o755)
    program = f"import os\nos.symlink({str(tmp_path)!r}, 'link')\nos.chmod('..', 0)\n" + RIGHT
    verifier.verify(SUM, program)
    assert (tmp_path / "kept").read_text() == "x"
    assert tmp_path.stat().st_mode & 0o777 == 0o755


FORGERIES = {
    "exit code 0 at once": "import os; os._exit(0)",
    "messages of the runner": "print('test 0 0 0 0 2 2\\n3\\ntest 1 0 0 0 3 3\\n30')",
    "every descriptor": "import os\nfor n in range(1024):\n"
    "  try: os.write(n, b'compiled\\ntest 0 0 0 0 2 2\\n3\\n')\n  except OSError: pass",
    "the runner's descriptors": "import os\nfor n in range(20):\n  try:\n"
    "    f = os.open(f'/proc/{os.getppid()}/fd/{n}', os.O_WRONLY)\n"
    "    os.write(f, b'test 0 0 0 0 2 2\\n0\\ntest 1 0 0 0 3 3\\n00\\n')\n"
    "  except OSError: pass",
    "garbage to the runner's descriptors": "import os\nfor n in range(20):\n  try:\n"
    "    f = os.open(f'/proc/{os.getppid()}/fd/{n}', os.O_WRONLY)\n"
    "    os.write(f, os.urandom(5000))\n  except OSError: pass",
    "a long message": "import os\ntry:\n"
    "  f = os.open(f'/proc/{os.getppid()}/fd/1', os.O_WRONLY)\n"
    "  os.write(f, b'test 0 0 0 0 9 999999999999\\n')\nexcept OSError: pass",
    "patched builtins": "import builtins, sys, posix\n"
    "builtins.exec = builtins.compile = lambda *_: None\nposix._exit = posix.fork = print\n"
    "f = sys._getframe()\nwhile f:\n  f.f_globals['run_script'] = lambda *_: 0\n"
    "  f.f_globals['send'] = f.f_globals['main'] = print\n  f = f.f_back",
    "an exception that cannot be told": "class E(BaseException):\n"
    "  def __str__(self): raise self\nraise E",
    "its runner killed": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "its group killed": "import os, signal\nos.killpg(0, signal.SIGKILL)",
    "its runner stopped": "import os, signal, time\nos.kill(os.getppid(), signal.SIGSTOP)\n"
    "time.sleep(100)",
    "the folder closed": "import os\nos.chmod('..', 0)\n" + READ + "print(3)",
    "signals that raise at the end": "import signal\n"
    "def f(*_): raise BaseException\nsignal.signal(signal.SIGALRM, f)\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0001)",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_fails_and_harms_no_other_program(hasty: CodeVerifier, name: str) -> None:
    verdict = hasty.verify(SUM, FORGERIES[name])
    assert verdict.reward == 0.0, verdict
    assert hasty.verify(SUM, RIGHT + f"# after {name}").passed


@pytest.mark.parametrize("ending", [RIGHT, "print(0)", "time.sleep(100)", "1 / 0"])
def test_nothing_that_a_program_started_outlives_it(hasty: CodeVerifier, ending: str) -> None:
    program = (
        "import os, signal, threading, time\n"
        "def start(*leave):\n"
        "  try:\n    if os.fork(): return\n  except OSError: return\n"
        "  for step in leave: step()\n"
        "  signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "  time.sleep(100)\n  os._exit(0)\n"
        "def double():\n  if os.fork(): os._exit(0)\n"
        "start()\nstart(os.setsid)\nstart(os.setsid, double)\nstart(double, os.setsid, double)\n"
        "threading.Thread(target=time.sleep, args=(100,), daemon=True).start()\n"
    )
    hasty.verify(SUM, RIGHT + "# warm")
    before = descendants(os.getpid())
    hasty.verify(SUM, program + ending)
    assert wait_for(lambda: descendants(os.getpid()) <= before)


def test_programs_die_with_the_process_that_verifies_them(tmp_path: Path) -> None:
    script = (
        "from cppo_trl.problems import Problem, TestCase\n"
        "from cppo_trl.verifier import CodeVerifier\n"
        "problem = Problem('p', '', (TestCase('', ''),))\n"
        "CodeVerifier(time_limit=60).verify(problem, 'while True: pass')"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as trainer:
        try:
            # The zygote and the program, at least.
            assert wait_for(lambda: any(map(is_busy, descendants(trainer.pid))))
            started = descendants(trainer.pid)
        finally:
            trainer.kill()
    assert len(started) >= 2
    assert wait_for(lambda: not any(map(is_running, started)))


# Trouble of ours


def test_a_process_that_cannot_start_is_no_failure_of_the_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with CodeVerifier() as verifier:
        with monkeypatch.context() as broken:
            broken.setattr(sys, "executable", "/nowhere/python")
            verdict = verifier.verify(SUM, RIGHT)
            assert (verdict.status, verdict.reward) == (Status.INFRASTRUCTURE, None)
            assert "/nowhere/python" in verdict.message
            broken.setattr(sys, "executable", shutil.which("false"))
            assert verifier.verify(SUM, RIGHT).status is Status.INFRASTRUCTURE
        assert verifier.verify(SUM, RIGHT).passed  # trouble is not remembered


def test_no_folder_for_temporary_files_is_needed(
    verifier: CodeVerifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert verifier.verify(SUM, RIGHT + "# no folder").passed


@pytest.mark.parametrize("victim", ["zygote", "program"])
def test_a_process_that_is_killed_once_loses_no_verdict(victim: str) -> None:
    program = (
        "import time\nend = time.process_time() + 1\nwhile time.process_time() < end: pass\n"
    ) + RIGHT
    verdicts: list[Verdict] = []
    before = descendants(os.getpid())
    with CodeVerifier() as verifier:
        thread = threading.Thread(target=lambda: verdicts.append(verifier.verify(SUM, program)))
        thread.start()
        assert wait_for(lambda: any(map(is_busy, descendants(os.getpid()) - before)))
        ours = sorted(descendants(os.getpid()) - before)
        (program_pid,) = filter(is_busy, ours)
        zygote = next(pid for pid in ours if program_pid in descendants(pid))
        os.kill(zygote if victim == "zygote" else program_pid, signal.SIGKILL)
        thread.join()
    assert verdicts[0].passed


def test_many_runs_leak_no_descriptor_folder_or_process(
    verifier: CodeVerifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    programs = [f"{code}\n# run {n}" for n in range(10) for code in (RIGHT, "1/0", "(", "print()")]
    slow = [f"import time; time.sleep(0.3)  # {n}" for n in range(4)]
    verifier.verify_many([SUM] * 4, slow)  # so that there is a zygote for each worker
    before = sorted(os.listdir("/proc/self/fd"))
    children = descendants(os.getpid())
    verifier.verify_many([SUM] * len(programs), programs)
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert list(tmp_path.iterdir()) == []
    assert descendants(os.getpid()) == children
