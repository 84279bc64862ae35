"""Problems -> methods -> attempts -> verdicts -> records -> numbers, by one call.

    config = EvaluationConfig(model="Qwen/Qwen3-0.6B", benchmarks="humaneval", output="runs/eval")
    write_report(config.output, evaluate(config))

`cppo-trl eval` does the same.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch

from cppo_trl.benchmarks import BenchmarkProblems
from cppo_trl.generation import Speaker
from cppo_trl.methods import METHODS
from cppo_trl.verifier import CodeVerifier

from .config import EvaluationConfig
from .directory import EvaluationDirectory
from .records import Record
from .results import BenchmarkResult, Evaluation
from .runner import run_method
from .setups import Resolved, fingerprints, load_speaker_of, resolve, setups_of
from .summary import summarise, without_unknown

_PACKAGES = (
    *("cppo-trl", "torch", "transformers", "tokenizers", "peft", "trl", "bitsandbytes"),
    *("datasets", "numpy"),
)


class NoVerdicts(RuntimeError):
    """The verifier failed on every problem of a benchmark, so there is nothing to report."""


def evaluate(
    config: EvaluationConfig,
    *,
    speaker: Speaker | None = None,
    command: str = "",
    progress: bool = True,
) -> Evaluation:
    """Runs all methods on all benchmarks, or goes on where a killed run was, and sums it up.

    Args:
        config: the settings.
        speaker: answers as `routing.BASE` and as the adapters that `setups.resolve` names, by any
            generation backend; None loads the model with `transformers`.
        command: what the report says it was made by.
        progress: shows what is loaded and a bar for each method.

    Raises:
        ConfigError: the settings cannot be used.
        BenchmarkError, HubUnreachable: the problems cannot be had.
        DirectoryError, RecordError: `config.output` holds an evaluation with other settings.
        NoVerdicts: the verifier failed on every problem of a benchmark.
        OSError, ValueError: the model cannot be loaded, or a file not written.
    """
    resolved = resolve(config)
    directory = EvaluationDirectory(config.output)
    problems = {
        selection.label: selection.load(progress=progress) for selection in config.selections()
    }
    grading = {name: _grading(config, listed) for name, listed in problems.items()}
    settings = _settings(config, resolved, grading)
    # Weights may move to another path; a backend of the user's is known by its names only.
    own_names = resolved.identity() if speaker is not None else {}
    directory.check({**settings, **own_names}, problems)
    with ExitStack() as stack:
        stack.enter_context(directory.locked())
        verifiers = {
            name: stack.enter_context(CodeVerifier(workers=config.workers, **options))
            for name, options in grading.items()
        }
        if speaker is None:
            speaker = load_speaker_of(config, resolved)
            with speaker.generator.unwrap() as model:
                settings["fingerprints"] = fingerprints(model, speaker.tokenizer, resolved)
        session = {
            **_session(command),
            "config": asdict(config) | {"output": str(config.output)},
            "benchmarks": {name: listed.describe() for name, listed in problems.items()},
        }
        directory.check({**settings, **own_names}, problems)
        directory.begin({**settings, **resolved.identity()}, problems, session)
        setups = setups_of(config, resolved, speaker)
        methods = {name: [METHODS[name].make(setup) for setup in setups] for name in config.methods}
        records = {
            name: {
                method: run_method(
                    method,
                    made,
                    listed,
                    verifiers[name].verify_completions,
                    directory.records_path(name, method),
                    draws=config.draws,
                    batch_size=config.batch_size,
                    bar=f"{name} {method}" if progress else None,
                )
                for method, made in methods.items()
            }
            for name, listed in problems.items()
        }
    return _evaluation(config, resolved, problems, records, directory)


def ladder(k: int, draws: int = 1) -> list[int]:
    """The k of a curve: powers of 2 up to K, K times powers of 2, and all attempts."""
    powers = [2**i for i in range(k.bit_length()) if 2**i < k]
    return powers + sorted({k * draws, *(k * 2**i for i in range(draws.bit_length()))})


def _evaluation(
    config: EvaluationConfig,
    resolved: Resolved,
    problems: Mapping[str, BenchmarkProblems],
    records: Mapping[str, Mapping[str, Sequence[Record]]],
    directory: EvaluationDirectory,
) -> Evaluation:
    known, unknown = {}, {}
    for name, methods in records.items():
        known[name], unknown[name] = without_unknown(methods)
        if len(unknown[name]) == len(problems[name]):
            raise NoVerdicts(
                f"{name}: no problem has verdicts on all its attempts, for trouble of the "
                "verifier's own; the attempts are kept, and the same command verifies them again"
            )
    baseline = config.baseline or config.methods[0]
    summaries = summarise(known, ladder(resolved.num_attempts, config.draws), baseline)
    results = [
        BenchmarkResult(
            name,
            listed.describe(),
            listed,
            records[name],
            summaries[name],
            unknown[name],
        )
        for name, listed in problems.items()
    ]
    return Evaluation(
        resolved.num_attempts,
        config.seeds,
        baseline,
        results,
        directory.settings,
        directory.sessions,
    )


def _grading(config: EvaluationConfig, problems: BenchmarkProblems) -> dict[str, Any]:
    """Options of `CodeVerifier` that decide verdicts."""
    return {
        "compare": config.compare or problems.benchmark.compare,
        "prelude": problems.benchmark.prelude,
        "time_limit": config.time_limit,
        "memory_limit": config.memory_limit,
    }


def _settings(
    config: EvaluationConfig, resolved: Resolved, grading: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """All that decides the attempts and their verdicts.

    `rollout_batch_size` decides which tokens a seed draws, but is left out: where memory runs out,
    an evaluation has to go on with a smaller one.
    """
    names = ("dtype", "attn_implementation", "load_in_4bit", "draws", "batch_size", "seeds")
    return {
        "num_attempts": resolved.num_attempts,
        "chat_template_kwargs": resolved.chat_template_kwargs,
        "methods": {name: resolved.told(METHODS[name]) for name in config.methods},
        "grading": grading,
        **{name: getattr(config, name) for name in names},
    }


def _session(command: str) -> dict[str, Any]:
    accelerator = torch.accelerator.current_accelerator()
    device = "cpu" if accelerator is None else torch.get_device_module().get_device_name()
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
            "platform": platform.platform(),
            "device": device,
        },
    }
