"""The coordination gap, from nothing to a plot, in minutes on two CPU cores and offline.

    make quickstart
    make quickstart ARGS="--seeds 3"
    python recipes/quickstart.py --output runs/other --learning_rate 1e-4

Makes problems whose right reading their statement does not tell, trains a tiny base, trains planner
and solver on it with `recipes/cppo_qwen.py`, and measures on held-out problems whether the trained
planner's K attempts cover more than any K independent samples can. What an earlier run left in the
output folder is used again where it was made with the same settings. Arguments that are not listed
below are passed on to `recipes/cppo_qwen.py`.
"""

# ruff: noqa: E402  (what is read when torch and others are imported comes before they are)

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import shlex
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

# More threads do not make so small a model faster.
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")  # third parties' own
warnings.simplefilter("ignore", FutureWarning)
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # names optional kernels
print("Loading torch and transformers ...", flush=True)

from rich.console import Console
from transformers.utils.logging import disable_progress_bar

import cppo_trl
from cppo_trl import CodeVerifier, load_policy
from cppo_trl.benchmarks.coordination_gap.base import BaseSettings
from cppo_trl.benchmarks.coordination_gap.measure import (
    Measurement,
    measure_direct,
    measure_policy,
    untrained_policy,
)
from cppo_trl.benchmarks.coordination_gap.plot import training_curve
from cppo_trl.benchmarks.coordination_gap.prepare import prepare_base, prepare_problems
from cppo_trl.benchmarks.coordination_gap.report import conclusion, save_report, terminal_table
from cppo_trl.benchmarks.coordination_gap.results import Result
from cppo_trl.pipeline.process import CommandFailed, duration, run_with_bar, say_command
from cppo_trl.problems import read_problems
from cppo_trl.roles import PLANNER, SOLVER

RECIPES = Path(os.path.relpath(Path(__file__).parent))
CONFIG = RECIPES / "configs" / "coordination_gap_cpu.yaml"
TUPLES = 2  # times that a held-out problem is attempted
# The curve of the plot. A training batch cannot show it where tuples that the judge rejects are not
# solved: their pass@K stays unknown.
TRACKING = (
    "--eval_strategy steps --eval_steps 20 --eval_on_start true --num_generations_eval 1 "
    "--per_device_eval_batch_size 256"
)

disable_progress_bar()  # of loading checkpoints
console = Console()


def main(argv: Sequence[str] | None = None) -> None:
    started = time.perf_counter()
    args, recipe_args = parse_arguments(argv)
    args.output.mkdir(parents=True, exist_ok=True)

    console.rule("1. Problems and a tiny base")
    problems = prepare_problems(args.output, args.num_problems, console)
    settings, base = prepare_base(args.output, args.base_steps, console)

    console.rule("2. Coordinated Pass@K Policy Optimization")
    runs = {
        seed: train_policy(args.output, base, settings, problems, seed, recipe_args)
        for seed in range(args.seeds)
    }

    console.rule("3. Held-out problems")
    results = measure(base, runs, problems["held_out"])

    console.rule("4. Report")
    curves = {seed: training_curve(run) for seed, run in runs.items()}
    given = sys.argv[1:] if argv is None else argv
    command = shlex.join(["python", "recipes/quickstart.py", *given])
    for path in save_report(args.output, results, curves, command):
        console.print(path)
    console.print(terminal_table(results, "Held-out problems, averaged over all readings"))
    console.print(conclusion(results[-1]), style="bold", highlight=False)

    console.rule("5. One problem, with the saved adapters in a new process")
    show = ["show", "--policy", str(runs[0]), "--problems", str(problems["held_out"])]
    say_command(console, ["cppo-trl", *show, "--index", "0"])
    subprocess.run([sys.executable, "-m", "cppo_trl.cli", *show, "--index", "0"], check=True)
    console.print(f"Done in {duration(time.perf_counter() - started)}.")


def parse_arguments(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Returns what this script is told, and what is for the recipe."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/quickstart"),
        metavar="DIR",
        help="where everything goes (default: runs/quickstart)",
    )
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="runs (default: 1)")
    parser.epilog = "Other arguments are passed on to recipes/cppo_qwen.py."
    # For tests: at most that many problems of each split, and steps of the base's training.
    parser.add_argument("--num-problems", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--base-steps", type=int, help=argparse.SUPPRESS)
    args, recipe_args = parser.parse_known_args(argv)
    if args.seeds < 1:
        parser.error(f"--seeds is {args.seeds}; it must be 1 or more")
    return args, recipe_args


def train_policy(
    output: Path,
    base: Path,
    settings: BaseSettings,
    problems: dict[str, Path],
    seed: int,
    recipe_args: Sequence[str],
) -> Path:
    """Trains planner and solver with a seed, unless that was done before; returns their folder."""
    run = output / f"cppo-seed-{seed}"
    options = [*TRACKING.split(), "--seed", str(seed), *recipe_args]
    command = [
        *("accelerate", "launch", "--config_file", str(RECIPES / "accelerate" / "cpu.yaml")),
        *(str(RECIPES / "cppo_qwen.py"), "--config", str(CONFIG)),
        *("--model_name_or_path", str(base)),
        *("--problems", str(problems["train"]), "--eval_problems", str(problems["development"])),
        *("--output_dir", str(run), *options),
    ]
    inputs = [options, CONFIG.read_text(), settings.digest()]
    inputs += [problems[split].read_text() for split in ("train", "development")]
    inputs += [path.read_text() for path in sources()]
    digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    marker = run / "quickstart.json"
    if marker.is_file() and json.loads(marker.read_text())["digest"] == digest:
        console.print(f"Seed {seed} is trained: {run}")
        return run
    marker.unlink(missing_ok=True)
    run.mkdir(parents=True, exist_ok=True)
    log = run / "train.log"
    console.print(f"Training with seed {seed}; the metrics of every step go to {log}")
    say_command(console, command)
    started = time.perf_counter()
    launched = [sys.executable, "-m", "accelerate.commands.accelerate_cli", *command[1:]]
    log.unlink(missing_ok=True)
    try:
        run_with_bar(launched, log, console)
    except CommandFailed as error:
        raise SystemExit(f"The training failed.\n{error}") from error
    console.print(f"Trained in {duration(time.perf_counter() - started)}: {run}")
    marker.write_text(json.dumps({"digest": digest}))  # last: a marked run is complete
    return run


def sources() -> list[Path]:
    """The code and the launch settings that decide what a training gives."""
    package = Path(cppo_trl.__file__).parent
    recipe = [RECIPES / "cppo_qwen.py", RECIPES / "accelerate" / "cpu.yaml"]
    return [*sorted(package.rglob("*.py")), *recipe]


def measure(base: Path, runs: dict[int, Path], problems: Path) -> list[Result]:
    """Measures direct sampling, the untrained planner, and the trained one of each run."""
    held_out = read_problems(problems)
    trained = [load_policy(run).rollouts for run in runs.values()]
    sampling, k = trained[0].sampling, trained[0].num_strategies
    before = untrained_policy(base, sampling[PLANNER], sampling[SOLVER], k)
    results = []

    def add(name: str, measurements: Sequence[Measurement]) -> None:
        results.append(Result.of(name, measurements))
        console.print(f"{name}: pass@{k} {results[-1].pass_k}", highlight=False)

    settings = {"tuples": TUPLES, "seed": 0}
    console.print(f"{len(held_out)} problems, {TUPLES} times {k} attempts each")
    with CodeVerifier() as verifier, console.status("Sampling and verifying"):
        add("Direct sampling", [measure_direct(before, held_out, verifier, **settings)])
        add("Planner before", [measure_policy(before, held_out, verifier, **settings)])
        after = []
        for seed, policy in zip(runs, trained, strict=True):
            after.append(measure_policy(policy, held_out, verifier, **settings))
            if len(runs) > 1:
                add(f"CPPO seed {seed}", after[-1:])
        add("CPPO after" + (f", {len(runs)} seeds" if len(runs) > 1 else ""), after)
    return results


if __name__ == "__main__":
    main()
