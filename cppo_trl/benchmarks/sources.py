"""Where rows come from: the Hub, or files in the same format.

Lines of JSON are handed on as text, so that one that is malformed is one bad row, and so that
nobody guesses types: a builder for JSON turns text into dates and refuses long integers.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .benchmark import Benchmark, Row
from .rows import parse_json

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")


class BenchmarkError(ValueError):
    """What was asked for cannot be had; the message says what can."""


class HubUnreachable(OSError):
    """The Hub gives no data; the message says how to get them elsewhere."""


def files_of(benchmark: Benchmark, version: str, split: str) -> tuple[str, ...]:
    """The files of that version and split in the repository; raises `BenchmarkError`."""
    if not benchmark.files:
        raise BenchmarkError(f"{benchmark.name} is read from a file: give its path")
    if version not in benchmark.files:
        known = ", ".join(filter(None, benchmark.files)) or "no versions"
        raise BenchmarkError(f"version {version!r}: {benchmark.name} has {known}")
    splits = benchmark.files[version]
    if split not in splits:
        raise BenchmarkError(f"split {split!r}: {benchmark.name} has {', '.join(splits)}")
    return splits[split]


def hub_rows(
    benchmark: Benchmark, version: str, split: str, streaming: bool
) -> Iterator[tuple[str, Row | str | bytes]]:
    """Each row of a data set on the Hub, or its text, with the words that name it.

    Raises:
        BenchmarkError: there is no such version or split.
        HubUnreachable: the Hub cannot be reached, or has no such files.
    """
    patterns = files_of(benchmark, version, split)
    addresses = [f"hf://datasets/{benchmark.hub_id}/{pattern}" for pattern in patterns]
    rows = _dataset_rows(addresses, streaming)
    for index in range(1 << 62):
        try:
            row = next(rows)
        except StopIteration:
            return
        # The libraries between here and the Hub raise errors without a common base.
        except Exception as error:
            raise HubUnreachable(_elsewhere(benchmark, patterns, error)) from error
        yield f"{benchmark.hub_id}, {split}, row {index}", row


def _dataset_rows(addresses: list[str], streaming: bool) -> Iterator[Row | str | bytes]:
    from datasets import load_dataset

    builder = "parquet" if addresses[0].endswith(".parquet") else "text"
    dataset = load_dataset(builder, data_files=addresses, split="train", streaming=streaming)
    for row in dataset:
        yield row if builder == "parquet" else row["text"]


def _elsewhere(benchmark: Benchmark, patterns: tuple[str, ...], error: Exception) -> str:
    why = (str(error).strip() or type(error).__name__).splitlines()[0]
    included = " ".join(f"--include '{pattern}'" for pattern in patterns)
    return (
        f"{benchmark.title} cannot be read from the Hub ({why}). Where the Hub is in reach, run:  "
        f"hf download --repo-type dataset {benchmark.hub_id} {included} "
        f"--local-dir {benchmark.name}  Then bring the folder here and give it as the path: "
        f"path={benchmark.name!r}, or --path {benchmark.name} on the command line."
    )


def local_rows(
    benchmark: Benchmark, path: Path, version: str, split: str
) -> Iterator[tuple[str, Row | str | bytes]]:
    """Each row of a file or a folder, or its text, with the words that name it.

    A folder holds the files of the repository on the Hub, or (APPS) a folder for each problem.

    Raises:
        BenchmarkError: there is no such file, version or split, or a file of another kind.
    """
    if path.is_dir():
        if benchmark.read_folder is not None:
            for folder in (path / split, path):
                if is_folder_of_problems(folder):
                    yield from benchmark.read_folder(folder)
                    return
        for file in _files_in(benchmark, path, version, split):
            yield from _file_rows(file)
    elif path.is_file():
        yield from _file_rows(path)
    else:
        raise BenchmarkError(f"path {str(path)!r}: there is no such file or folder")


def is_folder_of_problems(path: Path) -> bool:
    """Whether each problem has a folder of its own in this one."""
    return any(path.glob("*/question.txt"))


def _files_in(benchmark: Benchmark, folder: Path, version: str, split: str) -> list[Path]:
    found = []
    for pattern in files_of(benchmark, version, split):
        files = sorted(folder.glob(pattern))
        if not files:
            raise BenchmarkError(
                f"path {str(folder)!r}: there is no file {pattern!r} in it, as {benchmark.hub_id} "
                "has on the Hub; give such a folder, or one file"
            )
        found += files
    return found


def _file_rows(file: Path) -> Iterator[tuple[str, Row | str | bytes]]:
    if not any(fnmatch(file.name, f"*{suffix}") for suffix in SUFFIXES):
        raise BenchmarkError(f"path {str(file)!r}: it must end with one of {', '.join(SUFFIXES)}")
    if file.suffix == ".parquet":
        for index, row in enumerate(_dataset_rows([str(file)], streaming=True)):
            yield f"{file.name}, row {index}", row
    elif file.suffix == ".json":
        yield from _json_rows(file)
    else:
        opened: Any = gzip.open if file.suffix == ".gz" else open
        with opened(file, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{file.name}, line {number}", line


def _json_rows(file: Path) -> Iterator[tuple[str, Row | str | bytes]]:
    """The rows of a JSON file of one row or of a list of rows."""
    rows = parse_json(file.read_text(encoding="utf-8"), file.name)
    for index, row in enumerate(rows if isinstance(rows, list) else [rows]):
        yield f"{file.name}, row {index}", row
