"""Problems -> plans -> gate -> attempts, one batch at a time, with as few waits as possible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from .gate import PlanGate
from .generation import Completion, StreamingGenerator, Turn
from .problems import Problem
from .roles import PLANNER, SOLVER
from .rollouts import Rollout, RolloutPolicy

# Seconds after which a generator that is busy lets the gate have a look.
_MOMENT = 0.05

Finished = Callable[[Rollout, Turn], object]
Timed = Callable[[str], AbstractContextManager[None]]


def roll_out(
    policy: RolloutPolicy,
    problems: Sequence[Problem],
    attempts_per_strategy: int,
    gate: PlanGate,
    *,
    finished: Finished = lambda rollout, attempt: None,
    timed: Timed = lambda phase: nullcontext(),
) -> list[Rollout]:
    """Writes one plan for each entry of `problems`, and attempts the strategies of those that the
    gate lets through.

    A generator that takes prompts while it works on others begins with the attempts at a plan as
    soon as the plan is through. Other generators write all plans first.

    Args:
        policy: plans and solves.
        problems, attempts_per_strategy: as for `RolloutPolicy.plan` and `solve`.
        gate: is offered the plans by their places in `problems`.
        finished: is called with each attempt that is finished.
        timed: gives a context in which a phase ("planning", "judging" or "solving") goes on; where
            phases overlap, the first of them that is not over.
    """
    if isinstance(policy.speaker.generator, StreamingGenerator):
        return _Stream(policy, problems, attempts_per_strategy, gate, finished).run(timed)
    with timed("planning"):
        rollouts = policy.plan(problems)
    with timed("judging"):
        gate.offer(dict(enumerate(rollouts)))
        through = [rollouts[place] for place in gate.passed(wait=True)]
    with timed("solving"):
        policy.solve(through, attempts_per_strategy)
    for rollout in through:
        for attempt in rollout.attempts:
            finished(rollout, attempt)
    return rollouts


class _Stream:
    """The plans and attempts of a batch, all at once in a generator that streams."""

    def __init__(
        self,
        policy: RolloutPolicy,
        problems: Sequence[Problem],
        attempts_per_strategy: int,
        gate: PlanGate,
        finished: Finished,
    ):
        self._policy = policy
        self._problems = problems
        self._attempts_per_strategy = attempts_per_strategy
        self._gate = gate
        self._finished = finished
        self._generator: StreamingGenerator = policy.speaker.generator
        self._rollouts: dict[int, Rollout] = {}
        # What is open, by ticket: the plan of the tuple at a place, or its n-th attempt; and what
        # makes a turn of it.
        self._plans: dict[int, tuple[int, Callable[[Completion], Turn]]] = {}
        self._attempts: dict[int, tuple[int, int, Callable[[Completion], Turn]]] = {}

    def run(self, timed: Timed) -> list[Rollout]:
        try:
            with timed("planning"):
                messages = [self._policy.plan_messages(problem) for problem in self._problems]
                for place, (ticket, turn) in enumerate(self._policy.submit(PLANNER, messages)):
                    self._plans[ticket] = place, turn
            while self._plans or self._attempts:
                with timed("planning" if self._plans else "solving"):
                    self._take(self._generator.finished(_MOMENT))
                    self._begin_attempts()
                if not self._plans and not self._attempts:
                    with timed("judging"):  # all that is left waits for it
                        self._begin_attempts(wait=True)
        except BaseException:
            self._generator.cancel()
            raise
        return [self._rollouts[place] for place in range(len(self._problems))]

    def _take(self, completions: Sequence[tuple[int, Completion]]) -> None:
        written = {}
        for ticket, completion in completions:
            if ticket in self._plans:
                place, turn = self._plans.pop(ticket)
                written[place] = self._policy.read_plan(self._problems[place], turn(completion))
            else:
                place, n, turn = self._attempts.pop(ticket)
                rollout = self._rollouts[place]
                rollout.attempts[n] = turn(completion)
                self._finished(rollout, rollout.attempts[n])
        self._rollouts |= written
        self._gate.offer(written)

    def _begin_attempts(self, wait: bool = False) -> None:
        for place in self._gate.passed(wait):
            rollout = self._rollouts[place]
            messages = self._policy.solve_messages(rollout, self._attempts_per_strategy)
            rollout.attempts = [rollout.plan] * len(messages)  # all of them are replaced
            for n, (ticket, turn) in enumerate(self._policy.submit(SOLVER, messages)):
                self._attempts[ticket] = place, n, turn
