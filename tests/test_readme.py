"""README.md keeps its word: every snippet and every command of it runs.

Model ids and sizes are replaced by small ones and the CPU is chosen, nothing else; each replacement
must apply.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ACCELERATE, REPO, load_recipe, run_command
from cppo_trl.cli import main as cppo_trl_command
from cppo_trl.evaluation.records import AttemptRecord, Record
from cppo_trl.judges.labels import read_labels, write_labels
from cppo_trl.problems import write_problems
from cppo_trl.tuples import Plan, read_plans, write_plans
from endpoint_stub import endpoint_stub, said
from test_judge_training import make_labels

README = (REPO / "README.md").read_text(encoding="utf-8")
MODEL_ID = "Qwen/Qwen3.5-0.8B-Base"
SIZES = {
    'output_dir="runs/my-run",': 'output_dir="runs/my-run", max_steps=1, max_plan_length=8, '
    "max_completion_length=8, use_cpu=True,",
    'output="runs/base-eval",': 'output="runs/base-eval", max_plan_length=8, '
    "max_completion_length=8,",
    "num_generations=8,": "num_generations=2,",
    "gradient_accumulation_steps=8,": "gradient_accumulation_steps=2,",
}
# What makes the example's evaluation small enough, and stands for what the quickstart trains.
SMALL_EVALUATION = [
    *("--adapters", "runs/my-run", "--benchmark", "problems.jsonl", "--seeds", "1"),
    *("--max-plan-length", "8", "--max-completion-length", "8"),
]
# What makes the default recipe small enough for a test.
SMALL_SFT = ["--use_cpu", "true", "--bf16", "false", "--dtype", "float32", "--max_steps", "1"]
SMALL_JUDGE = ["--use-cpu", "--dtype", "float32", "--epochs", "0.5", "--max-length", "256"]
SMALL_BASELINE = [
    *(*SMALL_SFT, "--num_generations", "4", "--gradient_accumulation_steps", "2"),
    *("--per_device_train_batch_size", "4", "--max_completion_length", "8"),
]
SMALL_RECIPE = [
    *(*SMALL_SFT, "--num_generations", "2", "--gradient_accumulation_steps", "2"),
    *("--audit_problems", "0"),  # nothing is to be learned from a random model
    *("--max_plan_length", "8", "--max_completion_length", "8"),
    *("--audit_problems", "0"),  # which says no-go to random weights
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def session(qwen3_5_dir, tmp_path_factory):
    """A folder in which all Python snippets have run, in order and in one namespace."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "recipes").symlink_to(REPO / "recipes")
    replacements = {MODEL_ID: str(qwen3_5_dir), **SIZES}
    snippets = blocks("python")
    for text in replacements:
        assert any(text in snippet for snippet in snippets), f"{text!r} is no longer in README.md"
    namespace: dict[str, object] = {}
    with contextlib.chdir(folder):
        for number, snippet in enumerate(snippets, start=1):
            for text, small in replacements.items():
                snippet = snippet.replace(text, small)
            exec(compile(snippet, f"README.md, Python snippet {number}", "exec"), namespace)
    return folder, namespace


def test_python_snippets_run_in_order(session):
    folder, names = session
    assert names["trainer"].state.global_step == 1
    for role in ("planner", "solver"):
        assert (folder / "runs" / "my-run" / role / "adapter_model.safetensors").is_file()
    assert names["verdict"].passed
    assert names["judge"]([], [[]] * 2, [None] * 2, [("a", "b"), ("a", "a")]) == [1.0, 0.0]
    assert names["strategies"] is None or len(names["strategies"]) == 4
    assert len(names["attempts"]) in (0, 4)
    assert set(names["planner"].peft_config) == {"default"}
    assert names["report"].name == "report.html"


def solve_by_four_routes(path):
    """Writes what an evaluation of the training problems would: one of them, solved four times."""
    programs = [f"a, b = map(int, input().split())\nprint(a + b + {n} - {n})" for n in range(4)]
    attempts = tuple(AttemptRecord(code, code, "pass", 2, 2, 0.1) for code in programs)
    strategies = tuple(f"Add both numbers and {n}, then take {n} away again." for n in range(4))
    path.parent.mkdir(parents=True)
    path.write_text(Record(0, 0, "sum", strategies, attempts, {}).to_line())


@pytest.fixture(scope="module")
def endpoint():
    """Stands for the server of a large model; it writes plans and judges them."""
    plan = "A: Add them.\nB: Count up.\nC: Use a loop of carries.\nD: Fold the list."

    def answer(body, number):
        asked = body["messages"][0]["content"]
        return said('{"verdict": "pass"}' if "verdict" in asked else plan)

    with endpoint_stub(answer) as server:
        yield server


@pytest.fixture
def labelled(tmp_path):
    """A folder with the files that the judge's commands name, of problems that are enough."""
    problems, labels = make_labels(30)
    write_problems(list(problems.values()), tmp_path / "problems.jsonl")
    write_labels(labels, tmp_path / "labels.jsonl")
    plans = [Plan(label.problem_id, label.strategies) for label in labels]
    write_plans(plans, tmp_path / "plans.jsonl")
    return tmp_path


def test_every_kind_of_command_is_in_the_readme():
    kinds = {"make", "accelerate", "cppo-trl", "python"}
    assert {shlex.split(command)[0] for command in COMMANDS} == kinds


@pytest.mark.parametrize("command", COMMANDS)
def test_command_works(
    command, session, endpoint, labelled, qwen3_5_dir, tmp_path, monkeypatch, capfd
):
    folder, _ = session
    program, *arguments = shlex.split(command)
    if "--base-url" in arguments:
        arguments[arguments.index("--base-url") + 1] = endpoint.url
    if program == "make":
        done = subprocess.run(["make", "-n", *arguments], cwd=REPO, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert re.search(r"recipes/quickstart\.py|-m pytest|ruff check", done.stdout)
    elif "recipes/coordination_gap.py" in arguments:  # its pipeline has tests of its own
        load_recipe("coordination_gap").parse_arguments(arguments[1:])
    elif "recipes/reproduce_table.py" in arguments:  # the small table has tests of its own
        arguments += [] if "--dry-run" in arguments else ["--dry-run"]
        said = run_command([sys.executable, *arguments], REPO).stdout
        assert re.search(r"\d+ cells", said)
    elif program == "python":  # trains for hours: what it would do is all that can be seen here
        said = run_command([sys.executable, *arguments, "--dry_run"], REPO).stdout
        stages = re.findall(r"^# (\w+)$", said, re.MULTILINE)
        assert stages == ["gold", "sft", "judge", "warmup", "audit", "cppo", "evaluation"]
    elif "recipes/sft_planner.py" in arguments:
        gold = [Plan(name, ("add", "count", "loop", "fold")) for name in ("sum", "mirror")]
        write_plans(gold, folder / "gold.jsonl")
        arguments += ["--model_name_or_path", str(qwen3_5_dir), *SMALL_SFT]
        run_command([*ACCELERATE, *arguments], folder)
        assert (folder / "runs" / "sft" / "planner" / "adapter_model.safetensors").is_file()
    elif program == "accelerate" and "recipes/cppo_qwen.py" not in arguments:
        arguments += ["--model_name_or_path", str(qwen3_5_dir), *SMALL_BASELINE]
        run_command([*ACCELERATE, *arguments], folder)
        output = arguments[arguments.index("--output_dir") + 1]
        assert (folder / output / "adapter_model.safetensors").is_file()
    elif program == "accelerate":
        arguments += ["--model_name_or_path", str(qwen3_5_dir), *SMALL_RECIPE]
        arguments += ["--output_dir", str(tmp_path / "run")]
        run_command([*ACCELERATE, *arguments], folder)
        assert (tmp_path / "run" / "planner" / "adapter_model.safetensors").is_file()
    else:
        monkeypatch.chdir(folder)
        if "recipes/configs/coordination_gap_eval.yaml" in arguments:
            arguments += ["--model", str(qwen3_5_dir), *SMALL_EVALUATION]
        if arguments[:2] == ["gold", "attempts"]:
            solve_by_four_routes(folder / arguments[arguments.index("--records") + 1])
        if arguments[0] == "judge":
            monkeypatch.chdir(labelled)
        if arguments[:2] == ["judge", "train"]:
            arguments += ["--model", str(qwen3_5_dir), *SMALL_JUDGE]
        status = cppo_trl_command(arguments)
        # Untrained adapters are no-go, and a random base is no good judge.
        assert status == (arguments[0] == "audit" or arguments[:2] == ["judge", "train"])
        assert capfd.readouterr().out
        if arguments[0] == "verify":
            verdicts = map(json.loads, (folder / "verdicts.jsonl").read_text().splitlines())
            assert [verdict["status"] for verdict in verdicts] == ["pass", "wrong_answer"]
        if arguments[0] == "gold":
            solved = {"sum"} if arguments[1] == "attempts" else {"sum", "mirror"}
            found = read_plans(folder / "gold.jsonl", {"sum", "mirror"})
            assert {plan.problem_id for plan in found} == solved
        if arguments[:2] == ["judge", "label"]:
            sources = {label.source for label in read_labels("labels.jsonl")}
            assert {"Qwen/Qwen2.5-Coder-32B-Instruct", "corruption/mixed"} < sources
        if arguments[:2] == ["judge", "train"]:
            assert "accepted" in Path("runs/judge/judge.json").read_text()
        if arguments[0] == "eval":
            assert (folder / "runs" / "my-eval" / "report.html").is_file()


def test_the_benchmark_of_the_verifier_prints_its_table():
    assert "python perf/verifier.py" in README
    few = ["--programs", "2", "--tests", "2", "--repeats", "1"]
    said = run_command([sys.executable, str(REPO / "perf" / "verifier.py"), *few], REPO).stdout
    assert "zygote, all layers (the default)" in said


def test_the_table_of_the_example_is_that_of_its_report():
    summary = json.loads((REPO / "docs/examples/coordination_gap/summary.json").read_text())
    (benchmark,) = summary["benchmarks"]
    assert f"{benchmark['problems']} problems, {summary['seeds']} seeds" in README
    for method in benchmark["methods"]:
        one, *_, four = method["pass_at_k"]
        interval = f"{four['mean']:.3f} ({four['low']:.3f}–{four['high']:.3f})"
        assert f"| `{method['method']}` | {one['mean']:.3f} | {interval} |" in README


@pytest.mark.parametrize(
    ("report", "count"),
    [("coordination_gap_stages/ablation.md", 15), ("coordination_gap_table/table.md", 18)],
)
def test_the_rows_of_an_example_are_those_of_its_report(report, count):
    lines = (REPO / "docs/examples" / report).read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = lines[first : first + count]
    assert all(row.startswith("|") for row in rows)
    assert not lines[first + count].startswith("|")
    assert "\n".join(rows) in README


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (REPO / target).exists(), target


def test_names_in_the_paper_table_exist():
    table = README[README.index("### From the paper to the code") :]
    names = re.findall(r"`([a-z_]+)\.([A-Za-z_]+)`", table)
    names += re.findall(r"`(?:[a-z_]+\.)?(CPPOTrainer)\.([a-z_]+)`", table)
    assert names
    for module, name in names:
        owner = "cppo_trl.cppo_trainer" if module == "CPPOTrainer" else f"cppo_trl.{module}"
        holder = importlib.import_module(owner)
        if module == "CPPOTrainer":
            holder = holder.CPPOTrainer
        assert hasattr(holder, name), f"{module}.{name}"
