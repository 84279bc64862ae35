"""Rollouts -> the judge's and the verifier's rewards, through TRL's reward-function interface."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch

from .generation import Turn
from .rewards import call_reward_function
from .rollouts import Rollout

RewardFunction = Callable[..., Any]


class RolloutScorer:
    """Asks the judge about plans and the verifier about attempts.

    Both are called as `GRPOTrainer` calls reward functions: with `prompts`, `completions` (chat
    messages), `completion_ids`, every column of the data set, `trainer_state`, `log_extra` and
    `log_metric`. On top of that the judge gets `problem` and `strategies`, the verifier `problem`
    and `strategy`, one entry for each completion.

    Args:
        judge, verifier: reward functions, plain or async; one that is None leaves its rewards
            unknown.
        num_strategies: K.
        shared: keyword arguments of every call; those of one call can be given to `judge` and
            `verify`.
        log_extra: receives (column, one list of values for each tuple) for what the functions log,
            at `log`.
    """

    def __init__(
        self,
        judge: RewardFunction | None,
        verifier: RewardFunction | None,
        num_strategies: int,
        *,
        log_extra: Callable[[str, list], None],
        **shared: Any,
    ):
        self._judge = judge
        self._verifier = verifier
        self._num_strategies = num_strategies
        self._log_extra = log_extra
        self._shared = shared
        # column -> place of a tuple in the batch -> values
        self._extra: dict[str, dict[int, list]] = defaultdict(lambda: defaultdict(list))

    def judge(
        self,
        rows: Sequence[dict[str, Any]],
        rollouts: Sequence[Rollout],
        places: Sequence[int] | None = None,
        **shared: Any,
    ) -> torch.Tensor:
        """Returns J of each tuple, (B,): 0 for an unparsable plan, NaN where it is unknown.

        `places` says where they stand in the batch, where they are a part of it.
        """
        parsed = [i for i, rollout in enumerate(rollouts) if rollout.strategies is not None]
        valid = torch.zeros(len(rollouts))
        valid[parsed] = torch.nan
        if self._judge is not None and parsed:
            turns = [rollouts[i].plan for i in parsed]
            strategies = [rollouts[i].strategies for i in parsed]
            columns = {"strategies": strategies, **shared}
            valid[parsed] = self._call(
                self._judge, rows, rollouts, parsed, turns, places, **columns
            )
        return valid

    def verify(
        self,
        rows: Sequence[dict[str, Any]],
        rollouts: Sequence[Rollout],
        attempts_per_strategy: int,
        **shared: Any,
    ) -> torch.Tensor:
        """Returns V of each attempt, (B, K, L): NaN where it was not run or is unknown."""
        solved = [i for i, rollout in enumerate(rollouts) if rollout.attempts]
        shape = (self._num_strategies, attempts_per_strategy)
        passed = torch.full((len(rollouts), *shape), torch.nan)
        if self._verifier is not None and solved:
            owners = [i for i in solved for _ in rollouts[i].attempts]
            turns = [turn for i in solved for turn in rollouts[i].attempts]
            strategy = [
                strategy
                for i in solved
                for strategy in rollouts[i].strategies
                for _ in range(attempts_per_strategy)
            ]
            rewards = self._call(
                self._verifier, rows, rollouts, owners, turns, strategy=strategy, **shared
            )
            passed[solved] = rewards.view(-1, *shape)
        return passed

    def log(self, count: int) -> None:
        """Hands on what the functions have logged of a batch of `count` tuples."""
        for column, values in self._extra.items():
            self._log_extra(column, [values[place] for place in range(count)])
        self._extra.clear()

    def _call(
        self,
        function: RewardFunction,
        rows: Sequence[dict[str, Any]],
        rollouts: Sequence[Rollout],
        owners: list[int],
        turns: list[Turn],
        places: Sequence[int] | None = None,
        **columns: Any,
    ) -> torch.Tensor:
        """Scores `turns`, of which the i-th belongs to the tuple `owners[i]`."""

        def log_extra(column: str, values: list) -> None:
            for owner, value in zip(owners, values, strict=True):
                place = owner if places is None else places[owner]
                self._extra[column][place].append(value)

        data = {name: [rows[i][name] for i in owners] for name in rows[0]}
        data |= columns | {"problem": [rollouts[i].problem for i in owners]}
        rewards = call_reward_function(
            function,
            [turn.messages for turn in turns],
            [[{"role": "assistant", "content": turn.text}] for turn in turns],
            completion_ids=[turn.completion.token_ids for turn in turns],
            log_extra=log_extra,
            **self._shared,
            **data,
        )
        return torch.tensor(rewards)


def judge_and_verifier(
    reward_funcs: Sequence[RewardFunction] | None,
    judge: RewardFunction | None,
    verifier: RewardFunction | None,
    planner_reward: str,
) -> tuple[RewardFunction | None, RewardFunction | None]:
    """Returns (judge, verifier) from the two ways to give them.

    Raises:
        ValueError: if both ways are used, or `planner_reward` needs one that is missing.
        TypeError: if one of them is no reward function.
    """
    if reward_funcs is not None:
        if judge is not None or verifier is not None:
            raise ValueError(
                "give either `reward_funcs=[judge, verifier]` or `judge` and `verifier`, not both"
            )
        if not isinstance(reward_funcs, (list, tuple)) or len(reward_funcs) != 2:
            raise ValueError(
                f"`reward_funcs` is {reward_funcs!r}; CPPO takes exactly two: [judge, verifier]"
            )
        judge, verifier = reward_funcs
    if judge is None and planner_reward != "outcome":
        raise ValueError(
            f"planner_reward={planner_reward!r} needs a `judge`; without one use 'outcome'"
        )
    if verifier is None and planner_reward != "judge":
        raise ValueError(
            f"planner_reward={planner_reward!r} needs a `verifier`; without one use 'judge'"
        )
    for name, function in (("judge", judge), ("verifier", verifier)):
        if function is not None and (
            not callable(function) or isinstance(function, torch.nn.Module)
        ):
            raise TypeError(
                f"`{name}` is a {type(function).__name__}; it must be a TRL reward function (a "
                "callable)"
            )
    return judge, verifier
