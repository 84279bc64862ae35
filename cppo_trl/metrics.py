"""What a batch of rollouts shows: parse and pass rates, rewards, diversity, coverage, tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from .advantages import SolverGroup
from .evaluation import pass_at_k
from .plans import normalise_strategy
from .rollouts import Rollout
from .scores import Scores

NAN = float("nan")


def rollout_facts(rollouts: Sequence[Rollout]) -> torch.Tensor:
    """Returns (B, 7) numbers that describe each tuple, in a form that can be gathered over ranks.

    Columns: 1 if the plan parsed; distinct strategies (NaN if it did not); 1 if the plan was cut;
    share of attempts that were cut (NaN without attempts); tokens of the plan, of the attempts, and
    of all their prompts.
    """
    table = []
    for rollout in rollouts:
        cut = [attempt.completion.truncated for attempt in rollout.attempts]
        parsed = rollout.strategies is not None
        distinct = {normalise_strategy(strategy) for strategy in rollout.strategies or ()}
        table.append(
            [
                float(parsed),
                len(distinct) if parsed else NAN,
                float(rollout.plan.completion.truncated),
                sum(cut) / len(cut) if cut else NAN,
                len(rollout.plan.completion.token_ids),
                sum(len(attempt.completion.token_ids) for attempt in rollout.attempts),
                sum(len(turn.prompt_ids) for turn in (rollout.plan, *rollout.attempts)),
            ]
        )
    return torch.tensor(table, dtype=torch.float32)


def rollout_metrics(
    scores: Scores,
    *,
    judged: bool = True,
    solved: bool = True,
) -> dict[str, float]:
    """Summarises the P * M tuples of a batch; NaN where nothing is known.

    An unparsable plan is K failures in pass@k, as in evaluation; a tuple with an unknown verdict,
    or one that was skipped because the judge rejected it, is left out. `judged` and `solved` say
    whether the run has a judge and attempts at all; without, it has no metrics of them.
    """
    parsed, distinct, plan_cut, attempts_cut, plan_tokens, attempt_tokens, _ = (
        scores.facts_PMF.unbind(-1)
    )
    valid_PM, passed_PMKL, rewards_PM = scores.valid_PM, scores.passed_PMKL, scores.rewards_PM
    parsed_PM, attempted_PM = parsed.bool(), attempt_tokens > 0
    metrics = {
        "parse_rate": parsed.mean(),
        "distinct_strategies": distinct.nanmean(),
        "reward": rewards_PM.nanmean(),
        "reward_std": rewards_PM[~rewards_PM.isnan()].std(),
        "R_plan": rewards_PM.nanmean(),
        "R_plan_density": (rewards_PM[~rewards_PM.isnan()] > 0).float().mean(),
        "frac_groups_zero_std/planner": _without_variance(rewards_PM),
        "truncated/planner": plan_cut.mean(),
        "tokens/planner": plan_tokens.sum(),
    }
    if judged:
        metrics |= {
            "judge_pass_rate": valid_PM[parsed_PM].nanmean(),
            "unknown_judgements": valid_PM[parsed_PM].isnan().sum(),
        }
    if solved:
        metrics |= {
            "R_out": scores.outcome_PM.nanmean(),
            "frac_groups_zero_std/solver": _without_variance(
                _solver_groups(passed_PMKL, attempted_PM, scores.solver_group)
            ),
            "truncated/solver": attempts_cut.nanmean(),
            "tokens/solver": attempt_tokens.sum(),
            "unknown_verdicts": passed_PMKL[attempted_PM].isnan().sum(),
        }
    result = {name: float(value) for name, value in metrics.items()}
    return result | (_coverage(passed_PMKL, parsed_PM) if solved else {})


def _solver_groups(
    passed_PMKL: torch.Tensor, attempted_PM: torch.Tensor, group: SolverGroup
) -> torch.Tensor:
    """The verdicts of attempted tuples, (groups, attempts of a group)."""
    if group == "problem":
        return passed_PMKL[attempted_PM.any(1)].flatten(1)
    tuples = passed_PMKL[attempted_PM]
    return tuples.flatten(1) if group == "tuple" else tuples.flatten(0, 1)


def _without_variance(rewards: torch.Tensor) -> torch.Tensor:
    """Share of groups (rows) whose known rewards are all equal: they teach nothing."""
    low = rewards.nan_to_num(nan=torch.inf).amin(-1)
    high = rewards.nan_to_num(nan=-torch.inf).amax(-1)
    return (high <= low).float().mean()


def _coverage(passed_PMKL: torch.Tensor, parsed_PM: torch.Tensor) -> dict[str, float]:
    """pass@1..K over tuples; each of the L attempts of a strategy makes a tuple of its own."""
    passed = passed_PMKL.masked_fill(~parsed_PM[..., None, None], 0.0)
    known = ~passed.isnan().any(2)
    correct = (passed >= 1).sum(2)[known].cpu().numpy()
    ks = range(1, passed.shape[2] + 1)
    if correct.size == 0:
        return {f"pass@{k}": NAN for k in ks}
    return {f"pass@{k}": float(np.mean(pass_at_k(passed.shape[2], correct, k))) for k in ks}


def loss_terms(
    logps: torch.Tensor,
    entropies: torch.Tensor,
    batch: dict[str, torch.Tensor],
    epsilon_low: float,
    epsilon_high: float,
    beta: float,
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Returns what a role's loss, advantage, KL and entropy are averaged from: name -> (sums,
    counts), (B,) each.

    Loss and advantage magnitude are means over sequences (the latter of means over tokens, where
    these have advantages of their own), KL (nats, k3 estimate) and entropy (nats) over tokens.
    `logps` and `entropies` are (B, T), `batch` is of `batches.collate`.
    """
    mask = batch["tool_mask"]
    tokens = mask.sum(1)
    sequences = (tokens > 0).float()
    advantages = batch["advantages"]
    magnitudes = advantages.abs()
    if advantages.dim() == 1:
        advantages = advantages[:, None]
    else:
        magnitudes = (magnitudes * mask).sum(1) / tokens.clamp(min=1)
    ratio = (logps - batch.get("old_per_token_logps", logps)).exp()
    clipped = ratio.clamp(1 - epsilon_low, 1 + epsilon_high)
    loss = -torch.minimum(ratio * advantages, clipped * advantages)
    if "importance_sampling_ratio" in batch:
        loss = loss * batch["importance_sampling_ratio"]
    terms = {
        "advantage": (magnitudes * sequences, sequences),
        "entropy": ((entropies * mask).sum(1), tokens),
    }
    if beta:
        delta = batch["ref_per_token_logps"] - logps
        kl = delta.exp() - delta - 1
        loss = loss + beta * kl
        terms["kl"] = ((kl * mask).sum(1), tokens)
    terms["loss"] = ((loss * mask).sum(1) / tokens.clamp(min=1), sequences)
    return terms


def role_totals(
    terms: dict[str, tuple[torch.Tensor, torch.Tensor]],
    row_roles: Sequence[str],
    roles: Sequence[str],
    still: Mapping[str, int],
) -> torch.Tensor:
    """Returns the sums and counts of each role, (terms, 2, R), in the order of `terms` and `roles`.

    Args:
        terms: of `loss_terms`.
        row_roles: the role of each row.
        roles: the R roles that are asked for.
        still: role -> rows that were left out because their loss and advantage are 0; they count in
            these two.
    """
    own_RB = torch.tensor([[row == role for row in row_roles] for role in roles]).float()
    still_R = torch.tensor([float(still.get(role, 0)) for role in roles])
    totals = []
    for name, (sums, counts) in terms.items():
        extra_R = still_R if name in ("loss", "advantage") else 0.0
        counts_R = own_RB @ counts.cpu().float() + extra_R
        totals.append(torch.stack([own_RB @ sums.cpu().float(), counts_R]))
    return torch.stack(totals).to(sums.device)
