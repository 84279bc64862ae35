"""The command `cppo-trl`, as a user types it."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import cppo_trl
from cppo_trl import Problem, Prompts, TestCase, __version__
from cppo_trl.cli import main
from cppo_trl.generation import Completion, Sampling, TransformersGenerator
from cppo_trl.policy import save_policy_config
from cppo_trl.problems import write_problems
from cppo_trl.roles import ROLES, add_roles, role_parameters, role_router, save_roles
from cppo_trl.rollouts import RolloutPolicy

PACKAGE = Path(cppo_trl.__file__).parent
COMMANDS = ("show", "merge", "quickstart")


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
    directory = tmp_path_factory.mktemp("policy")
    tokenizer = AutoTokenizer.from_pretrained(qwen3_dir)
    torch.manual_seed(0)
    model = add_roles(AutoModelForCausalLM.from_pretrained(qwen3_dir))
    for role in ROLES:
        for parameter in role_parameters(model, role):
            torch.nn.init.normal_(parameter, std=0.1)
    save_roles(model, directory)
    tokenizer.save_pretrained(directory)
    sampling = Sampling(max_new_tokens=16, temperature=1.0, top_p=1.0)
    generator = TransformersGenerator(model, tokenizer, {tokenizer.eos_token_id})
    save_policy_config(
        RolloutPolicy(generator, tokenizer, Prompts(), 2, sampling, sampling), directory
    )
    return directory


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
