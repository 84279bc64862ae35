"""What it gains that equal prompts go through the model once: rollouts with and without.

    python perf/prompt_sharing.py [--quick] [--rounds 3]

Each row is one batch of 32 sequences as a rollout has them: the M = 8 plans of each of 4 problems,
attempts at strategies that all differ (nothing is equal, so nothing can be gained), and L = 4
attempts at each of 8 strategies. Tiny random models with both adapters, one thread, completions of
one length; medians of the processor seconds of the rounds, in which both ways take turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import torch
from fixed_length import MODEL, NO_TOKEN, lora
from transformers import AutoModelForCausalLM, AutoTokenizer

from cppo_trl.generation import Sampling, TransformersGenerator, transformers_generator
from cppo_trl.roles import PLANNER, SOLVER, add_roles
from tiny_models import save_qwen3, save_qwen3_5

HYBRID = {
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
    "linear_num_key_heads": 4,
    "linear_key_head_dim": 32,
    "linear_num_value_heads": 8,
    "linear_value_head_dim": 32,
}
MODELS = {
    "Qwen3": (save_qwen3, MODEL),
    "Qwen3.5": (save_qwen3_5, MODEL | HYBRID),
}
# Row -> the role, distinct prompts, and sequences of each.
BATCHES = {
    "plans, M = 8": (PLANNER, 4, 8),
    "attempts, L = 1": (SOLVER, 32, 1),
    "attempts, L = 4": (SOLVER, 8, 4),
}
PROMPT_TOKENS = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="short prompts, to see that it runs")
    args = parser.parse_args()
    prompt_tokens, lengths = (60, (4,)) if args.quick else (PROMPT_TOKENS, (32, 256))
    print(f"Prompts of {prompt_tokens} tokens, medians of {args.rounds} rounds\n")
    print("| | 32 sequences | new tokens | each computed | equal ones once | times faster |")
    print("|---|---|---:|---:|---:|---:|")
    for name in MODELS:
        generator = load(name)
        for row, (role, distinct, copies) in BATCHES.items():
            prompts = make_prompts(distinct, copies, prompt_tokens)
            for new_tokens in lengths:
                each, once = measure(generator, role, prompts, new_tokens, args.rounds)
                print(
                    f"| {name} | {row} | {new_tokens} | {each:.2f} s | {once:.2f} s | "
                    f"{each / once:.2f} |",
                    flush=True,
                )


def load(name: str) -> TransformersGenerator:
    save, sizes = MODELS[name]
    with tempfile.TemporaryDirectory() as folder:
        save(folder, **sizes)
        model = add_roles(AutoModelForCausalLM.from_pretrained(folder), lora())
        return TransformersGenerator(model, AutoTokenizer.from_pretrained(folder), [NO_TOKEN])


def make_prompts(distinct: int, copies: int, tokens: int) -> list[list[int]]:
    """Random prompts, each of them several times."""
    drawn = torch.randint(5, 300, (distinct, tokens), generator=torch.Generator().manual_seed(0))
    return drawn.repeat_interleave(copies, 0).tolist()


def measure(
    generator: TransformersGenerator,
    role: str,
    prompts: list[list[int]],
    new_tokens: int,
    rounds: int,
) -> tuple[float, float]:
    """Processor seconds where each prompt is computed, and where equal ones are computed once."""
    sampling = Sampling(max_new_tokens=new_tokens)
    ways = {
        "each": patch.object(transformers_generator, "_shared_prefill", return_value=None),
        "once": nullcontext(),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    generator.generate(prompts[:2], role, Sampling(max_new_tokens=2))  # the first call is slower
    for _ in range(rounds):
        for way, context in ways.items():
            with context:
                started = time.process_time()
                generator.generate(prompts, role, sampling)
                seconds[way].append(time.process_time() - started)
    return statistics.median(seconds["each"]), statistics.median(seconds["once"])


if __name__ == "__main__":
    main()
