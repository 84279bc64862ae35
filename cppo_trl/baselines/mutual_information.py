"""The reward of UpSkill: how well a completion shows the latent number that its prompt named."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from cppo_trl.methods.direct import latent_prompt

from .attempts import column_problems, user_message

# Prompts as messages and completions as token ids -> log pi of each completion, in nats.
Score = Callable[[Sequence[list[dict[str, str]]], Sequence[Sequence[int]]], Tensor]


def pointwise_mutual_information(logps_BK: Tensor, latents_B: Tensor) -> Tensor:
    """What each completion tells of the latent number that it was drawn with (arXiv 2602.22296).

    `log pi(y | x, z) - log( 1/K sum_z' pi(y | x, z') )`: at most log K; 0 where the policy pays no
    attention to z. Its mean over completions estimates the mutual information of y and z.

    Args:
        logps_BK: (B, K), the log-probability of each whole completion for each z, in nats.
        latents_B: (B,), whole numbers from 1 to K.

    Returns:
        (B,), in nats, float64.
    """
    logps_BK = logps_BK.double()
    own_B = logps_BK.gather(1, (latents_B.long() - 1).unsqueeze(1)).squeeze(1)
    return own_B - (logps_BK.logsumexp(dim=1) - math.log(logps_BK.shape[1]))


class MutualInformation:
    """TRL reward function: the pointwise mutual information of completion and latent number.

    Args:
        num_latents: K.
        template: of the prompt, as for `methods.Latent`.
        score: log-probabilities under the policy that wrote the completions, for the tokens up to
            the end of the completion.
    """

    __name__ = "mutual_information"  # TRL names metrics after the reward function

    def __init__(self, num_latents: int, template: str, score: Score):
        self.num_latents = num_latents
        self.template = template
        self.score = score

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[list[int]],
        latent: Sequence[int],
        log_extra: Callable[[str, list], None] | None = None,
        **columns: Any,
    ) -> list[float]:
        """One reward for each completion, in nats; `columns` are those of `attempt_rows`."""
        problems = column_problems(columns)
        K = self.num_latents
        # Attempts that say the same at a problem are scored once.
        keys = [
            (problem.id, tuple(ids)) for problem, ids in zip(problems, completion_ids, strict=True)
        ]
        distinct = dict(zip(keys, problems, strict=True))
        asked = [
            user_message(latent_prompt(problem, z, K, self.template))
            for problem in distinct.values()
            for z in range(1, K + 1)
        ]
        answered = [ids for _, ids in distinct for _ in range(K)]
        logps_UK = self.score(asked, answered).view(-1, K)
        place = {key: index for index, key in enumerate(distinct)}
        logps_BK = logps_UK[[place[key] for key in keys]]
        if log_extra is not None:
            log_extra("latent", list(latent))
        return pointwise_mutual_information(logps_BK, torch.tensor(latent)).tolist()
