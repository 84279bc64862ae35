"""Many programs at once: order, caching, threads, errors, and the contract with TRL."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cppo_trl.problems import Problem, ProblemError, TestCase
from cppo_trl.verifier import CodeVerifier, Status, Verdict, extract_code
from cppo_trl.verifier.code_verifier import available_cores
from cppo_trl.verifier.engine import Run

SUM = Problem("sum", "", (TestCase("1 2\n", "3\n"), TestCase("10 20\n", "30\n")))
RIGHT = "a, b = map(int, input().split())\nprint(a + b)\n"
WRONG = "print(3)\n"


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    with CodeVerifier(workers=3, time_limit=5) as verifier:
        yield verifier


def count_runs(verifier: CodeVerifier, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many tests each program is run on from now on."""
    counts: Counter[str] = Counter()
    run = verifier._engine.run

    def counting(program: str, *args: Any) -> Iterator[Run]:
        for outcome in run(program, *args):
            counts[program] += 1
            yield outcome

    monkeypatch.setattr(verifier._engine, "run", counting)
    return counts


def test_verdicts_come_in_the_order_of_the_programs(verifier: CodeVerifier) -> None:
    echo = [Problem(f"p{n}", "", (TestCase(f"{n}", f"{n}"),)) for n in range(12)]
    slow_first = [
        f"import time; time.sleep({(12 - n) / 100})\nprint({n if n % 3 else 'input()[:0]'})"
        for n in range(12)
    ]
    verdicts = verifier.verify_many(echo, slow_first)
    assert [verdict.passed for verdict in verdicts] == [n % 3 > 0 for n in range(12)]


def test_verify_and_verify_many_agree(verifier: CodeVerifier) -> None:
    programs = [RIGHT, WRONG, "(", "1/0", "print()"]
    verdicts = verifier.verify_many([SUM] * 5, programs)
    for program, verdict in zip(programs, verdicts, strict=True):
        again = verifier.verify(SUM, program + " ")
        assert (again.status, again.first_failed) == (verdict.status, verdict.first_failed)


def test_nothing_to_verify_gives_nothing(verifier: CodeVerifier) -> None:
    assert verifier.verify_many([], []) == []
    assert verifier.verify_completions([], []) == []


def test_equal_programs_for_a_problem_run_once(
    verifier: CodeVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"{RIGHT}# once"
    counts = count_runs(verifier, monkeypatch)
    same = Problem("other id", "other statement", SUM.tests)
    other = Problem("sum", "", SUM.tests[:1])
    verdicts = verifier.verify_many([SUM, SUM, same, other], [program] * 4)
    assert counts[program] == 2 + 1
    assert [verdict.tests_total for verdict in verdicts] == [2, 2, 2, 1]
    verifier.verify(SUM, program)
    assert counts[program] == 3


@pytest.mark.parametrize(
    "other",
    [
        Problem("sum", "", SUM.tests, time_limit=1),
        Problem("sum", "", SUM.tests, memory_limit=100),
        Problem("sum", "", SUM.tests[::-1]),
        Problem("sum", "", (TestCase("1 2\n", "3\n"), TestCase("10 20", "\n30\n"))),
    ],
)
def test_whatever_a_verdict_depends_on_makes_another_run(
    monkeypatch: pytest.MonkeyPatch, other: Problem
) -> None:
    with CodeVerifier(workers=2) as verifier:
        counts = count_runs(verifier, monkeypatch)
        verifier.verify_many([SUM, other], [RIGHT] * 2)
    assert counts[RIGHT] == 4


def test_the_cache_forgets_the_verdict_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [f"{RIGHT}# {name}" for name in "abc"]
    with CodeVerifier(cache_size=2) as verifier:
        counts = count_runs(verifier, monkeypatch)
        for index in (0, 1, 0, 2, 0, 1):
            verifier.verify(SUM, programs[index])
    assert [counts[program] // 2 for program in programs] == [1, 2, 1]


def test_without_a_cache_programs_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with CodeVerifier(cache_size=0) as verifier:
        counts = count_runs(verifier, monkeypatch)
        for _ in range(2):
            verifier.verify(SUM, RIGHT)
    assert counts[RIGHT] == 4


def test_limits_of_the_problem_go_before_the_verifiers() -> None:
    busy = "import time\nwhile time.process_time() < {}: pass\n" + RIGHT
    fast = Problem("sum", "", SUM.tests, time_limit=0.2)
    slow = Problem("sum", "", SUM.tests, time_limit=5)
    with CodeVerifier(time_limit=0.2) as verifier:
        assert verifier.verify(slow, busy.format(0.5)).passed
    with CodeVerifier(time_limit=5) as verifier:
        assert verifier.verify(fast, busy.format(0.5)).status is Status.TIME_LIMIT


@pytest.mark.parametrize(
    "limits", [{"time_limit": 10**400}, {"memory_limit": 10**30}, {"output_limit": 10**30}]
)
def test_limits_beyond_what_a_system_can_count_are_as_good_as_none(limits: dict[str, int]) -> None:
    with CodeVerifier(workers=1, **limits) as verifier:
        assert verifier.verify(SUM, RIGHT).passed
    with CodeVerifier(workers=1) as verifier:
        own = {name: limit for name, limit in limits.items() if name != "output_limit"}
        assert verifier.verify(Problem("sum", "", SUM.tests, **own), RIGHT).passed


def test_the_mode_of_comparison_is_what_was_asked_for() -> None:
    problem = Problem("p", "", (TestCase("", "YES 0.5\n"),))
    program = "print('yes', 0.500001)"
    for mode, passes in (("lcb", False), ("tokens", False), ("codecontests", True)):
        with CodeVerifier(compare=mode) as verifier:
            assert verifier.verify(problem, program).passed == passes


def test_programs_run_beside_each_other() -> None:
    asleep = [f"import time; time.sleep(0.5)\n{RIGHT}# {n}" for n in range(8)]
    with CodeVerifier(workers=8) as verifier:
        start = time.monotonic()
        verdicts = verifier.verify_many([SUM] * 8, asleep)
        assert time.monotonic() - start < 8 * 2 * 0.5 / 2
    assert all(verdict.passed for verdict in verdicts)


def test_all_cores_are_used_unless_told_otherwise() -> None:
    with CodeVerifier() as verifier:
        assert verifier.workers == available_cores() >= 1


def test_ranks_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = available_cores()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert available_cores() == max(1, alone // 2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1000")
    assert available_cores() == 1


def test_threads_may_share_a_verifier(verifier: CodeVerifier) -> None:
    results: dict[int, list[Verdict]] = {}

    def work(number: int) -> None:
        programs = [f"{RIGHT}# {number} {n}" if n % 2 else f"1/{n}-1" for n in range(6)]
        results[number] = verifier.verify_many([SUM] * 6, programs)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        assert [verdict.passed for verdict in results[number]] == [False, True] * 3


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_may_go_on_with_a_verifier(verifier: CodeVerifier) -> None:
    verifier.verify_many([SUM] * 2, [RIGHT, WRONG])
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        verdicts = verifier.verify_many([SUM] * 2, [RIGHT + "# child", WRONG + "# child"])
        os._exit(0 if [verdict.passed for verdict in verdicts] == [True, False] else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert verifier.verify(SUM, RIGHT + "# parent").passed


def test_a_closed_verifier_refuses_and_leaves_nothing_running() -> None:
    verifier = CodeVerifier(workers=2, time_limit=30)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            verifier.verify(SUM, "import time; time.sleep(60)")
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.3)
    verifier.close()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert "closed" in str(errors[0])
    with pytest.raises(RuntimeError, match="closed"):
        verifier.verify(SUM, RIGHT)
    with pytest.raises(RuntimeError, match="closed"):
        verifier.verify_many([SUM], [RIGHT])
    verifier.close()


def test_verifiers_of_a_process_share_their_zygotes_until_the_last_is_closed() -> None:
    first, second = CodeVerifier(workers=1), CodeVerifier(workers=1, time_limit=1)
    assert first.verify(SUM, RIGHT).passed
    (zygote,) = first._engine._pool._live
    assert second.verify(SUM, RIGHT).passed
    assert [*second._engine._pool._live] == [zygote]
    first.close()
    assert second.verify(SUM, WRONG).first_failed == 1
    assert zygote.is_alive()
    second.close()
    assert not zygote.is_alive()


def test_a_verifier_made_after_all_were_closed_has_zygotes_of_its_own() -> None:
    for _ in range(3):
        first, second = CodeVerifier(workers=1), CodeVerifier(workers=1)
        first.close()
        first.close()
        assert second.verify(SUM, RIGHT).passed
        second.close()
        with CodeVerifier(workers=1) as third:
            assert third.verify(SUM, RIGHT).passed


def test_closing_one_verifier_leaves_the_programs_of_another_alone() -> None:
    first, second = CodeVerifier(workers=1), CodeVerifier(workers=1)
    verdicts: list[Verdict] = []
    slow = f"import time; time.sleep(0.5)\n{RIGHT}"
    thread = threading.Thread(target=lambda: verdicts.append(second.verify(SUM, slow)))
    thread.start()
    time.sleep(0.2)
    first.close()
    thread.join()
    second.close()
    assert verdicts[0].passed


FORGOTTEN = """
from cppo_trl import CodeVerifier, Problem, TestCase
verifier = CodeVerifier(workers=1)
verifier.verify(Problem("a", "", (TestCase("", "1"),)), "print(1)")
(zygote,) = verifier._engine._pool._live
print(zygote.process.pid)
"""


def test_what_is_not_closed_ends_with_python() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FORGOTTEN], capture_output=True, text=True, cwd=root, check=True
    )
    assert "Traceback" not in done.stderr, done.stderr  # missing layers are told of
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_a_progress_bar_is_shown_when_asked_for(
    verifier: CodeVerifier, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = [RIGHT + "# bar", RIGHT + "# bar", WRONG + "# bar"]
    verifier.verify_many([SUM] * 3, programs)
    assert capsys.readouterr().err == ""
    verifier.verify_many([SUM] * 4, [*programs, "1/0"], progress=True)
    assert "4/4" in capsys.readouterr().err


# Completions


def fenced(code: str) -> str:
    return f"<think>hm</think>Here:\n```python\n{code}```"


def test_completions_are_judged_by_their_code(verifier: CodeVerifier) -> None:
    message = {"role": "assistant", "content": fenced(RIGHT)}
    completions = [fenced(RIGHT), fenced(WRONG), "I give up.", [message], RIGHT, ""]
    verdicts = verifier.verify_completions([SUM] * 6, completions)
    assert [verdict.status for verdict in verdicts] == [
        Status.PASS,
        Status.WRONG_ANSWER,
        Status.NO_CODE,
        Status.PASS,
        Status.PASS,
        Status.NO_CODE,
    ]
    assert (verdicts[2].reward, verdicts[2].tests_total) == (0.0, 2)


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ([{"role": "assistant", "content": [{"type": "text", "text": fenced(RIGHT)}]}], "pass"),
        ([{"role": "assistant", "content": [{"type": "image"}]}], "no_code"),
        ([{"role": "assistant", "content": None}], "no_code"),
        ([{"role": "assistant", "tool_calls": []}], "no_code"),
        ([], "no_code"),
    ],
)
def test_messages_of_every_kind_have_a_verdict(
    verifier: CodeVerifier, completion: list[dict[str, Any]], status: str
) -> None:
    (verdict,) = verifier.verify_completions([SUM], [completion])
    assert verdict.status == status


def test_it_is_an_asynchronous_reward_function_of_trl(verifier: CodeVerifier) -> None:
    assert inspect.iscoroutinefunction(verifier.__call__)
    call = verifier(
        prompts=["p"] * 3,
        completions=[fenced(RIGHT), fenced(WRONG), "none"],
        problem=[SUM] * 3,
        completion_ids=[[1]] * 3,
        trainer_state=None,
    )
    assert asyncio.run(call) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("cache_size", [0, 100])
def test_what_was_begun_is_not_run_again_by_the_next_reward_call(
    cache_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    completions = [f"```python\n{program}\n```" for program in (RIGHT, WRONG, RIGHT)]
    with CodeVerifier(workers=2, cache_size=cache_size) as verifier:
        counts = count_runs(verifier, monkeypatch)
        for completion in completions:
            verifier.begin(SUM, completion)
        rewards = asyncio.run(verifier([""] * 3, completions, problem=[SUM] * 3))
        assert rewards == [1.0, 0.0, 1.0]
        assert counts[extract_code(completions[0])] == 2
        asyncio.run(verifier([""] * 3, completions, problem=[SUM] * 3))
        assert counts[extract_code(completions[0])] == (2 if cache_size else 4)


def test_a_completion_without_code_has_nothing_to_begin(verifier: CodeVerifier) -> None:
    verifier.begin(SUM, "I give up.")
    assert asyncio.run(verifier([""], ["I give up."], problem=[SUM])) == [0.0]


def test_the_reward_call_lets_other_coroutines_run(verifier: CodeVerifier) -> None:
    async def both() -> list[str]:
        order = []

        async def verify() -> None:
            program = f"import time; time.sleep(0.3)\n{RIGHT}"
            await verifier(["p"], [fenced(program)], [SUM])
            order.append("verified")

        async def other() -> None:
            await asyncio.sleep(0.01)
            order.append("other")

        await asyncio.gather(verify(), other())
        return order

    assert asyncio.run(both()) == ["other", "verified"]


@pytest.mark.parametrize(
    ("status", "reward"),
    [(status, float(status is Status.PASS)) for status in Status if status != "infrastructure"],
)
def test_only_a_pass_is_rewarded_and_trouble_of_ours_has_no_reward(
    status: Status, reward: float
) -> None:
    assert Verdict(status, 1, 2).reward == reward
    assert Verdict(status, 1, 2).passed == (status == "pass")
    assert Verdict(Status.INFRASTRUCTURE, 1, 2).reward is None


# Bad arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers is 0; it must be a whole number of 1 or more"),
        ({"workers": 2.0}, "workers is 2.0; it must be a whole number of 1 or more"),
        ({"workers": True}, "workers is True"),
        ({"time_limit": 0}, "time_limit is 0; it must be a finite number above 0"),
        ({"time_limit": "5"}, "time_limit is '5'"),
        ({"time_limit": float("nan")}, "time_limit is nan"),
        ({"time_limit": float("inf")}, "time_limit is inf"),
        ({"memory_limit": 0}, "memory_limit is 0; it must be a whole number of 1 or more"),
        ({"output_limit": 0.5}, "output_limit is 0.5"),
        ({"cache_size": -1}, "cache_size is -1; it must be a whole number of 0 or more"),
        ({"compare": "fuzzy"}, r"compare is 'fuzzy'; it must be one of \('lcb', 'codecontests',"),
    ],
)
def test_an_argument_out_of_range_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CodeVerifier(**arguments)


def test_lists_of_different_lengths_are_refused(verifier: CodeVerifier) -> None:
    with pytest.raises(ValueError, match="problems has 2 items and programs 1"):
        verifier.verify_many([SUM, SUM], [RIGHT])
    with pytest.raises(ValueError, match="problems has 1 items and completions 2"):
        verifier.verify_completions([SUM], ["a", "b"])


def test_what_is_no_problem_and_what_is_no_program_is_refused(verifier: CodeVerifier) -> None:
    with pytest.raises(ValueError, match="problem is 'sum'; it must be a Problem"):
        verifier.verify("sum", RIGHT)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="program for problem 'sum' is None; it must be text"):
        verifier.verify_many([SUM], [None])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("given", "expected", "message"),
    [
        ("1\nx", "1", r"problem 'f', tests\[1\]: field 'input' is 'x'; it must be JSON"),
        ("1 2", "1", r"tests\[1\]: field 'input' is '1 2'"),
        ("1", "", r"tests\[1\]: field 'output' is ''"),
        ("1", "[" * 100_000, r"tests\[1\]: field 'output' is '\[\[\["),
    ],
)
def test_a_function_test_that_is_not_json_is_refused(
    verifier: CodeVerifier, given: str, expected: str, message: str
) -> None:
    tests = (TestCase("1", "1"), TestCase(given, expected))
    with pytest.raises(ProblemError, match=message):
        verifier.verify(Problem("f", "", tests, "function", "f"), "def f(x): return x")


def test_tokens_may_be_numbers_within_a_tolerance() -> None:
    problem = Problem("sum", "Sum.", (TestCase("", "0.30000 1000000 3\n"),))
    with CodeVerifier(workers=1, compare="tokens", tolerance=1e-3) as verifier:
        assert verifier.verify(problem, "print(0.1 + 0.2, 1000500.0, 3)").passed
        assert not verifier.verify(problem, "print(0.302, 1000000, 3)").passed
        assert not verifier.verify(problem, "print(0.3, 1000500, 3)").passed  # whole numbers
    with pytest.raises(ValueError, match=r"tolerance is 0\.1; it goes with compare='tokens'"):
        CodeVerifier(tolerance=0.1)


def test_a_checker_decides_where_it_has_something_to_say() -> None:
    def divides(problem: Problem, test: TestCase, output: str) -> bool | None:
        if "any divisor" not in problem.metadata:
            return None
        return int(test.input) % int(output) == 0

    tests = (TestCase("12\n", "2\n"), TestCase("35\n", "5\n"))
    several = Problem("a", "Print a divisor.", tests, metadata={"any divisor": True})
    one = Problem("b", "Print the smallest prime divisor.", tests)
    seven_or_three = "n = int(input())\nprint(7 if n % 7 == 0 else 3)"
    with CodeVerifier(workers=1, checker=divides) as verifier:
        assert verifier.verify(several, seven_or_three).passed
        assert not verifier.verify(several, "input()\nprint(5)").passed
        assert not verifier.verify(one, seven_or_three).passed


def test_what_a_checker_raises_is_passed_on() -> None:
    problem = Problem("a", "Print 1.", (TestCase("", "1\n"),))
    with CodeVerifier(workers=1, checker=lambda *_: 1 / 0) as verifier:
        with pytest.raises(ZeroDivisionError):
            verifier.verify(problem, "print(1)")
        with pytest.raises(ZeroDivisionError):
            verifier.verify_many([problem], ["print(1)"])
    with (
        CodeVerifier(workers=1, checker=lambda *_: "yes") as verifier,
        pytest.raises(TypeError, match="checker gave 'yes'"),
    ):
        verifier.verify(problem, "print(1)")


def test_the_prelude_of_livecodebench_provides_its_names_for_each_test() -> None:
    tests = (TestCase("1 2 2\n", "2 50000\n"), TestCase("3 3\n", "1 50000\n"))
    problem = Problem("a", "Count.", tests)
    program = "print(len(Counter(stdin.read().split())), sys.getrecursionlimit())"
    with CodeVerifier(workers=1, prelude="lcb") as verifier:
        verdict = verifier.verify(problem, program)
        assert verdict.passed, verdict
        own = "from __future__ import annotations\n\ndef comb(): return 2\nraise ValueError(comb())"
        assert "ValueError: 2 (line 4)" in verifier.verify(problem, own).message
    with CodeVerifier(workers=1) as verifier:
        assert not verifier.verify(problem, program).passed
    with pytest.raises(ValueError, match=r"prelude is 'apps'.*'lcb'"):
        CodeVerifier(prelude="apps")


def test_streams_of_the_prelude_are_those_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem("a", "Sum.", (TestCase("1\n2\n", "1\n2\n3\n"),) * 3)
    program = (
        "import sys\nassert stdin is sys.stdin and stderr is sys.stderr\n"
        "a, b = int(input()), int(stdin.readline())\n"
        "print(a)\nstdout.write(f'{b}\\n')\nprint(a + b)"
    )
    with CodeVerifier(workers=1, prelude="lcb") as verifier:
        counts = count_runs(verifier, monkeypatch)
        assert verifier.verify(problem, program).passed
    assert counts[program] == 3


LONG = Problem("long", "", tuple(TestCase(f"{n}", f"{n}") for n in range(40)))
LATE = "n = int(input())\nprint(n if n != 33 else 0)"


def test_tests_that_failed_others_come_first_where_only_a_pass_counts() -> None:
    with CodeVerifier(workers=1) as verifier:
        first, second = (
            verifier.verify_many([LONG], [f"{LATE}  # {n}"], failed_first=True)[0] for n in range(2)
        )
        assert (first.first_failed, first.tests_passed) == (33, 33)
        assert (second.first_failed, second.tests_passed) == (33, 0)
        assert verifier.verify_many([LONG], ["print(input())"], failed_first=True)[0].passed


def test_rewards_come_from_the_tests_that_failed_others(monkeypatch: pytest.MonkeyPatch) -> None:
    with CodeVerifier(workers=1) as verifier:
        counts = count_runs(verifier, monkeypatch)
        for n in range(2):
            answers = [f"```python\n{LATE}  # {n}\n```"]
            assert asyncio.run(verifier([None], answers, problem=[LONG])) == [0.0]
    assert [*counts.values()] == [35, 1]  # the first was confirmed in a fresh process


def test_a_verdict_that_was_not_hurried_does_not_depend_on_what_ran_before() -> None:
    early = "n = int(input())\nprint(n if n not in (5, 33) else 0)"
    with CodeVerifier(workers=1) as verifier:
        verifier.verify_many([LONG] * 2, [LATE, early], failed_first=True)
        assert verifier.verify(LONG, early).first_failed == 5


def test_all_tests_can_be_asked_for() -> None:
    program = (
        "n = int(input())\n"
        "if n == 2: 1 / 0\nif n == 4: import os; os.kill(os.getpid(), 9)\n"
        "if n == 6:\n  while True: pass\nprint(n * (n != 5))"
    )
    problem = Problem("long", "", LONG.tests[:8])
    expected = ["pass", "pass", "runtime_error", "pass", "runtime_error", "wrong_answer"]
    for fresh in (False, True):
        with CodeVerifier(time_limit=0.3, all_tests=True, fresh_process=fresh) as verifier:
            verdict = verifier.verify(problem, program)
            assert verdict.test_statuses == (*expected, "time_limit", "pass")
            assert (verdict.status, verdict.first_failed, verdict.tests_passed) == (
                Status.RUNTIME_ERROR,
                2,
                4,
            )
            assert verifier.verify(problem, "print(input())").test_statuses == ("pass",) * 8
            assert verifier.verify(problem, "(").test_statuses == ("compile_error",) * 8


def test_an_empty_program_is_no_code_even_where_nothing_is_to_be_printed() -> None:
    silent = Problem("silent", "", (TestCase("", ""),))
    with CodeVerifier() as verifier:
        assert verifier.verify(silent, " \n").status is Status.NO_CODE
        assert verifier.verify(silent, "pass").passed
