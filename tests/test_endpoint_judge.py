"""A judge behind an endpoint: what it asks, and that its troubles are never a verdict."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from cppo_trl.judges import EndpointError, EndpointJudge, JudgeChain, RuleJudge, StrategyTuple
from cppo_trl.judges.endpoint import read_answer
from cppo_trl.problems import Problem, TestCase
from endpoint_stub import endpoint_stub, said

PROBLEM = Problem("sum", "Add two numbers.", (TestCase("1 2", "3"),))
PASS, FAIL = said('{"verdict": "pass"}'), said('{"verdict": "fail", "reason": "both add"}')
FAST = {"timeout": 5.0, "retries": 0}


def tuples(count):
    return [StrategyTuple(PROBLEM, (f"add them {n}", "count up")) for n in range(count)]


def judge(server, **settings):
    return EndpointJudge("m", server.url, **{**FAST, **settings})


def test_the_question_has_the_problem_and_the_plan():
    with endpoint_stub(lambda body, n: PASS) as server:
        judge(server, temperature=0.5, max_tokens=99).judge(PROBLEM, ("add", "count"))
    (request,) = server.requests
    (message,) = request["messages"]
    for text in ("Add two numbers.", "A: add\nB: count", "2 different strategies"):
        assert text in message["content"]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("m", 0.5, 99)


def test_verdicts_come_in_the_order_of_the_tuples():
    def answer(body, number):
        return FAIL if "add them 3" in body["messages"][0]["content"] else PASS

    with endpoint_stub(answer) as server:
        found = judge(server).judge_many(tuples(6))
    assert [item.valid for item in found] == [True, True, True, False, True, True]
    assert found[3].reason == "both add"


def test_no_more_questions_are_open_than_allowed():
    with endpoint_stub(lambda body, n: PASS) as server:
        judge(server, concurrency=3).judge_many(tuples(20))
    assert 1 < server.most_open <= 3


@pytest.mark.parametrize(
    ("text", "valid", "reason"),
    [
        ('{"verdict": "pass", "reason": "fine"}', True, ""),
        ('```json\n{"verdict": "Fail", "reason": "same\\nidea"}\n```', False, "same idea"),
        ('<think>{"verdict": "fail"} or so</think>{"verdict": "pass"}', True, ""),
        ('{"verdict": "fail"}', False, "no reason was given"),
        ('{"verdict": "pass", "reas', None, "no verdict in the answer"),
        ('{"verdict": "maybe"}', None, "no verdict in the answer"),
        ("pass", None, "no verdict in the answer"),
        ("", None, "no verdict in the answer"),
        ('["verdict"]', None, "no verdict"),
    ],
)
def test_an_answer_is_a_verdict_or_unknown(text, valid, reason):
    found = read_answer(text)
    assert found.valid is valid
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    "trouble",
    [
        (400, b"{}", {}),
        (500, b"", {}),
        (429, b"", {}),
        (503, b"{", {}),
        (200, b'{"choices": [{"mess', {}),
        (200, b"", {}),
        (200, b'{"choices": []}', {}),
        (200, b'{"choices": [{}]}', {}),
        (200, b'"hello"', {}),
        (200, b"[1]", {}),
        said("I cannot say."),
        said('{"verdict": "pa'),
    ],
    ids=[
        "too long",
        "500",
        "429",
        "503",
        "half",
        "empty",
        "no choice",
        "no message",
        "text",
        "list",
        "no verdict",
        "cut",
    ],
)
def test_trouble_is_unknown_and_asked_again_later(trouble, tmp_path):
    answers = [trouble] * 2
    with endpoint_stub(lambda body, n: answers[n] if n < len(answers) else PASS) as server:
        asked = judge(server, cache=tmp_path / "answers.db")
        first = asked.judge(PROBLEM, ("add", "count"))
        answers = []
        second = asked.judge(PROBLEM, ("add", "count"))
    assert (first.valid, first.reward) == (None, None)
    assert first.reason
    assert second.valid is True


def test_what_an_endpoint_says_of_a_bad_request_is_told():
    body = b'{"error": {"message": "use max_completion_tokens"}}'
    with endpoint_stub(lambda asked, number: (400, body, {})) as server:
        found = judge(server).judge(PROBLEM, ("add", "count"))
    assert found.valid is None
    assert "status 400" in found.reason
    assert "use max_completion_tokens" in found.reason


def test_a_busy_endpoint_is_asked_again():
    busy = (429, b"", {"Retry-After": "0.01"})
    with endpoint_stub(lambda body, n: busy if n < 2 else PASS) as server:
        assert judge(server, retries=2).judge(PROBLEM, ("add", "count")).valid is True
    assert len(server.requests) == 3


def test_an_endpoint_that_hangs_is_unknown():
    def hang(body, number):
        time.sleep(1)
        return PASS

    with endpoint_stub(hang) as server:
        found = judge(server, timeout=0.1).judge(PROBLEM, ("add", "count"))
    assert (found.valid, found.reason) == (None, "Request timed out.")


def test_an_endpoint_that_is_not_there_is_unknown():
    found = EndpointJudge("m", "http://127.0.0.1:9/v1", **FAST).judge(PROBLEM, ("add", "count"))
    assert (found.valid, found.reason) == (None, "Connection error.")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_endpoint_that_refuses_is_an_error_without_the_key(status):
    refusal = pytest.raises(EndpointError, match=f"'m' at http.*: status {status}")
    with (
        endpoint_stub(lambda body, n: (status, b'{"error": "no"}', {})) as server,
        refusal as error,
    ):
        judge(server, api_key="sk-secret").judge(PROBLEM, ("add", "count"))
    assert "sk-secret" not in str(error.value)
    assert server.keys == ["Bearer sk-secret"]


@pytest.fixture
def interruptible():
    """Python's own answer to an interrupt, which a process in the background has not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_stops_the_asking(interruptible):
    def hang(body, number):
        if number == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        return PASS

    with endpoint_stub(hang) as server, pytest.raises(KeyboardInterrupt):
        judge(server, concurrency=2).judge_many(tuples(20))
    assert len(server.requests) <= 2


def test_an_answer_is_asked_for_once_in_all_runs(tmp_path):
    with endpoint_stub(lambda body, n: FAIL) as server:
        for _ in range(2):
            found = judge(server, cache=tmp_path / "deep" / "answers.db").judge_many(tuples(3))
            assert [item.reason for item in found] == ["both add"] * 3
    assert len(server.requests) == 3


def test_equal_tuples_are_one_question():
    with endpoint_stub(lambda body, n: PASS) as server:
        found = judge(server).judge_many(tuples(1) * 5)
    assert [item.valid for item in found] == [True] * 5
    assert len(server.requests) == 1


def test_other_settings_are_other_questions(tmp_path):
    with endpoint_stub(lambda body, n: PASS) as server:
        for temperature in (0.0, 1.0):
            asked = judge(server, cache=tmp_path / "answers.db", temperature=temperature)
            asked.judge(PROBLEM, ("add", "count"))
    assert len(server.requests) == 2


def test_beyond_the_budget_all_is_unknown():
    with endpoint_stub(lambda body, n: PASS) as server:
        asked = judge(server, max_calls=2)
        found = asked.judge_many(tuples(5))
    assert len(server.requests) == 2
    assert sorted(str(item.valid) for item in found) == ["None"] * 3 + ["True"] * 2
    assert {item.reason for item in found if item.valid is None} == {
        "the budget of calls is used up"
    }
    assert asked.spent_tokens == 20


def test_it_judges_where_a_loop_runs_already():
    async def in_a_notebook(server):
        return judge(server).judge(PROBLEM, ("add", "count"))

    with endpoint_stub(lambda body, n: PASS) as server:
        assert asyncio.run(in_a_notebook(server)).valid is True


def test_as_a_reward_trouble_is_none():
    answers = [PASS, FAIL, (500, b"", {})]

    def answer(body, number):
        plan = body["messages"][0]["content"].rpartition("Plan:")[2]
        return answers[int(plan.split("add them ")[1][0])]

    with endpoint_stub(answer) as server:
        asked = judge(server)
        strategies = [item.strategies for item in tuples(3)]
        plans = [f"A: {first}\nB: {second}" for first, second in strategies]
        rewards = asked(
            prompts=[""] * 4,
            completions=[*plans, "no plan"],
            problem=[PROBLEM] * 4,
            strategies=[*strategies, None],
        )
    assert rewards == [1.0, 0.0, None, 0.0]


def test_rules_come_first_and_spare_the_endpoint():
    with endpoint_stub(lambda body, n: FAIL) as server:
        chain = JudgeChain(RuleJudge(), judge(server))
        found = chain.judge_many(
            [StrategyTuple(PROBLEM, ("same", "same")), StrategyTuple(PROBLEM, ("add", "count"))]
        )
    assert [item.reason for item in found] == ["strategy 2 repeats strategy 1", "both add"]
    assert len(server.requests) == 1


def test_what_one_judge_cannot_tell_stays_unknown_in_a_chain():
    with endpoint_stub(lambda body, n: (500, b"", {})) as server:
        chain = JudgeChain(judge(server), RuleJudge())
        assert chain.judge(PROBLEM, ("add", "count")).valid is None
    with pytest.raises(ValueError, match="judges is empty"):
        JudgeChain()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"concurrency": 0}, "concurrency is 0"),
        ({"timeout": 0}, "timeout is 0"),
        ({"retries": -1}, "retries is -1"),
        ({"max_calls": -1}, "max_calls is -1"),
        ({"template": "{plan}"}, "judge template lacks the required field {statement}"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, said):
    with pytest.raises(ValueError, match=said):
        EndpointJudge("m", "http://localhost/v1", **settings)


def test_a_file_that_holds_no_answers_is_named(tmp_path):
    (tmp_path / "answers.db").write_text("no database at all, but long enough to be one" * 20)
    with pytest.raises(OSError, match=r"answers\.db: no file of answers"):
        EndpointJudge("m", "http://localhost/v1", cache=tmp_path / "answers.db")
