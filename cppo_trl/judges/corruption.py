"""Valid tuples made invalid in known ways: sure negatives for the training of a judge.

Each operator takes what METHOD's judge has to reject (arXiv 2605.27000, stage 2) and makes one of
it: a strategy that is dropped, repeated, repeated in other words, replaced by filler or by another
problem's; an answer or code that is given away; one workflow split over all labels.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cppo_trl.problems import Problem

_FILLER = (
    "Think about the problem carefully and choose the best approach.",
    "Use an efficient algorithm with suitable data structures and handle all edge cases.",
    "Analyse the constraints, then implement a solution that passes all tests.",
    "Break the problem down into smaller parts and solve each of them.",
    "Apply dynamic programming, greedy or brute force, whichever fits.",
    "Optimise the straightforward solution until it is fast enough.",
)
_REWORDINGS = (
    "{0}, put differently: the same as before.",
    "As an alternative, {0}.",
    "Another way to see it: {0}.",
    "Once more, but stated in other words, {0}.",
    "Equivalently, {0}.",
)
_LEAKS = ("The answer is {0}.", "Simply print {0}.", "The output is always {0}.")
_CODE = (
    "n = int(input()); print(n)",
    "for i in range(n): total += a[i]",
    "def solve(n): return n",
    "import sys; data = sys.stdin.read()",
)
_STEPS = (
    "Read and parse the input.",
    "Set up the variables that the next steps need.",
    "{0}",
    "Go over the cases that are left.",
    "Print the result of the step before.",
)
_LONGEST_LEAK = 40  # characters of an output that is given away


@dataclass(frozen=True)
class Corrupted:
    """A tuple that is surely invalid, and the operator that made it so."""

    strategies: tuple[str, ...]
    operator: str


Operator = Callable[[Problem, Sequence[str], Sequence[str], random.Random], tuple[str, ...] | None]


def corrupt(
    problem: Problem,
    strategies: Sequence[str],
    others: Sequence[str],
    seed: int | str = 0,
    operators: Sequence[str] | None = None,
) -> list[Corrupted]:
    """Every way of making a valid tuple invalid that applies to it, one tuple for each.

    Args:
        problem: what the strategies are for.
        strategies: a valid tuple, K of 2 or more.
        others: strategies for other problems; without any, none can be swapped in.
        seed: of what is drawn; the same arguments give the same tuples.
        operators: names in `OPERATORS`; None for all.

    Raises:
        ValueError: fewer than 2 strategies.
    """
    if len(strategies) < 2:
        raise ValueError(f"strategies has {len(strategies)} entries; it must have 2 or more")
    found = []
    for name in operators or OPERATORS:
        rng = random.Random(f"{seed} {name} {problem.id}")
        changed = OPERATORS[name](problem, strategies, others, rng)
        if changed is not None:
            found.append(Corrupted(changed, name))
    return found


def _dropped(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    gone = rng.randrange(len(strategies))
    return tuple(text for place, text in enumerate(strategies) if place != gone)


def _duplicated(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    kept, place = rng.sample(range(len(strategies)), 2)
    return _with(strategies, place, strategies[kept])


def _reworded(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    kept, place = rng.sample(range(len(strategies)), 2)
    plain = strategies[kept].strip().rstrip(".")
    return _with(strategies, place, rng.choice(_REWORDINGS).format(plain[:1].lower() + plain[1:]))


def _filler(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    return _with(strategies, rng.randrange(len(strategies)), rng.choice(_FILLER))


def _leaked_answer(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    short = [t.output.strip() for t in problem.tests if 0 < len(t.output.strip()) <= _LONGEST_LEAK]
    if not short or problem.io_mode == "assertions":  # whose outputs are code
        return None
    answer = " ".join(rng.choice(short).split())
    return _appended(strategies, rng.choice(_LEAKS).format(answer), rng)


def _leaked_code(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    return _appended(strategies, f"```python\n{rng.choice(_CODE)}\n```", rng)


def _workflow(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    core = strategies[rng.randrange(len(strategies))]
    parts = [part for part in re.split(r"(?<=[.;,])\s+", core) if part]
    steps = [_STEPS[0], *parts, *_STEPS[3:]]
    while len(steps) < len(strategies):
        steps.insert(1, _STEPS[1])
    middle = steps[1:-1]
    kept = [steps[0], *middle[: len(strategies) - 2], steps[-1]]
    return tuple(f"Step {number}: {text}" for number, text in enumerate(kept, start=1))


def _swapped(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    foreign = [text for text in dict.fromkeys(others) if text not in strategies]
    if len(foreign) < len(strategies):
        return None
    return tuple(rng.sample(foreign, len(strategies)))


def _mixed(
    problem: Problem, strategies: Sequence[str], others: Sequence[str], rng: random.Random
) -> tuple[str, ...] | None:
    foreign = [text for text in dict.fromkeys(others) if text not in strategies]
    if not foreign:
        return None
    return _with(strategies, rng.randrange(len(strategies)), rng.choice(foreign))


def _with(strategies: Sequence[str], place: int, text: str) -> tuple[str, ...]:
    return (*strategies[:place], text, *strategies[place + 1 :])


def _appended(strategies: Sequence[str], text: str, rng: random.Random) -> tuple[str, ...]:
    place = rng.randrange(len(strategies))
    return _with(strategies, place, f"{strategies[place].rstrip()} {text}")


OPERATORS: Mapping[str, Operator] = {
    "dropped": _dropped,
    "duplicated": _duplicated,
    "reworded": _reworded,
    "filler": _filler,
    "leaked_answer": _leaked_answer,
    "leaked_code": _leaked_code,
    "workflow": _workflow,
    "swapped": _swapped,
    "mixed": _mixed,
}
FOREIGN = ("swapped", "mixed")  # the operators that swap in the strategies of other problems
