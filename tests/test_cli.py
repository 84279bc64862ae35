"""The command `cppo-trl`, as a user types it."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import cppo_trl
from cppo_trl import Problem, TestCase, __version__
from cppo_trl.cli import main
from cppo_trl.generation import Completion, TransformersGenerator
from cppo_trl.problems import write_problems
from cppo_trl.roles import ROLES, add_roles
from cppo_trl.routing import role_router
from cppo_trl.verifier import COMPARE_MODES, CodeVerifier, SandboxError, Status, Verdict
from tiny_adapters import save_policy

PACKAGE = Path(cppo_trl.__file__).parent
COMMANDS = ("show", "merge", "verify", "benchmark", "eval", "compare", "doctor", "quickstart")


@pytest.fixture
def problems_file(tmp_path):
    problem = Problem(
        id="double", statement="Print twice [the] number.", tests=(TestCase("2", "4"),)
    )
    write_problems([problem], tmp_path / "problems.jsonl")
    return tmp_path / "problems.jsonl"


@pytest.fixture(scope="module")
def policy_dir(qwen3_dir, tmp_path_factory):
    """A saved policy of random adapters, which differ from the base."""
    return save_policy(qwen3_dir, tmp_path_factory.mktemp("policy"))


@pytest.mark.parametrize("arguments", [[], *([command] for command in COMMANDS)])
def test_help_names_what_there_is(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in (arguments or COMMANDS))


def test_version_is_the_package_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"cppo-trl {__version__}\n"


def test_installed_command_is_this_one():
    (command,) = metadata.entry_points(group="console_scripts", name="cppo-trl")
    assert command.load() is main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["train"], "'train'"),
        (
            ["merge", "--policy", "p", "--role", "solver", "--output", "o", "--speed", "9"],
            "--speed 9",
        ),
        (["show", "--policy", "p"], "--problems"),
        (["show", "--policy", "p", "--problems", "x", "--index", "one"], "'one'"),
        (["merge", "--policy", "p", "--role", "judge", "--output", "o"], "'judge'"),
        (["show", "--policy", "p", "--problems", "missing.jsonl"], "missing.jsonl"),
        (["show", "--policy", "p", "--problems", "{problems}", "--index", "1"], "0 to 0"),
        (["show", "--policy", "p", "--problems", "{problems}", "--index", "-1"], "0 to 0"),
        (["show", "--policy", "p", "--problems", "{broken}"], "line 1"),
        (["show", "--policy", "{empty}", "--problems", "{problems}"], "{empty}"),
        (["show", "--policy", "/no/such/policy", "--problems", "{problems}"], "/no/such/policy"),
        (["merge", "--policy", "{empty}", "--role", "solver", "--output", "{new}"], "{empty}"),
        (["merge", "--policy", "p", "--role", "solver", "--output", "{full}"], "--output"),
        (["merge", "--policy", "p", "--role", "solver", "--output", "{broken}"], "--output"),
    ],
)
def test_bad_input_gives_status_2_and_one_line(arguments, said, tmp_path, problems_file, capfd):
    (tmp_path / "broken.jsonl").write_text('{"id": "a"}\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "model.safetensors").touch()
    places = {
        "problems": problems_file,
        "broken": tmp_path / "broken.jsonl",
        **{name: tmp_path / name for name in ("empty", "full", "new")},
    }
    capfd.readouterr()
    try:
        status = main([argument.format(**places) for argument in arguments])
    except SystemExit as stopped:
        status = stopped.code
    error = capfd.readouterr().err
    assert status == 2
    assert len(error.splitlines()) == 1
    assert said.format(**places) in error
    assert not (tmp_path / "new").exists()


def test_show_prints_strategies_programs_and_verdicts(
    policy_dir, problems_file, monkeypatch, capsys
):
    # A random model writes no plan that parses, so words are put in its mouth.
    monkeypatch.setenv("COLUMNS", "120")
    said = iter(
        [
            "A: add the number to itself\nB: shift [it] left",
            "```python\nprint(int(input()) * 2)\n```",
            "no code",
        ]
    )

    def speak(self, prompts, adapter, sampling):
        return [
            Completion(self.tokenizer(next(said))["input_ids"], truncated=False) for _ in prompts
        ]

    monkeypatch.setattr(TransformersGenerator, "generate", speak)
    status = main(["show", "--policy", str(policy_dir), "--problems", str(problems_file)])
    shown = capsys.readouterr().out
    assert status == 0
    for expected in ("Print twice [the] number.", "shift [it] left", "int(input()) * 2"):
        assert expected in shown
    assert "pass" in shown
    assert "1 of 1 tests" in shown
    assert "no_code" in shown
    assert "Solved by A." in shown


def test_show_says_when_a_plan_does_not_parse(policy_dir, problems_file, capsys):
    assert main(["show", "--policy", str(policy_dir), "--problems", str(problems_file)]) == 0
    assert "does not parse" in capsys.readouterr().out


@pytest.mark.parametrize("role", ROLES)
def test_merged_checkpoint_answers_as_the_role(role, policy_dir, qwen3_dir, tmp_path):
    assert (
        main(
            [
                "merge",
                "--policy",
                str(policy_dir),
                "--role",
                role,
                "--output",
                str(tmp_path / "merged"),
            ]
        )
        == 0
    )
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    base = AutoModelForCausalLM.from_pretrained(qwen3_dir)
    inputs = tokenizer("sort the numbers", return_tensors="pt")
    with torch.no_grad():
        plain = base(**inputs).logits
        adapted = add_roles(base, adapters=dict.fromkeys(ROLES, str(policy_dir)))
        with role_router(adapted).route(role):
            expected = adapted(**inputs).logits
        torch.testing.assert_close(merged(**inputs).logits, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(plain, expected, atol=1e-2)


# verify

SUM = {"id": "sum", "tests": [{"input": "1 2", "output": "3"}, {"input": "5 6", "output": "11"}]}
TWICE = {"id": 7, "tests": {"input": [[2], [3]], "output": [4, 6]}, "fn_name": "twice"}
READ = "a, b = map(int, input().split())\n"
VERIFIED = [  # problem_id, code, and of the verdict: status, tests_passed, first_failed
    ("sum", READ + "print(a + b)", "pass", 2, None),
    (7, "def twice(x): return 2 * x", "pass", 2, None),
    ("sum", READ + "print(3)", "wrong_answer", 1, 1),
    ("7", "def twice(x): return 1 / 0", "runtime_error", 0, 0),
    ("sum", READ + "print(a + b)", "pass", 2, None),
    ("sum", "print(", "compile_error", 0, None),
]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def verify(tmp_path, monkeypatch):
    """Runs `cppo-trl verify` on rows of problems and programs; returns its status."""
    monkeypatch.chdir(tmp_path)

    def run(problems, programs, *options):
        write_rows(tmp_path / "P.jsonl", problems)
        write_rows(tmp_path / "S.jsonl", programs)
        files = ["--problems", "P.jsonl", "--programs", "S.jsonl", "--output", "V.jsonl"]
        return main(["verify", *files, *options])

    return run


def verdict_rows(folder):
    return [json.loads(line) for line in (folder / "V.jsonl").read_text().splitlines()]


def test_verify_writes_one_verdict_for_each_program_in_order(verify, tmp_path):
    programs = [{"problem_id": row[0], "code": row[1]} for row in VERIFIED]
    assert verify([SUM, TWICE], programs, "--workers", "2") == 0
    rows = verdict_rows(tmp_path)
    assert all(row.pop("cpu_seconds") >= 0 for row in rows)
    assert rows == [
        {
            "problem_id": problem_id,
            "index": index,
            "status": status,
            "passed": status == "pass",
            "tests_passed": passed,
            "tests_total": 2,
            "first_failed": first,
        }
        for index, (problem_id, _, status, passed, first) in enumerate(VERIFIED)
    ]


def test_verify_shows_progress_and_a_summary(verify, capfd):
    programs = [{"problem_id": row[0], "code": row[1]} for row in VERIFIED[:4]]
    assert verify([SUM, TWICE], [*programs, {"problem_id": 7, "code": "("}]) == 0
    shown, progress = capfd.readouterr()
    assert "5/5" in progress
    assert re.search(r"pass +. +2 +. +40.0%", shown)
    assert re.search(r"wrong_answer +. +1 +. +20.0%", shown)
    assert re.search(r"all +. +5 +. +100.0%", shown)
    assert "time_limit" not in shown
    assert "2 of 2 problems solved" in shown


def test_verify_takes_problems_as_they_are_written_for_training(verify, problems_file, tmp_path):
    rows = map(json.loads, problems_file.read_text().splitlines())
    assert verify(rows, [{"problem_id": "double", "code": "print(4)", "model": "m"}]) == 0
    assert [row["status"] for row in verdict_rows(tmp_path)] == ["pass"]


@pytest.mark.parametrize(
    ("options", "code", "status"),
    [
        ([], "print('YES')", "pass"),
        ([], "print('yes')", "wrong_answer"),
        (["--compare", "codecontests"], "print('yes')", "pass"),
        (["--compare", "exact"], "print(' YES')", "wrong_answer"),
        (["--time-limit", "0.2"], "while True: pass", "time_limit"),
        (["--memory-limit", "64"], "x = b'1' * (200 << 20); print('YES')", "memory_limit"),
    ],
)
def test_verify_does_as_its_options_say(options, code, status, verify, tmp_path):
    problem = {"id": "p", "tests": [{"input": "", "output": "YES"}]}
    assert verify([problem], [{"problem_id": "p", "code": code}], *options) == 0
    assert [row["status"] for row in verdict_rows(tmp_path)] == [status]


def test_verify_can_tell_how_each_test_went(verify, tmp_path):
    assert verify([SUM], [{"problem_id": "sum", "code": "print(11)"}], "--all-tests") == 0
    (row,) = verdict_rows(tmp_path)
    assert row["test_statuses"] == ["wrong_answer", "pass"]
    assert (row["tests_passed"], row["first_failed"]) == (1, 0)


def test_verdicts_that_do_not_fit_on_the_disk_are_kept_elsewhere(
    verify, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert verify([SUM], [RIGHT_ROW], "--output", "/dev/full") == 1
    said = capsys.readouterr().err
    assert "--output /dev/full" in said
    assert "No space left" in said
    (kept,) = tmp_path.glob("verdicts-*.jsonl")
    assert f"the verdicts are in {kept}" in said
    assert json.loads(kept.read_text())["status"] == "wrong_answer"


def test_verdicts_that_do_not_fit_anywhere_are_shown(verify, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert verify([SUM], [RIGHT_ROW], "--output", "/dev/full") == 1
    shown = capsys.readouterr()
    assert '"status": "wrong_answer"' in shown.out
    assert "the verdicts stand above" in shown.err


def test_verify_refuses_to_run_programs_that_cannot_be_kept_in(verify, monkeypatch, capsys):
    def refuse(*_, **__):
        raise SandboxError("seccomp cannot be had here")

    monkeypatch.setattr(CodeVerifier, "verify_many", refuse)
    assert verify([SUM], [RIGHT_ROW]) == 1
    assert "seccomp cannot be had here" in capsys.readouterr().err


def test_limits_of_a_problem_go_before_the_options_of_verify(verify, tmp_path):
    problem = SUM | {"time_limit": 0.2, "starter_code": "", "statement": None, "memory_limit": 99}
    program = {"problem_id": "sum", "code": "while True: pass"}
    assert verify([problem], [program], "--time-limit", "60") == 0
    assert [row["status"] for row in verdict_rows(tmp_path)] == ["time_limit"]


def test_trouble_of_the_verifier_is_no_failure_of_a_program(verify, tmp_path, monkeypatch, capsys):
    trouble = Verdict(Status.INFRASTRUCTURE, 0, 2, message="no process")
    monkeypatch.setattr(CodeVerifier, "verify_many", lambda *_, **__: [trouble])
    assert verify([SUM], [{"problem_id": "sum", "code": ""}]) == 0
    assert [row["passed"] for row in verdict_rows(tmp_path)] == [None]
    assert "verify those again" in capsys.readouterr().out


RIGHT_ROW = {"problem_id": "sum", "code": "print(3)"}


@pytest.mark.parametrize(
    ("problems", "programs", "options", "said"),
    [
        ([SUM, {"id": "b"}], [RIGHT_ROW], [], "P.jsonl, line 2, problem 'b': field 'tests'"),
        ([SUM, "sum"], [RIGHT_ROW], [], "P.jsonl, line 2: a problem must be a mapping"),
        ([SUM | {"test": []}], [RIGHT_ROW], [], "unknown field 'test'"),
        ([SUM, SUM], [RIGHT_ROW], [], "P.jsonl, line 2: field 'id' is 'sum', as in"),
        ([SUM | {"fn_name": "f"}], [RIGHT_ROW], [], "P.jsonl, line 1, problem 'sum': tests[0]"),
        ([], [RIGHT_ROW], [], "no problems"),
        ([SUM], [], [], "no programs"),
        ([SUM], [RIGHT_ROW, []], [], "S.jsonl, line 2: a program must be an object, not list"),
        ([SUM], [RIGHT_ROW, {"code": ""}], [], "S.jsonl, line 2: field 'problem_id' is missing"),
        ([SUM], [{"problem_id": "sum"}], [], "S.jsonl, line 1: field 'code' is missing"),
        ([SUM], [{"problem_id": "x", "code": ""}], [], "line 1: field 'problem_id' is 'x'"),
        ([SUM], [{"problem_id": ["sum"], "code": ""}], [], "field 'problem_id' is ['sum']"),
        ([SUM], [RIGHT_ROW | {"code": None}], [], "line 1: field 'code' is None"),
        ([SUM], [RIGHT_ROW], ["--compare", "fuzzy"], "compare is 'fuzzy'"),
        ([SUM], [RIGHT_ROW], ["--workers", "0"], "workers is 0"),
        ([SUM], [RIGHT_ROW], ["--workers", "two"], "--workers"),
        ([SUM], [RIGHT_ROW], ["--time-limit", "nan"], "time_limit is nan"),
        ([SUM], [RIGHT_ROW], ["--memory-limit", "-1"], "memory_limit is -1"),
        ([SUM], [RIGHT_ROW], ["--problems", "none.jsonl"], "none.jsonl"),
        ([SUM], [RIGHT_ROW], ["--programs", "."], "--programs ."),
        ([SUM], [RIGHT_ROW], ["--output", "none/V.jsonl"], "--output none/V.jsonl"),
        ([SUM], [RIGHT_ROW], ["--output", "S.jsonl"], "--output S.jsonl"),
    ],
)
def test_bad_input_to_verify_gives_status_2_and_the_row(
    problems, programs, options, said, verify, tmp_path, capfd
):
    try:
        status = verify(problems, programs, *options)
    except SystemExit as stopped:
        status = stopped.code
    error = capfd.readouterr().err
    assert status == 2
    assert len(error.splitlines()) == 1
    assert said in error
    assert not (tmp_path / "V.jsonl").exists()


@pytest.mark.parametrize("line", [b"{", b"{'id': 1}", b'"\xff"', b"[" * 100_000])
def test_a_line_that_is_not_json_is_named(line, verify, tmp_path, capfd):
    (tmp_path / "broken.jsonl").write_bytes(json.dumps(RIGHT_ROW).encode() + b"\n\n" + line)
    assert verify([SUM], [RIGHT_ROW], "--programs", "broken.jsonl") == 2
    assert "broken.jsonl, line 3: not JSON" in capfd.readouterr().err


def test_help_of_verify_tells_the_verifiers_own_defaults_and_modes(capsys):
    with pytest.raises(SystemExit):
        main(["verify", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    parameters = inspect.signature(CodeVerifier).parameters
    for name in ("compare", "time_limit", "memory_limit"):
        option = "--" + name.replace("_", "-")
        default = re.search(rf"{option} [A-Z]+ [^(]*\(default: ([^)]*)\)", shown)[1]
        assert default == f"{parameters[name].default}".removesuffix(".0")
    assert all(mode in shown for mode in COMPARE_MODES)


def test_quickstart_passes_its_arguments_on(tmp_path):
    """Run from a copy of the package, beside a recipe that only says what it was given."""
    (tmp_path / "cppo_trl").symlink_to(PACKAGE)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "quickstart.py").write_text(
        "import sys; print(sys.argv[1:]); sys.exit(3)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "cppo_trl.cli", "quickstart", "--seeds", "3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (3, "['--seeds', '3']\n")


def test_quickstart_outside_a_checkout_says_so(tmp_path):
    (tmp_path / "cppo_trl").symlink_to(PACKAGE)
    done = subprocess.run(
        [sys.executable, "-m", "cppo_trl.cli", "quickstart"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "checkout" in done.stderr
