"""What a training step takes, against its sizes, and where the next bottleneck is.

    python perf/scaling.py [--quick] [--rounds 2] [--steps 3] [--workers 1 2]

One size at a time is changed from the base shape: plans of a problem (M), strategies of a plan (K),
tokens of the prompt and of each completion, workers of the verifier. `CPPOTrainer` trains a tiny
random Qwen3 on one thread; all sequences have the length that they are told, and the verifier runs
programs that take a fixed time of the processor each. Wall seconds, medians of the steps without
the first; as the verifier works in other processes, other work on the machine counts. Rows that
take turns within one run can be compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fixed_length import MODEL, fixed_length_trainer, passes

from cppo_trl.verifier import CodeVerifier
from tiny_models import save_qwen3

PHASES = ("planning", "solving", "verifying", "updating")
# What a program does before it says whether it is right.
PROGRAM = """```python
import time
while time.process_time() < {seconds}:
    pass
print("{said}")  # {number}
```"""


@dataclass(frozen=True)
class Shape:
    """The sizes of a step."""

    problems: int = 1
    tuples: int = 4
    strategies: int = 4
    statement_tokens: int = 200
    completion_tokens: int = 64
    workers: int = 1

    @property
    def sequences(self) -> int:
        return self.problems * self.tuples * (1 + self.strategies)


NAMES = {
    "tuples": "M",
    "strategies": "K",
    "statement_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
    "workers": "workers",
}
SMALLEST = Shape(1, 2, 2, 40, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=2, help="runs of each row, in turns")
    parser.add_argument("--steps", type=int, default=3, help="of a run; the first does not count")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--program-seconds", type=float, default=0.05)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error(f"--steps is {args.steps}; it must be 2 or more, as the first does not count")
    base = SMALLEST if args.quick else Shape()
    shapes = dict(rows(base, args.workers, factors=(2,) if args.quick else (2, 4)))
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in shapes}
    with tempfile.TemporaryDirectory() as folder:
        model = save_qwen3(Path(folder) / "base", **MODEL)
        for _ in range(args.rounds):
            for name, shape in shapes.items():
                steps = measure(shape, model, Path(folder), args.steps, args.program_seconds)
                runs[name] += steps
    found = {name: medians(steps) for name, steps in runs.items()}
    print(f"| | sequences | step | {' | '.join(PHASES)} | all else |")
    print(f"|---|---:|---:|{'---:|' * (len(PHASES) + 1)}")
    for name, shape in shapes.items():
        cells = [found[name][part] for part in ("step", *PHASES, "all else")]
        print(f"| {name} | {shape.sequences} | {' | '.join(f'{cell:.2f}' for cell in cells)} |")
    print(f"\n{bottleneck(found)}")


def rows(base: Shape, workers: list[int], factors: tuple[int, ...]) -> Iterator[tuple[str, Shape]]:
    """Shapes by the name of their row, the base first."""
    yield "base", replace(base, workers=workers[0])
    for field, name in NAMES.items():
        values = workers[1:] if field == "workers" else [asdict(base)[field] * f for f in factors]
        for value in values:
            yield f"{name} {value}", replace(base, **({"workers": workers[0]} | {field: value}))


def measure(
    shape: Shape, model: Path, folder: Path, steps: int, program_seconds: float
) -> list[dict[str, float]]:
    """Wall seconds of each step but the first, and of its phases."""

    def program(number: int) -> str:
        said = "done" if passes(number, shape.strategies) else "wrong"
        return PROGRAM.format(seconds=program_seconds, said=said, number=number)

    with CodeVerifier(shape.workers, cache_size=0) as verifier:
        trainer = fixed_length_trainer(
            model,
            folder / "run",
            problems=shape.problems,
            tuples=shape.tuples,
            strategies=shape.strategies,
            statement_tokens=shape.statement_tokens,
            plan_tokens=shape.completion_tokens,
            attempt_tokens=shape.completion_tokens,
            steps=steps,
            tuples_at_once=2,
            verifier=verifier,
            program=program,
        )
        trainer.train()
    logs = [log for log in trainer.state.log_history if "step_time" in log]
    return [{name: log[f"seconds/{name}"] for name in PHASES} | step_of(log) for log in logs[1:]]


def step_of(log: dict[str, float]) -> dict[str, float]:
    """The whole step, without the optimizer's, and what is no phase: mostly the log-probabilities
    of the reference.
    """
    step = log["step_time"]
    return {"step": step, "all else": step - sum(log[f"seconds/{name}"] for name in PHASES)}


def medians(steps: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(step[name] for step in steps) for name in steps[0]}


def bottleneck(found: dict[str, dict[str, float]]) -> str:
    """What takes most of the base step, and what makes it most of a step."""
    base = found["base"]
    slowest = max(PHASES, key=lambda phase: base[phase])
    costs = {name: values["step"] / base["step"] for name, values in found.items()}
    dearest = max(costs, key=lambda name: costs[name])
    grows = max(PHASES, key=lambda phase: found[dearest][phase] - base[phase])
    return (
        f"At the base shape, {slowest} takes {base[slowest] / base['step']:.0%} of the step. "
        f"Of these changes, {dearest} costs most ({costs[dearest]:.1f} times the base step), and "
        f"most of that in {grows}."
    )


if __name__ == "__main__":
    main()
