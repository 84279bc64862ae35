"""The private hooks of TRL, transformers and PEFT that this library builds on.

A failure here means that an upgrade changed what `cppo_trl` relies on: read the message, then the
place it names, before trusting any other test.
"""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer, LoraModel
from peft.tuners.lora.layer import Linear
from transformers import Qwen3Config, Qwen3ForCausalLM, Trainer, TrainerCallback
from transformers.trainer import TRAINING_ARGS_NAME
from trl import GRPOConfig, GRPOTrainer, SFTTrainer
from trl.models import unwrap_model_for_generation
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer import utils
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from cppo_trl.batches import Row, collate
from cppo_trl.config_checks import UNSUPPORTED
from cppo_trl.cppo_config import CPPOConfig
from tiny_models import make_tokenizer

SIGNATURES = [
    # What CPPOTrainer, RoleTrainer and the baselines override, ...
    (GRPOTrainer._generate_and_score_completions, "self, inputs"),
    (GRPOTrainer._calculate_rewards, "self, inputs, prompts, completions, completion_ids_list"),
    (GRPOTrainer.compute_loss, "self, model, inputs, return_outputs, num_items_in_batch"),
    (GRPOTrainer.training_step, "self, model, inputs, num_items_in_batch"),
    (GRPOTrainer.log, "self, logs, start_time"),
    (GRPOTrainer._get_train_sampler, "self, dataset"),
    (Trainer.create_optimizer, "self, model"),
    (Trainer.evaluate, "self, eval_dataset, ignore_keys, metric_key_prefix"),
    (Trainer._save, "self, output_dir, state_dict"),
    (Trainer._load_from_checkpoint, "self, resume_from_checkpoint, model"),
    (Trainer._load_best_model, "self"),
    (Trainer._save_rng_state, "self, output_dir"),
    (Trainer._load_rng_state, "self, checkpoint"),
    # ... and what they call.
    (
        GRPOTrainer._get_per_token_logps_and_entropies,
        "self, model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, ...",
    ),
    (GRPOTrainer._tokenize_prompts, "self, prompts"),
    (GRPOTrainer._log_completion_extra, "self, column, values"),
    (GRPOTrainer._log_metric, "self, name, value"),
    (utils.pad, "tensors, padding_value, padding_side, pad_to_multiple_of"),
    (utils.create_model_from_path, "model_id, architecture, kwargs"),
    (utils.get_config_model_id, "config"),
    (utils.get_callable_name, "func"),
    (utils.is_async_callable, "func"),
    (utils.add_fused_lm_head, "model, temperature, cast_lm_head_to_fp32, outputs"),
    (
        utils.RepeatSampler,
        "data_source, mini_repeat_count, batch_size, repeat_count, shuffle, seed",
    ),
    (
        unwrap_model_for_generation,
        "model, accelerator, gather_deepspeed3_params, ...",
    ),
    (disable_gradient_checkpointing, "model, gradient_checkpointing_kwargs"),
    (utils.ensure_master_addr_port, "addr, port"),
    (
        SFTTrainer.__init__,
        "self, model, args, data_collator, train_dataset, eval_dataset, processing_class, ...",
    ),
    (PeftModel.save_pretrained, "self, save_directory, safe_serialization, selected_adapters, ..."),
    (PeftModel.load_adapter, "self, model_id, adapter_name, ..."),
    (Linear.forward, "self, x, args, kwargs"),
    (TrainerCallback.on_pre_optimizer_step, "self, args, state, control, kwargs"),
    (TrainerCallback.on_optimizer_step, "self, args, state, control, kwargs"),
]


@pytest.mark.parametrize(
    "function, expected", SIGNATURES, ids=lambda value: getattr(value, "__qualname__", "")
)
def test_signature(function, expected):
    found = list(inspect.signature(function).parameters)
    names = expected.split(", ")
    if names[-1] == "...":
        names.pop()
        found = found[: len(names)]
    assert found == names, (
        f"{function.__module__}.{function.__qualname__} takes ({', '.join(found)}), and cppo_trl "
        f"was written for ({expected})"
    )


SOURCES = [
    (
        GRPOTrainer._prepare_inputs,
        [
            r"generate_every = self\.args\.steps_per_generation \* self\.num_iterations",
            r"self\._step % generate_every == 0 or self\._buffered_inputs is None",
            r"self\._generate_and_score_completions\(generation_batch\)",
            r"shuffle_sequence_dict\(generation_batch\)",
            r"split_tensor_dict\(generation_batch, self\.args\.steps_per_generation\)",
            r"self\._buffered_inputs\[self\._step % self\.args\.steps_per_generation\]",
        ],
        "CPPOTrainer takes whole tuples out of the buffer, and puts micro-batches there instead",
    ),
    (
        GRPOTrainer._generate_and_score_completions,
        [
            r"rewards_per_func = self\._calculate_rewards\(inputs, prompts, completions,",
            r"torch\.isnan\(rewards_per_func\)\.all\(dim=1\)",
            r"rewards\.view\(-1, num_generations\)",
            r"self\.accelerator\.process_index \* len\(prompts\)",
            r"self\._logs\[\"advantages\"\]\.extend\(all_process_advantages\.tolist\(\)\)",
            r"\"advantages\": advantages,",
        ],
        "GroupAdvantageTrainer replaces the advantages, and UpSkillTrainer counts a group's rows",
    ),
    (
        GRPOTrainer._calculate_rewards,
        [
            r"return rewards_per_func",
            r"rewards_per_func = gather\(rewards_per_func\)",
            r"reward if reward is not None else torch\.nan",
        ],
        "The baselines take the rewards of all ranks, NaN where they are unknown",
    ),
    (
        GRPOTrainer.training_step,
        [r"self\._step \+= 1"],
        "CPPOTrainer saves and restores _step in the middle of a rollout",
    ),
    (
        SFTTrainer._prepare_dataset,
        [r'is_processed = "input_ids" in column_names'],
        "PlannerSFTTrainer gives rows that are tokens already",
    ),
    (
        DataCollatorForLanguageModeling.torch_call,
        [r'example\.get\("labels", example\["input_ids"\]\)'],
        "PlannerSFTTrainer's labels leave the prompt out",
    ),
    (
        GRPOTrainer.compute_loss,
        [r"return self\._compute_loss\(model, inputs\)"],
        "CPPOTrainer weights the loss that this returns",
    ),
    (
        GRPOTrainer._compute_loss,
        [r"self\._get_per_token_logps_and_entropies\(", r"compute_entropy=True"],
        "RoleTrainer keeps these log-probabilities and entropies for the metrics of each role",
    ),
    (
        GRPOTrainer._compute_loss,
        [r"if advantages\.dim\(\) == 1:\s+advantages = advantages\.unsqueeze\(1\)"],
        "batches.collate may give an advantage for each token",
    ),
    (
        GRPOTrainer._compute_loss,
        [
            r"attention_mask = torch\.cat\(\[prompt_mask, completion_mask\], dim=1\)",
            r"else completion_mask \* inputs\[\"tool_mask\"\]",
        ],
        "batches.collate has ends of prompts among the completion tokens, seen and not learnt from",
    ),
    (
        GRPOTrainer._compute_loss,
        [
            r"if self\.use_vllm and self\.vllm_importance_sampling_correction",
            r"per_token_loss \* inputs\[\"importance_sampling_ratio\"\]",
        ],
        "RoleTrainer sets use_vllm after GRPOTrainer.__init__, for the ratios of collate",
    ),
    (
        GRPOTrainer.log,
        [r"self\._metrics\[mode\]", r"self\._logs\[\"extra\"\]", r"f\"eval_\{key\}\""],
        "CPPOTrainer logs through _metrics and _logs",
    ),
    (
        GRPOTrainer.__init__,
        [
            r"add_fused_lm_head\(",
            r"temperature=self\.temperature",
            r"self\._has_async_funcs",
            r"self\._pending_extra_logs = defaultdict\(list\)",
            r"self\._pending_metrics = defaultdict\(list\)",
        ],
        "RoleTemperatures corrects the head's one temperature; CPPOTrainer drains what is pending",
    ),
    (
        GRPOTrainer.__init__,
        [
            r"param\.data = param\.data\.to\(torch\.bfloat16\)",
            r"default_config = model\.peft_config\[\"default\"\]",
        ],
        "keep_adapter_in_fp32 undoes the rounding of the adapter, which is called 'default'",
    ),
    (
        utils.add_fused_lm_head,
        [r"backbone_attr = \"base_model\"", r"backbone_outputs\.last_hidden_state"],
        "RoleTemperatures scales the last hidden states by a hook on base_model",
    ),
    (
        utils.RepeatSampler.__iter__,
        [r"torch\.randperm\(self\.num_samples, generator=self\.generator\)"],
        "EpochOrder seeds this generator for each epoch",
    ),
    (
        Trainer._save_checkpoint,
        [r"self\.save_model\(output_dir", r"self\._save_rng_state\(output_dir\)"],
        "CPPOTrainer saves an unused rollout with the random state",
    ),
    (
        Trainer._run_epoch,
        [r"self\._load_rng_state\(resume_from_checkpoint\)", r"self\.training_step\("],
        "CPPOTrainer restores an unused rollout with the random state, before the first step",
    ),
    (
        Trainer._finalize_training,
        [r"self\._load_best_model\(\)"],
        "RoleTrainer loads both adapters of the best model",
    ),
    (
        Trainer.train,
        [r"self\._load_from_checkpoint\(resume_from_checkpoint\)"],
        "RoleTrainer loads both adapters of a checkpoint",
    ),
    (
        Trainer._push_from_checkpoint,
        [r"output_dir = self\.args\.output_dir", r"upload_folder\("],
        "RoleTrainer puts both adapters into output_dir before it is uploaded",
    ),
]


@pytest.mark.parametrize(
    "function, patterns, reason", SOURCES, ids=lambda value: getattr(value, "__qualname__", "")
)
def test_source(function, patterns, reason):
    source = inspect.getsource(function)
    missing = [pattern for pattern in patterns if not re.search(pattern, source)]
    assert missing == [], f"{function.__qualname__} no longer has {missing}. {reason}."


def test_the_loss_reads_no_tensor_that_our_batches_lack():
    one = torch.zeros(1)
    row = Row("planner", [1], [2], 1.0, True, one, one, sampling_logps=one, sampling_ratio=one)
    given = {*collate([row], 0, torch.device("cpu")), "num_items_in_batch"}
    read = set(re.findall(r'inputs\["(\w+)"\]', inspect.getsource(GRPOTrainer._compute_loss)))
    assert read <= given, "_compute_loss reads other tensors than batches.collate gives"


def test_lists_are_shuffled_in_unison_with_tensors():
    batch = {"rewards": torch.arange(6.0), "tuples": [[i] for i in range(6)]}
    shuffled = utils.shuffle_sequence_dict(batch)
    assert [[int(r)] for r in shuffled["rewards"]] == shuffled["tuples"]
    assert sorted(shuffled["tuples"]) == batch["tuples"]


def test_lists_are_split_like_tensors():
    batch = {"rewards": torch.arange(6.0), "tuples": [[i] for i in range(6)]}
    assert [part["tuples"] for part in utils.split_tensor_dict(batch, 3)] == [
        [[0], [1]],
        [[2], [3]],
        [[4], [5]],
    ], "split_tensor_dict no longer splits a list: CPPOTrainer hands it the tuples as one"


@pytest.fixture(scope="module")
def tiny_model():
    config = Qwen3Config(
        vocab_size=len(make_tokenizer()),
        num_hidden_layers=1,
        hidden_size=32,
        intermediate_size=32,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
    )
    return Qwen3ForCausalLM(config)


def test_the_fused_head_scores_rows_at_the_temperature_of_their_hidden_states(tiny_model):
    utils.add_fused_lm_head(tiny_model, temperature=0.5, outputs=("log_probs", "entropy"))
    ids = torch.tensor([[1, 2, 3, 4]])
    hook = tiny_model.base_model.register_forward_hook(
        lambda module, args, output: setattr(
            output, "last_hidden_state", output.last_hidden_state * (0.5 / 0.8)
        )
    )
    scaled = tiny_model(ids, labels=ids, fused_lm_head=True)
    hook.remove()
    expected = (tiny_model(ids).logits[:, :-1] / 0.8).log_softmax(-1)
    expected = expected.gather(-1, ids[:, 1:, None])[..., 0]
    torch.testing.assert_close(scaled.log_probs[:, -3:], expected)
    assert scaled.entropy is not None


@pytest.fixture
def two_adapters():
    """A linear layer with the adapters "planner" and "solver", unlike each other, in training."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 3))
    config = LoraConfig(r=2, target_modules=["0"], init_lora_weights=False)
    wrapped = LoraModel(model, {"planner": config}, "planner")
    wrapped.peft_config["solver"] = config
    wrapped.inject_adapter(wrapped.model, "solver")
    wrapped.set_adapter(["planner", "solver"])
    return wrapped.train(), wrapped.model[0]


def test_a_lora_layer_routes_rows_in_training_mode(two_adapters):
    _, layer = two_adapters
    assert isinstance(layer, LoraLayer)
    x = torch.randn(3, 4)
    rows = layer(x, adapter_names=["planner", "__base__", "solver"])
    base = layer.base_layer(x)
    expected = torch.stack(
        [
            base[0] + layer.scaling["planner"] * _delta(layer, "planner", x[0]),
            base[1],
            base[2] + layer.scaling["solver"] * _delta(layer, "solver", x[2]),
        ]
    )
    torch.testing.assert_close(rows, expected, msg="LoraLayer.forward ignores adapter_names")


def test_routed_rows_send_gradients_to_their_adapter_alone(two_adapters):
    model, layer = two_adapters
    layer(torch.randn(2, 4), adapter_names=["planner", "planner"]).sum().backward()
    reached = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    assert reached
    assert all("planner" in name for name in reached)


def _delta(layer, role, x):
    return layer.lora_B[role](layer.lora_A[role](x))


def test_several_adapters_can_be_active_and_trainable_at_once(two_adapters):
    model, layer = two_adapters
    assert layer.active_adapters == ["planner", "solver"]
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert any("planner" in name for name in trainable)
    assert any("solver" in name for name in trainable)


def test_an_accelerated_optimizer_says_whether_it_skipped_a_step():
    assert isinstance(AcceleratedOptimizer.step_was_skipped, property)


def test_the_file_of_the_training_arguments_has_its_name():
    assert TRAINING_ARGS_NAME == "training_args.bin"


def test_every_field_that_cppo_refuses_still_exists():
    config = GRPOConfig("unused", use_cpu=True, report_to="none")
    assert [name for name, *_ in UNSUPPORTED if not hasattr(config, name)] == []


ATTRIBUTES = [
    "_buffered_inputs",
    "_has_async_funcs",
    "_logs",
    "_metrics",
    "_step",
    "_tokenizer",
    "accelerator",
    "async_loop",
    "beta",
    "continuous_batching_config",
    "eos_token_ids",
    "epsilon_high",
    "epsilon_low",
    "loss_type",
    "model_wrapped",
    "num_generations",
    "num_generations_eval",
    "num_iterations",
    "reward_weights",
    "use_vllm",
]


def test_the_attributes_that_the_trainer_reads_are_set_by_trl():
    source = inspect.getsource(GRPOTrainer.__init__) + inspect.getsource(Trainer.__init__)
    missing = [name for name in ATTRIBUTES if not re.search(rf"self\.{name}\b", source)]
    assert missing == [], f"GRPOTrainer.__init__ no longer sets {missing}"


def test_cppo_config_shadows_no_new_field_of_grpo_config_by_accident():
    inherited = set(CPPOConfig.__annotations__) & set(GRPOConfig.__dataclass_fields__)
    assert inherited == {
        "num_generations",
        "temperature",
        "max_completion_length",
        "learning_rate",
        "loss_type",
        "beta",
        "use_bias_correction_kl",
    }, "TRL has a field of the same name now: check that it means the same"
