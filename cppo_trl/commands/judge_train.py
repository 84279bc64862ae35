"""The commands `cppo-trl judge train`, `calibrate` and `report`.

    cppo-trl judge train --model Qwen/Qwen3.5-0.8B-Base --problems train.jsonl \\
        --labels labels.jsonl --output runs/judge
    cppo-trl judge report --judge runs/judge --problems test.jsonl --labels test-labels.jsonl \\
        --output runs/judge-report

`--plans` are plans with `"passed"`, whether any attempt passed, or an evaluation's attempts.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cppo_trl.errors import first_line
from cppo_trl.judges import StrategyTuple
from cppo_trl.judges.labels import Label, LabelError, read_labels
from cppo_trl.problems import Problem, read_problems
from cppo_trl.tuples import Plan, read_plans

from .outcome import CommandError

if TYPE_CHECKING:
    from cppo_trl.judges.learned import LearnedJudge


def train(
    model: str,
    problems: Path,
    labels: Sequence[Path],
    output: Path,
    *,
    arguments: Mapping[str, Any],
    lora: Mapping[str, Any],
    plans: Path | None = None,
    load_in_4bit: bool = False,
    **options: Any,
) -> bool:
    """Trains a judge, writes it with its report, and says whether it is accepted.

    Args:
        model: id or path of the base.
        problems, labels: JSONL files.
        output: directory of the judge.
        arguments: of `training_arguments`.
        lora: fields of `LoraConfig` other than the method's.
        plans: attempted plans; those of problems that the judge is measured on give its AUC against
            outcomes.
        load_in_4bit: quantizes the base, in nf4.
        options: of `train_judge`.
    """
    from dataclasses import replace

    from cppo_trl.judges.report import write_judge_report
    from cppo_trl.judges.saved import save_judge
    from cppo_trl.judges.training import train_judge, training_arguments
    from cppo_trl.role_model import nf4
    from cppo_trl.roles import default_lora_config

    known = {problem.id: problem for problem in read_problems(problems)}
    read = [label for path in labels for label in read_labels(path)]
    attempted = _attempted(plans, known)
    output.mkdir(parents=True, exist_ok=True)
    if load_in_4bit:
        options["quantization_config"] = nf4()
    trained = train_judge(
        model,
        read,
        known,
        training_arguments(str(output), **arguments),
        replace(default_lora_config(), **lora),
        **options,
    )
    save_judge(trained.judge, output, trained.quality.to_dict())
    measured = {label.problem_id for label in trained.held_out}
    write_judge_report(
        output,
        trained.quality,
        trained.scores,
        trained.held_out,
        trained.labels,
        _outcome_auc(trained.judge, [p for p in attempted if p.problem_id in measured], known),
    )
    return _say(trained.quality, output)


def report(
    source: str,
    problems: Path,
    labels: Path,
    output: Path,
    plans: Path | None = None,
    batch_size: int = 16,
    recall: float | None = None,
) -> bool:
    """Measures a saved judge on labels; with a recall, its threshold is chosen anew and saved.

    Args:
        source: directory or Hub id of the judge; a directory where `recall` is given.
        problems, labels: JSONL files.
        output: directory of the report.
        plans: attempted plans, for the AUC against outcomes beside that against labels.
        batch_size: tuples in one forward.
        recall: share of the valid tuples that should pass.
    """
    from cppo_trl.judges.calibration import quality, threshold_for_recall
    from cppo_trl.judges.report import write_judge_report
    from cppo_trl.judges.saved import load_judge, save_judge

    known = {problem.id: problem for problem in read_problems(problems)}
    read = [_known(label, known) for label in read_labels(labels)]
    attempted = _attempted(plans, known)
    judge = load_judge(source, batch_size=batch_size, allow_rejected=True)
    scores = judge.scores([StrategyTuple(known[one.problem_id], one.strategies) for one in read])
    valid = [label.valid for label in read]
    if recall is not None:
        judge.threshold = threshold_for_recall(scores, valid, recall)
    found = quality(
        scores,
        valid,
        [label.problem_id for label in read],
        judge.threshold,
        swapped=[label.is_swapped for label in read],
    )
    outcomes = _outcome_auc(judge, attempted, known)
    write_judge_report(output, found, scores, read, outcome_auc=outcomes)
    if recall is not None:
        save_judge(judge, source, found.to_dict())
    return _say(found, output)


def _attempted(path: Path | None, problems: Mapping[str, Problem]) -> list[Plan]:
    """The plans of a file whose outcome is known."""
    plans = [] if path is None else read_plans(path, problems)
    return [plan for plan in plans if plan.passed is not None]


def _outcome_auc(
    judge: LearnedJudge, plans: Sequence[Plan], problems: Mapping[str, Problem]
) -> float | None:
    from cppo_trl.judges.calibration import auc

    if not plans:
        return None
    tuples = [StrategyTuple(problems[plan.problem_id], plan.strategies) for plan in plans]
    return auc(judge.scores(tuples), [plan.passed for plan in plans])


def _known(label: Label, problems: Mapping[str, Problem]) -> Label:
    if label.problem_id not in problems:
        raise LabelError(f"a label is of the problem {label.problem_id!r}, which is unknown")
    return label


def _say(found: Any, output: Path) -> bool:
    from cppo_trl.judges.calibration import MEASURES

    measures = ", ".join(
        f"{name.replace('_', ' ')} {value.value:.3f}"
        for name in MEASURES
        if (value := getattr(found, name)) is not None
    )
    print(f"{measures} at threshold {found.threshold:.3f}, on {found.labels} labels")
    verdict = "accepted" if found.is_accepted else "REJECTED: " + "; ".join(found.failed())
    print(f"{verdict}; report: {output / 'judge.md'}")
    return found.is_accepted


def run_train(args: argparse.Namespace) -> int:
    """Trains a judge; 1 where it is rejected."""
    given = vars(args)
    arguments = {
        argument: given[name]
        for name, argument in (
            ("epochs", "num_train_epochs"),
            ("learning_rate", "learning_rate"),
            ("batch_size", "per_device_train_batch_size"),
            ("seed", "seed"),
            ("use_cpu", "use_cpu"),
        )
        if name in given
    }
    lora = {
        field: given[name]
        for name, field in (("lora_r", "r"), ("lora_alpha", "lora_alpha"))
        if name in given
    }
    names = ("max_length", "recall", "held_out", "dtype", "template", "plans", "load_in_4bit")
    options = {name: given[name] for name in names if name in given}
    try:
        accepted = train(
            args.model,
            args.problems,
            args.labels,
            args.output,
            arguments=arguments,
            lora=lora,
            **options,
        )
    except (OSError, ValueError) as error:
        raise CommandError(first_line(error)) from error
    return 0 if accepted else 1


def run_report(args: argparse.Namespace) -> int:
    """Measures a judge, and calibrates it; 1 where it is rejected."""
    names = ("plans", "batch_size", "recall")
    options = {name: value for name, value in vars(args).items() if name in names}
    try:
        accepted = report(args.judge, args.problems, args.labels, args.output, **options)
    except (OSError, ValueError) as error:
        raise CommandError(first_line(error)) from error
    return 0 if accepted else 1
