"""The command `cppo-trl eval`: from options and a YAML file to a report.

    cppo-trl eval --model Qwen/Qwen3-0.6B --benchmark humaneval --method direct plan-and-solve \\
        --output runs/eval
    cppo-trl eval --config eval.yaml --seeds 1

Prints the table and where the report is. `cppo_trl.evaluation.directory` says what is in the
directory.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from torch import OutOfMemoryError

from cppo_trl.errors import first_line
from cppo_trl.evaluation.config import ConfigError, EvaluationConfig
from cppo_trl.evaluation.directory import EvaluationDirectory
from cppo_trl.evaluation.evaluate import NoVerdicts, evaluate
from cppo_trl.evaluation.report import write_report
from cppo_trl.evaluation.results import BenchmarkResult, Evaluation
from cppo_trl.verifier import SandboxError

from .outcome import CommandError
from .shared_options import loading_options

_FIELDS = [item.name for item in fields(EvaluationConfig)]


def evaluate_and_report(
    options: Mapping[str, Any], loading: Mapping[str, Any], command: str
) -> Evaluation:
    """Evaluates, writes the report and prints the table.

    Args:
        options: fields of `EvaluationConfig`, and `config`, a YAML file with such fields, which
            the others win over; `prompts` may be a YAML file.
        loading: options of `load_benchmark`.
        command: what the report says it was made by.

    Raises:
        ConfigError: a file or a setting cannot be used; and what `evaluate` raises.
    """
    config = read_config(options, loading)
    evaluation = evaluate(config, command=command)
    directory = EvaluationDirectory(config.output)
    with directory.locked():
        paths = write_report(directory.path, evaluation)
    _print(evaluation, paths)
    for result in evaluation.benchmarks:
        if others := [m for m in directory.methods(result.name) if m not in result.records]:
            print(f"Not in this report, but attempted on {result.name}: {', '.join(others)}.")
    return evaluation


def read_config(options: Mapping[str, Any], loading: Mapping[str, Any]) -> EvaluationConfig:
    """The settings of the options and of the YAML file that they name."""
    given = {name: value for name, value in options.items() if name in _FIELDS}
    if isinstance(given.get("prompts"), Path):
        given["prompts"] = _read_yaml(given["prompts"], "--prompts")
    settings = _read_yaml(options["config"], "--config") if "config" in options else {}
    unknown = sorted(str(name) for name in settings if name not in _FIELDS)
    if unknown:
        raise ConfigError(
            f"--config {options['config']}: unknown field {unknown[0]!r}; there are "
            f"{', '.join(_FIELDS)}"
        )
    if loading:
        given["loading"] = loading
        if isinstance(settings.get("loading"), dict):
            given["loading"] = {**settings["loading"], **loading}
    return EvaluationConfig(**{**settings, **given})


def _read_yaml(path: Path, option: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{option} {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{option} {path}: must hold fields with values, one a line")
    return content


def _print(evaluation: Evaluation, paths: list[Path]) -> None:
    from rich.console import Console

    console = Console()
    for result in evaluation.benchmarks:
        console.print(_table(evaluation, result))
        console.print(result.described, highlight=False, markup=False)
        if result.unknown:
            console.print(
                f"{len(result.unknown)} problems are left out: the verifier had trouble of its "
                "own. The same command verifies them again."
            )
    console.print(
        f"95 % intervals; differences to {evaluation.baseline} by the paired bootstrap over "
        "problems and seeds, p adjusted for all cells (Holm)."
    )
    console.print("Report: " + ", ".join(map(str, paths)), highlight=False, soft_wrap=True)


def _table(evaluation: Evaluation, result: BenchmarkResult) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    k = evaluation.k
    table = Table(title=result.name, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("method", no_wrap=True)
    for name in (f"pass@{n}" for n in dict.fromkeys((1, k))):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(f"less\n{evaluation.baseline}", justify="right", no_wrap=True)
    for name in ("p", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    for summary in result.summaries:
        scores = {score.k: score for score in summary.scores}
        cells = [_interval(scores[n]) for n in dict.fromkeys((1, k))]
        against = summary.against
        cells += (
            ["", ""]
            if against is None
            else [
                f"{against.difference:+.3f}\n{against.low:+.3f} to {against.high:+.3f}",
                f"{against.p_value:.4f}",
            ]
        )
        tokens = summary.planner_tokens + summary.solver_tokens
        table.add_row(summary.method, *cells, f"{tokens:.0f}")
    return table


def _interval(score: Any) -> str:
    return f"{score.mean:.3f}\n{score.low:.3f}–{score.high:.3f}"


def run(args: argparse.Namespace) -> int:
    """Evaluates and reports."""
    command = shlex.join(["cppo-trl", *args.argv])
    try:
        evaluate_and_report(vars(args), loading_options(args), command)
    except KeyboardInterrupt:
        raise CommandError("stopped; the same command goes on", status=130) from None
    except OutOfMemoryError as error:
        hint = "go on with a smaller --rollout-batch-size"
        raise CommandError(f"{first_line(error)} {hint}", status=1) from error
    except (SandboxError, NoVerdicts) as error:
        raise CommandError(first_line(error), status=1) from error
    except OSError as error:  # a full disk, a Hub that is out of reach
        raise CommandError(first_line(error), status=1) from error
    except ValueError as error:  # what is refused
        raise CommandError(first_line(error)) from error
    return 0
