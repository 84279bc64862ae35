"""Programs whose verdict is known, on real problems; the data is not part of the repository."""

from __future__ import annotations

import base64
import gzip
import io
import json
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier import CodeVerifier, Verdict

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the labelled programs are no part of the repository: none in {DATA}"
)

# How many gold solutions of an APPS problem `return` at the top level.
TOP_LEVEL_RETURN = {"2287": 3}


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    with CodeVerifier(time_limit=3) as verifier:
        yield verifier


@pytest.fixture(scope="module")
def apps_verifier() -> Iterator[CodeVerifier]:
    with CodeVerifier(time_limit=3, compare="apps") as verifier:
        yield verifier


@pytest.fixture(scope="module")
def codecontests_verifier() -> Iterator[CodeVerifier]:
    with CodeVerifier(time_limit=3, compare="codecontests") as verifier:
        yield verifier


def rows(path: str) -> list[dict[str, Any]]:
    opened = gzip.open if path.endswith(".gz") else open
    with opened(DATA / path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def apps_problem(folder: Path) -> Problem:
    tests = json.loads((folder / "input_output.json").read_text())
    fn_name = tests.get("fn_name")
    cases = []
    for given, expected in zip(tests["inputs"], tests["outputs"], strict=True):
        if fn_name is not None:
            # Results are given as they are or in a list of one.
            expected = expected[0] if isinstance(expected, list) else expected
            given, expected = "\n".join(map(json.dumps, given)), json.dumps(expected)
        cases.append(TestCase(given, expected))
    mode = "stdin" if fn_name is None else "function"
    return Problem(folder.name, "", tuple(cases), mode, fn_name)


def misjudged(
    verifier: CodeVerifier, labelled: list[tuple[str, Problem, str, bool]]
) -> list[tuple[str, Verdict]]:
    names, problems, programs, labels = zip(*labelled, strict=True)
    verdicts = verifier.verify_many(problems, programs)
    return [
        (name, verdict)
        for name, verdict, label in zip(names, verdicts, labels, strict=True)
        if verdict.passed != label
    ]


@pytest.fixture(scope="module")
def apps() -> list[Problem]:
    return [apps_problem(folder) for folder in sorted((DATA / "apps" / "train").iterdir())]


def test_all_gold_solutions_of_apps_pass(apps_verifier: CodeVerifier, apps: list[Problem]) -> None:
    labelled = []
    for problem in apps:
        path = DATA / "apps" / "train" / problem.id / "solutions.json"
        for index, code in enumerate(json.loads(path.read_text())):
            labelled.append((f"{problem.id}/{index}", problem, code, True))
    assert len(labelled) == 101
    assert misjudged(apps_verifier, labelled) == []


def test_labelled_candidates_of_apps_get_their_label(
    apps_verifier: CodeVerifier, apps: list[Problem]
) -> None:
    # baseline_solutions.json holds the same programs wrapped in a function that is never called.
    labelled = []
    for problem in apps:
        path = DATA / "apps" / "train" / problem.id / "gen_solutions.json"
        for index, row in enumerate(json.loads(path.read_text())):
            labelled.append((f"{problem.id}/{index}", problem, row["code"], row["result"] is True))
    assert len(labelled) == 83
    assert misjudged(apps_verifier, labelled) == []


def test_the_known_traps_of_apps_are_met(apps_verifier: CodeVerifier, apps: list[Problem]) -> None:
    # The official tester wraps programs in a function, so these pass there: they must here.
    for problem in apps:
        path = DATA / "apps" / "train" / problem.id / "solutions.json"
        returning = [code for code in json.loads(path.read_text()) if not compiles(code)]
        assert len(returning) == TOP_LEVEL_RETURN.get(problem.id, 0)
        assert all(
            verdict.passed
            for verdict in apps_verifier.verify_many([problem] * len(returning), returning)
        )


def compiles(code: str) -> bool:
    try:
        compile(code, "solution.py", "exec")
    except SyntaxError:
        return False
    return True


def test_programs_for_codecontests_get_their_label_and_fail_where_measured(
    codecontests_verifier: CodeVerifier,
) -> None:
    problems = {}
    for row in rows("codecontests/sandboxfusion_train20.jsonl"):
        tests = [
            TestCase(test["input"]["stdin"], test["output"]["stdout"])
            for test in json.loads(row["test"])
        ]
        problems[row["id"]] = Problem(f"train {row['id']}", "", tuple(tests))
    programs = rows("codecontests/own_solutions_train8.jsonl")
    verdicts = codecontests_verifier.verify_many(
        [problems[row["id"]] for row in programs], [row["code"] for row in programs]
    )
    assert len(programs) == 26
    for row, verdict in zip(programs, verdicts, strict=True):
        assert verdict.passed == (row["label"] == "correct"), (row["name"], row["note"])
        assert verdict.first_failed == row["first_fail"], (row["name"], row["note"])
        assert verdict.tests_total == row["n_tests"]


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} in data")


def livecodebench_problems() -> dict[str, Problem]:
    problems = {}
    for row in rows("livecodebench/sandboxfusion_lcb_v1_3rows.jsonl"):
        packed = zlib.decompress(base64.b64decode(row["test"]))
        tests = json.loads(_PlainUnpickler(io.BytesIO(packed)).load()["input_output"])
        cases = tuple(map(TestCase, tests["inputs"], tests["outputs"]))
        name = json.loads(row["labels"])["task_id"].split("/")[1]
        mode = "function" if tests["fn_name"] else "stdin"
        problems[name] = Problem(name, "", cases, mode, tests["fn_name"] or None)
    return problems


def test_programs_for_livecodebench_get_their_label(verifier: CodeVerifier) -> None:
    problems = livecodebench_problems()
    labelled = [
        (row["question_id"], problems[row["question_id"]], row["code"], row["label"] == "correct")
        for row in rows("livecodebench/lcb_programs.jsonl")
    ]
    assert len(labelled) == 6
    assert misjudged(verifier, labelled) == []


def test_programs_for_humaneval_get_their_label(verifier: CodeVerifier) -> None:
    # The checks are assertions in the program itself: to pass is to end well and print nothing.
    problem = Problem("humaneval", "", (TestCase("", ""),), time_limit=2)
    labelled = []
    for row in rows("humaneval/HumanEval.jsonl.gz"):
        code = "{prompt}{canonical_solution}\n{test}\ncheck({entry_point})\n".format(**row)
        labelled.append((row["task_id"], problem, code, True))
    for row in rows("humaneval/humanevalpack_python.jsonl"):
        for field, label in (("canonical_solution", True), ("buggy_solution", False)):
            code = f"{row['prompt']}{row[field]}\n{row['test']}\n"
            labelled.append((f"{row['task_id']} {field}", problem, code, label))
    assert len(labelled) == 3 * 164
    assert misjudged(verifier, labelled) == []


def test_reference_programs_of_mbpp_pass_but_for_the_two_known_to_fail(
    verifier: CodeVerifier,
) -> None:
    problem = Problem("mbpp", "", (TestCase("", ""),))
    labelled = []
    for row in rows("mbpp/mbpp.jsonl"):
        if row["task_id"] % 10 == 7:  # a tenth, with both of them
            code = "\n".join([row["test_setup_code"], row["code"], *row["test_list"]])
            labelled.append((row["task_id"], problem, code, row["task_id"] not in (367, 927)))
    assert len(labelled) == 97
    assert misjudged(verifier, labelled) == []
