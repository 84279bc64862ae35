"""Batches from which a role learns nothing since all of its advantages are 0, and why.

Without options that is so where no group has two different rewards. A role's update is then that of
the KL term alone. Both roles of a batch are looked at: that the solver has variance does not help a
planner without it, nor the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from cppo_trl.advantages import solver_advantages
from cppo_trl.rewards import PlannerReward
from cppo_trl.roles import PLANNER
from cppo_trl.scores import Scores


class Cause(NamedTuple):
    """What was seen in a batch, and what a user can do about it."""

    seen: str
    advice: str


CAUSES: Mapping[str, Cause] = {
    "plans_cut": Cause(
        "every plan is cut at the token limit",
        "Raise max_plan_length, or fine-tune the planner on gold plans first: it does not end.",
    ),
    "no_plan_parses": Cause(
        "no plan parses",
        "Fine-tune the planner on gold plans first, so that it knows the format; log_completions "
        "shows what it writes.",
    ),
    "no_judgement": Cause(
        "the judge could not tell about many of the plans",
        "This is no fault of the policy: see that the judge, or its endpoint, works.",
    ),
    "judge_rejects_all": Cause(
        "the judge passes no plan that parses",
        "Warm the planner up with planner_reward='judge' from a fine-tuned one, or see whether "
        "the judge's threshold is too high (cppo-trl judge report).",
    ),
    "judge_passes_all": Cause(
        "the judge passes every plan",
        "The warm-up has nothing more to teach: go on with planner_reward='product'.",
    ),
    "no_verdict": Cause(
        "the verdicts on many of the attempts are unknown",
        "This is no fault of the policy: see that the verifier works (cppo-trl doctor).",
    ),
    "attempts_cut": Cause(
        "no attempt passes, and every one is cut at the token limit",
        "Raise max_completion_length.",
    ),
    "no_attempt_passes": Cause(
        "no attempt passes",
        "The problems are too hard for the solver, or it does not answer in the format that the "
        "verifier reads (log_completions shows the plans, cppo-trl show attempts): take easier "
        "problems, more strategies, or a better solver.",
    ),
    "all_solved": Cause(
        "every tuple that is attempted is solved",
        "The problems are too easy: take harder ones.",
    ),
    "valid_never_solved": Cause(
        "some plans are valid and some are solved, but none is both",
        "See whether the judge rejects what works (cppo-trl judge report), and take easier "
        "problems or more tuples (num_generations).",
    ),
    "equal_in_groups": Cause(
        "within each group all known rewards are equal, whatever they are in other groups",
        "Raise num_generations or the temperatures, or take problems of middling difficulty.",
    ),
    "passes_to_spare": Cause(
        "no attempt raises the pass@k of its group: there are passes to spare, or too few verdicts",
        "Lower solver_pass_k, or take harder problems.",
    ),
}


def role_without_variance(scores: Scores, roles: Sequence[str]) -> str | None:
    """The first of the learning roles that has no advantage in the batch, of any sequence or token.

    Without options, that is one none of whose groups has two different known rewards, where those
    that differ by rounding alone count as equal.
    """
    for role in roles:
        if role == PLANNER:
            learns = scores.advantages_PM.any() or scores.credit_PMK.any()
        else:
            learns = scores.advantages_PMKL.any()
        if not learns:
            return role
    return None


def likely_cause(scores: Scores, role: str, planner_reward: PlannerReward) -> str:
    """The key in `CAUSES` of what most likely leaves a role without variance.

    Causes are looked for in the order of the data flow, and what comes first is told: before plans
    parse, nothing else can be helped. Whether a program was found in an attempt is not known here.

    Args:
        scores: of a batch for which `role_without_variance` is `role`.
        planner_reward: of the run.
    """
    parsed, _, cut, attempts_cut, _, attempt_tokens, _ = scores.facts_PMF.unbind(-1)
    parsed_PM, attempted_PM = parsed.bool(), attempt_tokens > 0
    if cut.bool().all():
        return "plans_cut"
    if not parsed_PM.any():
        return "no_plan_parses"
    # Of the N tuples that parse:
    valid_N, outcome_N = scores.valid_PM[parsed_PM], scores.outcome_PM[parsed_PM]
    plans = role == PLANNER
    gated = plans and planner_reward != "outcome"
    if (gated or not attempted_PM.any()) and not (valid_N > 0).any():
        return "no_judgement" if _most(valid_N.isnan()) else "judge_rejects_all"
    if plans and planner_reward == "judge":
        if _most(valid_N.isnan()):
            return "no_judgement"
        return "judge_passes_all" if (scores.valid_PM > 0).all() else "equal_in_groups"
    if plans and _most(lost_N := scores.rewards_PM[parsed_PM].isnan()):
        return "no_judgement" if gated and _most(valid_N[lost_N].isnan()) else "no_verdict"
    verdicts = scores.passed_PMKL[attempted_PM]
    if not plans and _most(verdicts.isnan()):
        return "no_verdict"
    if not (verdicts >= 1).any():
        all_cut = (attempts_cut[attempted_PM] == 1).all()
        return "attempts_cut" if all_cut else "no_attempt_passes"
    if not plans:
        known = verdicts[~verdicts.isnan()]
        if (known >= 1).all():
            return "all_solved"
        differ = solver_advantages(scores.passed_PMKL, scores.solver_group).any()
        return "passes_to_spare" if differ else "equal_in_groups"
    if gated and not ((valid_N > 0) & (outcome_N > 0)).any():
        return "valid_never_solved"
    known = scores.rewards_PM[~scores.rewards_PM.isnan()]
    best = 2 if planner_reward == "sum" else 1
    return "all_solved" if (known >= best).all() else "equal_in_groups"


def _most(unknown: Tensor) -> bool:
    """Whether at least half are; a group of two with one unknown reward has no variance."""
    return bool(unknown.float().mean() >= 0.5)
