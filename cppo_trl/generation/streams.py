"""Batches for a backend that works on a stream of prompts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

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
    def _next(self) -> dict[int, Completion]:
        """Waits for at least one of the open prompts, and returns all that are finished then."""

    def finished(self) -> list[tuple[int, Completion]]:
        """The completions, by ticket, that were finished since the last call: waits for at least
        one while any prompt is open, and is empty when none is.
        """
        if self._open and not self._kept:
            self._wait()
        finished, self._kept = self._kept, {}
        return list(finished.items())

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        """Continues each prompt (token ids) once, as `adapter`, in the order of the prompts."""
        tickets = [self.submit(prompt_ids, adapter, sampling) for prompt_ids in prompts]
        while not self._open.isdisjoint(tickets):
            self._wait()
        return [self._kept.pop(ticket) for ticket in tickets]

    def _wait(self) -> None:
        finished = self._next()
        self._open -= finished.keys()
        self._kept |= finished
