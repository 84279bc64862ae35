"""All stages of the method on the coordination gap, and what each part of the reward buys.

    python recipes/coordination_gap.py
    python recipes/coordination_gap.py --ablate --seeds 3

Offline and on two CPU cores, from nothing: problems, a tiny base, gold tuples, planner SFT, a judge
that is learned from labels, warm-up, audit, joint training and the evaluation on held-out problems,
by `recipes/pipeline.py`'s stages. Gold tuples and labels come from a stand-in for a large model
that knows what words mean, and not which reading is hidden; in training no oracle is asked. With
`--ablate` the joint stage is run with other rewards and judges as well. What an earlier run left in
the output folder is used again.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # third parties' own

from rich.console import Console
from tqdm.auto import tqdm

from cppo_trl import CodeVerifier, load_policy
from cppo_trl.benchmarks import BenchmarkError
from cppo_trl.benchmarks.coordination_gap.ablation import (
    ARMS,
    ablation_plot,
    ablation_table,
    arm_config,
)
from cppo_trl.benchmarks.coordination_gap.measure import (
    Measurement,
    measure_direct,
    measure_policy,
    untrained_policy,
)
from cppo_trl.benchmarks.coordination_gap.prepare import prepare_base, prepare_problems
from cppo_trl.benchmarks.coordination_gap.report import conclusion
from cppo_trl.benchmarks.coordination_gap.results import Result
from cppo_trl.benchmarks.coordination_gap.teacher import teacher
from cppo_trl.errors import first_line
from cppo_trl.pipeline import (
    PipelineConfig,
    PipelineError,
    StageFailed,
    read_config,
    run_pipeline,
)
from cppo_trl.pipeline.process import duration, end_commands
from cppo_trl.problems import ProblemError, read_problems
from cppo_trl.training_data import DataError

RECIPES = Path(os.path.relpath(Path(__file__).parent))
CONFIG = RECIPES / "configs" / "coordination_gap_pipeline.yaml"
TUPLES = 2  # times that a held-out problem is attempted
_REPORT = """\
# What the parts of the reward buy

{conclusion}

![pass@{k}, and what the plans are like](ablation.png)

{table}

{problems} held-out problems, {tuples} tuples each, {seeds} training seeds; 95 % bootstrap intervals
over problems and seeds. pass@{k} is averaged over the readings that could be the hidden one.
admissible: share of the strategies that are readings of their problem. duplicates: share of the
plans that repeat a strategy. distinct: different strategies in a plan. Every arm starts from the
planner after SFT of its seed and takes the same steps; "pipeline" has the warm-up before them, and
solves no tuple that the judge rejects. All seeds share one judge. Settings:
`recipes/configs/coordination_gap_pipeline.yaml`.

Made by

```bash
{command}
```
"""
console = Console()


def main(argv: Sequence[str] | None = None) -> int:
    started = time.perf_counter()
    args = parse_arguments(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    console.rule("Problems and a tiny base")
    problems = prepare_problems(args.output, args.num_problems, console)
    _, base = prepare_base(args.output, args.base_steps, console)
    changes = [
        f"model={json.dumps(str(args.output / 'base'))}",  # whatever a path holds, JSON is YAML
        f"problems={json.dumps(str(problems['train']))}",
        f"held_out={json.dumps(str(problems['held_out']))}",
        *args.set,
    ]
    try:
        whole = [
            replace(
                read_config(CONFIG, changes),
                output=str(args.output / f"seed-{seed}" / "pipeline"),
                seed=seed,
            )
            for seed in range(args.seeds)
        ]
        with teacher() as url:
            in_turn(whole[:1], 1, url, "pipeline of seed 0")
            # One judge for all: what is compared is what a planner does with it.
            judge = str(Path(whole[0].output) / "judge")
            whole[1:] = [replace(config, judge=judge) for config in whole[1:]]
            in_turn(whole[1:], args.jobs, url, "pipelines of the other seeds")
            if not args.ablate:
                console.print(f"Done in {duration(time.perf_counter() - started)}.")
                return 0
            arms = [
                arm_config(config, arm, Path(config.output).parent / arm.name)
                for config in whole
                for arm in ARMS
            ]
            in_turn(arms, args.jobs, url, "arms")
    except (PipelineError, DataError, ProblemError, BenchmarkError, OSError) as error:
        print(f"coordination_gap: {first_line(error)}", file=sys.stderr)
        return 2
    except StageFailed as error:
        print(f"coordination_gap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("coordination_gap: stopped; the same command goes on", file=sys.stderr)
        return 130
    given = sys.argv[1:] if argv is None else argv
    report(args, base, problems["held_out"], shlex.join(["python", __file__, *given]))
    console.print(f"Done in {duration(time.perf_counter() - started)}.")
    return 0


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/coordination-gap"),
        metavar="DIR",
        help="where everything goes (default: runs/coordination-gap)",
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs (default: 1)")
    parser.add_argument("--ablate", action="store_true", help="other rewards and judges as well")
    parser.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="trainings at a time; the cores are shared out among them (default: 1)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="as for pipeline.py"
    )
    # For tests: at most that many problems of each split, and steps of the base's training.
    parser.add_argument("--num-problems", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--base-steps", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    for name in ("seeds", "jobs"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} is {getattr(args, name)}; it must be 1 or more")
    for change in args.set:
        if change.partition("=")[0] in ("output", "seed"):
            parser.error(f"--set {change}: --output and --seeds decide it")
    return args


def in_turn(configs: Sequence[PipelineConfig], jobs: int, url: str, what: str) -> None:
    """Runs pipelines, some at a time; with several, each says what it does in its log alone."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {"OPENAI_BASE_URL": url, "OMP_NUM_THREADS": threads}

    def run(config: PipelineConfig) -> None:
        shown = console if jobs == 1 else Console(quiet=True)
        run_pipeline(config, RECIPES, shown, environment)

    if jobs == 1:
        for number, config in enumerate(configs, start=1):
            console.rule(f"{what}: {number} of {len(configs)}, {config.output}")
            run(config)
        return
    with ThreadPoolExecutor(jobs) as pool, tqdm(total=len(configs), desc=what) as bar:
        try:
            for _ in pool.map(run, configs):
                bar.update()
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            end_commands()
            raise


def report(args: argparse.Namespace, base: Path, held_out: Path, command: str) -> None:
    """Measures all policies on the held-out problems and writes the table."""
    problems = read_problems(held_out)
    settings = {"tuples": TUPLES, "seed": 0}
    rows: list[tuple[str, Result]] = []

    def add(said: str, name: str, measure: Callable[[int], Measurement], seeds: int) -> None:
        rows.append((said, Result.of(name, [measure(seed) for seed in range(seeds)])))
        console.print(f"{name}: pass@{rows[-1][1].attempts} {rows[-1][1].pass_k}", highlight=False)

    with CodeVerifier() as verifier:
        before = untrained_policy(base)

        def saved(name: str) -> Callable[[int], Measurement]:
            def measure(seed: int) -> Measurement:
                policy = load_policy(args.output / f"seed-{seed}" / name).rollouts
                return measure_policy(policy, problems, verifier, **settings)

            return measure

        add(
            "",
            "direct sampling",
            lambda _: measure_direct(before, problems, verifier, **settings),
            1,
        )
        add("", "before SFT", lambda _: measure_policy(before, problems, verifier, **settings), 1)
        add("", "after SFT", saved("pipeline/sft"), args.seeds)
        for arm in ARMS:
            add(arm.said, arm.name, saved(f"{arm.name}/cppo"), args.seeds)
        add("valid", "after warm-up", saved("pipeline/warmup"), args.seeds)
        add(ARMS[0].said, "pipeline", saved("pipeline/cppo"), args.seeds)
    ablation_plot(rows, args.output / "ablation.png")
    path = args.output / "ablation.md"
    table = ablation_table(rows)
    path.write_text(
        _REPORT.format(
            conclusion=conclusion(rows[-1][1]),
            table=table,
            problems=len(problems),
            tuples=TUPLES,
            seeds=args.seeds,
            k=rows[-1][1].attempts,
            command=command,
        ),
        encoding="utf-8",
    )
    numbers = [{"paid for": said, **asdict(result)} for said, result in rows]
    (args.output / "ablation.json").write_text(json.dumps(numbers, indent=2) + "\n")
    console.print(table, highlight=False, markup=False)
    console.print(path)


if __name__ == "__main__":
    # As an interrupt: what ends this process ends what it has started too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
