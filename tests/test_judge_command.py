"""The command `cppo-trl judge`, as a user types it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from transformers import AutoModelForCausalLM

from cppo_trl.cli import main
from cppo_trl.judges import StrategyTuple
from cppo_trl.judges.labels import balanced, read_labels, split_by_problem, write_labels
from cppo_trl.judges.saved import RejectedJudge, load_judge
from cppo_trl.problems import read_problems, write_problems
from cppo_trl.tuples import read_plans
from endpoint_stub import endpoint_stub, said
from test_judge_training import make_labels

PASS, FAIL = said('{"verdict": "pass"}'), said('{"verdict": "fail", "reason": "vague"}')


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Problems, labels that can be learned, and plans of which some were attempted."""
    folder = tmp_path_factory.mktemp("judge")
    problems, labels = make_labels(30)
    write_problems(list(problems.values()), folder / "problems.jsonl")
    write_labels(labels, folder / "labels.jsonl")
    with open(folder / "plans.jsonl", "w") as file:
        for label in labels:
            row = {"problem_id": label.problem_id, "strategies": label.strategies}
            passed = label.valid if label.problem_id != "p0" else None
            file.write(json.dumps(row | {"passed": passed}) + "\n")
    return folder


def train(data, model, output, *more):
    typed = [
        *("judge", "train", "--model", str(model), *on(data, "problems", "labels"), "--use-cpu"),
        *("--output", str(output), "--learning-rate", "1e-2", "--lora-r", "8", *more),
    ]
    return main(typed)


@pytest.fixture(scope="module")
def judge_dir(data, qwen3_dir):
    more = ["--epochs", "6", "--dtype", "float32", *on(data, "plans")]
    assert train(data, qwen3_dir, data / "judge", *more) == 0
    return data / "judge"


def on(data, *names):
    return [text for name in names for text in (f"--{name}", str(data / f"{name}.jsonl"))]


def test_plans_are_labelled_by_a_model_and_sure_negatives_added(data, tmp_path, capsys):
    def answer(body, number):
        return FAIL if "Step:" in body["messages"][0]["content"] else PASS

    output = tmp_path / "labels.jsonl"
    with endpoint_stub(answer) as server:
        typed = ["judge", "label", *on(data, "problems", "plans"), "--output", str(output)]
        options = ["--model", "big", "--base-url", server.url, "--cache", str(tmp_path / "db")]
        assert main([*typed, *options, "--corrupt"]) == 0
    labels = read_labels(output)
    sources = Counter(label.source.partition("/")[0] for label in labels)
    assert sources["big"] == 120
    assert sources["corruption"] > 60 * 5
    assert {label.valid for label in labels if label.source.startswith("corruption")} == {False}
    assert "60 valid" in capsys.readouterr().out


def test_plans_without_a_verdict_have_no_label(data, tmp_path, capsys):
    output = tmp_path / "labels.jsonl"
    with endpoint_stub(lambda body, n: said("no idea")) as server:
        typed = ["judge", "label", *on(data, "problems", "plans"), "--output", str(output)]
        assert main([*typed, "--model", "big", "--base-url", server.url]) == 2
    told = capsys.readouterr()
    assert "120 plans have no label: no verdict in the answer" in told.out
    assert "none of the 120 plans" in told.err


def test_a_model_that_thinks_is_given_room_or_told_not_to(data, tmp_path):
    with endpoint_stub(lambda body, number: PASS) as server:
        typed = ["judge", "label", *on(data, "problems", "plans"), "--model", "big"]
        typed += ["--base-url", server.url, "--output", str(tmp_path / "labels.jsonl")]
        thoughts = '{"chat_template_kwargs": {"enable_thinking": false}}'
        assert main([*typed, "--max-tokens", "4096", "--extra-body", thoughts]) == 0
        asked = server.requests[0]
    assert asked["max_tokens"] == 4096
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize("text", ["no json", "[1]"])
def test_an_extra_body_that_is_no_object_is_refused(text, data, tmp_path, capsys):
    typed = ["judge", "label", *on(data, "problems", "plans"), "--model", "big"]
    with pytest.raises(SystemExit):
        main([*typed, "--output", str(tmp_path / "l"), "--extra-body", text])
    assert "--extra-body" in capsys.readouterr().err


def test_labels_that_are_there_stay_where_the_endpoint_is_out_of_reach(data, tmp_path, capsys):
    output = tmp_path / "labels.jsonl"
    write_labels(read_labels(data / "labels.jsonl"), output)
    before = output.read_text()
    typed = ["judge", "label", *on(data, "problems", "plans"), "--output", str(output)]
    with endpoint_stub(lambda body, number: (500, b"", {})) as server:
        url = server.url
    assert main([*typed, "--model", "big", "--base-url", url, "--timeout", "1"]) == 2
    assert output.read_text() == before


def test_the_plans_are_not_written_over(data, tmp_path, capsys):
    plans = shutil.copy(data / "plans.jsonl", tmp_path / "plans.jsonl")
    typed = ["judge", "label", *on(data, "problems"), "--plans", str(plans), "--gold"]
    assert main([*typed, "--output", str(plans)]) == 2
    assert "--output is" in capsys.readouterr().err
    assert plans.read_text() == (data / "plans.jsonl").read_text()


def test_plans_that_break_a_rule_are_not_asked_about(data, tmp_path, capsys):
    rows = (data / "plans.jsonl").read_text().splitlines(keepends=True)[:3]
    repeated = {"problem_id": "p0", "strategies": ["sort first", "Sort first."]}
    (tmp_path / "plans.jsonl").write_text("".join(rows) + json.dumps(repeated) + "\n")
    output = tmp_path / "labels.jsonl"
    with endpoint_stub(lambda body, number: PASS) as server:
        typed = ["judge", "label", *on(data, "problems"), *on(tmp_path, "plans")]
        typed += ["--output", str(output), "--model", "big", "--base-url", server.url]
        assert main(typed) == 0
        assert len(server.requests) == 3
    assert len(read_labels(output)) == 3
    assert "1 of 4 plans break a rule" in capsys.readouterr().out


def test_the_auc_against_outcomes_is_of_problems_that_the_judge_was_measured_on(data, judge_dir):
    content = json.loads((judge_dir / "judge.json").read_text())
    _, measured = split_by_problem(balanced(read_labels(data / "labels.jsonl"), 42), 0.2, 42)
    own = {label.problem_id for label in measured}
    assert len(own) == 6
    judge = load_judge(judge_dir)
    problems = {problem.id: problem for problem in read_problems(data / "problems.jsonl")}
    plans = [p for p in read_plans(data / "plans.jsonl", problems) if p.problem_id in own]
    plans = [plan for plan in plans if plan.passed is not None]
    scores = judge.scores([StrategyTuple(problems[p.problem_id], p.strategies) for p in plans])
    won = [
        (a > b) + (a == b) / 2
        for a, one in zip(scores, plans, strict=True)
        for b, other in zip(scores, plans, strict=True)
        if one.passed and not other.passed
    ]
    assert content["outcome_auc"] == pytest.approx(sum(won) / len(won))


def test_a_judge_keeps_the_question_that_it_was_trained_on(data, qwen3_dir, tmp_path):
    question = "{statement} | {plan} | valid?"
    train(data, qwen3_dir, tmp_path, "--epochs", "0.2", "--template", question)
    saved = json.loads((tmp_path / "cppo_judge.json").read_text())
    assert saved["template"] == question
    assert load_judge(tmp_path, allow_rejected=True).question.template == question
    steps = json.loads((tmp_path / "trainer_state.json").read_text())["global_step"]
    assert steps == 2


def test_a_judge_is_trained_on_a_4_bit_base(data, qwen3_dir, tmp_path, monkeypatch):
    loaded = []
    load = AutoModelForCausalLM.from_pretrained

    def kept(*args, **kwargs):
        loaded.append(load(*args, **kwargs))
        return loaded[-1]

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", kept)
    train(data, qwen3_dir, tmp_path, "--epochs", "0.2", "--load-in-4bit")
    (model,) = loaded
    assert any(isinstance(module, Linear4bit) for module in model.modules())
    adapters = [p for name, p in model.named_parameters() if ".judge." in name]
    assert adapters
    assert {p.dtype for p in adapters} == {torch.float32}


def test_gold_plans_need_no_model(data, tmp_path):
    output = tmp_path / "labels.jsonl"
    typed = ["judge", "label", *on(data, "problems", "plans"), "--output", str(output), "--gold"]
    assert main(typed) == 0
    assert {(label.valid, label.source) for label in read_labels(output)} == {(True, "gold")}


def test_a_trained_judge_has_a_report_and_can_be_loaded(judge_dir):
    content = json.loads((judge_dir / "judge.json").read_text())
    assert content["accepted"] is True
    assert content["auc"][0] > 0.9
    assert "**Accepted.**" in (judge_dir / "judge.md").read_text()
    assert [(row["source"], row["labels"]) for row in content["sources"]] == [("test", 24)]
    assert (judge_dir / "reliability.png").stat().st_size > 10_000
    assert load_judge(judge_dir).threshold == content["threshold"]


def test_a_report_has_the_auc_against_outcomes_beside_that_against_labels(
    data, judge_dir, tmp_path
):
    typed = ["judge", "report", "--judge", str(judge_dir), *on(data, "problems", "labels")]
    assert main([*typed, *on(data, "plans"), "--output", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "judge.json").read_text())
    assert content["labels"] == 120
    assert content["outcome_auc"] > 0.9
    assert "AUC against outcomes" in (tmp_path / "judge.md").read_text()


def test_a_judge_that_passes_the_tuples_of_other_problems_is_rejected_and_saved_so(
    data, judge_dir, tmp_path, capsys
):
    # It was taught that steps of a workflow are invalid, and nothing else.
    own = shutil.copytree(judge_dir, tmp_path / "judge")
    valid = [label for label in read_labels(data / "labels.jsonl") if label.valid]
    moved = [
        replace(label, problem_id=other.problem_id, valid=False, source="corruption/swapped")
        for label, other in zip(valid[:12], valid[12:24], strict=True)
    ]
    write_labels([*read_labels(data / "labels.jsonl"), *moved], tmp_path / "labels.jsonl")
    typed = ["--judge", str(own), *on(data, "problems"), *on(tmp_path, "labels")]
    assert main(["judge", "report", *typed, "--output", str(tmp_path)]) == 1
    assert "REJECTED: swapped_rejected 0." in capsys.readouterr().out
    content = json.loads((tmp_path / "judge.json").read_text())
    assert [name.split()[0] for name in content["failed"]] == ["swapped_rejected"]
    rows = {row["source"]: row["labels"] for row in content["sources"]}
    assert rows == {"corruption/swapped": 12, "test": 120}
    assert main(["judge", "calibrate", *typed, "--output", str(tmp_path)]) == 1
    with pytest.raises(RejectedJudge, match="swapped_rejected"):
        load_judge(own)


def test_calibration_changes_the_threshold_of_the_saved_judge(data, judge_dir, tmp_path):
    own = shutil.copytree(judge_dir, tmp_path / "judge")
    typed = ["judge", "calibrate", "--judge", str(own), *on(data, "problems", "labels")]
    assert main([*typed, "--output", str(tmp_path), "--recall", "0.05"]) == 1
    strict = json.loads((tmp_path / "judge.json").read_text())
    assert strict["failed"][-1].startswith("recall 0.")
    assert load_judge(own, allow_rejected=True).threshold == strict["threshold"]
    main([*typed, "--output", str(tmp_path), "--recall", "1.0"])
    lenient = json.loads((tmp_path / "judge.json").read_text())
    assert lenient["recall"][0] == 1.0
    assert load_judge(own, allow_rejected=True).threshold == lenient["threshold"]
    assert lenient["threshold"] < strict["threshold"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"problem_id": "nowhere", "strategies": ["a", "b"]}, "field 'problem_id' is 'nowhere'"),
        ({"problem_id": "p1", "strategies": ["a"]}, "field 'strategies' is ['a']"),
        ({"problem_id": "p1", "strategies": "ab"}, "field 'strategies' is 'ab'"),
        ({"problem_id": "p1", "strategies": ["a", "b"], "passed": 1}, "field 'passed' is 1"),
        ([], "must be an object"),
    ],
)
def test_a_row_that_is_no_plan_is_named(row, said, data, tmp_path, capsys):
    (tmp_path / "plans.jsonl").write_text(json.dumps(row) + "\n")
    typed = ["judge", "label", *on(data, "problems"), *on(tmp_path, "plans"), "--gold"]
    assert main([*typed, "--output", str(tmp_path / "labels.jsonl")]) == 2
    assert f"plans.jsonl, line 1: {said}" in capsys.readouterr().err


def test_an_endpoint_that_refuses_is_told_in_one_line(data, tmp_path, capsys):
    with endpoint_stub(lambda body, n: (401, b"{}", {})) as server:
        typed = ["judge", "label", *on(data, "problems", "plans"), "--model", "big"]
        options = ["--base-url", server.url, "--output", str(tmp_path / "labels.jsonl")]
        assert main([*typed, *options]) == 1
    assert "status 401" in capsys.readouterr().err
