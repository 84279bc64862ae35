"""What a judge says about a plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Judgement:
    """A judge's verdict on a whole tuple of strategies.

    `valid` is None when the judge could not tell for reasons of its own, such as an endpoint that
    does not answer; such a plan is never scored as 0. `reason` says why a plan was rejected.
    """

    valid: bool | None
    reason: str = ""

    @property
    def reward(self) -> float | None:
        """1.0 for a valid plan, 0.0 for a rejected one, None when the judge could not tell."""
        return None if self.valid is None else float(self.valid)
