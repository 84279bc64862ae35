"""Continuous batching with `transformers`: a completion that ends makes room for the next one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import ceil

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation import ContinuousBatchingConfig
from transformers.generation.continuous_batching import ContinuousBatchingManager
from transformers.generation.continuous_batching.cache import group_layers_by_attn_type
from transformers.generation.continuous_batching.requests import GenerationOutput
from transformers.generation.continuous_batching.utils import WorkloadHints

from .generator import Completion, Sampling
from .transformers_backend import TransformersBackend

# Without flash attention the library allocates a mask of tokens in a forward x tokens in the cache.
_CPU_BATCH_TOKENS = 512


class ContinuousBatchingGenerator(TransformersBackend):
    """Generates with the continuous batching of `transformers`, one role at a time.

    The sequences of a forward are packed into one row without padding, which an adapter can only
    serve whole: there is no taking in of solver prompts while the planner speaks. The cache lives
    for one call of `generate`, and so does another attention implementation where the library
    needs one. Each call seeds torch's generators with a number drawn from them. Completions come
    with the log-probabilities that their tokens were sampled with, unless they are greedy.

    Args:
        model, tokenizer, eos_token_ids, unwrap: as for `TransformersBackend`.
        batch_size: most sequences decoded at once; None leaves it to the size of the cache.
        config: of the library. On a CPU the cache is made as large as a call can use, unless
            `num_blocks` is given.

    Raises:
        ValueError: the library has no paged cache for a layer of the model, e.g. for linear
            attention, or `config` fixes a seed.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        eos_token_ids: Sequence[int],
        batch_size: int | None = None,
        unwrap: Callable[[], AbstractContextManager[PreTrainedModel | PeftModel]] | None = None,
        config: ContinuousBatchingConfig | None = None,
    ):
        super().__init__(model, tokenizer, eos_token_ids, batch_size, unwrap)
        self.config = config or ContinuousBatchingConfig()
        if self.config.seed is not None:
            raise ValueError(
                f"The continuous batching config has seed={self.config.seed}, with which every "
                "rollout would draw the same numbers; leave it at None and seed the trainer."
            )
        _refuse_unpaged(model)

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        """Continues each prompt (token ids) once, as `adapter`, in the order of the prompts.

        Raises:
            MemoryError: the cache for the call does not fit.
            RuntimeError: generation failed on a prompt, with the library's error.
            ValueError: a plain model is to speak as an adapter, or a sampling setting needs the
                whole sequence.
        """
        if sampling.repetition_penalty != 1:
            raise ValueError(
                f"repetition_penalty={sampling.repetition_penalty} is not supported by continuous "
                "batching, which does not show a sequence to what changes its logits; set it to "
                "1.0, or use TransformersGenerator."
            )
        if not prompts:
            return []
        with self._speaking(adapter) as model, self._manager(model, prompts, sampling) as manager:
            # All requests wait before the first forward: with the same seed, the batches and hence
            # the tokens are the same.
            numbers = {id_: i for i, id_ in enumerate(manager.add_requests(list(prompts)))}
            manager.start()
            completions: dict[int, Completion] = {}
            while len(completions) < len(prompts):
                output = _next_output(manager)
                number = numbers[output.request_id]
                if output.error is not None:
                    # Not chained: the traceback of the library's error would keep the cache.
                    raise RuntimeError(
                        f"Continuous batching failed on prompt {number} of {len(prompts)} "
                        f"({len(prompts[number])} tokens, adapter {adapter!r}): {output.error}"
                    )
                completions[number] = self._completion(
                    output.generated_tokens, output.logprobs or None
                )
        return [completions[i] for i in range(len(prompts))]

    @contextmanager
    def _manager(
        self, model: PreTrainedModel | PeftModel, prompts: Sequence[list[int]], sampling: Sampling
    ) -> Iterator[ContinuousBatchingManager]:
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        attention = base.config._attn_implementation
        manager = None
        try:
            manager = base.init_continuous_batching(
                self._generation_config(sampling),
                self._sized(base.device, prompts, sampling),
                WorkloadHints(
                    max_prompt_length=max(map(len, prompts)),
                    max_generated_length=sampling.max_new_tokens,
                    num_requests=len(prompts),
                ),
            )
            yield manager
        finally:
            if manager is not None:
                manager.stop(hard_stop=True)  # nothing is open, or nobody waits for it any more
                manager.destroy()
            if base.config._attn_implementation != attention:
                base.set_attn_implementation(attention)

    def _sized(
        self, device: torch.device, prompts: Sequence[list[int]], sampling: Sampling
    ) -> ContinuousBatchingConfig:
        """The library's configuration for one call.

        On an accelerator, the library sizes the cache by the memory that is free. On a CPU it would
        take most of the machine's.
        """
        config = copy.copy(self.config)
        # Of greedy tokens it would take the largest probability, where logits that differ can tie.
        config.return_logprobs = sampling.temperature > 0
        if self.batch_size is not None:
            config.max_requests_per_batch = self.batch_size
        if device.type == "cpu":
            open_ = config.max_requests_per_batch or len(prompts)
            if config.num_blocks is None:
                lengths = sorted((len(ids) for ids in prompts), reverse=True)[:open_]
                pages = (ceil((n + sampling.max_new_tokens) / config.page_size) for n in lengths)
                config.num_blocks = sum(pages)
                config.safety_margin = 0.0  # all of them fit
            if config.max_batch_tokens is None:
                config.max_batch_tokens = max(_CPU_BATCH_TOKENS, min(open_, len(prompts)))
        return config


def _next_output(manager: ContinuousBatchingManager) -> GenerationOutput:
    """Waits for the next request that is finished or failed.

    Raises:
        RuntimeError: there will be none.
    """
    while True:
        running = manager.is_running()
        output = manager.get_result(timeout=0.5)
        if output is not None:
            return output
        if not running:
            raise RuntimeError(
                "Continuous batching stopped before all prompts were continued: "
                f"{manager.background_thread_status.fatal_error}"
            )


def _refuse_unpaged(model: PreTrainedModel | PeftModel) -> None:
    config = model.config.get_text_config()
    try:
        group_layers_by_attn_type(config)
    except ValueError as error:
        raise ValueError(
            f"Continuous batching has no paged cache for a layer of this model (model_type="
            f"{config.model_type!r}; transformers says: {error}). Use the batched backend: "
            "`use_transformers_continuous_batching=False`, or TransformersGenerator."
        ) from error
