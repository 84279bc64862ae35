"""UpSkillTrainer: GRPO on prompts that name a latent number, which the attempts have to show."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import pad

from cppo_trl.methods.direct import latent_prompt
from cppo_trl.role_model import refuse_sharding, replaced
from cppo_trl.roles import keep_quantized_weights_differentiable

from .attempts import refuse_other_rows, row_problems, user_message
from .mutual_information import MutualInformation
from .solver_model import keep_adapter_in_fp32
from .upskill_config import UpSkillConfig


class UpSkillTrainer(GRPOTrainer):
    """Trainer for UpSkill (arXiv 2602.22296).

    What changes against [`GRPOTrainer`]: the j-th attempt at a problem is asked for with the latent
    number z = j mod K + 1 in its prompt, and its reward has a further term, `mi_weight` times the
    pointwise mutual information of the attempt and z. The attempts of all z are one group.

    Args:
        reward_funcs: as for `GRPOTrainer`, such as a verifier as `of_problems` gives it; they are
            called with `latent` as well. An attempt that none of them can score teaches nothing.
        args: an `UpSkillConfig`; its `reward_weights` are those of `reward_funcs`.
        train_dataset, eval_dataset: rows of `attempt_rows`; their prompts are replaced.
        kwargs: all else that `GRPOTrainer` takes.
    """

    _tag_names: ClassVar = ["trl", "grpo", "upskill"]
    _name = "UpSkill"
    _paper: ClassVar = {
        "title": "UpSkill: Mutual Information Skill Learning for Structured Response Diversity in "
        "LLMs",
        "id": "2602.22296",
        "citation": textwrap.dedent("""\
            @article{shah2026upskill,
                title  = {{UpSkill: Mutual Information Skill Learning for Structured Response
                          Diversity in LLMs}},
                author = {Shah, Devan and Yang, Owen and Yang, Daniel and Zheng, Chongyi and
                          Eysenbach, Benjamin},
                year   = 2026,
                eprint = {arXiv:2602.22296},
            }"""),
    }

    def __init__(
        self,
        model: Any,
        reward_funcs: Any,
        args: UpSkillConfig,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        reward_processing_classes: Any = None,
        **kwargs: Any,
    ):
        if not isinstance(args, UpSkillConfig):
            raise TypeError(f"`args` is a {type(args).__name__}; it must be an UpSkillConfig")
        refuse_sharding(args)  # ranks score different numbers of attempts
        sets = eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]
        for dataset in (train_dataset, *sets):
            if dataset is not None:
                refuse_other_rows(dataset.column_names)
        functions = list(reward_funcs) if isinstance(reward_funcs, list) else [reward_funcs]
        weights = args.reward_weights or [1.0] * len(functions)
        if len(weights) != len(functions):
            raise ValueError(
                f"reward_weights={weights!r} has {len(weights)} weights for {len(functions)} "
                "reward functions; give one for each (mi_weight is that of the information)"
            )
        if reward_processing_classes is not None:
            reward_processing_classes = [*reward_processing_classes, None]
        information = MutualInformation(args.num_latents, args.template, self._completion_logps)
        with replaced(args, {"reward_weights": [*weights, args.mi_weight]}):
            super().__init__(
                model,
                [*functions, information],
                args,
                train_dataset,
                eval_dataset,
                processing_class,
                reward_processing_classes,
                **kwargs,
            )
        keep_adapter_in_fp32(self)
        keep_quantized_weights_differentiable(self.model)  # scoring is a forward in eval mode

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        N = self.num_generations if self.model.training else self.num_generations_eval
        K, template = self.args.num_latents, self.args.template
        first = self.accelerator.process_index * len(inputs)  # groups may lie on several ranks
        asked = []
        for place, (row, problem) in enumerate(zip(inputs, row_problems(inputs), strict=True)):
            z = (first + place) % N % K + 1
            prompt = user_message(latent_prompt(problem, z, K, template))
            asked.append(row | {"prompt": prompt, "latent": z})
        return super()._generate_and_score_completions(asked)

    def _calculate_rewards(self, *args: Any) -> Tensor:
        rewards_BF = super()._calculate_rewards(*args)
        # What no other function could score is unknown as a whole: how well it shows z, alone,
        # would count as a failure.
        rewards_BF[rewards_BF[:, :-1].isnan().all(dim=1)] = torch.nan
        return rewards_BF

    def _completion_logps(
        self,
        prompts: Sequence[list[dict[str, str]]],
        completion_ids: Sequence[Sequence[int]],
    ) -> Tensor:
        """Returns log pi of each whole completion, (B,), in nats, at the sampling temperature."""
        prompt_ids, _, _ = self._tokenize_prompts(list(prompts))
        lengths = [len(p) + len(c) for p, c in zip(prompt_ids, completion_ids, strict=True)]
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        size = self.args.per_device_train_batch_size
        logps_B = torch.zeros(len(lengths), dtype=torch.float64)
        training = self.model.training
        self.model.eval()
        try:
            with (
                torch.no_grad(),
                disable_gradient_checkpointing(self.model, self.args.gradient_checkpointing_kwargs),
            ):
                for start in range(0, len(order), size):
                    chosen = order[start : start + size]
                    logps_B[chosen] = self._chunk_logps(
                        [prompt_ids[i] for i in chosen], [completion_ids[i] for i in chosen]
                    )
        finally:
            self.model.train(training)
        return logps_B

    def _chunk_logps(
        self, prompt_ids: list[list[int]], completion_ids: list[Sequence[int]]
    ) -> Tensor:
        device = self.accelerator.device
        prompts = [torch.tensor(ids, device=device) for ids in prompt_ids]
        completions = [torch.tensor(ids, device=device) for ids in completion_ids]
        pad_id = self._tokenizer.pad_token_id
        completion_mask = pad([torch.ones_like(ids) for ids in completions], 0)
        prompt_mask = pad([torch.ones_like(ids) for ids in prompts], 0, "left")
        logps, _, _ = self._get_per_token_logps_and_entropies(
            self.model,
            torch.cat([pad(prompts, pad_id, "left"), pad(completions, pad_id)], dim=1),
            torch.cat([prompt_mask, completion_mask], dim=1),
            completion_mask.shape[1],
        )
        return (logps.double() * completion_mask).sum(dim=1).cpu()
