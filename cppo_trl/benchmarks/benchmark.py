"""What the library knows about one benchmark."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cppo_trl.problems import Problem

Row = Mapping[str, Any]
ANY = ""  # the version of a benchmark that has only one


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: where its rows are, how one becomes a `Problem`, how programs are compared.

    Args:
        name: as in `load_benchmark`.
        title: for people.
        hub_id: of the data set on the Hub; None for a user's own file.
        files: version -> split -> the files in that repository, in order; `*` stands for any text.
        default_version, default_split: what is loaded if nothing is said.
        to_problem: a row and its index in the file, from 0 -> the problem; raises `BadRow`.
        solutions: a row -> programs known to be right; empty where there are none.
        compare, prelude: for `CodeVerifier`, so that it grades as the benchmark does.
        errata: what is wrong with a problem, by its id or its `metadata["errata_key"]`.
        has_limits: whether problems have limits of their own; a few may lack them.
        is_dated: whether problems have a date.
        is_large: whether to read it from the Hub row by row instead of downloading it first.
        read_folder: rows of a layout of folders, with what names each; None if there is no such.
    """

    name: str
    title: str
    to_problem: Callable[[Row, int], Problem]
    solutions: Callable[[Row], list[str]]
    compare: str
    hub_id: str | None = None
    files: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    default_version: str = ANY
    default_split: str = "test"
    prelude: str | None = None
    errata: Mapping[str, str] = field(default_factory=dict)
    has_limits: bool = False
    is_dated: bool = False
    is_large: bool = False
    read_folder: Callable[[Path], Iterator[tuple[str, Row]]] | None = None
