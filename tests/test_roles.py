"""Two adapters on one base: rows are routed exactly; roles are saved, loaded and merged whole."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from peft import (
    KasaConfig,
    LoHaConfig,
    LoraConfig,
    PeftModel,
    VeloraConfig,
    get_peft_model,
    get_peft_model_state_dict,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from cppo_trl.roles import (
    PLANNER,
    ROLES,
    SOLVER,
    add_references,
    add_roles,
    default_lora_config,
    load_role_weights,
    make_trainable,
    merge_role,
    role_of,
    role_parameters,
    save_roles,
)
from cppo_trl.routing import BASE, role_router
from tiny_adapters import lora_config, randomise_adapters, save_adapters

TEXTS = [
    "A:",
    "Write one line for each of the labels A to D, then stop.",
    "keep a table of sums and scan it once",
    "def solve(n):",
    "Read the input, print the answer.",
]
ROWS = (SOLVER, PLANNER, SOLVER, SOLVER, PLANNER)


@pytest.fixture(scope="module")
def adapters_dir(qwen3_dir, tmp_path_factory):
    """A folder with a trained-looking adapter for each role; treat it as read-only."""
    return save_adapters(qwen3_dir, tmp_path_factory.mktemp("adapters"))


def load_base(model_dir, four_bit=False, **kwargs):
    if four_bit:
        kwargs["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4"
        )
    return AutoModelForCausalLM.from_pretrained(model_dir, **{"dtype": torch.float32} | kwargs)


def trained_roles(model_dir, adapters_dir):
    """A model with both adapters of `adapters_dir`."""
    return add_roles(load_base(model_dir), adapters={r: str(adapters_dir / r) for r in ROLES})


def tokenize(model_dir, texts=TEXTS):
    return AutoTokenizer.from_pretrained(model_dir)(texts, return_tensors="pt", padding=True)


def backward(model, batch, rows):
    """Gradients of a loss over `rows` of the batch in which each row has a weight of its own."""
    rows = list(rows)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    logps = model(input_ids=ids[rows], attention_mask=mask[rows]).logits.log_softmax(-1)
    targets = logps[:, :-1].gather(-1, ids[rows][:, 1:, None]).squeeze(-1)
    weights = (1.0 + torch.arange(len(ids)))[rows]
    (-(targets * mask[rows][:, 1:]).sum(1) * weights).sum().backward()
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def start_training(model, checkpointing):
    model.train()  # checkpointing does nothing otherwise, and 4-bit layers round differently
    if checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable({"use_reentrant": False})
        assert any(getattr(m, "gradient_checkpointing", False) for m in model.modules())


def greedy(model, model_dir):
    model.eval()
    return model.generate(**tokenize(model_dir), max_new_tokens=12, do_sample=False).tolist()


# ---- routing ----


@pytest.mark.parametrize("checkpointing", [False, True], ids=["plain", "checkpointed"])
@pytest.mark.parametrize("four_bit", [False, True], ids=["fp32", "4bit"])
@pytest.mark.parametrize("architecture", ["qwen3", "qwen3_5"])
def test_gradients_of_mixed_rows_are_those_of_single_adapter_models(
    architecture, four_bit, checkpointing, request, tmp_path
):
    model_dir = request.getfixturevalue(f"{architecture}_dir")
    batch = tokenize(model_dir)
    adapters_dir = save_adapters(model_dir, tmp_path)
    routed = add_roles(
        load_base(model_dir, four_bit), adapters={r: str(adapters_dir / r) for r in ROLES}
    )
    start_training(routed, checkpointing)
    role_router(routed).set_rows(ROWS)
    gradients = backward(routed, batch, range(len(TEXTS)))

    for role in ROLES:
        single = PeftModel.from_pretrained(
            load_base(model_dir, four_bit), adapters_dir / role, is_trainable=True
        )
        start_training(single, checkpointing=False)
        expected = backward(single, batch, [i for i, row in enumerate(ROWS) if row == role])
        assert len(expected) > 20
        for name, gradient in expected.items():
            ours = gradients.pop(name.replace(".default.", f".{role}."))
            assert (ours - gradient).norm() <= 1e-5 * gradient.norm(), name
            assert gradient.norm() > 0, name
    assert not gradients  # and nothing else got one


@pytest.mark.parametrize("four_bit", [False, True], ids=["fp32", "4bit"])
def test_generating_between_two_backwards_changes_no_gradient(qwen3_dir, adapters_dir, four_bit):
    batch = tokenize(qwen3_dir)
    model = add_roles(
        load_base(qwen3_dir, four_bit), adapters={r: str(adapters_dir / r) for r in ROLES}
    )
    router = role_router(model)
    router.set_rows(ROWS)
    start_training(model, checkpointing=False)
    before = backward(model, batch, range(len(TEXTS)))
    model.zero_grad()
    with router.route(PLANNER):
        greedy(model, qwen3_dir)
    start_training(model, checkpointing=False)
    after = backward(model, batch, range(len(TEXTS)))
    torch.testing.assert_close(after, before, rtol=0, atol=0)


def test_rows_routed_to_the_base_give_the_base_models_logits(qwen3_dir, adapters_dir):
    batch = tokenize(qwen3_dir)
    model = trained_roles(qwen3_dir, adapters_dir)
    with torch.no_grad(), role_router(model).route([BASE, PLANNER, BASE, SOLVER, PLANNER]):
        logits = model(**batch).logits
    with torch.no_grad():
        expected = load_base(qwen3_dir)(**batch).logits
    torch.testing.assert_close(logits[[0, 2]], expected[[0, 2]])
    assert not torch.allclose(logits[[1, 3, 4]], expected[[1, 3, 4]], atol=0.1)


def test_unrouted_forward_is_refused(qwen3_dir):
    model = add_roles(load_base(qwen3_dir), lora_config())
    with pytest.raises(RuntimeError, match=r"No adapter is routed.*route\('solver'\)"):
        model(**tokenize(qwen3_dir))


def test_wrong_number_of_rows_is_refused(qwen3_dir):
    model = add_roles(load_base(qwen3_dir), lora_config())
    with (
        role_router(model).route([PLANNER, SOLVER, SOLVER]),
        pytest.raises(RuntimeError, match="batch has 5 rows, but 3 are routed"),
    ):
        model(**tokenize(qwen3_dir))


def test_route_restores_the_rows_before_it_even_after_an_error(qwen3_dir):
    router = role_router(add_roles(load_base(qwen3_dir), lora_config()))
    router.set_rows([PLANNER, SOLVER])
    with router.route(SOLVER):
        assert router.rows == SOLVER
    assert router.rows == (PLANNER, SOLVER)
    with pytest.raises(KeyError), router.route(SOLVER):
        raise KeyError
    assert router.rows == (PLANNER, SOLVER)


def test_a_model_has_one_router(qwen3_dir):
    model = add_roles(load_base(qwen3_dir), lora_config())
    router = role_router(model)
    assert role_router(add_roles(model)) is router
    with router.route(PLANNER):  # a layer hooked twice would be told two sets of rows
        model(**tokenize(qwen3_dir))


# ---- configurations ----


@pytest.mark.parametrize(
    "field, value",
    [
        ("use_dora", True),
        ("use_qalora", True),
        ("alora_invocation_tokens", [1, 2]),
        ("kasa_config", KasaConfig()),
        ("velora_config", VeloraConfig()),
        ("modules_to_save", ["lm_head"]),
        ("target_parameters", ["mlp.gate_proj.weight"]),
        ("trainable_token_indices", [1, 2]),
        ("layer_replication", [(0, 2), (0, 2)]),
        ("bias", "all"),
        ("bias", "lora_only"),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "olora"),
        ("init_lora_weights", "loftq"),
    ],
)
def test_lora_config_that_cannot_be_routed_is_refused_by_field_and_role(qwen3_dir, field, value):
    bad = lora_config()
    setattr(bad, field, value)
    message = re.escape(f"solver's LoraConfig has {field}={value!r}")
    with pytest.raises(ValueError, match=message):
        add_roles(load_base(qwen3_dir), {PLANNER: lora_config(), SOLVER: bad})


def test_config_of_another_method_is_refused(qwen3_dir):
    with pytest.raises(ValueError, match="LoHaConfig; only LoraConfig"):
        add_roles(load_base(qwen3_dir), LoHaConfig(target_modules="all-linear"))


def test_one_config_serves_both_roles(qwen3_dir):
    config = lora_config(r=2)
    before = copy.deepcopy(config)
    model = add_roles(load_base(qwen3_dir), config)
    assert {role: model.peft_config[role].r for role in ROLES} == {PLANNER: 2, SOLVER: 2}
    assert config == before  # PEFT writes into what it is given


def test_each_role_takes_its_own_config(qwen3_dir):
    configs = {PLANNER: lora_config(r=2), SOLVER: lora_config(r=8, target_modules=["q_proj"])}
    model = add_roles(load_base(qwen3_dir), configs)
    shapes = {
        role: {p.shape[0] for n, p in model.named_parameters() if f"lora_A.{role}." in n}
        for role in ROLES
    }
    assert shapes == {PLANNER: {2}, SOLVER: {8}}
    assert all("q_proj" in n for n, _ in model.named_parameters() if role_of(n) == SOLVER)


def test_without_a_config_the_methods_lora_is_added(qwen3_dir):
    model = add_roles(load_base(qwen3_dir))
    for role in ROLES:
        config = model.peft_config[role]
        assert (config.r, config.lora_alpha) == (32, 64)
    assert default_lora_config().target_modules == "all-linear"
    assert not any("lm_head" in name for name, _ in model.named_parameters() if role_of(name))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"peft_config": {PLANNER: lora_config()}}, r"no entry for \['solver'\]"),
        ({"peft_config": {"judge": lora_config()}}, "`peft_config` names 'judge'.*planner, solver"),
        ({"adapters": {"critic": "somewhere"}}, "`adapters` names 'critic'.*planner, solver"),
    ],
)
def test_unknown_and_missing_roles_are_named(qwen3_dir, arguments, message):
    with pytest.raises(ValueError, match=message):
        add_roles(load_base(qwen3_dir), **arguments)


def test_model_that_holds_other_adapters_only_is_refused(qwen3_dir):
    model = get_peft_model(load_base(qwen3_dir), lora_config())
    with pytest.raises(ValueError, match=r"holds the adapters \['default'\].*'planner'"):
        add_roles(model)


def test_role_given_twice_is_refused(qwen3_dir, adapters_dir):
    model = add_roles(load_base(qwen3_dir), lora_config())
    with pytest.raises(ValueError, match=r"gives \['planner'\], but the model holds"):
        add_roles(model, adapters={PLANNER: str(adapters_dir)})


# ---- what is trained ----


@pytest.mark.parametrize("base", ["fp32", "bf16", "4bit"])
def test_trainables_are_the_fp32_tensors_of_both_adapters(qwen3_dir, adapters_dir, base):
    dtype = torch.float32 if base == "fp32" else torch.bfloat16
    model = add_roles(
        load_base(qwen3_dir, base == "4bit", dtype=dtype),
        lora_config(),
        adapters={PLANNER: str(adapters_dir)},
    )
    trainable = {n: p.dtype for n, p in model.named_parameters() if p.requires_grad}
    assert set(trainable) == {n for n, _ in model.named_parameters() if "lora_" in n}
    assert set(trainable.values()) == {torch.float32}
    assert {role_of(name) for name in trainable} == set(ROLES)


def test_make_trainable_leaves_the_other_role_frozen(qwen3_dir):
    model = add_roles(load_base(qwen3_dir), lora_config())
    make_trainable(model, [SOLVER])
    assert role_parameters(model, PLANNER) == []
    assert len(role_parameters(model, SOLVER)) > 20
    assert {role_of(n) for n, p in model.named_parameters() if p.requires_grad} == {SOLVER}


# ---- references ----


def test_fresh_adapters_have_the_base_as_reference(qwen3_dir):
    model = add_roles(load_base(qwen3_dir), lora_config())
    assert add_references(model) == {PLANNER: BASE, SOLVER: BASE}
    assert set(model.peft_config) == set(ROLES)  # at no cost


def test_references_of_trained_adapters_stay_the_policy_of_the_start(qwen3_dir, adapters_dir):
    batch = tokenize(qwen3_dir)
    model = trained_roles(qwen3_dir, adapters_dir)
    router = role_router(model)
    with torch.no_grad(), router.route(ROWS):
        start = model(**batch).logits
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    references = add_references(model)
    assert BASE not in references.values()
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trainable

    with torch.no_grad():
        for role in ROLES:
            for parameter in role_parameters(model, role):
                parameter.add_(0.1)
        with router.route([references[role] for role in ROWS]):
            torch.testing.assert_close(model(**batch).logits, start)
        with router.route(ROWS):
            assert not torch.allclose(model(**batch).logits, start, atol=0.1)


def test_one_fresh_and_one_trained_adapter_have_references_of_their_own(qwen3_dir, adapters_dir):
    model = add_roles(
        load_base(qwen3_dir), lora_config(), adapters={PLANNER: str(adapters_dir / PLANNER)}
    )
    references = add_references(model)
    assert references[SOLVER] == BASE
    assert references[PLANNER] in model.peft_config


def test_a_second_stage_has_its_own_start_as_reference(qwen3_dir, adapters_dir):
    model = trained_roles(qwen3_dir, adapters_dir)
    add_references(model)
    randomise_adapters(model, seed=9)
    references = add_references(model)
    for role in ROLES:
        now = get_peft_model_state_dict(model, adapter_name=role)
        copied = get_peft_model_state_dict(model, adapter_name=references[role])
        torch.testing.assert_close(copied, now, rtol=0, atol=0)


# ---- saved, loaded, merged ----


@pytest.mark.parametrize("role", ROLES)
def test_saved_role_gives_the_routed_roles_greedy_tokens_in_plain_peft(
    qwen3_dir, adapters_dir, tmp_path, role
):
    model = trained_roles(qwen3_dir, adapters_dir)
    add_references(model)  # which are not saved
    with role_router(model).route(role):
        expected = greedy(model, qwen3_dir)
    save_roles(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == set(ROLES)
    plain = PeftModel.from_pretrained(load_base(qwen3_dir), tmp_path, subfolder=role)
    assert greedy(plain, qwen3_dir) == expected
    assert greedy(load_base(qwen3_dir), qwen3_dir) != expected


@pytest.mark.parametrize("role", ROLES)
def test_merged_role_gives_the_routed_roles_greedy_tokens_in_a_plain_checkpoint(
    qwen3_dir, adapters_dir, tmp_path, role
):
    model = trained_roles(qwen3_dir, adapters_dir)
    with role_router(model).route(role):
        expected = greedy(model, qwen3_dir)
    save_roles(model, tmp_path / "policy")
    merge_role(tmp_path / "policy", role, tmp_path / "merged")
    merged = load_base(tmp_path / "merged")
    assert not any("lora_" in name for name in merged.state_dict())
    assert greedy(merged, tmp_path / "merged") == expected


def test_the_revision_of_the_base_is_saved_with_the_adapters(qwen3_dir, tmp_path):
    save_roles(add_roles(load_base(qwen3_dir), lora_config(), revision="v2"), tmp_path)
    for role in ROLES:
        assert LoraConfig.from_pretrained(tmp_path, subfolder=role).revision == "v2"


def test_a_folder_without_an_adapter_is_refused(qwen3_dir, tmp_path):
    with pytest.raises(ValueError, match=r"no adapter for the planner: .*planner/adapter_config"):
        add_roles(load_base(qwen3_dir), adapters={"planner": str(tmp_path)})


def test_merging_an_unknown_role_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"names 'judge'.*planner, solver"):
        merge_role(tmp_path, "judge", tmp_path / "merged")


@pytest.mark.parametrize("own_folder", [True, False], ids=["adapter folder", "policy folder"])
def test_roles_start_from_saved_adapters(qwen3_dir, adapters_dir, own_folder):
    sources = {role: str(adapters_dir / role if own_folder else adapters_dir) for role in ROLES}
    model = add_roles(load_base(qwen3_dir), adapters=sources)
    for role in ROLES:
        plain = PeftModel.from_pretrained(load_base(qwen3_dir), adapters_dir / role)
        torch.testing.assert_close(
            get_peft_model_state_dict(model, adapter_name=role),
            get_peft_model_state_dict(plain),
            rtol=0,
            atol=0,
        )


def test_a_peft_model_keeps_the_role_it_holds(qwen3_dir, adapters_dir):
    held = PeftModel.from_pretrained(
        load_base(qwen3_dir), adapters_dir / PLANNER, adapter_name=PLANNER
    )
    before = get_peft_model_state_dict(held, adapter_name=PLANNER)
    before = {name: tensor.clone() for name, tensor in before.items()}
    model = add_roles(held, lora_config())
    after = get_peft_model_state_dict(model, adapter_name=PLANNER)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert len(role_parameters(model, SOLVER)) == len(role_parameters(model, PLANNER)) > 20


def test_saved_weights_are_loaded_in_place(qwen3_dir, adapters_dir):
    model = add_roles(load_base(qwen3_dir), lora_config())
    parameters = role_parameters(model, PLANNER)  # as an optimizer holds them
    load_role_weights(model, adapters_dir)
    for ours, now in zip(parameters, role_parameters(model, PLANNER), strict=True):
        assert ours is now
    torch.testing.assert_close(
        get_peft_model_state_dict(model, adapter_name=PLANNER),
        get_peft_model_state_dict(trained_roles(qwen3_dir, adapters_dir), adapter_name=PLANNER),
        rtol=0,
        atol=0,
    )


def test_loading_a_folder_without_a_role_is_refused(qwen3_dir, tmp_path):
    with pytest.raises(ValueError, match="holds no folder 'planner'"):
        load_role_weights(add_roles(load_base(qwen3_dir), lora_config()), tmp_path)


def test_loading_more_weights_than_the_model_has_is_refused(qwen3_dir, adapters_dir):
    narrow = add_roles(load_base(qwen3_dir), lora_config(target_modules=["q_proj"]))
    with pytest.raises(ValueError, match="does not fit"):
        load_role_weights(narrow, adapters_dir)


@pytest.mark.parametrize("other", [{"target_modules": ["q_proj"]}, {"r": 2}, {"r": 8}])
def test_loading_weights_of_another_shape_is_refused(qwen3_dir, tmp_path, other):
    save_roles(add_roles(load_base(qwen3_dir), lora_config(**other)), tmp_path)
    with pytest.raises(ValueError, match="does not fit"):
        load_role_weights(add_roles(load_base(qwen3_dir), lora_config()), tmp_path)
