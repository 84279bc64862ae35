"""What every judge is: a verdict on each of many tuples, and TRL's reward function made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cppo_trl.problems import Problem

from .judgement import Judgement

if TYPE_CHECKING:
    from peft import PeftModel


@dataclass(frozen=True)
class StrategyTuple:
    """K strategies for a problem; `plan` is the text that they were read from, if there is one."""

    problem: Problem
    strategies: tuple[str, ...]
    plan: str | None = None


class Judge(ABC):
    """Judges tuples of strategies, many at once; a TRL reward function as well.

    As one it gives 1.0 for a valid tuple, 0.0 for a rejected one, and None where it could not tell,
    which is never scored as a failure.
    """

    __name__ = "judge"  # TRL names metrics after the reward function

    @property
    def may_run_beside_a_rollout(self) -> bool:
        """Whether it may be asked from another thread while the training's models are at work: for
        judges that run no model here, and worth it for those that wait for an answer.
        """
        return False

    @abstractmethod
    def judge_many(self, tuples: Sequence[StrategyTuple]) -> list[Judgement]:
        """The verdict on each tuple, in their order."""

    def attach(self, model: PeftModel) -> None:  # noqa: B027 (most judges have no model)
        """Puts a judge that lives in the model that is trained there; others need not care."""

    def judge(
        self, problem: Problem, strategies: Sequence[str], plan: str | None = None
    ) -> Judgement:
        """The verdict on one tuple.

        Args:
            problem: what the strategies are for.
            strategies: the K strategies.
            plan: the text that they were read from; without it, labels are not counted.
        """
        return self.judge_many([StrategyTuple(problem, tuple(strategies), plan)])[0]

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        problem: Sequence[Problem],
        strategies: Sequence[Sequence[str] | None],
        log_extra: Callable[[str, list], None] | None = None,
        **kwargs: Any,
    ) -> list[float | None]:
        """TRL's reward call: one reward a row, from the columns `problem` and `strategies`.

        `strategies` is None for a plan that does not parse, which is rejected. The prompts and
        other columns are not looked at. The reasons of rejections go to the column "rejected" of
        the completions table.
        """
        rows = list(zip(problem, strategies, completions, strict=True))
        found = iter(
            self.judge_many(
                [
                    StrategyTuple(owner, tuple(own), _text(completion))
                    for owner, own, completion in rows
                    if own is not None
                ]
            )
        )
        judgements = [
            Judgement(False, "no plan") if own is None else next(found) for _, own, _ in rows
        ]
        if log_extra is not None:
            log_extra("rejected", [judgement.reason for judgement in judgements])
        return [judgement.reward for judgement in judgements]


class JudgeChain(Judge):
    """Several judges in a row: a tuple is valid when all of them say so.

    Each is asked about the tuples that those before it found valid only, so cheap ones come first.
    A tuple that one could not tell about stays unknown.

    Args:
        judges: one or more.

    Raises:
        ValueError: there are none.
    """

    __name__ = "judge_chain"

    def __init__(self, *judges: Judge):
        if not judges:
            raise ValueError("judges is empty; give one or more")
        self.judges = judges

    @property
    def may_run_beside_a_rollout(self) -> bool:
        """See `Judge`."""
        return all(judge.may_run_beside_a_rollout for judge in self.judges)

    def attach(self, model: PeftModel) -> None:
        """See `Judge`."""
        for judge in self.judges:
            judge.attach(model)

    def judge_many(self, tuples: Sequence[StrategyTuple]) -> list[Judgement]:
        """The verdict on each tuple, in their order; see `Judge`."""
        judgements = [Judgement(True)] * len(tuples)
        for judge in self.judges:
            left = [place for place, found in enumerate(judgements) if found.valid]
            answers = judge.judge_many([tuples[place] for place in left]) if left else []
            for place, answer in zip(left, answers, strict=True):
                judgements[place] = answer
        return judgements


def _text(completion: str | Sequence[dict[str, Any]]) -> str:
    """A completion in either of TRL's forms."""
    return completion if isinstance(completion, str) else completion[-1]["content"]
