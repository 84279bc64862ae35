"""Trouble of ours loses no verdict, and what one test leaves behind decides on no other."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier import CodeVerifier, SandboxError, Status
from cppo_trl.verifier.engine import Engine

SUM = Problem("sum", "", (TestCase("1 2\n", "3\n"), TestCase("10 20\n", "30\n")))
RIGHT = "a, b = map(int, input().split())\nprint(a + b)\n"


def zygotes(verifier: CodeVerifier) -> list[int]:
    return [zygote.process.pid for zygote in verifier._engine._pool._live]


def test_zygotes_that_are_killed_while_they_wait_are_replaced() -> None:
    with CodeVerifier(workers=3) as verifier:
        asleep = [f"import time; time.sleep(0.2)\n{RIGHT}# {n}" for n in range(3)]
        assert all(verdict.passed for verdict in verifier.verify_many([SUM] * 3, asleep))
        for pid in zygotes(verifier):
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        for n in range(4):
            assert verifier.verify(SUM, f"{RIGHT}# again {n}").passed


def test_zygotes_that_are_killed_at_work_lose_no_verdict() -> None:
    programs = [
        f"import time; time.sleep(0.02)\n{RIGHT if n % 3 else 'print(3)'}# {n}" for n in range(60)
    ]
    rng = random.Random(0)
    with CodeVerifier(workers=2) as verifier:
        verdicts = []
        work = threading.Thread(
            target=lambda: verdicts.extend(verifier.verify_many([SUM] * 60, programs))
        )
        work.start()
        for _ in range(5):
            time.sleep(0.3)
            with contextlib.suppress(IndexError, ProcessLookupError):
                os.kill(rng.choice(zygotes(verifier)), signal.SIGKILL)
        work.join()
    assert [verdict.passed for verdict in verdicts] == [n % 3 > 0 for n in range(60)]
    assert not [verdict for verdict in verdicts if verdict.status is Status.INFRASTRUCTURE]


NO_ROOM = """
import resource, signal
from cppo_trl import CodeVerifier, Problem, TestCase
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
try:
    with open("full", "w") as file:
        file.write("x")
except OSError:
    problem = Problem("echo", "", (TestCase("x" * 10**6, "x" * 10**6), TestCase("y", "y")))
    with CodeVerifier() as verifier:
        programs = [f"print(input())  # {n}" for n in range(20)] + ["print('x')", "print(1 / 0)"]
        for verdict in verifier.verify_many([problem] * 22, programs):
            print(verdict.status.value)
"""


def test_a_full_disk_loses_no_verdict(tmp_path: Path) -> None:
    # A process that cannot add a byte to a file is as badly off as on a full disk.
    done = subprocess.run(
        [sys.executable, "-c", NO_ROOM],
        env={"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr, done.stderr  # missing layers are told of
    assert done.stdout.split() == ["pass"] * 20 + ["wrong_answer", "runtime_error"]


# With a limit of one CPU second: the program, and its status.
UNDER_LOAD = {
    "0.6 seconds of work": ("import time\nwhile time.process_time() < 0.6: pass", "pass"),
    "0.6 seconds of work in threads": (
        (
            "import hashlib, threading, time\n"
            "def work():\n"
            "  while time.process_time() < 0.6: hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**4)\n"
            "threads = [threading.Thread(target=work) for _ in range(4)]\n"
            "for t in threads: t.start()\nfor t in threads: t.join()"
        ),
        "pass",
    ),
    "a sleep of a second": ("import time\ntime.sleep(1)", "pass"),
    "many short sleeps": ("import time\nfor _ in range(50): time.sleep(0.01)", "pass"),
    "a loop": ("while True: pass", "time_limit"),
    "1.6 seconds of work": ("import time\nwhile time.process_time() < 1.6: pass", "time_limit"),
    "a sleep without end": ("import time\ntime.sleep(1000)", "time_limit"),
    "too much memory": ("x = bytearray(b'1') * (300 << 20)", "memory_limit"),
    "memory within the limit": ("x = bytearray(b'1') * (100 << 20)", "pass"),
    "too much output": ("while True: print('x' * 10000)", "output_limit"),
    "a failure": ("1 / 0", "runtime_error"),
}


def test_verdicts_are_the_same_on_a_machine_loaded_by_other_work() -> None:
    cores = len(os.sched_getaffinity(0))
    load = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * cores)]
    silent = Problem("silent", "", (TestCase("", ""), TestCase("", "")))
    try:
        with CodeVerifier(time_limit=1, memory_limit=128, output_limit=4) as verifier:
            programs = [f"{program}\n# {n}" for program, _ in UNDER_LOAD.values() for n in range(2)]
            verdicts = verifier.verify_many([silent] * len(programs), programs)
    finally:
        for process in load:
            process.kill()
            process.wait()
    statuses = [status for _, status in UNDER_LOAD.values() for _ in range(2)]
    assert [verdict.status.value for verdict in verdicts] == statuses


def test_two_trainers_do_not_disturb_each_other() -> None:
    script = (
        "from cppo_trl.problems import Problem, TestCase\n"
        "from cppo_trl.verifier import CodeVerifier\n"
        "problem = Problem('p', '', (TestCase('1', '1'), TestCase('2', '2')))\n"
        "with CodeVerifier(workers=2) as verifier:\n"
        "  programs = [f'print(input() if {n} % 2 else 1)' for n in range(100)]\n"
        "  verdicts = verifier.verify_many([problem] * 100, programs)\n"
        "assert [v.passed for v in verdicts] == [n % 2 > 0 for n in range(100)]\n"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    trainers = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(2)]
    assert [trainer.wait(timeout=60) for trainer in trainers] == [0, 0]


def test_twenty_thousand_programs_leave_no_memory_descriptor_or_process_behind() -> None:
    def held() -> tuple[int, list[int], int]:
        """MB that this process and those from it hold, open descriptors of those that can be seen
        into, and their number.
        """
        pids = [os.getpid()]
        for pid in pids:
            for file in Path(f"/proc/{pid}/task").glob("*/children"):
                pids += map(int, file.read_text().split())
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        seen = [pid for pid in pids if os.access(f"/proc/{pid}/fd", os.R_OK)]
        return pages // 256, [len(os.listdir(f"/proc/{pid}/fd")) for pid in seen], len(pids)

    kinds = (RIGHT, "1 / 0", "print(3)", "(", RIGHT, "import os; os._exit(0)", RIGHT, "exit(1)")
    with CodeVerifier(workers=2, cache_size=100) as verifier:

        def run(count: int) -> None:
            programs = [f"{kinds[n % len(kinds)]}  # {n}" for n in range(count)]
            verdicts = verifier.verify_many([SUM] * count, programs)
            passed = [verdict.passed for verdict in verdicts]
            assert passed == [kinds[n % len(kinds)] == RIGHT for n in range(count)]

        run(2_000)
        before = held()
        for _ in range(4):
            run(4_500)
        after = held()
    assert after[1:] == before[1:]
    assert after[0] < before[0] + 16


# State


LEFTOVERS = {
    "an attribute of a module": "import math\nassert not hasattr(math, 'x')\nmath.x = 1",
    "an attribute of a class": "import fractions\nassert not hasattr(fractions.Fraction, 'x')\n"
    "fractions.Fraction.x = 1",
    "a patched function": "import random\nassert random.random() != 4\nrandom.random = lambda: 4",
    "precision": "import decimal\nassert decimal.getcontext().prec == 28\n"
    "decimal.getcontext().prec = 100",
    "a removed module": "import sys\nassert 'collections' in sys.modules\n"
    "del sys.modules['collections']",
    "a folder": "import os\nassert os.getcwd() == '/'\nos.chdir('/usr/lib')",
    "a limit": "import resource\nassert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 64\n"
    "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 64))",
    "memory": "import math\nassert not hasattr(math, 'x')\nmath.x = bytearray(b'1') * 10**8",
}


@pytest.mark.parametrize("name", LEFTOVERS)
def test_what_one_test_leaves_does_not_fail_the_next(name: str) -> None:
    problem = Problem("sum", "", SUM.tests * 2)
    with CodeVerifier(memory_limit=256) as verifier:
        verdict = verifier.verify(problem, f"{LEFTOVERS[name]}\n{RIGHT}")
    assert verdict.passed, verdict


KEPT = {
    "built-in functions": "assert print.__name__ == 'print'\nimport builtins\n"
    "builtins.sum = builtins.len = builtins.any = None",
    "variables": "import os\nassert 'X' not in os.environ\nos.environ['X'] = '1'",
    "the path": "import sys\nassert 'x' not in sys.path\nsys.path.append('x')",
    "depth of recursion": "import sys\nassert sys.getrecursionlimit() == 1000\n"
    "sys.setrecursionlimit(5000)",
    "standard streams": "import sys\nsys.stdin = sys.stdin.buffer.read().decode().split('x')\n"
    "print(sum(map(int, sys.stdin[0].split())))\nsys.stdout.close()\nraise SystemExit",
    "closed descriptors": "import os\nx = os.read(0, 99).split()\n"
    "os.write(1, b'%d' % sum(map(int, x)))\nfor n in range(3): os.close(n)\nraise SystemExit",
    "other descriptors": "import os\nfor n in range(3, 64): "
    "\n  try: os.close(n)\n  except OSError: pass",
    "names": "assert 'y' not in globals()\ny = 1",
}


@pytest.mark.parametrize("name", KEPT)
def test_what_every_test_finds_anew_costs_no_second_process(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CodeVerifier() as verifier:
        runs = []
        run = verifier._engine.run
        monkeypatch.setattr(verifier._engine, "run", lambda *args: runs.append(args) or run(*args))
        verdict = verifier.verify(SUM, f"{KEPT[name]}\n{RIGHT}")
    assert verdict.passed, verdict
    assert len(runs) == 1


def test_memory_over_the_limit_is_found_in_the_test_that_used_it() -> None:
    problem = Problem("p", "", tuple(TestCase(f"{n}", f"{n}") for n in range(5)))
    program = "n = int(input())\nx = bytearray(b'1') * (10**8 if n == 3 else 1)\nprint(n)"
    with CodeVerifier(memory_limit=64) as verifier:
        verdict = verifier.verify(problem, program)
    assert (verdict.status, verdict.first_failed) == (Status.MEMORY_LIMIT, 3)
    assert 64 < verdict.peak_memory < 120


def test_a_failure_that_comes_again_in_a_fresh_process_counts() -> None:
    with CodeVerifier() as verifier:
        verdict = verifier.verify(SUM, "print(3)")
    assert (verdict.status, verdict.first_failed) == (Status.WRONG_ANSWER, 1)


def test_fresh_processes_share_nothing() -> None:
    program = f"import math\nprint(end='' if not hasattr(math, 'x') else '7')\nmath.x = 1\n{RIGHT}"
    told = "import math\nprint(getattr(math, 'x', 3))\nmath.x = 30"  # from one test to the next
    for fresh in (False, True):
        with CodeVerifier(fresh_process=fresh) as verifier:
            assert verifier.verify(SUM, program).passed
            assert verifier.verify(SUM, told).passed == (not fresh)


# Refusing


def test_programs_are_not_run_without_a_filter_of_system_calls() -> None:
    with CodeVerifier() as verifier:
        verifier._engine = Engine(without=("seccomp",))
        with pytest.raises(SandboxError, match=r"seccomp.*unsafe=True"):
            verifier.verify(SUM, RIGHT)


def test_who_asks_for_it_can_run_programs_without_a_filter() -> None:
    with CodeVerifier() as verifier:
        verifier._engine = Engine(unsafe=True, without=("seccomp",))
        assert verifier.verify(SUM, RIGHT).passed
        assert verifier.verify(SUM, "print(3)").first_failed == 1


def test_the_log_names_the_layers_that_are_missing_once(caplog: pytest.LogCaptureFixture) -> None:
    with CodeVerifier() as verifier, caplog.at_level(logging.INFO, "cppo_trl.verifier"):
        verifier._engine = Engine(without=("landlock",))
        for n in range(3):
            verifier.verify(SUM, f"{RIGHT}# {n}")
    (record,) = caplog.records
    assert "landlock (switched off)" in record.getMessage()


VERIFY = """
from cppo_trl import CodeVerifier, Problem, TestCase

interrupted = "import signal\\ntry: signal.raise_signal(2)\\nexcept KeyboardInterrupt: print(1)"
with CodeVerifier(workers=1) as verifier:
    print(verifier.verify(Problem("a", "", (TestCase("", "1"),)), interrupted).status.value)
"""


def test_signals_that_the_trainer_ignores_or_blocks_are_none_of_the_programs() -> None:
    def start_as_nohup_does() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})

    done = subprocess.run(
        [sys.executable, "-c", VERIFY],
        preexec_fn=start_as_nohup_does,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "pass\n", done.stderr
