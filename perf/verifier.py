"""What a verdict costs: CPU time for each test, next to running programs in other ways.

    python perf/verifier.py [--programs 200] [--tests 10] [--repeats 3]

Each row runs the same short programs on the same tests and checks that all verdicts are right. CPU
time is that of this process and of all that it started, so other work on the machine does not count
(it does make caches colder). The best of the repeats is shown; they take turns, so that a slow
minute hits all rows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier import CodeVerifier, outputs_match
from cppo_trl.verifier.code_verifier import available_cores

# Each takes two numbers and prints one; {} makes a program its own, SIZE is how much work it does.
ONE_LINE = "a, b = map(int, input().split())\nprint(a + b)  # {}\n"
# About what a right answer to a contest's problem does on a small test.
TYPICAL = """
import heapq, sys
from collections import defaultdict
def main():  # {}
    n, extra = map(int, sys.stdin.readline().split())
    size = SIZE
    edges = defaultdict(list)
    for node in range(size):
        for step in (1, 3, 7):
            edges[node].append(((node + step) % size, step * step + node % 5))
    best = [10**9] * size
    best[0] = 0
    queue = [(0, 0)]
    while queue:
        cost, node = heapq.heappop(queue)
        if cost > best[node]:
            continue
        for other, weight in edges[node]:
            if cost + weight < best[other]:
                best[other] = cost + weight
                heapq.heappush(queue, (best[other], other))
    assert max(best) < 10**9
    print(n + extra)
if __name__ == "__main__":
    main()
"""
SHORTER, SHORT = (TYPICAL.replace("SIZE", str(size)) for size in (40, 105))
KINDS = {
    "a short program": SHORT,
    "a shorter program": SHORTER,
    "one line, where only fixed costs are left": ONE_LINE,
}
Way = Callable[[Problem, list[str]], list[bool]]


def main() -> None:
    """Measures and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--tests", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    with Verifier(1) as shared, Verifier(1, fresh_process=True) as fresh:
        ways: dict[str, tuple[Way, int]] = {
            "exec in this process, no isolation": (in_process, 1),
            "zygote, all layers (the default)": (shared.passes, 1),
            "zygote, a process for each test": (fresh.passes, 1),
            "python -I -S -c for each test": (by_subprocess, 10),  # a tenth of the programs
        }
        for kind, text in KINDS.items():
            costs = dict.fromkeys(ways, float("inf"))
            for _ in range(args.repeats):
                for name, (way, part) in ways.items():
                    programs = [text.format(n) for n in range(max(1, args.programs // part))]
                    costs[name] = min(costs[name], cpu_per_test(way, programs, args.tests))
            print_costs(f"{kind}, {args.programs} programs x {args.tests} tests", costs)

    print("CPU time for each test, by tests a program")
    with Verifier(1) as shared:
        for tests in (1, 2, 5, 10, 50):
            programs = [SHORTER.format(n) for n in range(args.programs)]
            cost = min(cpu_per_test(shared.passes, programs, tests) for _ in range(2))
            print(f"{tests:10} tests{cost * 1e3:10.2f} ms")

    print("\nTests a second, by workers")
    for workers in sorted({1, 2, available_cores(), 2 * available_cores()}):
        with Verifier(workers) as shared:
            shared.passes(
                make_problem(1), [f"import time; time.sleep(0.1) # {n}" for n in range(workers)]
            )
            speed = max(throughput(shared, args.programs, args.tests) for _ in range(2))
        print(f"{workers:10} workers{speed:10.0f}")


def print_costs(title: str, costs: dict[str, float]) -> None:
    """The table, and what came of the aims of the design."""
    base, zygote, *_, interpreter = costs.values()
    print(f"CPU time for each test: {title}, one worker")
    print(f"{'':38}{'ms':>8}{'/ exec':>9}")
    for name, cost in costs.items():
        print(f"{name:38}{cost * 1e3:8.2f}{cost / base:9.1f}")
    print(
        f"The default is {zygote / base:.1f} times exec (at most 6 is the aim) and "
        f"1/{interpreter / zygote:.1f} of an interpreter for each test (at most 1/12).\n"
    )


class Verifier:
    """A `CodeVerifier` without a cache, as a way to run programs."""

    def __init__(self, workers: int, fresh_process: bool = False) -> None:
        self._verifier = CodeVerifier(workers, cache_size=0, fresh_process=fresh_process)

    def passes(self, problem: Problem, programs: list[str]) -> list[bool]:
        """Whether each program passes."""
        verdicts = self._verifier.verify_many([problem] * len(programs), programs)
        return [verdict.passed for verdict in verdicts]

    def __enter__(self) -> Verifier:
        self.passes(make_problem(1), [ONE_LINE.format("warm")])
        return self

    def __exit__(self, *error: object) -> None:
        self._verifier.close()


def in_process(problem: Problem, programs: list[str]) -> list[bool]:
    """What a verifier without any isolation does."""
    passes = []
    stdin = sys.stdin
    for program in programs:
        code = compile(program, "program.py", "exec")
        right = True
        for test in problem.tests:
            sys.stdin = io.StringIO(test.input)
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(code, {"__name__": "__main__"})
            right = right and outputs_match("lcb", test.output, output.getvalue())
        passes.append(right)
    sys.stdin = stdin
    return passes


def by_subprocess(problem: Problem, programs: list[str]) -> list[bool]:
    """A fresh interpreter for each test, without any other isolation."""
    command = [sys.executable, "-I", "-S", "-c"]
    return [
        all(
            outputs_match(
                "lcb",
                test.output,
                subprocess.run(
                    [*command, program], input=test.input, capture_output=True, text=True
                ).stdout,
            )
            for test in problem.tests
        )
        for program in programs
    ]


def make_problem(tests: int) -> Problem:
    return Problem("sum", "", tuple(TestCase(f"{n} 2\n", f"{n + 2}\n") for n in range(tests)))


def cpu_per_test(way: Way, programs: list[str], tests: int) -> float:
    """CPU seconds for each test."""
    problem = make_problem(tests)
    start = cpu_seconds()
    assert all(way(problem, programs))
    return (cpu_seconds() - start) / (len(programs) * tests)


def throughput(shared: Verifier, programs: int, tests: int) -> float:
    """Tests a second."""
    start = time.monotonic()
    assert all(shared.passes(make_problem(tests), [SHORTER.format(n) for n in range(programs)]))
    return programs * tests / (time.monotonic() - start)


def cpu_seconds() -> float:
    """CPU time of this process, of those that it waited for, and of its zygotes with theirs."""
    waited = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + waited.ru_utime + waited.ru_stime
    return total + sum(map(_seconds_of, _descendants(os.getpid())))


def _seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _descendants(pid: int) -> list[int]:
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for word in file.read_text().split():
            found += [int(word), *_descendants(int(word))]
    return found


if __name__ == "__main__":
    main()
