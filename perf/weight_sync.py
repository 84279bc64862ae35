"""What travels to the generation engine after an update: both adapters, or all merged weights.

    python perf/weight_sync.py [--sizes 0.6B 0.8B 2B 4B 9B] [--repeats 3]

Merged: the active adapter is added to the weights of the base, all of them are copied, and it is
taken out again, as TRL does at each sync; this serves one adapter. Adapters: `AdapterSync` finds
that planner and solver (rank 32, fp32) have changed and writes both, and they are read again, as an
engine does. Four decoder layers of each shape (of Qwen3.5: three of linear attention, one of full
attention) are measured in bf16 on one thread of this machine, medians of the repeats; the table has
them times the layers of the shape, and the embeddings for what is merged.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from shapes import qwen3, qwen3_5
from transformers import AutoModelForCausalLM

from cppo_trl.generation import AdapterSync
from cppo_trl.roles import SOLVER, add_roles

SHAPES = {"0.6B": qwen3, "0.8B": qwen3_5, "2B": qwen3_5, "4B": qwen3_5, "9B": qwen3_5}
NAMES = {qwen3: "Qwen3", qwen3_5: "Qwen3.5"}
LAYERS = 4  # a period of the layer types


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    print("| | merged, GB | seconds | adapters, GB | seconds | bytes, times | time, times |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for size in args.sizes:
        merged_bytes, merged_time, own_bytes, own_time = measure(size, args.repeats)
        print(
            f"| {NAMES[SHAPES[size]]} {size} | {merged_bytes / 1e9:.2f} | {merged_time:.2f} | "
            f"{own_bytes / 1e9:.3f} | {own_time:.2f} | {merged_bytes / own_bytes:.0f} | "
            f"{merged_time / own_time:.1f} |",
            flush=True,
        )


def measure(size: str, repeats: int) -> tuple[float, float, float, float]:
    """Bytes and seconds of a sync of merged weights, and of one of both adapters."""
    shape = SHAPES[size]
    whole = shape(size)
    times = whole.num_hidden_layers / LAYERS
    config = shape(size, num_hidden_layers=LAYERS, layer_types=None, vocab_size=64)
    base = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    weights = sum(parameter.nbytes for parameter in base.parameters())
    model = add_roles(base, LoraConfig(r=32, target_modules="all-linear", task_type="CAUSAL_LM"))
    embedding = torch.ones(whole.vocab_size * whole.hidden_size, dtype=torch.bfloat16)
    target = torch.ones_like(embedding)
    matrices = 1 if whole.tie_word_embeddings else 2  # of the embeddings and the head
    copies = [torch.ones_like(weight) for weight in frozen(model)]
    merging = median(lambda: merge_and_copy(model, copies), repeats)
    copying = median(lambda: target.copy_(embedding), repeats)
    sync = AdapterSync(model)
    updating = median(lambda: write_and_read(sync), repeats, lambda: change_adapters(model))
    files = sum(file.stat().st_size for file in sync.folder.rglob("*.safetensors"))
    return (
        times * weights + matrices * embedding.nbytes,
        times * merging + matrices * copying,
        times * files,
        times * updating,
    )


def frozen(model: PeftModel) -> list[torch.Tensor]:
    """The weights of the base."""
    return [p.data for name, p in model.named_parameters() if "lora_" not in name]


def merge_and_copy(model: PeftModel, copies: list[torch.Tensor]) -> None:
    model.merge_adapter([SOLVER])
    for copy, weight in zip(copies, frozen(model), strict=True):
        copy.copy_(weight)
    model.unmerge_adapter()


def change_adapters(model: PeftModel) -> None:
    """What an update does."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data += 1e-4


def write_and_read(sync: AdapterSync) -> None:
    for version in sync.update():
        load_file(version.path / "adapter_model.safetensors")


def median(
    work: Callable[[], object], repeats: int, before: Callable[[], object] = lambda: None
) -> float:
    """Wall seconds of a call, each after `before`; the first one, which allocates, does not
    count.
    """
    seconds = []
    for _ in range(repeats + 1):
        before()
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
