"""Runs a method over problems and seeds, in batches, and goes on where a killed run was."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from cppo_trl.methods import Attempted, Method
from cppo_trl.problems import Problem
from cppo_trl.verifier import Status, Verdict, extract_code

from .records import AttemptRecord, Record, RecordFile

Verify = Callable[[Sequence[Problem], Sequence[str]], Sequence[Verdict]]


def run_method(
    name: str,
    methods: Sequence[Method],
    problems: Sequence[Problem],
    verify: Verify,
    path: str | Path,
    draws: int = 1,
    batch_size: int = 32,
    bar: str | None = None,
) -> list[Record]:
    """Attempts every problem `draws` times for each seed 0, 1, ..., and verifies it all.

    What is done is in `path` at once, so a killed run goes on where it was when it is started
    again, and nothing is generated twice but the batch in work. Tokens are drawn from a seed of
    each batch, so the same settings give the same records, with or without a kill between, and more
    seeds can be added to a finished run. Attempts that the verifier had no verdict for are verified
    again, not made again.

    Args:
        name: of the method, a part of its random seeds.
        methods: what attempts a problem, for each seed: the same one several times, or policies of
            several training runs.
        problems: with ids of their own.
        verify: one verdict for each (problem, completion), such as
            `CodeVerifier(...).verify_completions`.
        path: JSON Lines, one `Record` each.
        draws: how many times K attempts at each problem in each run.
        batch_size: problems attempted at once; a setting of the records as well.
        bar: the words before a progress bar; None for none.

    Raises:
        RecordError: `path` holds records of something else.
        ValueError: a number is less than 1, there is no method, or two problems have the same id.
    """
    numbers = (("methods", len(methods)), ("draws", draws), ("batch_size", batch_size))
    for setting, value in numbers:
        if value < 1:
            raise ValueError(f"{setting} is {value!r}; it must be 1 or more")
    by_id = {problem.id: problem for problem in problems}
    if len(by_id) < len(problems):
        raise ValueError("two problems have the same id")
    batches = [
        [(seed, draw, problem.id) for problem in problems[start : start + batch_size]]
        for seed in range(len(methods))
        for draw in range(draws)
        for start in range(0, len(problems), batch_size)
    ]
    keys = [key for batch in batches for key in batch]
    file = RecordFile(Path(path), keys)
    ends = list(itertools.accumulate(map(len, batches)))
    whole = bisect.bisect_right(ends, len(file.records))
    # The rest of a batch would not be drawn the same again.
    file.keep(ends[whole - 1] if whole else 0)
    _verify_again(file, by_id, verify)
    with tqdm(total=len(keys), desc=bar, unit="problem", disable=bar is None) as shown:
        shown.update(len(file.records))
        for batch in batches[whole:]:
            seed = _seed(name, batch[0])
            started = time.perf_counter()
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                method = methods[batch[0][0]]
                attempted = method.attempt([by_id[key[2]] for key in batch], seed)
            seconds = (time.perf_counter() - started) / len(batch)
            file.add(_records(batch, attempted, verify, round(seconds, 6)))
            shown.update(len(batch))
    return file.records


def _seed(name: str, first: tuple[int, int, str]) -> int:
    digest = hashlib.blake2b(repr((name, *first)).encode(), digest_size=4)
    return int.from_bytes(digest.digest())


def _records(
    keys: Sequence[tuple[int, int, str]],
    attempted: Sequence[Attempted],
    verify: Verify,
    seconds: float,
) -> list[Record]:
    made = [
        (item.problem, text) for item in attempted for text in item.completions if text is not None
    ]
    verdicts = iter(verify(*zip(*made, strict=True)) if made else ())
    return [
        Record(
            *key,
            item.strategies,
            tuple(
                _never_made(item.problem) if text is None else _attempt(text, next(verdicts))
                for text in item.completions
            ),
            asdict(item.spent),
            seconds,
        )
        for key, item in zip(keys, attempted, strict=True)
    ]


def _attempt(completion: str, verdict: Verdict) -> AttemptRecord:
    return AttemptRecord(
        completion,
        extract_code(completion),
        verdict.status.value,
        verdict.tests_passed,
        verdict.tests_total,
        round(verdict.cpu_seconds, 6),
        verdict.first_failed,
        verdict.message,
    )


def _never_made(problem: Problem) -> AttemptRecord:
    return AttemptRecord(None, None, Status.NO_CODE.value, 0, len(problem.tests), 0.0)


def _verify_again(file: RecordFile, problems: dict[str, Problem], verify: Verify) -> None:
    unknown = [
        (number, place)
        for number, record in enumerate(file.records)
        for place, attempt in enumerate(record.attempts)
        if attempt.passed is None
    ]
    if not unknown:
        return
    records = list(file.records)
    texts = [records[number].attempts[place].completion or "" for number, place in unknown]
    verdicts = verify([problems[records[number].problem_id] for number, _ in unknown], texts)
    for (number, place), text, verdict in zip(unknown, texts, verdicts, strict=True):
        attempts = list(records[number].attempts)
        attempts[place] = _attempt(text, verdict)
        records[number] = replace(records[number], attempts=tuple(attempts))
    file.replace(records)
