"""Two evaluations are compared on the same problems, or not at all."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cppo_trl.cli import main
from cppo_trl.evaluation import holm, mcnemar, paired_bootstrap
from cppo_trl.evaluation.comparison import compare
from cppo_trl.evaluation.directory import DirectoryError, EvaluationDirectory
from cppo_trl.evaluation.records import Record
from cppo_trl.evaluation.summary import pass_at_k_scores
from cppo_trl.verifier import Status
from small_evaluation import evaluate_guesses, write_guesses


@pytest.fixture(scope="module")
def made(qwen3_dir, tmp_path_factory):
    """Two evaluations: the second has larger batches, so it draws other guesses."""
    folder = tmp_path_factory.mktemp("compared")
    methods = {"a": ("direct", "untrained-planner"), "b": ("direct", "untrained-planner", "cppo")}
    for name, batch_size in (("a", 5), ("b", 12)):
        evaluate_guesses(
            qwen3_dir, folder, output=folder / name, methods=methods[name], batch_size=batch_size
        )
    return folder


def opened(*paths):
    return [EvaluationDirectory(path) for path in paths]


def scores(path, method, k=3):
    return pass_at_k_scores(EvaluationDirectory(path).read_records("guesses", method), k)


def test_cells_are_the_methods_of_both_tested_together(made):
    cells = compare(*opened(made / "a", made / "b"))
    assert [(cell.first_method, cell.second_method) for cell in cells] == [
        ("direct", "direct"),
        ("untrained-planner", "untrained-planner"),
    ]
    plain = [
        paired_bootstrap(scores(made / "b", method), scores(made / "a", method))
        for method in ("direct", "untrained-planner")
    ]
    adjusted = holm([test.p_value for test in plain])
    assert [cell.test for cell in cells] == [
        replace(test, p_value=p_value) for test, p_value in zip(plain, adjusted, strict=True)
    ]
    assert [cell.first.mean for cell in cells] == [
        pytest.approx(scores(made / "a", method).mean())
        for method in ("direct", "untrained-planner")
    ]
    assert all(cell.mcnemar is None for cell in cells)  # two seeds


def test_two_methods_of_one_evaluation_can_be_compared(made):
    (cell,) = compare(*opened(made / "b", made / "b"), "direct", "cppo", k=2)
    expected = scores(made / "b", "cppo", 2).mean() - scores(made / "b", "direct", 2).mean()
    assert cell.test.difference == pytest.approx(expected)
    assert (cell.first.k, cell.problems, cell.seeds) == (2, 12, 2)


def test_single_runs_get_mcnemars_test(qwen3_dir, tmp_path):
    evaluate_guesses(qwen3_dir, tmp_path, seeds=1)
    (cell,) = compare(*opened(tmp_path / "out", tmp_path / "out"), "direct", "cppo")
    solved = [scores(tmp_path / "out", method)[0] == 1 for method in ("cppo", "direct")]
    assert cell.mcnemar == mcnemar(*solved)
    (cell,) = compare(*opened(tmp_path / "out", tmp_path / "out"), "direct", "cppo", k=1)
    assert cell.mcnemar is None  # pass@1 of three attempts is no yes or no


def test_the_order_of_the_problems_plays_no_part(qwen3_dir, made, tmp_path):
    lines = (made / "guesses.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "guesses.jsonl").write_text("".join(reversed(lines)))
    evaluate_guesses(qwen3_dir, tmp_path)
    (cell,) = compare(*opened(made / "b", tmp_path / "out"), "direct", "direct")
    by_id = {
        path: {r.key: sum(a.passed for a in r.attempts) > 0 for r in directory}
        for path, directory in (
            ("b", EvaluationDirectory(made / "b").read_records("guesses", "direct")),
            ("out", EvaluationDirectory(tmp_path / "out").read_records("guesses", "direct")),
        )
    }
    differences = [by_id["out"][key] - by_id["b"][key] for key in by_id["b"]]
    assert cell.test.difference == pytest.approx(np.mean(differences))


def test_other_problems_are_refused(qwen3_dir, made, tmp_path):
    write_guesses(tmp_path / "guesses.jsonl", 11)
    evaluate_guesses(qwen3_dir, tmp_path)
    with pytest.raises(DirectoryError, match=r"only the first has 1 \('p11'\)"):
        compare(*opened(made / "a", tmp_path / "out"))


def test_other_tests_are_refused(qwen3_dir, made, tmp_path):
    problems = write_guesses(tmp_path / "guesses.jsonl")
    problems.write_text(problems.read_text().replace('"output": "2"', '"output": "1"', 1))
    evaluate_guesses(qwen3_dir, tmp_path)
    with pytest.raises(DirectoryError, match=r"other statements, tests or limits of 1 \('p2'\)"):
        compare(*opened(made / "a", tmp_path / "out"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"time_limit": 3.0}, "graded in two ways"),
        ({"seeds": 1}, "not of the same budget"),
        ({"draws": 2}, "not of the same budget"),
    ],
)
def test_other_grading_and_budgets_are_refused(qwen3_dir, made, tmp_path, settings, said):
    write_guesses(tmp_path / "guesses.jsonl")
    evaluate_guesses(qwen3_dir, tmp_path, **settings)
    with pytest.raises(DirectoryError, match=said):
        compare(*opened(made / "a", tmp_path / "out"))


@pytest.mark.parametrize("kept", [slice(12), slice(12, None), slice(1, None), slice(0)])
def test_an_unfinished_evaluation_is_refused(made, tmp_path, kept):
    for name in ("a", "b"):
        shutil.copytree(made / name, tmp_path / name)
        path = EvaluationDirectory(tmp_path / name).records_path("guesses", "direct")
        path.write_text("".join(path.read_text().splitlines(keepends=True)[kept]))
    said = "not finished" if kept != slice(0) else "has no method 'direct'"
    with pytest.raises(DirectoryError, match=said):
        compare(*opened(tmp_path / "a", tmp_path / "b"), "direct", "direct")


def test_what_a_kill_left_beside_the_records_is_no_method(made, tmp_path):
    shutil.copytree(made / "b", tmp_path / "b")
    path = EvaluationDirectory(tmp_path / "b").records_path("guesses", "direct")
    shutil.copy(path, path.with_suffix(".new"))
    assert len(compare(*opened(tmp_path / "b", tmp_path / "b"))) == 3


@pytest.mark.parametrize("k", [0, -1, 4])
def test_a_k_without_attempts_is_refused(made, k):
    with pytest.raises(ValueError, match=f"k is {k}"):
        compare(*opened(made / "a", made / "b"), k=k)


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        (("cppo", "cppo"), "a has no method 'cppo' of 'guesses'; it has direct"),
        (("direct", "latent"), "b has no method 'latent'"),
        ((None, "cppo"), "name one method of each"),
    ],
)
def test_methods_that_are_not_there_are_refused(made, methods, said):
    with pytest.raises(DirectoryError, match=said):
        compare(*opened(made / "a", made / "b"), *methods)


def test_a_directory_without_an_evaluation_is_refused(made, tmp_path):
    with pytest.raises(DirectoryError, match="there is no evaluation in it"):
        compare(*opened(made / "a", tmp_path))


def test_problems_without_a_verdict_are_left_out_of_both(made, tmp_path):
    for side in ("a", "b"):
        copied = EvaluationDirectory(made / side)
        copied.path = tmp_path / side
        copied.path.mkdir()
        copied._write()
        records = EvaluationDirectory(made / side).read_records("guesses", "direct")
        if side == "b":
            lost = tuple(
                replace(a, status=Status.INFRASTRUCTURE.value) for a in records[4].attempts
            )
            records[4] = replace(records[4], attempts=lost)
        path = copied.records_path("guesses", "direct")
        path.parent.mkdir(parents=True)
        path.write_text("".join(map(Record.to_line, records)))
    (cell,) = compare(*opened(tmp_path / "a", tmp_path / "b"))
    assert (cell.unknown, cell.problems) == (["p4"], 11)


def test_the_command_prints_and_writes_what_was_found(made, tmp_path, capsys):
    typed = ["compare", str(made / "b"), str(made / "b"), "--first-method", "direct"]
    output = tmp_path / "compared.json"
    assert main([*typed, "--second-method", "cppo", "--output", str(output)]) == 0
    (cell,) = json.loads(output.read_text())["cells"]
    said = capsys.readouterr().out
    assert f"{cell['test']['difference']:+.3f}" in said
    assert f"{cell['test']['p_value']:.4f}" in said
    assert "direct / cppo" in said


def test_a_method_of_both_is_not_one_of_each(made, capsys):
    typed = ["compare", str(made / "a"), str(made / "b"), "--method", "direct"]
    assert main([*typed, "--first-method", "cppo"]) == 2
    assert "--method is of both" in capsys.readouterr().err


def test_the_command_refuses_in_one_line(made, tmp_path, capsys):
    assert main(["compare", str(made / "a"), str(tmp_path)]) == 2
    assert "no evaluation" in capsys.readouterr().err
