"""Between plans and attempts: plans are judged as they come, and some of them are let through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Literal

import torch

from .rollouts import Rollout

# Which plans are attempted: all that parse, those that the judge does not reject, or none.
LetsThrough = Literal["parsed", "not rejected", "none"]


class PlanGate:
    """Has the plans of a batch judged while others are still being written or attempted.

    Use it as a context manager: its thread ends with it.

    Args:
        judge: gives J, as a tensor, of the tuples at some places in the batch.
        count: plans in the batch.
        lets_through: which of them are attempted.
        in_pieces: whether `judge` may be asked several times, about a part of the plans each time.
        in_background: whether it may be asked in another thread than this one.
    """

    def __init__(
        self,
        judge: Callable[[Sequence[int], Sequence[Rollout]], torch.Tensor],
        count: int,
        lets_through: LetsThrough = "parsed",
        *,
        in_pieces: bool = False,
        in_background: bool = False,
    ):
        self._judge = judge
        self._lets_through = lets_through
        self._in_pieces = in_pieces
        self._thread = ThreadPoolExecutor(1, "cppo-trl-judge") if in_background else None
        self._asked: tuple[dict[int, Rollout], Future[torch.Tensor]] | None = None
        self._unjudged: dict[int, Rollout] = {}
        self._unwritten = count
        self._through: list[int] = []
        self._verdicts = torch.full((count,), torch.nan)

    def offer(self, written: Mapping[int, Rollout]) -> None:
        """Takes plans that have been written, by their places in the batch."""
        self._unjudged |= written
        self._unwritten -= len(written)
        if self._lets_through == "parsed":
            self._let_through(written)
        self._ask_if_due()

    def passed(self, wait: bool = False) -> list[int]:
        """The places of the plans that may be attempted since the last call.

        Args:
            wait: for the judge, until it lets something through or has seen all plans so far.
        """
        gated = self._lets_through == "not rejected"
        self._ask_if_due()
        while gated and not self._through and self._due and (wait or self._thread is None):
            self._ask_and_wait()
        through, self._through = self._through, []
        return through

    def verdicts(self) -> torch.Tensor:
        """J of each tuple of the batch, (B,), once all of them are known."""
        while self._due:
            self._ask_and_wait()
        return self._verdicts

    def __enter__(self) -> PlanGate:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)

    @property
    def _due(self) -> bool:
        """Whether there is a verdict to ask or to wait for."""
        if self._asked is not None:
            return True
        return bool(self._unjudged) and (self._in_pieces or not self._unwritten)

    def _ask_if_due(self) -> None:
        """Keeps the thread busy: with all plans that came while it was, at once."""
        if self._thread is None:
            return
        if self._asked is not None and self._asked[1].done():
            self._wait()
        if self._asked is None and self._due:
            plans = self._next_plans()
            self._asked = plans, self._thread.submit(self._judge, list(plans), [*plans.values()])

    def _ask_and_wait(self) -> None:
        self._ask_if_due()
        if self._asked is not None:
            self._wait()
        else:
            plans = self._next_plans()
            self._take(plans, self._judge(list(plans), [*plans.values()]))

    def _wait(self) -> None:
        (plans, verdicts), self._asked = self._asked, None
        self._take(plans, verdicts.result())

    def _next_plans(self) -> dict[int, Rollout]:
        plans, self._unjudged = self._unjudged, {}
        return plans

    def _take(self, plans: Mapping[int, Rollout], verdicts: torch.Tensor) -> None:
        self._verdicts[list(plans)] = verdicts
        if self._lets_through == "not rejected":
            found = zip(plans.items(), verdicts.tolist(), strict=True)
            self._let_through({i: plan for (i, plan), v in found if v != 0})

    def _let_through(self, plans: Mapping[int, Rollout]) -> None:
        self._through += [i for i, plan in plans.items() if plan.strategies is not None]
