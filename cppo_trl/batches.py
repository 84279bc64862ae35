"""Rollouts and advantages -> rows -> one padded batch that mixes planner and solver rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from trl.trainer.utils import pad

from .generation import Turn
from .plan_tokens import token_advantages
from .roles import PLANNER, SOLVER
from .rollouts import Rollout
from .scores import Scores


@dataclass
class Row:
    """One sequence of the loss: the tokens of one plan or one attempt, with its advantage, which is
    one number for all of its tokens or one for each.

    `counts` is False for a placeholder, which stands in where a micro-batch has no sequence, or
    fewer than another rank's, and adds nothing to the loss.
    `old_logps`, `ref_logps` and `sampling_logps` (the generation backend's own) hold one
    log-probability for each completion token, in nats, where the loss needs them, and
    `sampling_ratio` what `sampling_correction.importance_ratio` makes of the first and the last.
    """

    role: str
    prompt_ids: list[int]
    completion_ids: list[int]
    advantage: float | list[float]
    counts: bool = True
    old_logps: torch.Tensor | None = None
    ref_logps: torch.Tensor | None = None
    sampling_logps: torch.Tensor | None = None
    sampling_ratio: torch.Tensor | None = None

    @classmethod
    def of(cls, role: str, turn: Turn, advantage: float | list[float]) -> Row:
        row = cls(role, turn.prompt_ids, turn.completion.token_ids, advantage)
        if turn.completion.logprobs is not None:
            row.sampling_logps = torch.tensor(turn.completion.logprobs)
        return row

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def has_advantage(self) -> bool:
        """Whether that of any token is not 0."""
        return any(self.token_advantages())

    def token_advantages(self) -> list[float]:
        """The advantage of each token."""
        if isinstance(self.advantage, list):
            return self.advantage
        return [self.advantage] * len(self.completion_ids)

    @classmethod
    def placeholder(cls, role: str) -> Row:
        """One token that is masked; its log-probabilities keep every term of the loss finite."""
        return cls(
            role,
            prompt_ids=[0],
            completion_ids=[0],
            advantage=0.0,
            counts=False,
            old_logps=torch.zeros(1),
            ref_logps=torch.full((1,), -1e4),  # exp(ref - policy) must not overflow
            sampling_logps=torch.zeros(1),
            sampling_ratio=torch.ones(1),
        )


def tuple_rows(
    rollout: Rollout,
    planner_advantage: float | list[float],
    solver_advantages: Sequence[float],
    roles: Sequence[str],
) -> list[Row]:
    """Lists the sequences of one tuple that count in the loss.

    Sequences cut at the token limit are left out (METHOD: section 3), and so are roles that do not
    learn.
    """
    rows = []
    if PLANNER in roles and not rollout.plan.completion.truncated:
        rows.append(Row.of(PLANNER, rollout.plan, planner_advantage))
    if SOLVER in roles:
        # A tuple that was not solved has advantages (zeros) but no attempts.
        for turn, advantage in zip(rollout.attempts, solver_advantages, strict=False):
            if not turn.completion.truncated:
                rows.append(Row.of(SOLVER, turn, advantage))
    return rows


def rollout_rows(
    rollouts: Sequence[Rollout],
    scores: Scores,
    first: int,
    roles: Sequence[str],
    decode: Callable[[Sequence[int]], str],
) -> list[list[Row]]:
    """Lists the sequences that count of each of these tuples.

    Args:
        rollouts: of which `scores` has, tuple by tuple, what is known from place `first` on.
        decode: of a plan's tokens, as their text was decoded.
    """
    tuples = []
    own = slice(first, first + len(rollouts))
    for rollout, planner_advantage, credits_K, solver_advantages in zip(
        rollouts,
        scores.advantages_PM.flatten()[own].tolist(),
        scores.credit_PMK.flatten(0, 1)[own].tolist(),
        scores.advantages_PMKL.flatten(2).flatten(0, 1)[own].tolist(),
        strict=True,
    ):
        plan = rollout.plan
        advantage = token_advantages(
            planner_advantage, credits_K, plan.text, plan.completion.token_ids, decode
        )
        tuples.append(tuple_rows(rollout, advantage, solver_advantages, roles))
    return tuples


def collate(
    rows: Sequence[Row], pad_token_id: int, device: torch.device
) -> dict[str, torch.Tensor]:
    """Pads rows on the left to the tensors that `GRPOTrainer._compute_loss` reads.

    The completion tensors are the last T tokens of all rows, T being the longest completion: those
    of a shorter one begin with the end of its prompt, which the model sees and the loss does not
    (`tool_mask`). So no row is longer than the longest, where prompts and completions that are
    padded apart would be as long as the longest of both.

    Shapes: prompt tensors (B, P), completion tensors and log-probabilities (B, T), advantages (B,),
    or (B, T) where a row has one for each token, and so are ratios (B, 1) or (B, T). A placeholder
    has an empty `tool_mask`.
    """

    def padded(sequences: list, value: float) -> torch.Tensor:
        tensors = [torch.as_tensor(sequence) for sequence in sequences]
        return pad(tensors, padding_value=value, padding_side="left").to(device)

    T = max(len(row.completion_ids) for row in rows)
    ids = padded([[*row.prompt_ids, *row.completion_ids] for row in rows], pad_token_id)
    mask = padded([[1] * row.length for row in rows], 0)
    batch = {
        "prompt_ids": ids[:, :-T],
        "prompt_mask": mask[:, :-T],
        "completion_ids": ids[:, -T:],
        "completion_mask": mask[:, -T:],
        "tool_mask": padded([[int(row.counts)] * len(row.completion_ids) for row in rows], 0),
    }
    if any(isinstance(row.advantage, list) for row in rows):
        batch["advantages"] = padded([row.token_advantages() for row in rows], 0.0)
    else:
        batch["advantages"] = torch.tensor([row.advantage for row in rows], device=device)
    counted = [row for row in rows if row.counts] or rows
    if counted[0].old_logps is not None:
        batch["old_per_token_logps"] = padded([row.old_logps for row in rows], 0.0)
    if counted[0].ref_logps is not None:
        batch["ref_per_token_logps"] = padded([row.ref_logps for row in rows], 0.0)
    # A backend may give them for one role only: of greedy tokens there are none.
    if all(row.sampling_logps is not None for row in rows):
        sampling = [row.sampling_logps for row in rows]
        batch["sampling_per_token_logps"] = padded(sampling, 0.0)
    if counted[0].sampling_ratio is not None:
        ratios = [row.sampling_ratio for row in rows]
        batch["importance_sampling_ratio"] = padded(ratios, 1.0)
    return batch
