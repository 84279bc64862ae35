"""Generation with vLLM in this process: one engine holds the base once and speaks as every role.

Needs the package `vllm` (`pip install 'cppo-trl[vllm]'`). The engine loads the base from its
checkpoint; of what is trained, it is given the adapters only.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence, Set
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any

import torch

from cppo_trl.routing import BASE

from .adapter_sync import AdapterSync
from .generator import Completion, Sampling
from .streams import Streams

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams
    from vllm.lora.request import LoRARequest

# The ranks that vLLM has kernels for: an adapter is padded to the next one.
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


class VLLMGenerator(Streams):
    """Generates with an engine of vLLM that shares the process, and the GPU, with the training.

    Args:
        model: id or path of the base's checkpoint.
        adapters: the adapters, which may change; None for a base that speaks as `routing.BASE`
            only.
        eos_token_ids: every id that ends a completion.
        sleep_mode: whether `sleep` frees the memory; nothing does where the device has no such
            mode.
        seed: of the engine's random numbers, where it has its own.
        engine: more arguments of `vllm.LLM`, such as `gpu_memory_utilization`, `max_model_len`,
            `max_num_seqs`, `dtype` or `quantization` (as the training's base is).

    Raises:
        ImportError: there is no package `vllm`.
        ValueError: an adapter's rank is too high for vLLM.
    """

    def __init__(
        self,
        model: str,
        adapters: AdapterSync | None,
        eos_token_ids: Sequence[int],
        *,
        sleep_mode: bool = False,
        seed: int = 0,
        **engine: Any,
    ):
        super().__init__()
        require_vllm()
        # Another process would need a GPU context of its own and, where it is spawned, would run
        # the training's script again.
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        # On a CPU, the training's threads are these, too.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        from vllm import LLM
        from vllm.platforms import current_platform

        self.eos_token_ids = list(eos_token_ids)
        self._adapters = adapters
        self._sleeps = sleep_mode and current_platform.is_sleep_mode_available()
        self._loras: dict[str, LoRARequest] = {}
        self._lora_ids = count(1)
        self._tickets = count()
        if adapters is not None:
            engine |= {
                "enable_lora": True,
                # On a CPU, vLLM 0.32 gives prompts without adapter the last slot's weights where a
                # batch has others too: one slot stays empty.
                "max_loras": len(adapters.adapters) + current_platform.is_cpu(),
                "max_lora_rank": lora_rank(adapters.rank),
            }
        with torch.random.fork_rng():  # the engine seeds the training's random numbers as well
            llm = LLM(
                model=model,
                enable_prefix_caching=True,
                skip_tokenizer_init=True,  # it is given token ids, and returns them
                enable_sleep_mode=self._sleeps,
                # With the temperature in them: what the tokens were drawn from.
                logprobs_mode="processed_logprobs",
                seed=seed,
                **engine,
            )
        self._engine = llm.llm_engine
        self._llm = llm

    def submit(self, prompt_ids: list[int], adapter: str, sampling: Sampling) -> int:
        """Begins to continue a prompt as `adapter`, with its weights of the last `sync`, and
        returns the ticket that `finished` names it by.

        Raises:
            ValueError: there is no such adapter, or the prompt is longer than the model allows.
        """
        ticket = next(self._tickets)
        self._engine.add_request(
            str(ticket),
            {"prompt_token_ids": prompt_ids},
            self._sampling_params(sampling),
            lora_request=self._lora(adapter),
        )
        self._open.add(ticket)
        return ticket

    def _next(self, seconds: float | None) -> dict[int, Completion]:
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        finished: dict[int, Completion] = {}
        while not finished:
            ended = [output for output in self._engine.step() if output.finished]
            finished = {int(output.request_id): self._completion(output) for output in ended}
            if time.monotonic() > deadline:
                break
        return finished

    def _give_up(self, tickets: Set[int]) -> None:
        self._engine.abort_request([str(ticket) for ticket in tickets])

    def sync(self) -> None:
        """Gives the engine the adapters whose weights have changed since the last call.

        Each state has a name, a path and an id of its own: under a known id the engine would go on
        with the weights that it has, under a known name and path with the keys and values that it
        has cached.

        Raises:
            RuntimeError: there are open prompts, whose tokens would come from two policies.
        """
        if self._adapters is None:
            return
        if self._open:
            raise RuntimeError(f"{len(self._open)} prompts are open; adapters change between them")
        from vllm.lora.request import LoRARequest

        for version in self._adapters.update():
            before = self._loras.pop(version.adapter, None)
            if before is not None:
                self._engine.remove_lora(before.lora_int_id)
            lora = LoRARequest(version.name, next(self._lora_ids), str(version.path))
            if not self._engine.add_lora(lora):
                raise RuntimeError(f"vLLM did not load the adapter {version.path}")
            self._loras[version.adapter] = lora

    def sleep(self, level: int = 1) -> None:
        """Frees the device's memory until `wake_up`, in sleep mode.

        Level 1 keeps the base and the adapters in the host's memory; level 2 drops them.
        """
        if self._sleeps:
            self._llm.sleep(level)

    def wake_up(self) -> None:
        """Takes the memory back that `sleep` freed."""
        if self._sleeps and self._engine.is_sleeping():
            if torch.accelerator.is_available():
                torch.accelerator.empty_cache()  # what the training has cached may be in the way
            self._llm.wake_up()

    def begin_rollout(self) -> None:
        """Wakes the engine up and gives it the adapters as they are now."""
        self.wake_up()
        self.sync()

    def end_rollout(self) -> None:
        """Leaves the device's memory to the update, in sleep mode."""
        self.sleep()

    def _lora(self, adapter: str) -> LoRARequest | None:
        if adapter == BASE:
            return None
        if adapter not in self._loras:
            raise ValueError(
                f"adapter is {adapter!r}; allowed: {', '.join([BASE, *self._loras])} (`sync` loads "
                "adapters)"
            )
        return self._loras[adapter]

    def _sampling_params(self, sampling: Sampling) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            **sampling_fields(sampling, self.eos_token_ids),
            max_tokens=sampling.max_new_tokens,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _completion(self, request: RequestOutput) -> Completion:
        (output,) = request.outputs
        if output.finish_reason not in ("stop", "length"):
            raise RuntimeError(f"vLLM ended a request early: {output.finish_reason}")
        token_ids = list(output.token_ids)
        logprobs = [
            by_token[token].logprob
            for token, by_token in zip(token_ids, output.logprobs, strict=True)
        ]
        return Completion(token_ids, output.finish_reason == "length", logprobs)


def require_vllm() -> None:
    """Refuses to go on without the package, as `ImportError`."""
    if find_spec("vllm") is None:
        raise ImportError("there is no package vllm; pip install 'cppo-trl[vllm]'")


def sampling_fields(sampling: Sampling, eos_token_ids: Sequence[int]) -> dict[str, Any]:
    """How a completion is drawn, in the words of vLLM's `SamplingParams` and of its server."""
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "repetition_penalty": sampling.repetition_penalty,
        # A checkpoint's own end tokens and filters stay out of it.
        "stop_token_ids": list(eos_token_ids),
        "ignore_eos": True,
        "logprobs": 0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
    }
    if sampling.temperature > 0:
        fields |= {
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p or 0.0,
        }
    return fields


def lora_rank(rank: int) -> int:
    """The lowest rank of `LORA_RANKS` that an adapter fits in.

    Raises:
        ValueError: it fits in none.
    """
    if rank > LORA_RANKS[-1]:
        raise ValueError(f"an adapter has rank {rank}; vLLM serves at most {LORA_RANKS[-1]}")
    return next(allowed for allowed in LORA_RANKS if allowed >= rank)
