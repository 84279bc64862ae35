"""Batches for a backend that works on a stream of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set

from .generator import Completion, Sampling


class Streams(ABC):
    """What every `StreamingGenerator` does alike.

    A backend begins a prompt in `submit` and gives what is finished next in `_next`.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._kept: dict[int, Completion] = {}

    @abstractmethod
    def submit(self, prompt_ids: list[int], adapter: str, sampling: Sampling) -> int:
        """Begins to continue a prompt, and returns the ticket that `finished` names it by."""

    @abstractmethod
    def _next(self, seconds: float | None) -> dict[int, Completion]:
        """Waits for at least one of the open prompts, though not much longer than `seconds`, and
        returns all that are finished then.
        """

    @abstractmethod
    def _give_up(self, tickets: Set[int]) -> None:
        """Works on these open prompts no more."""

    def finished(self, seconds: float | None = None) -> list[tuple[int, Completion]]:
        """The completions, by ticket, that were finished since the last call.

        Waits for at least one while any prompt is open, though not much longer than `seconds`; is
        empty when none is open.
        """
        if self._open and not self._kept:
            self._wait(seconds)
        finished, self._kept = self._kept, {}
        return list(finished.items())

    def cancel(self) -> None:
        """Gives up all prompts that are open, and forgets the completions of others."""
        self._give_up(self._open)
        self._open, self._kept = set(), {}

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        """Continues each prompt (token ids) once, as `adapter`, in the order of the prompts."""
        tickets = [self.submit(prompt_ids, adapter, sampling) for prompt_ids in prompts]
        while not self._open.isdisjoint(tickets):
            self._wait()
        return [self._kept.pop(ticket) for ticket in tickets]

    def _wait(self, seconds: float | None = None) -> None:
        finished = self._next(seconds)
        self._open -= finished.keys()
        self._kept |= finished
