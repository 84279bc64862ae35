"""The command `cppo-trl gold`: the tuples that the planner is first trained on.

    cppo-trl gold attempts --records runs/train-eval/attempts/*/*.jsonl --problems train.jsonl \\
        --output gold.jsonl
    cppo-trl gold model --problems train.jsonl --model Qwen/Qwen2.5-Coder-32B-Instruct \\
        --base-url http://localhost:8000/v1 --cache gold.db --output gold.jsonl

Writes JSON Lines, `{"problem_id", "strategies"}`. Exit status 1 where there is no tuple at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cppo_trl.endpoint import Endpoint, EndpointError
from cppo_trl.errors import first_line
from cppo_trl.evaluation.records import read_records
from cppo_trl.planner_sft.gold import TEMPERATURE, Gold, gold_from_attempts, gold_from_model
from cppo_trl.problems import read_problems
from cppo_trl.tuples import write_plans

from .outcome import CommandError
from .output_file import check_output
from .shared_options import endpoint_options


def run_attempts(args: argparse.Namespace) -> int:
    """Draws tuples of strategies whose attempts passed; 1 where there is none."""
    names = ("per_problem", "seed", "max_words")
    options = {name: value for name, value in vars(args).items() if name in names}
    try:
        problems = {problem.id: problem for problem in read_problems(args.problems)}
        check_output(args.output, [args.problems, *args.records])
        records = [record for path in args.records for record in read_records(path, problems)]
        gold = gold_from_attempts(records, problems, args.num_strategies, **options)
        return _write(gold, args.output)
    except (OSError, ValueError) as error:
        raise CommandError(first_line(error)) from error


def run_model(args: argparse.Namespace) -> int:
    """Asks a model for tuples; 1 where there is none, or the endpoint refuses."""
    given = vars(args)
    settings = endpoint_options(args)
    names = ("per_problem", "max_words", "tries")
    options = {name: given[name] for name in names if name in given}
    try:
        problems = read_problems(args.problems)[: given.get("limit")]
        endpoint = Endpoint(
            args.model, temperature=given.get("temperature", TEMPERATURE), **settings
        )
        check_output(args.output, [args.problems, *([given["cache"]] if "cache" in given else [])])
        gold = gold_from_model(problems, args.num_strategies, endpoint, progress=True, **options)
        print(f"{endpoint.spent_tokens} tokens spent")
        return _write(gold, args.output)
    except EndpointError as error:
        raise CommandError(first_line(error), status=1) from error
    except (OSError, ValueError, ImportError) as error:
        raise CommandError(first_line(error)) from error


def _write(gold: Gold, output: Path) -> int:
    write_plans(gold.plans, output)
    solved = len({plan.problem_id for plan in gold.plans})
    total = solved + len(gold.without)
    print(f"{len(gold.plans)} gold tuples for {solved} of {total} problems: {output}")
    reasons: dict[str, list[str]] = {}
    for reason in gold.without.values():
        kind, _, detail = reason.partition(": ")
        reasons.setdefault(kind, []).append(detail)
    for kind, details in sorted(reasons.items(), key=lambda item: -len(item[1])):
        example = f" (such as: {details[0]})" if details[0] else ""
        print(f"  {len(details)} without: {kind}{example}")
    return 0 if gold.plans else 1
