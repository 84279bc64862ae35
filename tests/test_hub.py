"""Pushing to a model hub and loading from it, against a local stand-in for the Hub."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file

from hub_stub import hub_stub, python
from small_evaluation import write_guesses
from tiny_adapters import save_adapters

TRAIN_AND_PUSH = """
import sys
from pathlib import Path

from small_trainer import make_trainer
from tiny_adapters import randomise_adapters

model, output_dir = map(Path, sys.argv[1:])
trainer = make_trainer(
    model,
    output_dir,
    push_to_hub=True,
    hub_model_id="tester/tiny-cppo",
    hub_token="hf_of_a_test",
    save_strategy="steps",
    save_steps=1,
)
randomise_adapters(trainer.model, seed=7)
trainer.train()
trainer.push_to_hub()
"""

LOAD_AND_SPEAK = """
import json
import sys

from cppo_trl import load_policy
from cppo_trl.generation import Sampling

for source in sys.argv[1:]:
    policy = load_policy(source).rollouts
    prompt = policy.speaker.tokenizer("Add two numbers.")["input_ids"]
    said = {
        role: policy.speaker.generator.generate([prompt], role, Sampling(16, 0.0))[0].token_ids
        for role in ("planner", "solver", "__base__")
    }
    print("said", json.dumps(said))
"""


ADD_FROM_HUB = """
import sys

from transformers import AutoModelForCausalLM

from cppo_trl.roles import add_roles, role_of

base = AutoModelForCausalLM.from_pretrained(sys.argv[1])
model = add_roles(base, adapters={"planner": "tester/sft", "solver": sys.argv[2]})
for name, parameter in model.named_parameters():
    if role_of(name) == "planner":
        print("sum", parameter.double().sum().item())
"""

EVALUATE = """
import sys

from cppo_trl.cli import main

source, problems, output = sys.argv[1:]
options = ["--method", "cppo", "--seeds", "1", "--max-completion-length", "8"]
typed = ["eval", "--adapters", source, "--benchmark", problems, "--output", output, *options]
sys.exit(main(typed))
"""


@pytest.fixture(scope="module")
def pushed(qwen3_dir, tmp_path_factory):
    """The Hub after a run of one step that pushed, and the run's folder."""
    directory = tmp_path_factory.mktemp("pushed")
    with hub_stub() as hub:
        python(TRAIN_AND_PUSH, qwen3_dir, directory / "run", hub=hub, home=directory / "home")
        yield hub, directory / "run"


def test_both_adapters_and_the_policy_are_pushed(pushed):
    hub, run = pushed
    assert set(hub.repos) == {"tester/tiny-cppo"}
    for name in (
        "planner/adapter_model.safetensors",
        "planner/adapter_config.json",
        "solver/adapter_model.safetensors",
        "solver/adapter_config.json",
        "cppo_policy.json",
        "tokenizer.json",
    ):
        assert hub.files[name] == (run / name).read_bytes()


def test_the_model_card_is_pushed(pushed):
    hub, _ = pushed
    card = hub.files["README.md"].decode()
    assert [text for text in ("CPPO", "2605.27000") if text not in card] == []


def test_every_save_pushes_both_adapters(pushed):
    hub, _ = pushed
    (files,) = [files for message, files in hub.commits if "step 1" in message]
    assert {"planner/adapter_model.safetensors", "solver/adapter_model.safetensors"} <= set(files)


def test_no_checkpoint_is_pushed(pushed):
    hub, _ = pushed
    assert [path for path in hub.files if path.startswith("checkpoint-")] == []


def test_a_policy_loaded_from_the_hub_says_what_the_saved_one_says(pushed, tmp_path):
    hub, run = pushed
    output = python(LOAD_AND_SPEAK, "tester/tiny-cppo", run, hub=hub, home=tmp_path)
    loaded, saved = (
        json.loads(line.removeprefix("said "))
        for line in output.splitlines()
        if line.startswith("said ")
    )
    assert loaded == saved
    assert loaded["planner"] != loaded["__base__"] != loaded["solver"]


def test_a_policy_on_the_hub_is_evaluated_as_the_saved_one(pushed, tmp_path):
    hub, run = pushed
    problems = write_guesses(tmp_path / "guesses.jsonl", 3)
    attempts = []
    for name, source in (("hub", "tester/tiny-cppo"), ("saved", run)):
        python(EVALUATE, source, problems, tmp_path / name, hub=hub, home=tmp_path / "home")
        lines = (tmp_path / name / "attempts" / "guesses" / "cppo.jsonl").read_text().splitlines()
        rows = map(json.loads, lines)
        attempts.append([[a["completion"] for a in row["attempts"]] for row in rows])
    assert attempts[0] == attempts[1]
    assert [len(row) for row in attempts[0]] == [2, 2, 2]


def test_an_adapter_at_the_root_of_a_repository_can_be_a_role(qwen3_dir, tmp_path):
    adapters = save_adapters(qwen3_dir, tmp_path / "adapters")
    with hub_stub() as hub:
        files = {path.name: path.read_bytes() for path in (adapters / "planner").iterdir()}
        hub.commits.append(("an ordinary PEFT adapter", files))
        output = python(ADD_FROM_HUB, qwen3_dir, adapters, hub=hub, home=tmp_path / "home")
    sums = [float(line.split()[1]) for line in output.splitlines() if line.startswith("sum")]
    weights = load_file(adapters / "planner" / "adapter_model.safetensors")
    assert sorted(sums) == sorted(tensor.double().sum().item() for tensor in weights.values())
