"""APPS: 5,000 + 5,000 problems of programming sites (Hendrycks et al., arXiv 2105.09938).

Rows have the Hub's columns, or come from the folders of the first release (`train/0001/...`). A
dictionary among the arguments has the text keys that JSON gives it; the original tester turns
those that look like numbers into numbers, which this does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cppo_trl.problems import Problem

from .benchmark import ANY, Benchmark, Row
from .input_output import read_solutions, read_tests
from .rows import BadRow, id_field, parse_json, text_field
from .source_ids import platform_of, source_id_of_url

_FILES = {  # column: file of the folder layout
    "question": "question.txt",
    "input_output": "input_output.json",
    "solutions": "solutions.json",
    "starter_code": "starter_code.py",
}


def to_problem(row: Row, index: int = 0) -> Problem:
    """The problem in one row; raises `BadRow` or `ProblemError`."""
    starter_code = text_field(row, "starter_code", default="")
    tests, fn_name = read_tests(row, starter_code)
    url = text_field(row, "url", default="")
    source = source_id_of_url(url)
    return Problem(
        id=id_field(row, "problem_id", "id"),
        statement=text_field(row, "question"),
        tests=tests,
        io_mode="stdin" if fn_name is None else "function",
        fn_name=fn_name,
        starter_code=starter_code,
        difficulty=text_field(row, "difficulty", default="") or None,
        source=platform_of(source),
        metadata={"url": url, "source_id": source},
    )


def read_folder(root: Path) -> Iterator[tuple[str, Row]]:
    """The rows of a folder of problems, each a folder, in the order of their names."""
    for folder in sorted(path.parent for path in root.glob("*/question.txt")):
        row = {"problem_id": int(folder.name) if folder.name.isdecimal() else folder.name}
        for column, name in _FILES.items():
            path = folder / name
            row[column] = path.read_text(encoding="utf-8") if path.is_file() else ""
        described = folder / "metadata.json"
        if described.is_file():
            try:
                about = parse_json(described.read_text(encoding="utf-8"), "metadata.json")
            except BadRow:
                about = None
            row |= about if isinstance(about, dict) else {"url": "", "difficulty": ""}
        yield folder.name, row


BENCHMARK = Benchmark(
    name="apps",
    title="APPS",
    hub_id="codeparrot/apps",
    files={ANY: {"train": ("train.jsonl",), "test": ("test.jsonl",)}},
    to_problem=to_problem,
    solutions=read_solutions,
    compare="apps",
    read_folder=read_folder,
)
