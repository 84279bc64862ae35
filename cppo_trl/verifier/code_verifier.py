"""Verify programs against the tests of their problems, many at once."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from functools import lru_cache, partial
from types import TracebackType
from typing import Any

from cppo_trl.problems import Problem
from cppo_trl.verifier.compare import COMPARE_MODES
from cppo_trl.verifier.engine import Engine, Limits
from cppo_trl.verifier.extract import extract_code
from cppo_trl.verifier.grading import ATTEMPTS, PAUSE, Checker, Grader
from cppo_trl.verifier.pool import EngineError
from cppo_trl.verifier.prelude import PRELUDES
from cppo_trl.verifier.prepare import Prepared, prepare
from cppo_trl.verifier.verdict import Status, Verdict

Completion = str | Sequence[Mapping[str, Any]]  # text, or chat messages

PREPARED_PROBLEMS = 32  # kept ready to run; training goes through few problems at a time


class CodeVerifier:
    """Runs programs on their problems' tests, isolated from this process, and gives verdicts.

    It is a TRL reward function (asynchronous, so it overlaps with others): 1.0 when the code of a
    completion passes all tests, 0.0 when not, None when the verifier itself had trouble. What the
    isolation covers and what not stands in `cppo_trl.verifier.engine`. Several threads may share
    it. Use it as a context manager, or call `close` at the end.

    Args:
        workers: programs run at a time; None for all cores that this process may use, shared
            evenly with the other ranks that torchrun or accelerate started on this machine.
        time_limit: CPU seconds for one test, for problems that set none (LiveCodeBench's 6).
            A program that sleeps ends after 2.5 times that, plus a second, of wall time.
        memory_limit: MB of resident memory that a test may add to a bare interpreter, for problems
            that set none.
        compare: one of `COMPARE_MODES`; see `cppo_trl.verifier.compare`.
        tolerance: for the mode "tokens", how far a number may be from the expected one (times that
            one, where it is above 1).
        checker: says whether an output is right, for problems with several right ones: takes the
            problem, the test and the output (JSON text for a function), gives True, False, or None
            to leave it to `compare`; it is not asked about assertions. It runs in this process, in
            several threads, on what an untrusted program printed; what it raises is passed on.
        prelude: "lcb" imports what LiveCodeBench's grader imports before each program; None
            nothing (functions get the common names in any case).
        cache_size: verdicts remembered, so that a program met again is not run again; 0 for none.
        output_limit: MB that a test may print, or write to any one file; where a test asks for
            more, more is allowed.
        unsafe: run programs even where system calls cannot be filtered (seccomp); they can then do
            what this user can.
        fresh_process: a process for each test, at about five times the cost; otherwise a program's
            tests share one while they pass, and a later failure counts only if a fresh one
            confirms it.
        all_tests: go on after a failure, to tell how each test went; otherwise a failure ends a
            program's run.

    Raises:
        ValueError: an argument is out of range; the message says what is allowed.
        SandboxError: on first use, where programs cannot be kept in and `unsafe` is not set.
    """

    __name__ = "code_verifier"  # TRL names metrics after the reward function

    def __init__(
        self,
        workers: int | None = None,
        time_limit: float = 6.0,
        memory_limit: int = 1024,
        compare: str = "lcb",
        cache_size: int = 100_000,
        output_limit: int = 64,
        unsafe: bool = False,
        fresh_process: bool = False,
        tolerance: float = 0.0,
        checker: Checker | None = None,
        prelude: str | None = None,
        all_tests: bool = False,
    ) -> None:
        if workers is None:
            workers = available_cores()
        _check_number("workers", workers, int, 1)
        _check_number("time_limit", time_limit, (int, float), 0, positive=True)
        _check_number("memory_limit", memory_limit, int, 1)
        _check_number("cache_size", cache_size, int, 0)
        _check_number("output_limit", output_limit, int, 1)
        if compare not in COMPARE_MODES:
            raise ValueError(f"compare is {compare!r}; it must be one of {COMPARE_MODES}")
        _check_number("tolerance", tolerance, (int, float), 0)
        if tolerance and compare != "tokens":
            raise ValueError(f"tolerance is {tolerance!r}; it goes with compare='tokens' only")
        if prelude is not None and prelude not in PRELUDES:
            raise ValueError(f"prelude is {prelude!r}; it must be None or one of {(*PRELUDES,)}")
        self.workers = workers
        self.prelude = prelude
        self.tolerance = tolerance
        self.checker = checker
        self.compare = compare
        self.cache_size = cache_size
        self.unsafe = unsafe
        self.fresh_process = fresh_process
        self.all_tests = all_tests
        self._grader = Grader(
            compare, tolerance, checker, PRELUDES.get(prelude, ""), fresh_process, all_tests
        )
        defaults = Limits(time_limit, memory_limit, output_limit)
        self._prepared = lru_cache(PREPARED_PROBLEMS)(
            partial(prepare, defaults=defaults, whole=checker is not None)
        )
        self._cache: OrderedDict[bytes, Verdict] = OrderedDict()
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._engine = Engine(self.unsafe)
        self._pool: ThreadPoolExecutor | None = None
        self._begun: dict[bytes, Future[Verdict]] = {}
        self._process = os.getpid()

    def verify(self, problem: Problem, program: str) -> Verdict:
        """The verdict on one program (code, not a completion), run in this thread.

        Raises:
            ValueError: not a problem, not text, or a test of a function problem that is not JSON.
            RuntimeError: the verifier is closed.
        """
        self._check_open()
        prepared, key = self._look_up(problem, program)
        return self._remembered(key) or self._judge(prepared, program, key)

    def verify_many(
        self,
        problems: Sequence[Problem],
        programs: Sequence[str],
        progress: bool = False,
        failed_first: bool = False,
    ) -> list[Verdict]:
        """The verdicts on `programs[i]` for `problems[i]`, in order, from `workers` at a time.

        A program that occurs several times for a problem is run once.

        Args:
            problems, programs: as many of each.
            progress: shows a bar.
            failed_first: begins with the tests that failed other programs for the problem, which
                is faster where only a pass counts. Which of several failures a verdict names then
                depends on what ran before; without it verdicts depend on the program alone.

        Raises:
            ValueError: the lengths differ; an item as in `verify`.
            RuntimeError: the verifier is closed.
        """
        self._check_open()
        pairs = _pairs("problems", problems, "programs", programs)
        # Bad items are refused before any program runs.
        looked_up = [self._look_up(*pair, failed_first) for pair in pairs]
        verdicts: dict[bytes, Verdict] = {}
        futures: dict[Future[Verdict], bytes] = {}
        copies = Counter(key for _, key in looked_up)
        for key, (prepared, program) in {
            key: (prepared, program)
            for (prepared, key), (_, program) in zip(looked_up, pairs, strict=True)
        }.items():
            begun = self._begun.pop(key, None)
            if (known := self._remembered(key)) is not None:
                verdicts[key] = known
            else:
                future = begun or self._submit(prepared, program, key, failed_first)
                futures[future] = key
        try:
            with _bar(progress, len(pairs), sum(copies[key] for key in verdicts)) as bar:
                if progress:
                    for future, key in futures.items():
                        future.add_done_callback(lambda _, key=key: bar.update(copies[key]))
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                verdicts |= {futures[future]: future.result() for future in done}
        except CancelledError:
            raise RuntimeError("this CodeVerifier was closed meanwhile") from None
        finally:
            for future in futures:
                future.cancel()  # after an error; nothing is left to cancel otherwise
        return [verdicts[key] for _, key in looked_up]

    def verify_completions(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        failed_first: bool = False,
    ) -> list[Verdict]:
        """As `verify_many`, on the code that `extract_code` finds in each completion.

        A completion is text, or a list of chat messages of which the last one counts; its content
        is text, or a list of parts of which those with text count. One without code gets the
        status `no_code`.
        """
        pairs = _pairs("problems", problems, "completions", completions)
        programs = [extract_code(_text(completion)) for completion in completions]
        found = [index for index, program in enumerate(programs) if program is not None]
        verdicts = [
            self._grader.unrun(Status.NO_CODE, len(problem.tests), "no code in the completion")
            for problem, _ in pairs
        ]
        run = self.verify_many(
            [problems[i] for i in found],
            [programs[i] for i in found],
            failed_first=failed_first,
        )
        for index, verdict in zip(found, run, strict=True):
            verdicts[index] = verdict
        return verdicts

    def begin(self, problem: Problem, completion: Completion) -> None:
        """Begins to run the program of a completion, in the background: the next reward call that
        has it waits for the rest only.

        Raises:
            ValueError: as `verify`.
            RuntimeError: the verifier is closed.
        """
        self._check_open()
        program = extract_code(_text(completion))
        if program is None:
            return
        prepared, key = self._look_up(problem, program, failed_first=True)
        if key not in self._begun and self._remembered(key) is None:
            self._begun[key] = self._submit(prepared, program, key, failed_first=True)

    async def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        problem: Sequence[Problem],
        log_extra: Callable[[str, list], None] | None = None,
        **kwargs: Any,
    ) -> list[float | None]:
        """TRL's reward call: one reward for each completion, None where the verifier failed.

        The statuses go to the column "verdict" of the completions table.
        """
        verdicts = await asyncio.to_thread(
            self.verify_completions, problem, completions, failed_first=True
        )
        if log_extra is not None:
            log_extra("verdict", [verdict.status.value for verdict in verdicts])
        return [verdict.reward for verdict in verdicts]

    def close(self) -> None:
        """Ends the programs that run and frees the threads; the verifier cannot be used again."""
        self._closed = True
        if self._process != os.getpid():  # a fork of the process that owns them
            return
        self._engine.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> CodeVerifier:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("this CodeVerifier is closed; make a new one")
        if self._process != os.getpid():  # threads and locks do not survive a fork
            self._start()

    def _look_up(
        self, problem: Problem, program: str, failed_first: bool = False
    ) -> tuple[Prepared, bytes]:
        if not isinstance(problem, Problem):
            raise ValueError(f"problem is {problem!r}; it must be a Problem")
        if not isinstance(program, str):
            raise ValueError(f"program for problem {problem.id!r} is {program!r}; it must be text")
        prepared = self._prepared(problem)
        text = program.encode("utf-8", "surrogatepass")
        salt = b"failed first" if failed_first else b""
        digest = hashlib.blake2b(text, key=prepared.digest, digest_size=20, salt=salt)
        return prepared, digest.digest()

    def _remembered(self, key: bytes) -> Verdict | None:
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
            return self._cache.get(key)

    def _submit(
        self, prepared: Prepared, program: str, key: bytes, failed_first: bool
    ) -> Future[Verdict]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.workers, "cppo-trl-verifier")
            return self._pool.submit(self._judge, prepared, program, key, failed_first)

    def _judge(
        self, prepared: Prepared, program: str, key: bytes, failed_first: bool = False
    ) -> Verdict:
        order = range(len(prepared.inputs))
        if not program.strip():
            return self._grader.unrun(Status.NO_CODE, len(order), "the program is empty")
        if failed_first:
            order = sorted(order, key=lambda index: -prepared.failures[index])
        for attempt in range(ATTEMPTS):
            time.sleep(PAUSE * attempt)
            self._check_open()
            try:
                verdict = self._grader.grade(self._engine, prepared, program, order)
                break
            except EngineError as error:
                message = str(error)
        else:
            return self._grader.unrun(Status.INFRASTRUCTURE, len(order), message)
        with self._lock:
            if verdict.first_failed is not None:
                prepared.failures[verdict.first_failed] += 1
            self._cache[key] = verdict
            while len(self._cache) > self.cache_size:
                self._cache.popitem(last=False)
        return verdict


def available_cores() -> int:
    """The number of cores for this process: those it may use, divided by the ranks beside it."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def _check_number(
    name: str, value: Any, kinds: type | tuple[type, ...], least: int, positive: bool = False
) -> None:
    number = isinstance(value, kinds) and not isinstance(value, bool)
    if not number or not value >= least or value == math.inf or (positive and value == 0):
        kind = "a whole number" if kinds is int else "a finite number"
        allowed = f"above {least}" if positive else f"of {least} or more"
        raise ValueError(f"{name} is {value!r}; it must be {kind} {allowed}")


def _pairs(first: str, left: Sequence[Any], second: str, right: Sequence[Any]) -> list[tuple]:
    if len(left) != len(right):
        raise ValueError(
            f"{first} has {len(left)} items and {second} {len(right)}; they must have as many"
        )
    return list(zip(left, right, strict=True))


def _text(completion: Completion) -> str:
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else None
    if content is None or isinstance(content, str):  # a call of a tool has none
        return content or ""
    return "".join(part.get("text", "") for part in content)


def _bar(shown: bool, total: int, known: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=known, unit="program", desc="verify", disable=not shown)
