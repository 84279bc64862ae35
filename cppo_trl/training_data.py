"""The problems of a training run: loaded, checked before anything expensive starts, and read back
row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset, load_dataset
from torch.utils.data import Sampler
from trl.trainer.utils import RepeatSampler

from .benchmarks import (
    BENCHMARKS,
    BenchmarkError,
    HubUnreachable,
    Selection,
    find_overlap,
)
from .problems import (
    Problem,
    ProblemError,
    problems_from_dataset,
    problems_to_dataset,
    read_problems,
    validate_problems,
)


class DataError(ValueError):
    """Problems that a stage cannot use; the message says which, and what to do."""


def load_problems(source: str) -> list[Problem]:
    """Loads problems of a JSONL file, of a benchmark ("apps:train", "apps:train=FOLDER") or of a
    data set on the Hub with the columns of `Problem.to_dict` (its split "train").

    Raises:
        DataError: a benchmark that cannot be loaded.
        ProblemError: a row that is no problem.
        OSError: a file that cannot be read.
    """
    if source.partition("=")[0].partition(":")[0] in BENCHMARKS:
        try:
            problems = Selection.of({"name": source, "on_bad_row": "skip"}).load()
        except (BenchmarkError, HubUnreachable) as error:
            raise DataError(f"{source}: {error}") from error
        print(problems.describe())
        return problems
    if Path(source).suffix == ".jsonl":
        return read_problems(source)
    return problems_from_dataset(load_dataset(source, split="train"))


def refuse_overlap(
    train: Sequence[Problem],
    sources: Mapping[str, Sequence[Problem]],
    otherwise: str = ", or train on them nevertheless with --allow_overlap true",
) -> None:
    """Refuses evaluation problems that are among the training problems.

    Args:
        train: the training problems.
        sources: the evaluation problems, by where they come from.
        otherwise: what can be done beside leaving them out, in words.

    Raises:
        DataError: there are some; it names five.
    """
    for source, evaluation in sources.items():
        if found := find_overlap(train, evaluation):
            pairs = [f"{pair.evaluation_id} is {pair.train_id} ({pair.reason})" for pair in found]
            shown = "; ".join(pairs[:5]) + ("; ..." if len(pairs) > 5 else "")
            raise DataError(
                f"{len(found)} problems of {source} are among the training problems: {shown}. "
                f"Leave them out of one of the two{otherwise}"
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
    dataset: Dataset | IterableDataset | None,
    tuples: int,
    num_generations: int,
    called: str = "tuples",
) -> None:
    """Refuses a training set with fewer problems than one rollout of `tuples` tuples takes, or of
    what they are `called` where a method has none.
    """
    if dataset is None:
        raise ValueError("train_dataset is missing; give a list of Problem or a Dataset of them")
    needed = tuples // num_generations
    if isinstance(dataset, Dataset) and len(dataset) < needed:
        raise ValueError(
            f"train_dataset has {len(dataset)} problems, but one rollout takes {needed}: {tuples} "
            f"{called} (generation_batch_size) / num_generations={num_generations}. Add problems, "
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
