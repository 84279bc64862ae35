"""TACO: 25,443 + 1,000 problems of programming sites (Li et al., arXiv 2312.14852).

The rows have no id: it is the index in the split. Limits are text, as in "2.0 seconds".
"""

from __future__ import annotations

import re

from cppo_trl.problems import Problem

from .benchmark import ANY, Benchmark, Row
from .input_output import read_solutions, read_tests
from .rows import date_field, text_field
from .source_ids import source_id_of_url

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(?:-\s*\d+(?:\.\d+)?\s*)?sec", re.IGNORECASE)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g)", re.IGNORECASE)
_MB = {"k": 1 / 1024, "m": 1, "g": 1024}


def to_problem(row: Row, index: int = 0) -> Problem:
    """The problem in one row; raises `BadRow` or `ProblemError`."""
    starter_code = text_field(row, "starter_code", default="")
    tests, fn_name = read_tests(row, starter_code)
    url = text_field(row, "url", default="")
    time = _TIME.search(text_field(row, "time_limit", default=""))
    memory = _MEMORY.search(text_field(row, "memory_limit", default=""))
    return Problem(
        id=str(index),
        statement=text_field(row, "question"),
        tests=tests,
        io_mode="stdin" if fn_name is None else "function",
        fn_name=fn_name,
        starter_code=starter_code,
        time_limit=(float(time[1]) or None) if time else None,
        memory_limit=(round(float(memory[1]) * _MB[memory[2].lower()]) or None) if memory else None,
        difficulty=text_field(row, "difficulty", default="") or None,
        source=text_field(row, "source", default="") or None,
        metadata={
            "url": url,
            "source_id": source_id_of_url(url),
            "name": text_field(row, "name", default=""),
            "date": date_field(row, "date"),
        },
    )


BENCHMARK = Benchmark(
    name="taco",
    title="TACO",
    hub_id="BAAI/TACO",
    files={ANY: {"train": ("ALL/train-*.parquet",), "test": ("ALL/test-*.parquet",)}},
    to_problem=to_problem,
    solutions=read_solutions,
    compare="apps",
    is_dated=True,
    has_limits=True,
    is_large=True,
)
