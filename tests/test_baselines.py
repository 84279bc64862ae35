"""The trained baselines: rows and rewards as TRL wants them, and the advantages of each method."""

from __future__ import annotations

import asyncio
import inspect
import math

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from trl import GRPOConfig, GRPOTrainer

from cppo_trl import (
    CodeVerifier,
    PassAtKConfig,
    PassAtKTrainer,
    PKPOConfig,
    PKPOTrainer,
    Problem,
    TestCase,
    UpSkillConfig,
)
from cppo_trl.advantages import pkpo_rewards
from cppo_trl.baselines.attempts import attempt_rows, of_problems, row_problems
from cppo_trl.baselines.solver_model import keep_adapter_in_fp32, load_solver
from cppo_trl.generation import Completion, Sampling, Speaker
from cppo_trl.guards.callbacks import StillWeightsCallback
from cppo_trl.methods import Direct, Voice
from cppo_trl.problems import ProblemError
from small_baselines import ATTEMPTS, PROBLEMS, baseline_trainer, kept_batches
from small_trainer import adapter_weights, moved, training_logs
from tiny_adapters import save_adapters

REWARDS = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.0, 1.0, 0.0, 0.0]])  # of ATTEMPTS at p0 and p1
FUNCTION = Problem(
    "twice", "Double {it}.", (TestCase("2", "4"),), "function", "twice", "def twice(x):\n"
)


@pytest.fixture(scope="module")
def verifier():
    with CodeVerifier(workers=1) as verifier:
        yield verifier


class Listener:
    """A generation backend that keeps the prompts it gets."""

    def __init__(self):
        self.prompts = []

    def generate(self, prompts, adapter, sampling):
        self.prompts += prompts
        return [Completion([0], truncated=False) for _ in prompts]


@pytest.mark.parametrize("has_chat_template", [True, False])
def test_training_asks_with_the_tokens_that_an_evaluation_asks_with(
    has_chat_template, qwen3_dir, tmp_path, verifier
):
    problems = [*PROBLEMS, FUNCTION]
    folder = tmp_path / "base"
    evaluated = AutoTokenizer.from_pretrained(qwen3_dir)
    if not has_chat_template:
        evaluated.chat_template = None
    AutoModelForCausalLM.from_pretrained(qwen3_dir).save_pretrained(folder)
    evaluated.save_pretrained(folder)
    args = GRPOConfig(str(tmp_path), use_cpu=True, report_to="none", bf16=False)
    model, tokenizer = load_solver(str(folder), args)
    rows = attempt_rows(problems)
    trainer = GRPOTrainer(model, [of_problems(verifier)], args, rows, processing_class=tokenizer)
    trained, _, _ = trainer._tokenize_prompts(list(rows["prompt"]))

    listener = Listener()
    voice = Voice(Speaker(listener, evaluated), "", Sampling(1))
    Direct(voice, 1).attempt(problems)
    assert trained == listener.prompts


def test_rows_hold_the_problems():
    problems = [*PROBLEMS, FUNCTION]
    assert row_problems(list(attempt_rows(problems))) == problems


def test_rows_without_problems_and_templates_without_statement_are_refused():
    with pytest.raises(ProblemError, match="there are no problems"):
        attempt_rows([])
    with pytest.raises(ValueError, match=r"lacks the required field \{statement\}"):
        attempt_rows(PROBLEMS, "Solve it.")


def columns(problems):
    rows = attempt_rows(problems)
    return {name: list(rows[name]) for name in rows.column_names if name != "prompt"}


def test_the_verifier_is_a_reward_function_of_trl(verifier):
    reward = of_problems(verifier)
    assert inspect.iscoroutinefunction(reward)
    assert reward.__name__ == "code_verifier"
    logged = {}
    said = [[{"role": "assistant", "content": text}] for text in ATTEMPTS]
    problems = PROBLEMS[:2]
    rewards = asyncio.run(
        reward([], said[:2], log_extra=logged.__setitem__, **columns(problems), trainer_state=None)
    )
    assert rewards == [1.0, 1.0]
    assert logged == {"verdict": ["pass", "pass"]}


def test_a_plain_reward_function_stays_plain_and_gets_all_there_is():
    def judge(prompts, completions, problem, latent, **kwargs):
        assert problem[0] is problem[1]
        return [
            None if z == 1 else float(p.id == "p0") for p, z in zip(problem, latent, strict=True)
        ]

    reward = of_problems(judge)
    assert not inspect.iscoroutinefunction(reward)
    assert reward.__name__ == "judge"
    rows = {name: values * 2 for name, values in columns(PROBLEMS[:1]).items()}
    assert reward(prompts=[], completions=[], latent=[1, 2], **rows) == [None, 1.0]


def test_a_reward_on_rows_of_another_kind_says_what_is_missing(verifier):
    with pytest.raises(ValueError, match="column 'id' is missing"):
        asyncio.run(of_problems(verifier)(prompts=[], completions=[], answer=["4"]))


# ---- advantages ----


def test_grpo_compares_the_attempts_at_a_problem(qwen3_dir, tmp_path, verifier):
    trainer = baseline_trainer(
        GRPOTrainer, GRPOConfig, qwen3_dir, tmp_path, verifier, per_device_train_batch_size=8
    )
    batches = kept_batches(trainer)
    trainer.train()
    assert trainer.state.log_history[0]["rewards/code_verifier/mean"] == REWARDS.mean().item()
    means, stds = REWARDS.mean(1, keepdim=True), REWARDS.std(1, keepdim=True)
    expected = (REWARDS - means) / (stds + 1e-4)
    torch.testing.assert_close(batches[0]["advantages"], expected.flatten())


@pytest.mark.parametrize("baseline", ["none", "loo", "loo-1"])
def test_pkpo_advantages_average_to_the_estimate_of_the_gradient(
    baseline, qwen3_dir, tmp_path, verifier
):
    trainer = baseline_trainer(
        PKPOTrainer, PKPOConfig, qwen3_dir, tmp_path, verifier, pass_k=2, pkpo_baseline=baseline
    )
    batches = kept_batches(trainer)
    trainer.train()
    found = batches[0]["advantages"].view(2, 4) / 4  # GRPO's loss is a mean over 4 attempts
    torch.testing.assert_close(found, pkpo_rewards(REWARDS, 2, baseline))
    assert list(trainer._logs["advantages"]) == batches[0]["advantages"].tolist()
    if baseline == "loo-1":  # correct: k/n C(n-c, k-1) / C(n-1, k-1); wrong: 0
        assert found[0].tolist() == pytest.approx([1 / 3, 0, 0, 1 / 3])
        assert found[1].tolist() == pytest.approx([0, 1 / 2, 0, 0])


def test_pkpo_with_k_1_compares_with_the_mean_of_the_others(qwen3_dir, tmp_path, verifier):
    trainer = baseline_trainer(
        PKPOTrainer, PKPOConfig, qwen3_dir, tmp_path, verifier, pass_k=1, pkpo_baseline="loo"
    )
    batches = kept_batches(trainer)
    trainer.train()
    # As RLOO, but for the paper's n / (n - 1): it subtracts an estimate from n - 1 attempts.
    others = (REWARDS.sum(1, keepdim=True) - REWARDS) / 3
    expected = REWARDS - 4 / 3 * others
    torch.testing.assert_close(batches[0]["advantages"].view(2, 4), expected)


def test_pkpo_loo_1_falls_back_to_loo_where_k_is_1(qwen3_dir, tmp_path, verifier):
    trainer = baseline_trainer(PKPOTrainer, PKPOConfig, qwen3_dir, tmp_path, verifier, pass_k=1)
    assert trainer.args.pkpo_baseline == "loo-1"
    expected = 4 * pkpo_rewards(REWARDS, 1, "loo")
    torch.testing.assert_close(trainer.group_advantages(REWARDS), expected)


def test_pass_at_k_advantages_are_those_of_groups_of_k(qwen3_dir, tmp_path, verifier):
    trainer = baseline_trainer(
        PassAtKTrainer, PassAtKConfig, qwen3_dir, tmp_path, verifier, pass_k=2
    )
    batches = kept_batches(trainer)
    trainer.train()
    found = batches[0]["advantages"].view(2, 4)
    # p0: of the 6 pairs, 1 fails; p1: 3 fail, and of the 3 pairs of a failed attempt, 2.
    a, b = math.sqrt(1 / 5), 1.0
    assert found[0].tolist() == pytest.approx([a, -a, -a, a])
    assert found[1].tolist() == pytest.approx([-b / 3, b, -b / 3, -b / 3])


def forgetful(verifier, lost):
    """The verifier, with trouble of its own at these places."""

    async def reward(**kwargs):
        rewards = await verifier(**kwargs)
        return [None if i in lost else reward for i, reward in enumerate(rewards)]

    return reward


@pytest.mark.parametrize(
    "trainer_class, config_class", [(PKPOTrainer, PKPOConfig), (PassAtKTrainer, PassAtKConfig)]
)
def test_an_unknown_reward_takes_no_part(
    trainer_class, config_class, qwen3_dir, tmp_path, verifier
):
    reward = forgetful(verifier, {0})
    trainer = baseline_trainer(trainer_class, config_class, qwen3_dir, tmp_path, reward, pass_k=2)
    batches = kept_batches(trainer)
    trainer.train()
    found = batches[0]["advantages"].view(2, 4)
    known = trainer.group_advantages(REWARDS[:1, 1:])[0]
    assert found[0, 0] == 0
    # PKPO's advantages are n times s, for the n attempts that the loss is a mean over.
    scale = 4 / 3 if trainer_class is PKPOTrainer else 1
    torch.testing.assert_close(found[0, 1:], scale * known)


def test_weights_of_several_rewards_are_applied(qwen3_dir, tmp_path, verifier):
    def length(prompts, completions, **kwargs):
        return [float(i) for i in range(len(completions))]

    trainer = baseline_trainer(
        *(PKPOTrainer, PKPOConfig, qwen3_dir, tmp_path, verifier), pass_k=3, pkpo_baseline="none"
    )
    trainer.reward_funcs.append(length)
    trainer.reward_func_names.append("length")
    trainer.reward_processing_classes.append(None)
    trainer.reward_weights = torch.tensor([2.0, 0.1])
    batches = kept_batches(trainer)
    trainer.train()
    rewards = 2 * REWARDS + 0.1 * torch.arange(8.0).view(2, 4)
    expected = 4 * pkpo_rewards(rewards, 3, "none")
    torch.testing.assert_close(batches[0]["advantages"].view(2, 4), expected)


def test_k_is_annealed_over_the_steps(qwen3_dir, tmp_path, verifier):
    trainer = baseline_trainer(
        *(PKPOTrainer, PKPOConfig, qwen3_dir, tmp_path, verifier),
        pass_k=4,
        final_pass_k=1,
        max_steps=4,
    )
    batches = kept_batches(trainer)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "pass_k" in log]
    assert [log["pass_k"] for log in logs] == [4, 3, 2, 1]
    # The third step takes p0 and p1 again.
    found = batches[2]["advantages"].view(2, 4)
    torch.testing.assert_close(found, 4 * pkpo_rewards(REWARDS, 2, "loo-1"))


@pytest.mark.parametrize(
    "final, expected", [(None, [4] * 5), (8, [4, 5, 6, 7, 8]), (2, [4, 4, 3, 2, 2])]
)
def test_k_goes_linearly_from_the_first_step_to_the_last(final, expected, tmp_path):
    args = PKPOConfig(str(tmp_path), pass_k=4, final_pass_k=final, use_cpu=True)
    assert [args.pass_k_at(step, 5) for step in range(5)] == expected
    assert args.pass_k_at(0, 0) == 4  # an evaluation before the training
    assert args.pass_k_at(5, 5) == expected[-1]  # and one after it


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("baseline", ["none", "loo", "loo-1"])
def test_pkpo_evaluates_groups_of_any_size(baseline, groups, qwen3_dir, tmp_path, verifier):
    trainer = baseline_trainer(
        *(PKPOTrainer, PKPOConfig, qwen3_dir, tmp_path, verifier),
        pass_k=3,
        pkpo_baseline=baseline,
        num_generations_eval=groups,
    )
    batches = kept_batches(trainer)
    found = trainer.evaluate(attempt_rows(PROBLEMS))
    assert math.isfinite(found["eval_loss"])
    assert sum(len(batch["advantages"]) for batch in batches) == groups * len(PROBLEMS)
    assert all(batch["advantages"].isfinite().all() for batch in batches)


@pytest.mark.parametrize("groups", [1, 2])
def test_pass_at_k_evaluates_groups_of_any_size(groups, qwen3_dir, tmp_path, verifier):
    trainer = baseline_trainer(
        *(PassAtKTrainer, PassAtKConfig, qwen3_dir, tmp_path, verifier),
        pass_k=3,
        num_generations_eval=groups,
    )
    assert math.isfinite(trainer.evaluate(attempt_rows(PROBLEMS))["eval_loss"])


# ---- the adapter ----


@pytest.mark.parametrize("beta", [0.0, 0.01])
def test_the_adapter_of_a_4_bit_base_learns_in_fp32(beta, qwen3_dir, tmp_path, verifier):
    args = PKPOConfig(str(tmp_path / "unused"), use_cpu=True, bf16=False)
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model, _ = load_solver(str(qwen3_dir), args, quantization_config=quantized)
    trainer = baseline_trainer(
        *(PKPOTrainer, PKPOConfig, model, tmp_path, verifier),
        pass_k=2,
        beta=beta,
        learning_rate=1e-6,
        max_steps=2,
    )
    assert any(isinstance(module, Linear4bit) for module in trainer.model.modules())
    before = adapter_weights(trainer.model)
    assert {weight.dtype for weight in before.values()} == {torch.float32}
    trainer.train()
    assert moved(before, adapter_weights(trainer.model)) == set(before)


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_an_adapter_to_start_from_is_not_rounded_on_a_4_bit_base(
    beta, qwen3_dir, tmp_path, verifier
):
    start = save_adapters(qwen3_dir, tmp_path / "start") / "solver"
    args = PKPOConfig(str(tmp_path / "unused"), use_cpu=True, bf16=False)
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model, _ = load_solver(str(qwen3_dir), args, str(start), quantized)
    trainer = baseline_trainer(PKPOTrainer, PKPOConfig, model, tmp_path, verifier, beta=beta)
    weights = load_file(start / "adapter_model.safetensors")
    learning = 0
    for name, parameter in trainer.model.named_parameters():
        if "lora_" in name:
            saved = weights[name.replace(".default.", ".").replace(".ref.", ".")]
            assert torch.equal(parameter.detach(), saved), name
            assert parameter.requires_grad == (".default." in name)
            learning += parameter.requires_grad
    assert learning == len(weights)


def test_plain_grpo_gets_its_adapter_in_fp32_as_well(qwen3_dir, tmp_path, verifier):
    args = GRPOConfig(str(tmp_path / "unused"), use_cpu=True, bf16=False)
    quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model, _ = load_solver(str(qwen3_dir), args, quantization_config=quantized)
    trainer = baseline_trainer(GRPOTrainer, GRPOConfig, model, tmp_path, verifier)
    assert {w.dtype for w in adapter_weights(trainer.model).values()} == {torch.bfloat16}
    for _ in range(2):  # once is enough, and more does no harm
        keep_adapter_in_fp32(trainer)
    assert {w.dtype for w in adapter_weights(trainer.model).values()} == {torch.float32}
    callbacks = trainer.callback_handler.callbacks
    assert sum(isinstance(one, StillWeightsCallback) for one in callbacks) == 1


def parity(prompts, completions, completion_ids, **kwargs):
    """Passes about half of what a random model samples."""
    return [float(sum(ids) % 2) for ids in completion_ids]


def test_a_resumed_run_ends_as_the_unbroken_one(qwen3_dir, tmp_path):
    def run(output, **train):
        trainer = baseline_trainer(
            *(PKPOTrainer, PKPOConfig, qwen3_dir, tmp_path / output, parity, None),
            problems=[*PROBLEMS, FUNCTION, *(Problem(f"q{i}", "Q", FUNCTION.tests) for i in "abc")],
            pass_k=3,
            final_pass_k=1,
            max_steps=4,
            max_completion_length=8,
            mask_truncated_completions=False,
            save_strategy="steps",
            save_steps=2,
            shuffle_dataset=True,
        )
        trainer.train(**train)
        return trainer

    unbroken = run("whole")
    again = run("again", resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    assert len(training_logs(unbroken)) == 4
    assert training_logs(again) == training_logs(unbroken)
    ours, expected = adapter_weights(again.model), adapter_weights(unbroken.model)
    assert moved(ours, expected) == set()


# ---- configurations ----


@pytest.mark.parametrize(
    "config, settings, said",
    [
        (PKPOConfig, {"pass_k": 9}, "pass_k=9.*from 1 to num_generations=8"),
        (PKPOConfig, {"pass_k": 0}, "pass_k=0"),
        (PKPOConfig, {"pass_k": True}, "pass_k=True"),
        (PKPOConfig, {"final_pass_k": 9}, "final_pass_k=9.*num_generations=8"),
        (PKPOConfig, {"pass_k": 8, "pkpo_baseline": "loo"}, "k=8.*up to 7"),
        (PKPOConfig, {"final_pass_k": 8, "pkpo_baseline": "loo"}, "k=8.*up to 7"),
        (PKPOConfig, {"pkpo_baseline": "mean"}, "pkpo_baseline='mean'.*'none', 'loo', 'loo-1'"),
        (PKPOConfig, {"scale_rewards": "group"}, "scale_rewards='group'.*'none'"),
        (PKPOConfig, {"scale_rewards": True}, "scale_rewards='group'.*'none'"),
        (
            PKPOConfig,
            {"multi_objective_aggregation": "normalize_then_sum"},
            "multi_objective_aggregation='normalize_then_sum'.*'sum_then_normalize'",
        ),
        (PKPOConfig, {"num_generations": 1}, "num_generations=1.*2 or more"),
        (PKPOConfig, {"temperature": 0.0}, "temperature=0.0.*above 0"),
        (PKPOConfig, {"max_completion_length": None}, "max_completion_length=None"),
        (PassAtKConfig, {"pass_k": 9}, "pass_k=9"),
        (PassAtKConfig, {"scale_rewards": "batch"}, "scale_rewards='batch'"),
        (UpSkillConfig, {"num_latents": 1}, "num_latents=1.*2 or more"),
        (UpSkillConfig, {"num_latents": 3}, "num_generations=8.*allowed: 6 or 9"),
        (UpSkillConfig, {"num_latents": 16}, "num_generations=8.*allowed: 16"),
        (UpSkillConfig, {"mi_weight": -1.0}, "mi_weight=-1.0.*0 or more"),
        (UpSkillConfig, {"latent_template": "{statement}"}, "lacks the required field {z}"),
    ],
)
def test_impossible_settings_are_refused_with_what_is_allowed(config, settings, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        config(str(tmp_path), use_cpu=True, bf16=False, report_to="none", **settings)


def test_a_configuration_of_another_method_is_refused(qwen3_dir, tmp_path, verifier):
    with pytest.raises(TypeError, match="`args` is a PassAtKConfig; it must be a PKPOConfig"):
        baseline_trainer(PKPOTrainer, PassAtKConfig, qwen3_dir, tmp_path, verifier)


@pytest.mark.parametrize("config", [PKPOConfig, PassAtKConfig, UpSkillConfig])
def test_the_loss_is_that_of_cppo(config, tmp_path):
    from cppo_trl import CPPOConfig

    quiet = {"use_cpu": True, "bf16": False, "report_to": "none"}
    ours, theirs = config(str(tmp_path), **quiet), CPPOConfig(str(tmp_path), **quiet)
    for name in (
        *("loss_type", "beta", "temperature", "max_completion_length", "learning_rate"),
        *("use_bias_correction_kl", "epsilon", "top_p", "num_iterations"),
    ):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.mask_truncated_completions  # CPPO always leaves them out
