"""A batch of plans and attempts, in phases and as a stream: the same rollouts, with fewer waits."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
import torch

from cppo_trl import RuleJudge
from cppo_trl.gate import PlanGate
from cppo_trl.generation import Sampling, Speaker
from cppo_trl.judges import Judge, Judgement
from cppo_trl.prompts import Prompts
from cppo_trl.roll_out import roll_out
from cppo_trl.rollouts import RolloutPolicy
from cppo_trl.scoring import RolloutScorer
from scripted_rollouts import (
    PLAN_TEMPLATE,
    SOLVE_TEMPLATE,
    ScriptedGenerator,
    ScriptedStream,
    judge,
    scripted_problems,
    scripted_trainer,
    verifier,
)
from tiny_models import make_tokenizer

SCRIPT = (
    ("pass: pass/fail fail/fail", "fail: pass/pass fail/pass", "broken"),
    ("lost: fail/fail pass/pass", "pass: pass/pass~ pass/fail", "lost~: pass/pass pass/pass"),
)
SHORT = tuple(tuple(t.replace("/fail", "").replace("/pass", "") for t in m) for m in SCRIPT)
PROBLEMS = [problem for problem in scripted_problems(2) for _ in range(3)]
TOKENIZER = make_tokenizer()


class WordJudge(Judge):
    """Says the word that the strategies begin with, and counts how often it is asked."""

    def __init__(self, beside: bool = False):
        self.beside = beside
        self.asked: list[int] = []

    @property
    def may_run_beside_a_rollout(self) -> bool:
        return self.beside

    def judge_many(self, tuples):
        self.asked.append(len(tuples))
        words = [item.strategies[0].split()[0] for item in tuples]
        known = {"pass": Judgement(True), "fail": Judgement(False, "said so")}
        return [known.get(word, Judgement(None, "lost")) for word in words]


def policy_of(generator) -> RolloutPolicy:
    prompts = Prompts(PLAN_TEMPLATE, SOLVE_TEMPLATE)
    return RolloutPolicy(Speaker(generator, TOKENIZER), prompts, 2, Sampling(64), Sampling(64))


def backend(streams: bool, seed: int = 0):
    generator = ScriptedGenerator(SCRIPT, TOKENIZER)
    return ScriptedStream(generator, seed) if streams else generator


def gate_of(ask, lets_through="parsed", **options) -> PlanGate:
    scorer = RolloutScorer(ask, verifier, 2, log_extra=lambda *_: None)

    def asked(places, rollouts):
        return scorer.judge([{}] * len(places), rollouts, places)

    return PlanGate(asked, len(PROBLEMS), lets_through, **options)


def told(rollouts):
    """All that a rollout says, whatever the order of the M tuples of a problem."""
    return Counter(
        (r.problem.id, r.plan.text, r.strategies, tuple(turn.text for turn in r.attempts))
        for r in rollouts
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lets_through", ["parsed", "not rejected", "none"])
@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_a_stream_gives_the_rollouts_and_verdicts_of_phases(
    seed, lets_through, pieces, background
) -> None:
    found = []
    for streams in (False, True):
        options = {"in_pieces": pieces, "in_background": background}
        with gate_of(judge, lets_through, **options) as gate:
            rollouts = roll_out(policy_of(backend(streams, seed)), PROBLEMS, 2, gate)
            verdicts = gate.verdicts().nan_to_num(nan=9.0).tolist()
        plans = [rollout.plan.text for rollout in rollouts]
        found.append((told(rollouts), sorted(zip(plans, verdicts, strict=True))))
    assert found[0] == found[1]


def test_attempts_begin_while_other_plans_are_written() -> None:
    generator = backend(streams=True)
    with gate_of(judge) as gate:
        roll_out(policy_of(generator), PROBLEMS, 2, gate)
    first_attempt = generator.events.index(("submit", "solver"))
    assert ("finish", "planner") in generator.events[first_attempt:]


def test_attempts_wait_for_the_verdict_on_their_own_plan_only() -> None:
    generator, asked = backend(streams=True), WordJudge()
    with gate_of(asked, "not rejected", in_pieces=True) as gate:
        roll_out(policy_of(generator), PROBLEMS, 2, gate)
    first_attempt = generator.events.index(("submit", "solver"))
    assert ("finish", "planner") in generator.events[first_attempt:]
    assert sum(asked.asked) == 4  # of six, one is broken and one is cut
    assert len(asked.asked) > 1


@pytest.mark.parametrize("lets_through", ["parsed", "not rejected"])
def test_a_function_of_the_users_is_asked_once_about_all_plans(lets_through) -> None:
    calls = []

    def counting(completions, **columns):
        calls.append((len(completions), threading.current_thread()))
        return judge(completions, **columns)

    with gate_of(counting, lets_through) as gate:
        roll_out(policy_of(backend(streams=True)), PROBLEMS, 2, gate)
        gate.verdicts()
    assert calls == [(4, threading.current_thread())]


def test_a_judge_that_takes_long_keeps_no_attempt_waiting() -> None:
    solved = threading.Event()

    def slow(**columns):
        assert solved.wait(60), "the attempts waited for the judge"
        return judge(**columns)

    generator = backend(streams=True)
    with gate_of(slow, in_pieces=True, in_background=True) as gate:
        rollouts = roll_out(policy_of(generator), PROBLEMS, 2, gate)
        solved.set()
        assert gate.verdicts().isnan().sum() == 1
    assert sum(len(rollout.attempts) for rollout in rollouts) == 4 * 2 * 2


def test_plans_that_come_while_the_judge_is_busy_are_judged_together() -> None:
    busy, asked = threading.Event(), []

    def slow(completions, **columns):
        asked.append(len(completions))
        assert busy.wait(60)
        return judge(completions, **columns)

    with gate_of(slow, in_pieces=True, in_background=True) as gate:
        roll_out(policy_of(backend(streams=True)), PROBLEMS, 2, gate)
        busy.set()
        gate.verdicts()
    assert len(asked) == 2
    assert sum(asked) == 4


@pytest.mark.parametrize("background", [False, True])
def test_trouble_of_the_judge_ends_a_rollout_and_leaves_nothing_open(background) -> None:
    def broken(**_):
        raise OSError("the judge is gone")

    generator = backend(streams=True)
    options = {"in_pieces": True, "in_background": background}
    with gate_of(broken, "not rejected", **options) as gate:  # noqa: SIM117
        with pytest.raises(OSError, match="the judge is gone"):
            roll_out(policy_of(generator), PROBLEMS, 2, gate)
    assert generator.finished() == []


@pytest.mark.parametrize("streams", [False, True])
def test_each_attempt_is_told_of_once_when_it_is_finished(streams) -> None:
    told_of = []
    with gate_of(judge) as gate:
        rollouts = roll_out(
            policy_of(backend(streams)),
            PROBLEMS,
            2,
            gate,
            finished=lambda rollout, turn: told_of.append((rollout.problem.id, turn.text)),
        )
    turns = [(r.problem.id, turn.text) for r in rollouts for turn in r.attempts]
    assert Counter(told_of) == Counter(turns)


def test_an_attempt_is_told_of_before_the_next_is_finished() -> None:
    generator = backend(streams=True)
    finished = []
    with gate_of(judge) as gate:
        roll_out(
            policy_of(generator),
            PROBLEMS,
            2,
            gate,
            finished=lambda *_: finished.append(generator.events.count(("finish", "solver"))),
        )
    assert finished == list(range(1, 17))


def history(trainer) -> list[dict[str, float]]:
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    return [
        {name: v for name, v in log.items() if "second" not in name and name != "step_time"}
        for log in logs
    ]


@pytest.mark.parametrize("solve_invalid", [True, False])
@pytest.mark.parametrize(
    "make_judge", [lambda: judge, WordJudge, lambda: WordJudge(True)], ids=["function", "own", "by"]
)
def test_a_training_on_a_stream_is_the_training_on_phases(
    qwen3_dir, tmp_path, solve_invalid, make_judge
) -> None:
    script = tuple(tuple(t for t in tuples if t != "broken")[:2] for tuples in SHORT)
    found, tables = [], []
    for streams in (False, True):
        asked = make_judge()
        trainer = scripted_trainer(
            qwen3_dir,
            script,
            tmp_path / str(streams),
            streams=streams,
            functions=[asked, verifier],
            solve_invalid=solve_invalid,
            per_device_train_batch_size=4,
            max_steps=2,
            learning_rate=1e-3,
        )
        found.append(history(trainer))
        extra = trainer._logs["extra"]
        assert set(map(len, extra.values())) == {len(trainer._logs["prompt"])}
        columns = [trainer._logs["completion"], *(extra[name] for name in sorted(extra))]
        rows = zip(*columns, strict=True)
        tables.append((sorted(extra), Counter(map(repr, rows))))
    for phases, stream in zip(*found, strict=True):
        assert stream == pytest.approx(phases, rel=1e-4, abs=1e-6, nan_ok=True)
    assert tables[0] == tables[1]


def test_rules_may_be_asked_beside_a_rollout_and_models_may_not() -> None:
    assert RuleJudge().may_run_beside_a_rollout
    assert not WordJudge().may_run_beside_a_rollout


def test_the_gate_keeps_unknown_verdicts_unknown() -> None:
    with gate_of(judge, "not rejected") as gate:
        rollouts = roll_out(policy_of(backend(streams=False)), PROBLEMS, 2, gate)
        assert torch.isnan(gate.verdicts()).tolist() == [False] * 3 + [True, False, False]
    assert rollouts[3].attempts  # the judge's silence is no rejection


@pytest.mark.parametrize("streams", [False, True])
def test_a_verifier_that_can_begin_is_told_of_attempts_before_it_is_asked(
    qwen3_dir, tmp_path, streams
) -> None:
    begun, late = [], []

    def asked(completions, **columns):
        texts = [completion[0]["content"] for completion in completions]
        late.extend(text for text in texts if text not in begun)
        return verifier(completions, **columns)

    asked.begin = lambda problem, text: begun.append(text)
    trainer = scripted_trainer(
        qwen3_dir,
        (("pass: pass fail", "pass: fail fail"),),
        tmp_path,
        streams=streams,
        functions=[judge, asked],
        per_device_train_batch_size=2,
        max_steps=1,
    )
    trainer.train()
    assert len(begun) == 4
    assert late == []
