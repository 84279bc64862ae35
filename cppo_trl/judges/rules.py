"""A judge made of rules: no model, no training, the same verdict every time.

It finds what can be told from the text (a blank, repeated or over-long strategy, code, a leaked
answer) and leaves the rest to the problem-specific check that it takes. What it cannot see: two
wordings of one idea, a workflow cut in steps, a fluent strategy for another problem.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ..plans import count_labels, normalise_strategy
from ..problems import Problem
from .judge import Judge, StrategyTuple
from .judgement import Judgement

Check = Callable[[Problem, tuple[str, ...]], str | None]

# A formula such as `f(n) = f(n-1) + f(n-2)` is a good hook into a problem, so a lone assignment is
# no code; one that ends in a semicolon, or follows another, is.
_CODE = re.compile(
    r"""```|~~~
    |\#include\b
    |^\s*import\s+\w[\w.]*\s*(?:$|[;,]|\bas\b)
    |\bimport\s+(?:sys|os|re|math|heapq|bisect|random|string|numpy|itertools|functools
                  |collections|typing)\b
    |\bfrom\s+\w[\w.]*\s+import\s
    |\b(?:async\s+)?def\s+\w+\s*\(
    |\bclass\s+\w+\s*(?:\([\w\s,.]*\))?:\s*(?:$|def\b|pass\b)
    |\blambda\s+\w+(?:\s*,\s*\w+)*\s*:
    |\bfor\s+\w+(?:\s*,\s*\w+)*\s+in\s+(?:range|enumerate|zip)\s*\(
    |^\s*return\s+[\w.]+\s*(?:$|;|[-+*/%(\[])
    |\bprint\s*\(
    |\binput\s*\(\s*\)
    |\bsys\.(?:stdin|stdout)\b
    |[\w\])]\s*[-+*/%|&^]?=(?!=)[^;=]*;\s*(?:$|[\w.\[\]]+\s*[-+*/%|&^]?=(?!=))
    """,
    re.VERBOSE | re.MULTILINE,
)
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_ANSWER = re.compile(
    r"""\b(?:(?:answer|output|result)s?\s*(?:is|are|=|:)
         |(?:print|output|return|answer)s?\b(?!\s*(?:is|are|=|:)))
        \s*(?:(?:always|simply|just|exactly)\s+)?
        (?=(?P<value>\S.*))""",  # looked at, not consumed: the next match may lie within it
    re.VERBOSE,
)
_CONDITION = re.compile(
    r"\b(?:if|when|whenever|unless|otherwise|else|for|once|until|where|while)\b"
)
_SENTENCE_END = re.compile(r"[.!?;]+(?:\s+|$)")
_SHORTEST_LEAK = 12  # characters of a test's output that do not turn up in a strategy by chance


class RuleJudge(Judge):
    """Accepts a plan that breaks none of the rules, and says which one a rejected plan breaks.

    Rejected are: fewer than 2 or more than 26 strategies; a plan with more labels than strategies
    (repeated, or beyond the K-th); a blank strategy; one of more than
    `max_words` words; two strategies that are equal once case, punctuation, emphasis and white
    space are set aside; code; a strategy that tells the answer (the whole output of a test, or a
    bare number, as the answer without any condition).

    Args:
        max_words: the longest strategy, in words (arXiv 2605.27000 asks for at most 45).
        check: a rule for the problem at hand, asked last: takes the problem and its strategies,
            gives the reason for a rejection or None. What it raises is passed on.

    Raises:
        ValueError: `max_words` is less than 1.
    """

    __name__ = "rule_judge"

    def __init__(self, max_words: int = 45, check: Check | None = None) -> None:
        if max_words < 1:
            raise ValueError(f"max_words is {max_words!r}; it must be 1 or more")
        self.max_words = max_words
        self.check = check

    @property
    def may_run_beside_a_rollout(self) -> bool:
        """See `Judge`."""
        return True

    def judge_many(self, tuples: Sequence[StrategyTuple]) -> list[Judgement]:
        """The verdict on each tuple, with the first rule that it breaks."""
        return [self._judge(item) for item in tuples]

    def fault(self, problem: Problem, strategy: str) -> str | None:
        """What is wrong with one strategy by itself ("contains code"), or None; `check` is not
        asked.
        """
        if not normalise_strategy(strategy):
            return "is blank"
        words = len(strategy.split())
        if words > self.max_words:
            return f"has {words} words; at most {self.max_words} are allowed"
        if _CODE.search(strategy):
            return "contains code"
        if _leaks_answer(problem, strategy):
            return "tells the answer"
        return None

    def _judge(self, item: StrategyTuple) -> Judgement:
        reason = self._broken_rule(item.problem, item.strategies, item.plan)
        if reason is None and self.check is not None:
            reason = self.check(item.problem, item.strategies)
            if not isinstance(reason, (str, type(None))):
                raise TypeError(f"check gave {reason!r}; it must give a reason (str) or None")
        return Judgement(True) if reason is None else Judgement(False, reason)

    def _broken_rule(
        self, problem: Problem, strategies: tuple[str, ...], plan: str | None
    ) -> str | None:
        k = len(strategies)
        if not 2 <= k <= 26:
            return f"{k} strategies; a plan has from 2 to 26"
        if plan is not None and (labels := count_labels(plan, k)) != k:
            return f"{labels} labels; a plan of {k} strategies has {k}"
        first: dict[str, int] = {}
        for number, strategy in enumerate(strategies, start=1):
            fault = self.fault(problem, strategy)
            if fault is not None:
                return f"strategy {number} {fault}"
            plain = normalise_strategy(strategy)
            if plain in first:
                return f"strategy {number} repeats strategy {first[plain]}"
            first[plain] = number
        return None


def _leaks_answer(problem: Problem, strategy: str) -> bool:
    plain = " ".join(strategy.casefold().split())
    for sentence in _SENTENCE_END.split(plain):
        if _CONDITION.search(sentence):
            continue
        for match in _ANSWER.finditer(sentence):
            value = match["value"].strip("\"'`*“”‘’ ")
            if _NUMBER.fullmatch(value) or value in _outputs(problem, at_most=len(value)):
                return True
    statement = " ".join(problem.statement.casefold().split())
    return any(
        len(output) >= _SHORTEST_LEAK and output in plain and output not in statement
        for output in _outputs(problem, at_most=len(plain))
    )


def _outputs(problem: Problem, at_most: int) -> set[str]:
    """The tests' outputs, of a length that can matter: hidden ones may hold megabytes."""
    return {
        " ".join(test.output.casefold().split()).strip('"')
        for test in problem.tests
        if len(test.output) <= 2 * at_most + 8
    }
