"""One row of `perf/gpu.py`: a random model is made, generates and trains; prints JSON.

python perf/gpu_training.py 4B 4-bit --device cuda:0
python perf/gpu_training.py tiny bf16 --device cpu
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import torch
from fixed_length import fixed_length_trainer, lora
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from random_base import build, tiny_shape
from shapes import qwen3_5
from transformers import PreTrainedTokenizerBase

from cppo_trl import CPPOTrainer
from cppo_trl.generation import Completion, Sampling
from cppo_trl.roles import PLANNER, SOLVER, add_roles
from tiny_models import make_tokenizer

RANK, K = 32, 4
PRECISIONS = ("4-bit", "bf16")
TINY = "tiny"
T = TypeVar("T")


@dataclass(frozen=True)
class Lengths:
    """Tokens of what is measured, and where the search for the longest completion begins and
    ends.
    """

    prompt: int = 512
    completion: int = 1024
    new: int = 256  # of generation
    first: int = 1024
    most: int = 131072


TINY_LENGTHS = Lengths(prompt=32, completion=16, new=8, first=16, most=32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("size")
    parser.add_argument("precision", choices=PRECISIONS)
    parser.add_argument("--device", required=True)
    parser.add_argument("--memory", type=float, default=80.0, help="GB of the GPU, at most")
    parser.add_argument("--peak-tflops", type=float)
    args = parser.parse_args()
    device = torch.device(args.device)
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, args.memory * 1e9 / total), device)
    print(json.dumps(measure(args.size, args.precision, device, args.peak_tflops)))


def measure(
    size: str, precision: str, device: torch.device, peak_tflops: float | None
) -> dict[str, Any]:
    """What was measured; what is not there ran out of memory."""
    lengths = TINY_LENGTHS if size == TINY else Lengths()
    tokenizer = make_tokenizer()
    config = tiny_shape() if size == TINY else qwen3_5(size)
    config.pad_token_id = tokenizer.pad_token_id
    config.eos_token_id = tokenizer.eos_token_id
    model = within_memory(
        lambda: add_roles(build(config, precision == "4-bit", device), lora(RANK))
    )
    if model is None:
        return {}
    found = {"weights": held_memory(device)}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainers(model, tokenizer, folder, lengths)
        found |= within_memory(lambda: generation(trainer(), device, lengths)) or {}
        found |= within_memory(lambda: update(trainer(), device, peak_tflops)) or {}
        found["longest"] = longest_completion(trainer, lengths)
    found["tried"] = lengths.most
    return found


def within_memory(work: Callable[[], T]) -> T | None:
    """What a function returns, or None where it runs out of the GPU's memory; all else that it had
    is freed.
    """
    result = None
    try:
        result = work()
    except torch.OutOfMemoryError:
        pass
    gc.collect()  # trainers are in reference cycles
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return result


@dataclass
class Trainers:
    """Makes trainers of one problem; each of their micro-batches is one tuple."""

    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    folder: str
    lengths: Lengths

    def __call__(
        self, completion: int | None = None, tuples: int = 4, steps: int = 2
    ) -> CPPOTrainer:
        """The adapters begin as the identity, so that the bare base is the reference."""
        for name, parameter in self.model.named_parameters():
            if "lora_B" in name:
                parameter.data.zero_()
        self.model.zero_grad(set_to_none=True)
        on_gpu = self.model.device.type == "cuda"
        completion = completion or self.lengths.completion
        return fixed_length_trainer(
            self.model,
            self.folder,
            problems=1,
            tuples=tuples,
            strategies=K,
            statement_tokens=self.lengths.prompt,
            plan_tokens=min(completion, 512),
            attempt_tokens=completion,
            steps=steps,
            tuples_at_once=1,
            trainer_settings={"processing_class": self.tokenizer},
            use_cpu=not on_gpu,
            bf16=on_gpu,
            gradient_checkpointing=True,
        )


# ---- what is measured ----


def generation(trainer: CPPOTrainer, device: torch.device, lengths: Lengths) -> dict[str, float]:
    """New tokens a second of both roles, and the peak of memory."""
    generator = trainer.rollout_policy.speaker.generator
    drawn = torch.randint(5, 300, (32, lengths.prompt)).tolist()
    batches = {
        "plans": (PLANNER, [ids for ids in drawn[:4] for _ in range(8)]),
        "attempts": (SOLVER, drawn),
    }
    generator.generate(drawn[:1], SOLVER, Sampling(max_new_tokens=4))  # loads the kernels
    reset_peak(device)
    found = {}
    for name, (role, prompts) in batches.items():
        started = clock(device)
        generator.generate(prompts, role, Sampling(max_new_tokens=lengths.new))
        found[name] = len(prompts) * lengths.new / (clock(device) - started)
    return found | {"generation memory": peak_memory(device)}


def update(
    trainer: CPPOTrainer, device: torch.device, peak_tflops: float | None
) -> dict[str, float]:
    """Tokens a second of forward and backward, MFU, and the peak of memory."""
    generator = RandomTokens()
    trainer.rollout_policy.speaker.generator = generator
    training, rolling = [], []
    timed(trainer, "training_step", training, device)
    timed(trainer, "_generate_and_score_completions", rolling, device)
    reset_peak(device)
    trainer.train()
    # The first of the two steps warms up; a training step with a rollout has the rollout's time.
    micro_batches = trainer.args.gradient_accumulation_steps
    seconds = sum(training[micro_batches:]) - sum(rolling[1:])
    sequences = generator.lengths[len(generator.lengths) // 2 :]
    tokens = sum(prompt + completion for prompt, completion in sequences)
    found = {"update": tokens / seconds, "update memory": peak_memory(device)}
    if peak_tflops is not None:
        found["mfu"] = operations(trainer.model, sequences) / seconds / (peak_tflops * 1e12)
    return found


def longest_completion(trainer: Trainers, lengths: Lengths) -> int:
    """The most completion tokens of an attempt with which a step of one tuple fits."""

    def step(completion: int) -> bool:
        one = trainer(completion, tuples=2, steps=1)
        one.rollout_policy.speaker.generator = RandomTokens()
        one.train()
        return True

    return longest(
        lambda completion: within_memory(lambda: step(completion)) or False,
        lengths.first,
        lengths.most,
    )


def longest(fits: Callable[[int], bool], first: int, most: int) -> int:
    """The largest length that fits, within 1/16, from doubling and halving; 0 if none does."""
    good, bad = 0, most + 1
    length = first
    while good < length < bad:
        if fits(length):
            good, length = length, min(2 * length, most)
        else:
            bad = length
    while good < most and bad - good > max(1, good // 16):
        middle = (good + bad) // 2
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good


class RandomTokens:
    """A generation backend that draws its tokens at once.

    Attributes:
        lengths: tokens of the prompt and of the completion, for all that it was asked.
    """

    def __init__(self) -> None:
        self.lengths: list[tuple[int, int]] = []

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        count = sampling.max_new_tokens
        self.lengths += [(len(ids), count) for ids in prompts]
        drawn = torch.randint(5, 300, (len(prompts), count)).tolist()
        return [Completion(ids, truncated=False) for ids in drawn]


def operations(model: PeftModel, sequences: Sequence[tuple[int, int]]) -> float:
    """Floating-point operations that forward and backward of these sequences need.

    With N weights in linear layers, A in an adapter, H in the head, and n attention layers of h
    heads of size d, a sequence of T tokens, C of them completion, takes

        4 N T + 6 A T + 4 H C + 6 n h d T^2

    A frozen weight takes 2 operations a token forward and 2 backward (it has no gradient), a
    trained one 2 and 4; causal attention takes 2 h d T^2 forward and twice that backward. Full
    fine-tuning would have 6 N T and 6 H C. Left out: what checkpointing computes again, the other
    role's adapter, which the router zeroes, and the recurrence of linear attention.

    Args:
        model: with adapters of rank `RANK`.
        sequences: tokens of the prompt and of the completion of each.
    """
    config, head = model.config, model.get_output_embeddings()
    layers = [m.get_base_layer() for m in model.modules() if isinstance(m, LoraLayer)]
    frozen = sum(layer.in_features * layer.out_features for layer in layers)
    adapter = RANK * sum(layer.in_features + layer.out_features for layer in layers)
    heads = config.num_attention_heads * config.layer_types.count("full_attention")
    total = 0.0
    for prompt, completion in sequences:
        tokens = prompt + completion
        total += (4 * frozen + 6 * adapter) * tokens + 6 * heads * config.head_dim * tokens**2
        total += 4 * head.weight.numel() * completion
    return total


# ---- clocks and memory ----


def clock(device: torch.device) -> float:
    """Wall seconds, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(owner: Any, name: str, seconds: list[float], device: torch.device) -> None:
    """Notes the seconds of each call of a method."""
    method = getattr(owner, name)

    def measured(*args: Any, **kwargs: Any) -> Any:
        started = clock(device)
        result = method(*args, **kwargs)
        seconds.append(clock(device) - started)
        return result

    setattr(owner, name, measured)


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def held_memory(device: torch.device) -> float:
    """GB that are in use."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 1e9
    return peak_memory(device)


def peak_memory(device: torch.device) -> float:
    """The most GB that were in use."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
