"""Where the time of an evaluation goes: generation, or our own code.

    python perf/evaluation.py [--problems 500] [--base runs/quickstart/base]

Attempts that many tiny problems (the coordination gap) four times each, with the tiny base of the
quickstart, which is trained first where it is not there yet. Each row is a share of the wall time,
from the loaded problems to the written report; generation is what `model.generate` takes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from cppo_trl.benchmarks.coordination_gap import make_problems
from cppo_trl.benchmarks.coordination_gap.base import (
    DIRECT_TEMPLATE,
    PLAN_TEMPLATE,
    SOLVE_TEMPLATE,
    train_base,
)
from cppo_trl.evaluation import evaluate as flow
from cppo_trl.evaluation.config import EvaluationConfig
from cppo_trl.evaluation.records import RecordFile
from cppo_trl.evaluation.report import write_report
from cppo_trl.generation import TransformersGenerator
from cppo_trl.problems import write_problems
from cppo_trl.verifier import CodeVerifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--base", type=Path, default=Path("runs/quickstart/base"))
    args = parser.parse_args()
    base = train_base(args.base)
    spent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for owner, name, row in (
            (TransformersGenerator, "generate", "generation"),
            (CodeVerifier, "verify_completions", "verification"),
            (RecordFile, "add", "writing attempts"),
            (flow, "load_speaker_of", "loading the model"),
            (flow, "summarise", "statistics"),
        ):
            stack.enter_context(timed(owner, name, row, spent))
        problems = Path(folder) / "problems.jsonl"
        write_problems(make_problems(args.problems), problems)
        config = EvaluationConfig(
            model=base,
            output=Path(folder) / "out",
            benchmarks=problems,
            methods=("direct", "untrained-planner"),
            seeds=1,
            batch_size=64,
            temperature=1.0,
            planner_temperature=1.0,
            max_completion_length=32,
            max_plan_length=64,
            prompts={
                "direct": DIRECT_TEMPLATE,
                "plan": PLAN_TEMPLATE,
                "solve": SOLVE_TEMPLATE,
            },
        )
        started = time.perf_counter()
        evaluation = flow.evaluate(config, progress=False)
        before_report = time.perf_counter()
        write_report(config.output, evaluation)
        ended = time.perf_counter()
    spent["the report"] = ended - before_report
    spent["all else"] = ended - started - spent.total()
    print(f"{args.problems} problems, 2 methods x 4 attempts: {ended - started:.1f} s")
    for row, seconds in spent.most_common():
        print(f"{row:20}{seconds:8.2f} s{seconds / (ended - started):8.1%}")


@contextlib.contextmanager
def timed(owner: Any, name: str, row: str, spent: Counter[str]) -> Iterator[None]:
    """Adds the time that a function takes to a row."""
    plain: Callable[..., Any] = getattr(owner, name)

    def measured(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return plain(*args, **kwargs)
        finally:
            spent[row] += time.perf_counter() - started

    setattr(owner, name, measured)
    try:
        yield
    finally:
        setattr(owner, name, plain)


if __name__ == "__main__":
    main()
