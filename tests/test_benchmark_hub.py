"""Benchmarks from the Hub, against a local stand-in for it, and without it."""

from __future__ import annotations

import io
import json
import re
import shlex
from itertools import pairwise

import pytest
from datasets import Dataset

from cppo_trl.benchmarks import BENCHMARKS, HubUnreachable, load_benchmark
from hub_stub import hub_stub, python
from upstream_rows import apps_row, codecontests_row, livecodebench_row

LOAD = """
import json
import sys

import datasets

from cppo_trl.benchmarks import load_benchmark

for text in sys.argv[1:]:
    options = json.loads(text)
    problems = load_benchmark(**options)
    described = [(problem.id, len(problem.tests), problem.metadata) for problem in problems]
    print("loaded", json.dumps([described, problems.describe()]))
"""


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(*rows):
    buffer = io.BytesIO()
    Dataset.from_list(list(rows)).to_parquet(buffer)
    return buffer.getvalue()


def load(files, home, *options):
    """What `load_benchmark` gives in a process that has a Hub with these files."""
    with hub_stub() as hub:
        hub.commits.append(("data", files))
        said = python(LOAD, *map(json.dumps, options), hub=hub, home=home)
    return [
        json.loads(line.removeprefix("loaded "))
        for line in said.splitlines()
        if line.startswith("loaded ")
    ]


@pytest.fixture(scope="module")
def from_the_hub(tmp_path_factory):
    """Problems of three benchmarks, each read from the Hub in a way of its own."""
    names = ["test.jsonl", *(f"test{number}.jsonl" for number in range(2, 7))]
    files = {
        name: lines(livecodebench_row(question_id=f"p{number}"))
        for number, name in enumerate(names, start=1)
    }
    files["train.jsonl"] = lines(apps_row(), apps_row(problem_id=8, input_output=""))
    for part in range(2):
        row = codecontests_row(name=f"{part}_A. Sum")
        files[f"data/valid-0000{part}-of-00002-f00.parquet"] = parquet(row)
    return load(
        files,
        tmp_path_factory.mktemp("hub"),
        {"name": "livecodebench"},
        {"name": "livecodebench", "version": "v6"},
        {"name": "livecodebench", "version": "release_v2", "streaming": True},
        {"name": "apps", "split": "train", "on_bad_row": "skip"},
        {"name": "codecontests", "split": "valid"},
        {"name": "codecontests", "split": "valid", "streaming": False},
    )


def test_a_release_of_livecodebench_is_not_its_window(from_the_hub):
    (release, _), (window, _), (second, said), *_ = from_the_hub
    assert [row[0] for row in release] == [f"p{number}" for number in range(1, 7)]
    assert [row[0] for row in window] == ["p6"]
    assert [row[0] for row in second] == ["p1", "p2"]
    assert "LiveCodeBench release_v2 test (livecodebench/code_generation_lite)" in said


def test_a_date_of_a_jsonl_file_stays_as_it_is(from_the_hub):
    assert from_the_hub[1][0][0][2]["date"] == "2024-08-31"


def test_bad_rows_of_the_hub_are_counted(from_the_hub):
    found, said = from_the_hub[3]
    assert [row[0] for row in found] == ["7"]
    assert "no tests: 1" in said


def test_parquet_files_of_the_hub_are_read_in_order(from_the_hub):
    for found, _ in from_the_hub[4:]:
        assert [row[:2] for row in found] == [["0_A. Sum", 2], ["1_A. Sum", 2]]


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "jsonl"])
def test_without_the_hub_the_command_that_gets_the_data_is_said(name):
    with pytest.raises(HubUnreachable) as refusal:  # the tests are offline
        load_benchmark(name)
    benchmark = BENCHMARKS[name]
    said = str(refusal.value)
    (command,) = re.findall(r"hf download .*?--local-dir \w+", said)
    words = shlex.split(command)
    assert words[2:5] == ["--repo-type", "dataset", benchmark.hub_id]
    included = [after for word, after in pairwise(words) if word == "--include"]
    assert included == list(benchmark.files[benchmark.default_version][benchmark.default_split])
    assert f"--path {words[-1]}" in said
