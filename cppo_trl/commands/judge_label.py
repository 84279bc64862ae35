"""The command `cppo-trl judge label`: labels of plans, by a large model or as gold.

    cppo-trl judge label --problems train.jsonl --plans plans.jsonl --output labels.jsonl \\
        --model Qwen/Qwen2.5-Coder-32B-Instruct --base-url http://localhost:8000/v1 --corrupt

Plans are JSON Lines, `{"problem_id", "strategies"}`, or attempts of an evaluation. Labels are of
`cppo_trl.judges.labels`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from cppo_trl.errors import first_line
from cppo_trl.judges import EndpointError, EndpointJudge, Judge, RuleJudge, StrategyTuple
from cppo_trl.judges.labels import Label, LabelError, corrupted_labels, write_labels
from cppo_trl.problems import Problem, read_problems
from cppo_trl.tuples import Plan, read_plans

from .outcome import CommandError
from .output_file import check_output
from .shared_options import endpoint_options


def label_plans(
    problems: Path,
    plans: Path,
    output: Path,
    judge: Judge | None,
    source: str,
    corrupt: bool = False,
    seed: int = 0,
) -> list[Label]:
    """Labels plans by a judge, adds sure negatives if asked to, and writes all.

    Plans that break a rule of `RuleJudge` are left out: the rules are asked before a trained judge,
    which would spend its labels on what it never sees.

    Args:
        problems, plans: JSONL files.
        output: the labels' file.
        judge: None takes every plan for valid, as gold plans are.
        source: who labels, as the labels have it.
        corrupt: adds tuples made invalid out of the valid ones.
        seed: of what is drawn.

    Raises:
        PlanError: a row is no plan.
        LabelError: no plan could be labelled.
        ProblemError, OSError, ValueError: a file cannot be used.
    """
    known = {problem.id: problem for problem in read_problems(problems)}
    found = _unbroken(read_plans(plans, known), known)
    check_output(output, [problems, plans])
    if judge is None:
        labels = [Label(plan.problem_id, plan.strategies, True, source) for plan in found]
    else:
        tuples = [StrategyTuple(known[plan.problem_id], plan.strategies) for plan in found]
        judgements = judge.judge_many(tuples)
        made = [
            Label.of(item.problem, item.strategies, judgement, source)
            for item, judgement in zip(tuples, judgements, strict=True)
        ]
        labels = [label for label in made if label is not None]
        reasons = Counter(j.reason for j in judgements if j.valid is None)
        for reason, count in reasons.most_common(3):
            print(f"{count} plans have no label: {reason}")
    if corrupt:
        labels += corrupted_labels(known, labels, seed)
    if not labels:
        raise LabelError(f"none of the {len(found)} plans of {plans} has a label")
    write_labels(labels, output)
    valid = sum(label.valid for label in labels)
    print(f"{len(labels)} labels, {valid} valid, of {len(known)} problems: {output}")
    return labels


def _unbroken(plans: Sequence[Plan], problems: Mapping[str, Problem]) -> list[Plan]:
    tuples = [StrategyTuple(problems[plan.problem_id], plan.strategies) for plan in plans]
    judgements = RuleJudge().judge_many(tuples)
    kept = [plan for plan, found in zip(plans, judgements, strict=True) if found.valid]
    if len(kept) < len(plans):
        print(f"{len(plans) - len(kept)} of {len(plans)} plans break a rule and are left out")
    return kept


def run(args: argparse.Namespace) -> int:
    """Labels plans; 1 where the endpoint refuses."""
    try:
        judge = None if args.gold else EndpointJudge(args.model, **endpoint_options(args))
        label_plans(
            args.problems,
            args.plans,
            args.output,
            judge,
            "gold" if args.gold else args.model,
            args.corrupt,
            args.seed,
        )
    except EndpointError as error:
        raise CommandError(first_line(error), status=1) from error
    except (OSError, ValueError, ImportError) as error:
        raise CommandError(first_line(error)) from error
    return 0
