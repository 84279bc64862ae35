"""All stages of the method in a row, from gold tuples to the evaluation on held-out problems.

    python recipes/pipeline.py --config recipes/configs/qwen3.5-4b-base/pipeline.yaml
    python recipes/pipeline.py --config my.yaml --set cppo.learning_rate=1e-5 --dry_run

The stages are gold tuples, planner SFT, judge, warm-up, audit, joint CPPO and evaluation;
`cppo_trl.pipeline.PipelineConfig` says what the file may hold. Stages that are done are not done
again: give the same command to go on after a stop. The directory of the run keeps each stage's
commands, settings, log and results, and one report with a curve for each stage. Exit status 1 where
the judge is rejected, the audit says no-go, or a stage fails; 2 for a setting that cannot be used.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from cppo_trl.benchmarks import BenchmarkError
from cppo_trl.errors import first_line
from cppo_trl.pipeline import PipelineError, StageFailed, read_config, run_pipeline, stages_of
from cppo_trl.problems import ProblemError
from cppo_trl.training_data import DataError

RECIPES = Path(__file__).parent


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="YAML")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting, such as output=runs/b or cppo.max_steps=100; may be repeated",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print the commands of all stages, run none"
    )
    args = parser.parse_args(argv)
    try:
        config = read_config(args.config, args.set)
        if args.dry_run:
            for stage in stages_of(config, RECIPES):
                print(f"# {stage.name}")
                for step in stage.steps:
                    print(shlex.join(step.command))
            return 0
        run_pipeline(config, RECIPES)
    except (PipelineError, DataError, ProblemError, BenchmarkError, OSError) as error:
        print(f"pipeline: {first_line(error)}", file=sys.stderr)
        return 2
    except StageFailed as error:
        print(f"pipeline: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pipeline: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    # As an interrupt: a scheduler that ends this process ends the stage's too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
