"""Adapters as they travel to another engine: what is written, and when."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from cppo_trl.generation import AdapterSync
from cppo_trl.roles import add_roles, keep_quantized_weights_differentiable
from cppo_trl.routing import role_router
from tiny_adapters import lora_config, randomise_adapters

TOKENS = torch.arange(3, 15)[None]


@pytest.fixture(params=["float32", "4bit"])
def base_kwargs(request):
    if request.param == "float32":
        return {}
    return {"quantization_config": BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")}


@pytest.fixture
def policy(qwen3_dir):
    model = add_roles(AutoModelForCausalLM.from_pretrained(qwen3_dir), lora_config())
    randomise_adapters(model, seed=1)
    return model


def weights_of(version):
    return load_file(version.path / "adapter_model.safetensors")


def change(model, role):
    """Moves one weight in a way that no counter of updates sees."""
    name = next(n for n, _ in model.named_parameters() if f"lora_B.{role}." in n)
    model.get_parameter(name).data[0, 0] += 0.5


def test_a_saved_adapter_computes_what_the_model_does(qwen3_dir, base_kwargs):
    model = add_roles(AutoModelForCausalLM.from_pretrained(qwen3_dir, **base_kwargs), lora_config())
    randomise_adapters(model, seed=1)
    sync = AdapterSync(model)
    sync.update()
    for role in ("planner", "solver"):
        plain = AutoModelForCausalLM.from_pretrained(qwen3_dir, **base_kwargs)
        keep_quantized_weights_differentiable(plain)  # the same kernels as under training
        loaded = PeftModel.from_pretrained(plain, sync.current[role].path)
        with torch.no_grad(), role_router(model).route(role):
            torch.testing.assert_close(loaded(TOKENS).logits, model(TOKENS).logits)


def test_only_the_weights_of_the_adapter_travel_as_they_are(policy):
    sync = AdapterSync(policy)
    for version in sync.update():
        weights = weights_of(version)
        names = {name.partition("base_model.model.")[2] for name in weights}
        assert {name.rpartition(".lora_")[2] for name in names} == {"A.weight", "B.weight"}
        assert {tensor.dtype for tensor in weights.values()} == {torch.float32}
        held = [p for n, p in policy.named_parameters() if f".{version.adapter}." in n]
        assert sum(t.numel() for t in weights.values()) == sum(p.numel() for p in held)
        assert json.loads((version.path / "adapter_config.json").read_text())["r"] == 4


def test_an_adapter_is_written_when_its_weights_have_changed_and_only_then(policy):
    sync = AdapterSync(policy)
    assert [(v.adapter, v.number) for v in sync.update()] == [("planner", 1), ("solver", 1)]
    assert sync.update() == []
    change(policy, "solver")
    assert [(v.adapter, v.number) for v in sync.update()] == [("solver", 2)]
    assert sync.update() == []


def test_a_version_that_is_replaced_is_deleted(policy):
    sync = AdapterSync(policy)
    planner, first = sync.update()
    change(policy, "solver")
    (second,) = sync.update()
    assert not first.path.exists()
    assert {path.parent for path in sync.folder.rglob("adapter_model.safetensors")} == {
        planner.path,
        second.path,
    }


def test_no_two_states_have_the_same_name_or_path(policy, tmp_path):
    syncs = [AdapterSync(policy, tmp_path), AdapterSync(policy, tmp_path)]  # such as of two runs
    versions = [version for sync in syncs for version in sync.update()]
    change(policy, "planner")
    versions += [version for sync in syncs for version in sync.update()]
    assert len({version.name for version in versions}) == 6
    assert len({version.path for version in versions}) == 6


def test_the_folder_goes_with_the_object(policy, tmp_path):
    sync = AdapterSync(policy, tmp_path / "adapters")
    sync.update()
    folder = sync.folder
    assert folder.parent == tmp_path / "adapters"
    del sync
    assert not folder.exists()


def test_another_process_knows_the_versions_without_writing_them(policy, tmp_path):
    writer = AdapterSync(policy)
    reader = AdapterSync(policy, folder=writer.folder)
    for _ in range(2):
        assert reader.update() == writer.update()
        change(policy, "planner")
    assert reader.current == writer.current


def test_the_rank_is_the_highest_of_all_layers(qwen3_dir):
    configs = {"planner": lora_config(), "solver": lora_config(rank_pattern={"q_proj": 12})}
    model = add_roles(AutoModelForCausalLM.from_pretrained(qwen3_dir), configs)
    assert AdapterSync(model).rank == 12
