"""What every generation backend takes and gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True)
class Sampling:
    """How one role's tokens are drawn.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` None and `repetition_penalty` 1 switch
    a filter off.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float | None = None
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class Completion:
    """The tokens that one prompt was continued with.

    `token_ids` ends with the end-of-sequence token unless the completion is `truncated` (cut at the
    token limit). `logprobs` holds the sampling log-probability of each token, in nats, where the
    backend has them.
    """

    token_ids: list[int]
    truncated: bool
    logprobs: list[float] | None = None


class Generator(Protocol):
    """A backend that can speak as every role."""

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        """Continues each prompt (token ids) once, as `adapter`, in the order of the prompts."""
        ...


@runtime_checkable
class StreamingGenerator(Generator, Protocol):
    """A backend that takes more prompts while it works on others."""

    def submit(self, prompt_ids: list[int], adapter: str, sampling: Sampling) -> int:
        """Begins to continue a prompt, and returns the ticket that `finished` names it by."""
        ...

    def finished(self, seconds: float | None = None) -> list[tuple[int, Completion]]:
        """The completions, by ticket, that were finished since the last call.

        Waits for at least one while any prompt is open, though not much longer than `seconds`; is
        empty when none is open.
        """
        ...

    def cancel(self) -> None:
        """Gives up all prompts that are open."""
        ...
