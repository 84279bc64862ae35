"""Problems as the rows that TRL trains on, and reward functions over problems as TRL's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from datasets import Dataset
from trl.trainer.utils import get_callable_name, is_async_callable

from cppo_trl.methods.direct import DIRECT_TEMPLATE, direct_prompt
from cppo_trl.methods.method import check_method_template
from cppo_trl.problems import Problem, problems_to_dataset
from cppo_trl.training_data import problems_of

RewardFunction = Callable[..., Any]
PROBLEM_COLUMNS = tuple(item.name for item in fields(Problem))


def attempt_rows(problems: Sequence[Problem], template: str = DIRECT_TEMPLATE) -> Dataset:
    """A data set for `GRPOTrainer`: one row for each problem, to be attempted directly.

    Args:
        problems: of a training or an evaluation.
        template: as for `methods.Direct`, which asks the same at evaluation.

    Returns:
        The columns of `Problem.to_dict`, and `prompt`, a single user message.

    Raises:
        ProblemError: as `problems.problems_to_dataset`.
        ValueError: the template has a field that it may not have.
    """
    check_method_template("direct", template)
    problems = list(problems)
    prompts = [user_message(direct_prompt(problem, template)) for problem in problems]
    return problems_to_dataset(problems).add_column("prompt", prompts)


def user_message(content: str) -> list[dict[str, str]]:
    """A conversation of one user message."""
    return [{"role": "user", "content": content}]


def row_problems(rows: Sequence[Mapping[str, Any]]) -> list[Problem]:
    """The problem of each row of `attempt_rows`; rows of the same problem share one object."""
    return problems_of([{name: row[name] for name in PROBLEM_COLUMNS} for row in rows])


def column_problems(columns: Mapping[str, Sequence[Any]]) -> list[Problem]:
    """As `row_problems`, of the columns that TRL passes to a reward function.

    Raises:
        ValueError: they are not those of `attempt_rows`.
    """
    refuse_other_rows(tuple(columns))
    listed = zip(*(columns[name] for name in PROBLEM_COLUMNS), strict=True)
    return problems_of([dict(zip(PROBLEM_COLUMNS, values, strict=True)) for values in listed])


def refuse_other_rows(columns: Sequence[str] | None) -> None:
    """Raises ValueError where the columns of a data set are not those of `attempt_rows`."""
    missing = [name for name in PROBLEM_COLUMNS if columns is not None and name not in columns]
    if missing:
        raise ValueError(
            f"the column {missing[0]!r} is missing; make the rows with "
            "cppo_trl.baselines.attempt_rows, and leave remove_unused_columns=False"
        )


def of_problems(reward: RewardFunction) -> RewardFunction:
    """A reward function that wants `problem`, such as a `CodeVerifier`, as one over attempt rows.

    It stays what it was in all else: synchronous or not, with the same name, `log_extra` and None
    for an unknown reward.

    Args:
        reward: called with `prompts`, `completions`, `problem` (a `Problem` for each completion)
            and what else TRL passes on, the columns of the rows among it.

    Raises:
        ValueError: when it is called on rows that are not those of `attempt_rows`.
    """

    def asked(prompts: Sequence[Any], completions: Sequence[Any], columns: dict) -> dict[str, Any]:
        columns["problem"] = column_problems(columns)
        return {"prompts": prompts, "completions": completions, **columns}

    if is_async_callable(reward):

        async def rewarded(
            prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
        ) -> Sequence[float | None]:
            return await reward(**asked(prompts, completions, columns))

    else:

        def rewarded(
            prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
        ) -> Sequence[float | None]:
            return reward(**asked(prompts, completions, columns))

    rewarded.__name__ = get_callable_name(reward)  # TRL names metrics after it
    return rewarded
