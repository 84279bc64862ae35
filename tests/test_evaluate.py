"""An evaluation: the methods that were asked for, on the same problems, and nothing mixed up."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cppo_trl.benchmarks import BenchmarkError
from cppo_trl.cli import main
from cppo_trl.evaluation.config import ConfigError, EvaluationConfig
from cppo_trl.evaluation.directory import DirectoryError, EvaluationDirectory
from cppo_trl.evaluation.evaluate import NoVerdicts, ladder
from cppo_trl.evaluation.setups import resolve
from cppo_trl.generation import Sampling, TransformersGenerator
from cppo_trl.roles import PLANNER, SOLVER
from cppo_trl.verifier import CodeVerifier, Status, Verdict
from small_evaluation import PROMPTS, K, evaluate_guesses, write_guesses
from tiny_adapters import save_adapters, save_policy

BASICS = {"model": "m", "output": "out", "benchmarks": ("apps",)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture(scope="module")
def policies(qwen3_dir, tmp_path_factory):
    """Two saved policies of one base."""
    folder = tmp_path_factory.mktemp("policies")
    return [save_policy(qwen3_dir, folder / f"policy-{seed}", seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def command(policies, tmp_path_factory):
    """An evaluation of two policies by two methods, as it is typed, without its output."""
    problems = write_guesses(tmp_path_factory.mktemp("problems") / "guesses.jsonl", 8)
    return [
        *("eval", "--adapters", *map(str, policies), "--benchmark", str(problems)),
        *("--method", "direct", "cppo", "--seeds", "2", "--batch-size", "3"),
        *("--max-completion-length", "8", "--workers", "1"),
    ]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The directory of that evaluation, undisturbed."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert main([*command, "--output", str(output)]) == 0
    return output


def records(directory: Path) -> dict[str, list[dict]]:
    """All records, without what the clock had a part in."""
    found = {}
    for path in sorted(directory.glob("attempts/*/*.jsonl")):
        rows = found[path.stem] = [json.loads(line) for line in path.read_text().splitlines()]
        for row in rows:
            row.pop("seconds")
            for attempt in row["attempts"]:
                attempt.pop("cpu_seconds")
    return found


def test_a_planner_that_divides_the_answers_beats_guessing(qwen3_dir, folder):
    found = evaluate_guesses(qwen3_dir, folder, methods=("direct", "cppo"), seeds=8)
    direct, cppo = found.benchmarks[0].summaries
    assert {score.k: score.mean for score in cppo.scores}[K] == 1.0
    assert {score.k: score.mean for score in direct.scores}[K] < 1.0
    assert cppo.is_significant
    assert (cppo.distinct, direct.distinct) == (3.0, None)


def test_every_method_gets_as_many_attempts(qwen3_dir, folder):
    methods = ("direct", "plan-and-solve", "untrained-planner", "planner", "solver", "cppo")
    found = evaluate_guesses(qwen3_dir, folder, methods=methods)
    for method in methods:
        assert {len(r.attempts) for r in found.benchmarks[0].records[method]} == {K}
        assert all(r.spent["solver_calls"] == K for r in found.benchmarks[0].records[method])


def test_the_same_seed_gives_the_same_records(qwen3_dir, folder):
    write_guesses(folder / "guesses.jsonl")
    for name in ("one", "two"):
        evaluate_guesses(qwen3_dir, folder, output=folder / name)
    assert records(folder / "one") == records(folder / "two") != {}


def test_methods_seeds_and_benchmarks_can_be_added(qwen3_dir, folder):
    evaluate_guesses(qwen3_dir, folder, methods=("direct",), seeds=1)
    before = records(folder / "out")["direct"]
    write_guesses(folder / "more.jsonl", 5)
    benchmarks = (str(folder / "guesses.jsonl"), str(folder / "more.jsonl"))
    found = evaluate_guesses(qwen3_dir, folder, methods=("direct", "cppo"), benchmarks=benchmarks)
    assert [result.name for result in found.benchmarks] == ["guesses", "more"]
    again = [json.loads(r.to_line()) for r in found.benchmarks[0].records["direct"]]
    assert [r["attempts"][0]["completion"] for r in again[: len(before)]] == [
        r["attempts"][0]["completion"] for r in before
    ]
    assert len(EvaluationDirectory(folder / "out").sessions) == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": 0.3}, r"direct\.sampling\.solver\.temperature 0.7, and now it is 0.3"),
        ({"k": 2}, "num_attempts 3, and now it is 2"),
        ({"batch_size": 6}, "batch_size 5, and now it is 6"),
        ({"draws": 2}, "draws 1, and now it is 2"),
        ({"prompts": PROMPTS | {"direct": "{statement}!"}}, r"direct\.templates\.direct "),
        ({"chat_template_kwargs": {"enable_thinking": True}}, "chat_template_kwargs {}, and now"),
        ({"model": "another"}, 'model "a-script", and now it is "another"'),
        ({"time_limit": 1.0}, r"grading\.guesses"),
    ],
)
def test_other_settings_are_refused_in_the_same_directory(qwen3_dir, folder, settings, said):
    evaluate_guesses(qwen3_dir, folder, seeds=1)
    before = records(folder / "out")
    with pytest.raises(DirectoryError, match=said):
        evaluate_guesses(qwen3_dir, folder, **{"seeds": 1, **settings})
    assert records(folder / "out") == before


def test_adapters_of_another_name_are_refused_where_their_weights_are_unknown(qwen3_dir, folder):
    evaluate_guesses(qwen3_dir, folder, seeds=1)
    with pytest.raises(DirectoryError, match=r"adapters\.planner "):
        evaluate_guesses(qwen3_dir, folder, seeds=1, adapters=folder / "others")


def test_other_problems_are_refused_in_the_same_directory(qwen3_dir, folder):
    evaluate_guesses(qwen3_dir, folder)
    problems = folder / "guesses.jsonl"
    problems.write_text(problems.read_text().replace("Guess 3.", "Guess three."))
    with pytest.raises(DirectoryError, match=r"other statements, tests or limits of 1 \('p3'\)"):
        evaluate_guesses(qwen3_dir, folder)


def test_settings_are_refused_with_more_seeds_as_well(qwen3_dir, folder):
    evaluate_guesses(qwen3_dir, folder, seeds=1)
    for kwargs in ({"enable_thinking": True}, {"more": 1}):
        with pytest.raises(DirectoryError, match="chat_template_kwargs"):
            evaluate_guesses(qwen3_dir, folder, seeds=2, chat_template_kwargs=kwargs)


def test_fewer_seeds_than_there_are_are_refused(qwen3_dir, folder):
    evaluate_guesses(qwen3_dir, folder, seeds=2)
    with pytest.raises(DirectoryError, match=r"seeds is 1; .* holds attempts of 2"):
        evaluate_guesses(qwen3_dir, folder, seeds=1)
    assert len(EvaluationDirectory(folder / "out").sessions) == 1


def test_what_a_method_does_not_use_may_change(qwen3_dir, folder):
    evaluate_guesses(qwen3_dir, folder, methods=("direct",))
    before = records(folder / "out")["direct"]
    evaluate_guesses(qwen3_dir, folder, planner_temperature=0.1)  # and two methods more
    assert records(folder / "out")["direct"] == before


def test_two_benchmarks_never_share_a_folder(qwen3_dir, folder):
    names = ["easy set.jsonl", "easy-set.jsonl"]
    paths = [str(write_guesses(folder / name, 3)) for name in names]
    with pytest.raises(DirectoryError, match="'easy set' and 'easy-set' have the same folder"):
        evaluate_guesses(qwen3_dir, folder, benchmarks=paths)
    evaluate_guesses(qwen3_dir, folder, benchmarks=paths[:1])
    with pytest.raises(DirectoryError, match="have the same folder"):
        evaluate_guesses(qwen3_dir, folder, benchmarks=paths[1:])


@pytest.mark.parametrize("label", ["..", "", "a\nb", "-"])
def test_a_label_that_is_no_name_is_refused(label):
    with pytest.raises(BenchmarkError, match="label is"):
        EvaluationConfig(**{**BASICS, "benchmarks": ({"name": "apps", "label": label or " "},)})


def test_what_another_process_wrote_meanwhile_is_seen(qwen3_dir, folder):
    late = EvaluationDirectory(folder / "out")
    evaluate_guesses(qwen3_dir, folder)
    with late.locked():
        assert len(late.sessions) == 1
        with pytest.raises(DirectoryError, match="num_attempts"):
            late.check({"num_attempts": 9}, {})


@pytest.mark.parametrize("content", ["{", '{"settings": 1, "problems": 2, "sessions": 3}', "[]"])
def test_a_damaged_description_is_named(folder, content):
    (folder / "evaluation.json").write_text(content)
    with pytest.raises(DirectoryError, match=r"evaluation\.json is damaged"):
        EvaluationDirectory(folder)


def test_an_output_that_is_a_file_is_named(folder):
    (folder / "out").write_text("")
    with pytest.raises(DirectoryError, match="it is a file; name a directory"):
        EvaluationDirectory(folder / "out")


@pytest.mark.parametrize("k", [1, 27])
def test_a_k_that_no_plan_has_is_refused_before_anything_is_loaded(qwen3_dir, folder, k):
    with pytest.raises(ConfigError, match=f"k is {k}; the method 'untrained-planner' plans from 2"):
        evaluate_guesses(qwen3_dir, folder, k=k)
    assert not (folder / "out").exists()
    resolve(EvaluationConfig(**BASICS, k=k))  # direct sampling can


def test_pooled_tuples_reach_larger_budgets(qwen3_dir, folder):
    found = evaluate_guesses(qwen3_dir, folder, draws=4)
    assert [score.k for score in found.benchmarks[0].summaries[0].scores] == [1, 2, 3, 6, 12]


@pytest.mark.parametrize(
    ("k", "draws", "expected"),
    [
        (4, 1, [1, 2, 4]),
        (1, 1, [1]),
        (1, 3, [1, 2, 3]),
        (5, 1, [1, 2, 4, 5]),
        (4, 5, [1, 2, 4, 8, 16, 20]),
    ],
)
def test_the_curve_has_powers_of_two_and_of_tuples(k, draws, expected):
    assert ladder(k, draws) == expected


def test_the_command_leaves_attempts_numbers_and_a_report(whole):
    for name in ("evaluation.json", "summary.json", "report.md", "report.html"):
        assert (whole / name).is_file(), name
    found = records(whole)
    assert {name: len(rows) for name, rows in found.items()} == {"direct": 16, "cppo": 16}
    assert {len(row["attempts"]) for rows in found.values() for row in rows} == {2}  # the policy's
    content = json.loads((whole / "evaluation.json").read_text())
    assert content["sessions"][0]["command"].startswith("cppo-trl eval --adapters")
    assert {"torch", "transformers", "python"} <= content["sessions"][0]["versions"].keys()


def test_each_seed_has_its_own_adapters(whole, policies):
    prints = json.loads((whole / "evaluation.json").read_text())["settings"]["fingerprints"]
    assert len(set(prints["planner"])) == len(set(prints["solver"])) == 2


def test_a_killed_evaluation_goes_on_to_the_same_records(command, whole, tmp_path):
    output = tmp_path / "out"
    typed = [sys.executable, "-m", "cppo_trl.cli", *command, "--output", str(output)]
    process = subprocess.Popen(typed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = output / "attempts" / "guesses" / "direct.jsonl"
    ends = time.monotonic() + 120
    while not (first.is_file() and first.stat().st_size) and time.monotonic() < ends:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = sum(map(len, records(output).values()))
    assert 0 < done < sum(map(len, records(whole).values()))
    assert main([*command, "--output", str(output)]) == 0
    assert records(output) == records(whole)


def test_a_finished_evaluation_generates_nothing_again(command, whole, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole.glob("attempts/*/*.jsonl")}
    assert main([*command, "--output", str(whole)]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "pass@2" in capsys.readouterr().out


def test_retrained_adapters_are_not_taken_for_the_old_ones(
    command, policies, qwen3_dir, tmp_path, capsys
):
    own = save_policy(qwen3_dir, tmp_path / "policy", 1)
    short = [text if text != str(policies[0]) else str(own) for text in command]
    short = [text for text in short if text != str(policies[1])]
    assert main([*short, "--output", str(tmp_path / "out")]) == 0
    save_policy(qwen3_dir, own, 5)
    capsys.readouterr()
    assert main([*short, "--output", str(tmp_path / "out")]) == 2
    assert "attempts made with fingerprints." in capsys.readouterr().err


def test_the_same_weights_may_move(command, policies, tmp_path):
    problems = command[command.index("--benchmark") + 1]
    typed = ["eval", "--benchmark", problems, "--method", "cppo", "--seeds", "1", "--output"]
    typed += [str(tmp_path / "out"), "--max-completion-length", "8"]
    shutil.copytree(policies[0], tmp_path / "moved")
    assert main([*typed, "--adapters", str(policies[0])]) == 0
    before = records(tmp_path / "out")
    assert main([*typed, "--adapters", str(tmp_path / "moved")]) == 0
    assert records(tmp_path / "out") == before


def test_adapters_can_be_added_to_an_evaluation_of_their_base(
    command, policies, qwen3_dir, tmp_path
):
    problems = command[command.index("--benchmark") + 1]
    typed = ["eval", "--benchmark", problems, "--seeds", "1", "--k", "2", "--output"]
    typed += [str(tmp_path / "out"), "--max-completion-length", "8", "--temperature", "1"]
    assert main([*typed, "--model", str(qwen3_dir), "--method", "direct"]) == 0
    before = records(tmp_path / "out")["direct"]
    assert main([*typed, "--adapters", str(policies[0]), "--method", "direct", "cppo"]) == 0
    assert records(tmp_path / "out")["direct"] == before


def test_another_chat_template_is_not_taken_for_the_old_one(command, qwen3_dir, tmp_path, capsys):
    own = save_policy(qwen3_dir, tmp_path / "policy", 1)
    problems = command[command.index("--benchmark") + 1]
    typed = ["eval", "--adapters", str(own), "--benchmark", problems, "--method", "cppo"]
    typed += ["--max-completion-length", "8", "--output", str(tmp_path / "out"), "--seeds"]
    assert main([*typed, "1"]) == 0
    template = own / "chat_template.jinja"
    template.write_text("You are terse.\n" + template.read_text())
    capsys.readouterr()
    assert main([*typed, "2"]) == 2
    assert "fingerprints.tokenizer" in capsys.readouterr().err


def test_methods_that_are_left_out_of_the_report_are_named(command, whole, capsys):
    shorter = [text for text in command if text != "direct"]
    assert main([*shorter, "--output", str(whole)]) == 0
    assert "Not in this report, but attempted on guesses: direct." in capsys.readouterr().out
    assert main([*command, "--output", str(whole)]) == 0


def test_adapters_of_other_settings_are_not_one_evaluation(policies, qwen3_dir, tmp_path):
    other = save_policy(qwen3_dir, tmp_path / "other", 3)
    content = json.loads((other / "cppo_policy.json").read_text())
    content["sampling"]["planner"]["temperature"] = 0.1
    (other / "cppo_policy.json").write_text(json.dumps(content))
    for adapters in ((policies[0], other), (other, policies[0])):
        config = EvaluationConfig(output="o", benchmarks="apps", adapters=adapters, seeds=2)
        with pytest.raises(ConfigError, match=r"saved with other settings .* apart"):
            resolve(config)


def test_adapters_of_several_bases_need_a_model(policies, qwen3_dir, tmp_path):
    other = save_policy(qwen3_dir, tmp_path / "other", 3)
    file = other / "solver" / "adapter_config.json"
    file.write_text(file.read_text().replace(str(qwen3_dir), "nobody/other"))
    settings = {"output": "o", "benchmarks": "apps", "adapters": str(other)}
    with pytest.raises(ConfigError, match="adapters are of several bases"):
        resolve(EvaluationConfig(**settings))
    assert resolve(EvaluationConfig(**settings, model="m")).model == "m"


def test_adapters_that_are_not_there_are_named(tmp_path):
    config = EvaluationConfig(output="o", benchmarks="apps", adapters=tmp_path)
    with pytest.raises(ConfigError, match=f"adapters '{tmp_path}': .* no adapter for the planner"):
        resolve(config)


def test_a_yaml_file_has_the_options_and_the_command_line_wins(command, whole, tmp_path, capsys):
    _, _, first, second, _, problems, *_ = command
    (tmp_path / "eval.yaml").write_text(
        f"adapters: [{first}, {second}]\nbenchmarks: [{{name: jsonl, path: {problems}}}]\n"
        "methods: [direct, cppo]\nseeds: 3\nbatch_size: 3\nmax_completion_length: 8\n"
        f"output: {tmp_path / 'out'}\n"
    )
    assert main(["eval", "--config", str(tmp_path / "eval.yaml"), "--seeds", "2"]) == 0
    assert records(tmp_path / "out") == records(whole)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"output": ""}, "output is missing"),
        ({"benchmarks": ()}, "benchmarks is empty"),
        ({"methods": ("dirct",)}, "methods has 'dirct'; there are direct, latent"),
        ({"methods": ("direct", "direct")}, "methods has 'direct' twice"),
        ({"methods": ("cppo",)}, "'cppo' needs a trained planner: give adapters"),
        ({"methods": ("solver",), "planner_adapter": "p"}, "needs a trained solver"),
        ({"model": None}, "model is missing"),
        ({"k": 0}, "k is 0; it must be a whole number from 1 on"),
        ({"k": True}, "k is True"),
        ({"seeds": 2.5}, "seeds is 2.5"),
        ({"temperature": -1}, "temperature is -1; it must be a number from 0 on"),
        ({"top_p": 0}, "top_p is 0"),
        ({"compare": "fuzzy"}, "compare is 'fuzzy'; it must be one of lcb"),
        ({"baseline": "cppo"}, "baseline is 'cppo'; it must be one of direct"),
        ({"prompts": {"drect": "x"}}, "prompts has 'drect'; there are direct"),
        (
            {"adapters": ("a", "b"), "seeds": 3},
            "2 adapters of the planner and seeds is 3",
        ),
        ({"benchmarks": ("a/x.jsonl", "b/x.jsonl")}, "two benchmarks are called 'x'"),
        ({"load_in_4bit": "yes"}, "load_in_4bit is 'yes'; it must be true or false"),
        ({"prompts": {"direct": 5}}, "prompts is .*; it must be a mapping of names to texts"),
        ({"prompts": "eval.yaml"}, "prompts is 'eval.yaml'"),
        ({"dtype": "foo"}, "dtype is 'foo'; it must be one of auto, float32"),
        ({"planner_adapter": [None]}, "planner_adapter is"),
        ({"adapters": ""}, "adapters is"),
        ({"loading": {"progress": False}}, "loading has 'progress'; there are split"),
        ({"loading": "abc"}, "loading is 'abc'"),
        ({"chat_template_kwargs": {1: 2}}, "chat_template_kwargs is"),
    ],
)
def test_bad_settings_are_refused_by_name(settings, said):
    with pytest.raises(ConfigError, match=said):
        EvaluationConfig(**{**BASICS, **settings})


@pytest.mark.parametrize(
    ("benchmark", "said"),
    [
        ("aps", "benchmark 'aps': there are apps, "),
        ({"name": "apps", "splt": "test"}, "unknown option 'splt'"),
        ({"split": "test"}, "a mapping that has a name"),
        ({"name": 5}, "benchmark 5: it must be text"),
        ({"name": "apps", "limit": 0}, "limit is 0"),
    ],
)
def test_bad_benchmarks_are_refused_by_name(benchmark, said):
    with pytest.raises(BenchmarkError, match=said):
        EvaluationConfig(**{**BASICS, "benchmarks": (benchmark,)})


def test_bad_prompts_are_refused_before_a_model_is_loaded():
    config = EvaluationConfig(**BASICS, prompts={"derive": "{statement}"})
    with pytest.raises(
        ConfigError, match=r"derive template lacks the required field \{observations\}"
    ):
        resolve(config)


def test_without_adapters_the_sampling_is_that_of_the_method():
    resolved = resolve(EvaluationConfig(**BASICS))
    assert resolved.sampling == {PLANNER: Sampling(512, 0.9), SOLVER: Sampling(2048, 0.7)}
    assert resolved.num_attempts == 4


def test_adapters_bring_their_own_settings(policies, qwen3_dir):
    resolved = resolve(EvaluationConfig(output="out", benchmarks="apps", adapters=policies[:1]))
    assert resolved.model == str(qwen3_dir)
    assert resolved.num_attempts == 2
    assert resolved.sampling[PLANNER] == Sampling(16, 1.0)
    resolved = resolve(
        EvaluationConfig(
            output="out", benchmarks="apps", adapters=policies[:1], k=4, max_plan_length=99
        )
    )
    assert resolved.num_attempts == 4
    assert resolved.sampling == {PLANNER: Sampling(99, 1.0), SOLVER: Sampling(16, 1.0)}


def test_a_role_can_have_a_plain_adapter_of_its_own(qwen3_dir, policies, tmp_path):
    own = save_adapters(qwen3_dir, tmp_path / "own") / "planner"
    config = EvaluationConfig(
        output="out", benchmarks="apps", adapters=policies, planner_adapter=str(own), seeds=2
    )
    resolved = resolve(config)
    assert resolved.adapters[PLANNER] == [str(own)] * 2
    assert resolved.adapter_names(1) == {PLANNER: "planner", SOLVER: "solver-1"}
    assert resolved.adapter_sources() == {
        "planner": (PLANNER, str(own)),
        "solver": (SOLVER, str(policies[0])),
        "solver-1": (SOLVER, str(policies[1])),
    }


def test_a_model_that_is_not_there_is_named(command, tmp_path, capsys):
    problems = command[command.index("--benchmark") + 1]
    typed = ["eval", "--model", str(tmp_path / "none"), "--benchmark", problems, "--output"]
    assert main([*typed, str(tmp_path / "out")]) == 2
    assert f"model '{tmp_path / 'none'}'" in capsys.readouterr().err


def test_a_limit_is_told(qwen3_dir, folder):
    found = evaluate_guesses(qwen3_dir, folder, limit=4)
    assert len(found.benchmarks[0].problems) == 4
    assert "8 filtered out (limit: 8)" in found.benchmarks[0].described


def test_two_processes_do_not_write_into_one_directory(qwen3_dir, folder):
    evaluate_guesses(qwen3_dir, folder)
    busy = EvaluationDirectory(folder / "out").locked()
    with busy, pytest.raises(DirectoryError, match="another process"):
        evaluate_guesses(qwen3_dir, folder)
    evaluate_guesses(qwen3_dir, folder)


def test_memory_that_runs_out_is_no_reason_to_begin_anew(qwen3_dir, folder):
    evaluate_guesses(qwen3_dir, folder, seeds=1)
    before = records(folder / "out")["direct"]
    evaluate_guesses(qwen3_dir, folder, rollout_batch_size=1)
    assert records(folder / "out")["direct"][: len(before)] == before


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped; the same command goes on"),
        (torch.OutOfMemoryError("out of memory"), 1, "a smaller --rollout-batch-size"),
    ],
)
def test_what_stops_an_evaluation_says_how_it_goes_on(
    error, status, said, command, tmp_path, monkeypatch, capsys
):
    def stop(*args, **kwargs):
        raise error

    monkeypatch.setattr(TransformersGenerator, "generate", stop)
    assert main([*command, "--output", str(tmp_path / "out")]) == status
    assert said in capsys.readouterr().err


def test_an_evaluation_without_any_verdict_says_so(qwen3_dir, folder, monkeypatch):
    def trouble(self, problems, completions, **options):
        return [Verdict(Status.INFRASTRUCTURE, 0, 1)] * len(problems)

    monkeypatch.setattr(CodeVerifier, "verify_completions", trouble)
    with pytest.raises(NoVerdicts, match="guesses: no problem has verdicts"):
        evaluate_guesses(qwen3_dir, folder)
    monkeypatch.undo()
    assert evaluate_guesses(qwen3_dir, folder).benchmarks[0].unknown == []


def test_unknown_verdicts_leave_a_problem_out_for_every_method(qwen3_dir, folder, monkeypatch):
    verify = CodeVerifier.verify_completions

    def trouble(self, problems, completions, **options):
        verdicts = verify(self, problems, completions, **options)
        broken = Verdict(Status.INFRASTRUCTURE, 0, 1)
        return [
            broken if problem.id == "p1" else verdict
            for problem, verdict in zip(problems, verdicts, strict=True)
        ]

    monkeypatch.setattr(CodeVerifier, "verify_completions", trouble)
    found = evaluate_guesses(qwen3_dir, folder)
    assert found.benchmarks[0].unknown == ["p1"]
    monkeypatch.undo()
    found = evaluate_guesses(qwen3_dir, folder)  # verifies again what it has
    assert found.benchmarks[0].unknown == []
    assert np.isfinite([s.mean for m in found.benchmarks[0].summaries for s in m.scores]).all()
