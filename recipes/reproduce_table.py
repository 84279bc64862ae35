"""The table of the method beside its baselines, every row at the same budget.

    python recipes/reproduce_table.py --benchmark coordination_gap --seeds 3
    python recipes/reproduce_table.py --benchmark coordination_gap --quick
    python recipes/reproduce_table.py --benchmark apps codecontests livecodebench \
        --model Qwen/Qwen3.5-9B-Base --dry-run

On the coordination gap it needs no network and no model: it makes problems and a tiny base, and
stands in for the large model that writes gold tuples and labels plans. Every row is tuned alike on
development problems, trained with as many attempts, and evaluated with as many; a cell that is done
is not done again, so the same command goes on after a stop. `--dry-run` prints every cell with its
attempts, tokens and hours, and runs none.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # third parties' own

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cppo_trl.benchmarks import BenchmarkError
from cppo_trl.benchmarks.coordination_gap import (
    NUM_READINGS,
    coordinated_limit,
    hidden_variants,
    independent_limit,
)
from cppo_trl.benchmarks.coordination_gap.prepare import prepare_base, prepare_problems
from cppo_trl.benchmarks.coordination_gap.teacher import teacher
from cppo_trl.errors import first_line
from cppo_trl.pipeline import PipelineError, StageFailed
from cppo_trl.pipeline.lock import locked
from cppo_trl.problems import ProblemError, read_problems, write_problems
from cppo_trl.reproduction import Planned, TableConfig, planned_cells, read_table, reproduce
from cppo_trl.reproduction.plan import assumed
from cppo_trl.reproduction.read import with_benchmarks, with_rows
from cppo_trl.training_data import DataError

RECIPES = Path(os.path.relpath(Path(__file__).parent))
CONFIGS = RECIPES / "configs" / "table"
GAP = "coordination_gap"
console = Console()


def main(argv: Sequence[str] | None = None) -> int:
    try:
        args = parse_arguments(argv)
        config = read_config(args, sys.argv[1:] if argv is None else argv)
        planned = planned_cells(config, RECIPES)  # refuses now what a cell would refuse later
        if args.dry_run:
            show_plan(config, planned)
            return 0
        if args.benchmark == [GAP]:
            with locked(Path(config.output), "table"):
                on_the_gap(config, args)
        else:
            reproduce(config, RECIPES, console, jobs=args.jobs)
    except (PipelineError, DataError, ProblemError, BenchmarkError, OSError) as error:
        print(f"reproduce_table: {first_line(error)}", file=sys.stderr)
        return 2
    except StageFailed as error:
        print(f"reproduce_table: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("reproduce_table: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--benchmark",
        nargs="+",
        default=[GAP],
        metavar="NAME",
        help=f"{GAP} (default), or among those of the configuration file: apps, codecontests, "
        "livecodebench",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML; see cppo_trl.reproduction"
    )
    parser.add_argument("--model", metavar="ID", help="of the base, or its path")
    parser.add_argument("--seeds", type=int, metavar="N", help="trainings of each row")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="these rows only")
    parser.add_argument("--output", metavar="DIR", help="where everything goes")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="rows at a time (default: 1)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="as for pipeline.py"
    )
    parser.add_argument("--quick", action="store_true", help="one seed, small: does it all run?")
    parser.add_argument("--dry-run", action="store_true", help="print every cell, run none")
    # For tests: at most that many problems of each split, and steps of the base's training.
    parser.add_argument("--num-problems", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--base-steps", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.jobs < 1:
        parser.error(f"--jobs is {args.jobs}; it must be 1 or more")
    if GAP in args.benchmark and len(args.benchmark) > 1:
        parser.error(f"--benchmark: {GAP} has a model of its own; give it alone")
    if GAP in args.benchmark and args.model:
        parser.error(f"--model is {args.model!r}; {GAP} makes its own")
    return args


def read_config(args: argparse.Namespace, given: Sequence[str]) -> TableConfig:
    """The settings of the file and of the command line."""
    is_gap = args.benchmark == [GAP]
    path = args.config or CONFIGS / f"{GAP if is_gap else 'benchmarks'}.yaml"
    config = read_table(
        path,
        args.set,
        args.quick,
        model=args.model,
        seeds=args.seeds,
        output=args.output,
        command=shlex.join(["python", str(RECIPES / Path(__file__).name), *given]),
    )
    if args.rows:
        config = with_rows(config, args.rows)
    return with_gap(config) if is_gap else with_benchmarks(config, args.benchmark)


def with_gap(config: TableConfig) -> TableConfig:
    """On the coordination gap all that is read is made in the directory of the run."""
    output = Path(config.output)
    return replace(
        config,
        model=str(output / "base"),
        problems=str(output / "train_readings.jsonl"),
        development=str(output / "development_readings.jsonl"),
        benchmarks={"coordination gap": str(output / "held_out_readings.jsonl")},
        limits={
            "independent limit": independent_limit(NUM_READINGS, config.k),
            "coordinated limit": coordinated_limit(NUM_READINGS, config.k),
        },
    )


def on_the_gap(config: TableConfig, args: argparse.Namespace) -> None:
    """Makes problems and base, and the table with a stand-in for the teacher."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    output = Path(config.output)
    console.rule("Problems and a tiny base")
    paths = prepare_problems(output, args.num_problems, console)
    for split, path in paths.items():
        # Each reading is hidden once, so that none is favoured by the luck of the draw.
        problems = [one for p in read_problems(path) for one in hidden_variants(p)]
        write_problems(problems, output / f"{split}_readings.jsonl")
    prepare_base(output, args.base_steps, console, latents=config.k)  # for UpSkill
    console.rule("The table")
    with teacher() as url:
        reproduce(config, RECIPES, console, {"OPENAI_BASE_URL": url}, args.jobs)


def show_plan(config: TableConfig, planned: Sequence[Planned]) -> None:
    """Prints every cell with what it will take, and all of them together."""
    facts = assumed(config)
    table = Table(title=f"{config.model}: {len(planned)} cells", box=SIMPLE_HEAD)
    for name in ("cell", "attempts", "plans", "tokens", "hours"):
        table.add_column(name, justify="left" if name == "cell" else "right", no_wrap=True)
    for one in planned:
        hours = None if one.seconds is None else f"{one.seconds / 3600:.2f}"
        counts = [one.attempts, one.plans, one.tokens]
        table.add_row(one.name, *("?" if n is None else f"{n:,}" for n in counts), hours or "?")
    sums = [sum(getattr(one, name) or 0 for one in planned) for name in _SUMMED]
    table.add_section()
    table.add_row("all", *(f"{n:,}" for n in sums[:3]), f"{sums[3] / 3600:.1f}")
    console.print(table)
    budget = config.budget
    console.print(
        f"Budget of a training: {budget.steps} steps x {budget.attempts} attempts = "
        f"{budget.total:,}. Tokens are decoded ones. Hours of one "
        f"{facts.device}, assumed: {facts.plan_tokens} tokens a plan, {facts.attempt_tokens} an "
        f"attempt, {facts.prompt_tokens} a prompt; {facts.generated_per_second:,.0f} tokens a "
        f"second generated, {facts.trained_per_second:,.0f} trained. '?' is not estimated: "
        "planner SFT, the teacher's answers, benchmarks of unknown size.",
        highlight=False,
    )


_SUMMED = ("attempts", "plans", "tokens", "seconds")

if __name__ == "__main__":
    # As an interrupt: what ends this process ends what it has started too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
