"""The problems of a training run: checked before anything expensive starts, and read back row by
row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset, IterableDataset
from torch.utils.data import Sampler
from trl.trainer.utils import RepeatSampler

from .problems import (
    Problem,
    ProblemError,
    problems_from_dataset,
    problems_to_dataset,
    validate_problems,
)


def as_dataset(data: Any, name: str) -> Any:
    """Returns problems as the `Dataset` that `Trainer` reads; a mapping of them is converted entry
    by entry.

    An `IterableDataset` is passed on, and its rows are checked as they are read.

    Raises:
        ProblemError: for a row that is no problem or has nothing to plan for, with the row and the
            field.
    """
    if data is None or isinstance(data, IterableDataset):
        return data
    if isinstance(data, Mapping):
        return {key: as_dataset(value, f"{name}[{key!r}]") for key, value in data.items()}
    try:
        problems = (
            problems_from_dataset(data) if isinstance(data, Dataset) else validate_problems(data)
        )
    except ProblemError as error:
        raise ProblemError(f"{name}: {error}") from error
    for row, problem in enumerate(problems):
        if not problem.statement.strip():
            raise ProblemError(f"{name}: row {row} (id {problem.id!r}): field 'statement' is empty")
    return data if isinstance(data, Dataset) else problems_to_dataset(problems)


def refuse_too_few(
    dataset: Dataset | IterableDataset | None, tuples: int, num_generations: int
) -> None:
    """Refuses a training set with fewer problems than one rollout of `tuples` tuples takes."""
    if dataset is None:
        raise ValueError("train_dataset is missing; give a list of Problem or a Dataset of them")
    needed = tuples // num_generations
    if isinstance(dataset, Dataset) and len(dataset) < needed:
        raise ValueError(
            f"train_dataset has {len(dataset)} problems, but one rollout takes {needed}: {tuples} "
            f"tuples (generation_batch_size) / num_generations={num_generations}. Add problems, "
            "or lower per_device_train_batch_size or gradient_accumulation_steps."
        )


def problems_of(rows: Sequence[dict[str, Any]]) -> list[Problem]:
    """Returns the problem of each row; the M rows of a problem share one object."""
    problems: dict[str, Problem] = {}
    for row in rows:
        if row["id"] not in problems:
            problems[row["id"]] = Problem.from_dict(row)
    return [problems[row["id"]] for row in rows]


class EpochOrder(Sampler[int]):
    """Draws the order of each epoch from the seed and the epoch alone.

    `RepeatSampler` goes on with its generator from epoch to epoch, so a run that is resumed in a
    later epoch would go through the order of the first one again.
    """

    def __init__(self, sampler: RepeatSampler, epoch: Callable[[], int]):
        self._sampler = sampler
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if self._sampler.shuffle:
            self._sampler.generator.manual_seed(self._sampler.seed + self._epoch())
        return iter(self._sampler)

    def __len__(self) -> int:
        return len(self._sampler)
