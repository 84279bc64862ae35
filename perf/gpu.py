"""Training on one GPU: memory, tokens a second, MFU, and the longest completions that fit.

    python perf/gpu.py [--sizes 0.8B 4B 9B] [--precisions 4-bit bf16] [--memory 80]
    python perf/gpu.py --device cpu --tiny

Works offline: models of Qwen3.5's shapes are made on the device, layer by layer, with random
weights, in bf16 or in 4 bits (nf4 with nested scales), with a planner and a solver adapter of rank
32 on all linear layers but the head. Every row runs in a process of its own (`gpu_training.py`).

Generation is `TransformersGenerator` as the trainer has it: 32 plans, 8 of each of 4 problems, and
32 attempts with prompts of their own; tokens are new tokens. The update is the forward and backward
of `CPPOTrainer`, with gradient checkpointing, on micro-batches of one tuple (a plan and K = 4
attempts); tokens are those of prompts and completions. The optimizer's step and the pass of the
reference are not in its time. The longest completion is the most tokens, within 1/16, with which a
whole step of one tuple a micro-batch fits in the memory of the GPU, of which `--memory` GB are used
at most. MFU counts the operations that the model needs: `gpu_training.operations` has the formula.
Generation with vLLM is not measured here.

On a CPU, memory is the most that the process had so far, and nothing runs out of it: the longest
completion is the longest that was tried.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

# What is imported, by the name of its package.
REQUIRED = {name: name for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")}
OPTIONAL = {"fla": "flash-linear-attention", "causal_conv1d": "causal-conv1d"}
PRECISIONS = ("4-bit", "bf16")
# TFLOPS of dense bf16 products, as the maker states them; the first name that fits counts.
PEAK_TFLOPS = {
    "B200": 2250,
    "H200": 989,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "RTX 4090": 165,
    "RTX 3090": 71,
}
# What `gpu_training.py` found -> its column and format.
COLUMNS = {
    "weights": ("weights, GB", ".1f"),
    "plans": ("plans, tokens/s", ".0f"),
    "attempts": ("attempts, tokens/s", ".0f"),
    "generation memory": ("peak, GB", ".1f"),
    "update": ("update, tokens/s", ".0f"),
    "mfu": ("MFU", ".1%"),
    "update memory": ("peak, GB", ".1f"),
    "longest": ("longest completion", "d"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["0.8B", "4B", "9B"])
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--memory", type=float, default=80.0, help="GB of the GPU, at most")
    parser.add_argument("--peak-tflops", type=float, help="of the device, dense, in bf16")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, to see that it runs")
    args = parser.parse_args()
    if missing := absent(REQUIRED):
        sys.exit(f"These packages are not installed: {', '.join(missing)}")
    about, peak = describe(args.device, args.memory)
    peak = args.peak_tflops or peak
    print(about)
    if missing := absent(OPTIONAL):
        print(f"Not installed: {', '.join(missing)}. Linear attention runs in plain PyTorch.")
    if peak is None:
        print("The peak of this device is not known: `--peak-tflops` gives MFU.")
    print(f"\n| | | {' | '.join(name for name, _ in COLUMNS.values())} |")
    print(f"|---|---|{'---:|' * len(COLUMNS)}")
    for size in ["tiny"] if args.tiny else args.sizes:
        for precision in args.precisions:
            found = measure(size, precision, args.device, args.memory, peak)
            cells = [cell(found, name, peak is not None) for name in COLUMNS]
            print(f"| Qwen3.5 {size} | {precision} | {' | '.join(cells)} |", flush=True)


def absent(packages: dict[str, str]) -> list[str]:
    """Those that cannot be imported."""
    return [name for module, name in packages.items() if importlib.util.find_spec(module) is None]


def describe(name: str, memory: float) -> tuple[str, float | None]:
    """What the table is about, and the peak of the device in TFLOPS where it is known."""
    import torch

    versions = ", ".join(f"{name} {version(name)}" for name in REQUIRED.values())
    device = torch.device(name)
    if device.type == "cpu":
        return f"CPU; {versions}.", None
    if not torch.cuda.is_available():
        sys.exit(
            "PyTorch finds no GPU. `python perf/gpu.py --device cpu --tiny` runs all of this on "
            "a tiny shape."
        )
    facts = torch.cuda.get_device_properties(device)
    total = facts.total_memory / 1e9
    known = (peak for part, peak in PEAK_TFLOPS.items() if part in facts.name)
    used = f"{min(memory, total):.0f} of its {total:.0f} GB used"
    return f"{facts.name}, {used}; {versions}.", next(known, None)


def measure(
    size: str, precision: str, device: str, memory: float, peak: float | None
) -> dict[str, float]:
    """What a process of its own found; what is not there ran out of memory."""
    script = str(Path(__file__).with_name("gpu_training.py"))
    options = ["--device", device, "--memory", str(memory)]
    if peak is not None:
        options += ["--peak-tflops", str(peak)]
    done = subprocess.run(
        [sys.executable, script, size, precision, *options], capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"Qwen3.5 {size}, {precision}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def cell(found: dict[str, float], name: str, has_peak: bool) -> str:
    if name not in found:
        return "-" if name == "mfu" and not has_peak else "out of memory"
    most = name == "longest" and found[name] == found["tried"]
    return f"{found[name]:{COLUMNS[name][1]}}" + (" (not more tried)" if most else "")


if __name__ == "__main__":
    main()
