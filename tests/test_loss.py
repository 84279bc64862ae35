"""The trainer's losses, gradients and steps are those of the method, written out loop by loop.

The reference below knows neither routing nor batches: each role is a model of its own, and
METHOD's section 3 is spelt out over tuples, attempts and tokens, one sequence at a time.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
from collections import defaultdict
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict, load_peft_weights
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback

from cppo_trl.roles import PLANNER, ROLES, SOLVER, role_of
from scripted_rollouts import (
    Script,
    scripted_attempt,
    scripted_plan,
    scripted_problems,
    scripted_strategies,
    scripted_trainer,
)
from tiny_adapters import lora_config, save_adapters

TEMPERATURES = {PLANNER: 0.9, SOLVER: 0.7}
EPSILON = 0.2
# Two rollouts of three problems, M = 4, K = 2. All that can happen to a tuple happens in both.
SCRIPT = (
    ("pass: pass fail", "pass: fail fail", "broken", "pass: pass pass"),
    ("fail: pass fail", "pass: fail pass~", "lost: pass fail", "pass: fail fail"),
    ("pass~: pass fail", "pass: lost fail", "pass: lost pass", "pass: fail~ pass"),
    ("broken", "lost: fail fail", "broken", "pass: pass fail"),
    ("pass: pass pass", "pass: fail pass", "pass: fail~ lost", "pass: fail fail"),
    ("lost: pass pass~", "broken", "fail: fail pass", "fail~: pass fail"),
)
SHORT_SCRIPT = (  # two rollouts of one problem
    ("pass: pass fail", "fail: lost pass", "broken", "pass: fail fail~"),
    ("pass~: pass fail", "pass: fail pass", "lost: pass fail", "pass: fail fail"),
)


# ---- the reference ----


@dataclass
class Sequence:
    role: str
    prompt_ids: list[int]
    completion_ids: list[int]
    advantages: list[float]  # of each token
    old_logps: torch.Tensor | None = None
    ref_logps: torch.Tensor | None = None


def standardised(rewards: list[float | None]) -> list[float]:
    """(R - mean) / population std over the known rewards; 0 for unknown ones and without spread."""
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2:
        return [0.0] * len(rewards)
    mean = sum(known) / len(known)
    std = math.sqrt(sum((reward - mean) ** 2 for reward in known) / len(known))
    if std < 1e-6:
        return [0.0] * len(rewards)
    return [0.0 if reward is None else (reward - mean) / std for reward in rewards]


def best_of(rewards: list[float | None], k: int) -> list[float]:
    """n times PKPO's rewards with the "loo-1" baseline: what each adds to the k - 1 others."""
    known = [reward for reward in rewards if reward is not None]
    n = len(known)
    if n < k:
        return [0.0] * len(rewards)
    values = []
    for i in range(n):
        others = itertools.combinations(known[:i] + known[i + 1 :], k - 1)
        added = sum(max(known[i], *group) - max(group) for group in others)
        values.append(n * added / math.comb(n, k))
    values = iter(values)
    return [0.0 if reward is None else next(values) for reward in rewards]


def outcome(verdicts_KL: list[list[float | None]]) -> float | None:
    """The chance that one attempt for each strategy holds a pass; None if unknowns decide it."""
    all_fail, unknown = 1.0, False
    for verdicts in verdicts_KL:
        known = [verdict for verdict in verdicts if verdict is not None]
        unknown = unknown or not known
        all_fail *= 1 - sum(known) / len(known) if known else 1
    if all_fail == 0:
        return 1.0
    return None if unknown else 1 - all_fail


def gated(valid: float | None, passed: float | None) -> float | None:
    """J * R_out."""
    if 0.0 in (valid, passed):
        return 0.0
    return None if None in (valid, passed) else valid * passed


def contributions(verdicts_KL: list[list[float | None]], kind: str) -> list[float | None]:
    """What each strategy adds to the outcome of those before it, in all orders or as the last."""
    orders = list(itertools.permutations(range(len(verdicts_KL))))
    found = []
    for i in range(len(verdicts_KL)):
        marginals = []
        for order in orders:
            before = list(order[: order.index(i)])
            if kind == "leave-one-out" and len(before) < len(verdicts_KL) - 1:
                continue
            shares = [
                outcome([verdicts_KL[j] for j in places]) for places in (before, [*before, i])
            ]
            certain = shares[0] == 1 or outcome([verdicts_KL[i]]) == 0  # adds nothing
            marginals.append(0.0 if certain else None if None in shares else shares[1] - shares[0])
        found.append(None if None in marginals else sum(marginals) / len(marginals))
    return found


def credits_of(contributions_MK: list[list[float | None]]) -> list[list[float]]:
    """Each contribution minus the mean of the known ones at its place; 0 where it is unknown."""
    credits_KM = []
    for column in zip(*contributions_MK, strict=True):
        known = [value for value in column if value is not None]
        mean = sum(known) / len(known) if known else 0.0
        credits_KM.append([0.0 if value is None else value - mean for value in column])
    return [list(row) for row in zip(*credits_KM, strict=True)]


def plan_advantages(tokenizer, plan_text: str, advantage: float, credits_K: list[float]):
    """The tuple's advantage for each token of a plan and its end, plus the credit of its line."""
    encoded = tokenizer(plan_text, return_offsets_mapping=True)
    lines = [plan_text.count("\n", 0, start) for start, _ in encoded["offset_mapping"]]
    return [advantage + credits_K[line] for line in lines] + [advantage]


def sequences_of(script: Script, problem: int, tokenizer, args) -> list[list[Sequence]]:
    """The sequences that count of each tuple of a problem."""

    def encode(text, answer):
        messages = [{"role": "user", "content": text}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        return prompt, [*tokenizer(answer.text)["input_ids"], tokenizer.eos_token_id]

    plans = [scripted_plan(script, problem, m) for m in range(len(script[problem]))]
    K = args.num_strategies
    strategies_M, answers_M, rewards_M, contributions_MK = [], [], [], []
    for m, plan in enumerate(plans):
        strategies = None if plan.cut else scripted_strategies(script, problem, m)
        answers = [
            [scripted_attempt(strategy, n) for n in range(args.attempts_per_strategy)]
            for strategy in strategies or ()
        ]
        verdicts = [[answer.reward for answer in row] for row in answers]
        rewards_M.append(gated(plan.reward, outcome(verdicts)) if strategies else 0.0)
        solved = strategies is not None and (args.solve_invalid or plan.reward != 0)
        strategies_M.append(strategies if solved else ())
        answers_M.append(answers if solved else [])
        earned = [None] * K
        if strategies and args.strategy_credit != "none":
            earned = contributions(verdicts, args.strategy_credit)
            if args.planner_reward == "product":
                earned = [gated(plan.reward, value) for value in earned]
        contributions_MK.append(earned)

    groups = defaultdict(list)  # verdicts that are compared with each other

    def group_of(m, k):
        return {"tuple": m, "problem": 0, "strategy": (m, k)}[args.solver_group]

    for m, answers in enumerate(answers_M):
        for k, row in enumerate(answers):
            groups[group_of(m, k)] += [answer.reward for answer in row]
    compared = standardised
    if args.solver_pass_k:
        compared = partial(best_of, k=args.solver_pass_k)
    advantages = {key: iter(compared(verdicts)) for key, verdicts in groups.items()}
    credits_MK = credits_of(contributions_MK)

    tuples = []
    for m, (plan, plan_advantage) in enumerate(zip(plans, standardised(rewards_M), strict=True)):
        sequences = []
        if not plan.cut:
            ids = encode(f"Problem {problem}.", plan)
            each = plan_advantages(tokenizer, plan.text, plan_advantage, credits_MK[m])
            sequences.append(Sequence(PLANNER, *ids, each))
        for k, (strategy, row) in enumerate(zip(strategies_M[m], answers_M[m], strict=True)):
            for answer in row:
                advantage = next(advantages[group_of(m, k)])
                if not answer.cut:
                    ids = encode(f"Problem {problem}. Follow {strategy}", answer)
                    sequences.append(Sequence(SOLVER, *ids, [advantage] * len(ids[1])))
        tuples.append([s for s in sequences if args.train_roles in ("both", s.role)])
    return tuples


def token_logps(model, sequence: Sequence) -> torch.Tensor:
    """log p of each completion token, at the temperature of the sequence's role."""
    ids = torch.tensor([sequence.prompt_ids + sequence.completion_ids])
    logits = model(input_ids=ids).logits[0] / TEMPERATURES[sequence.role]
    first = len(sequence.prompt_ids) - 1  # the position that predicts the first completion token
    return torch.stack(
        [
            logits[first + i].log_softmax(-1)[token]
            for i, token in enumerate(sequence.completion_ids)
        ]
    )


def sequence_loss(models, sequence: Sequence, beta: float) -> tuple[torch.Tensor, bool]:
    """Mean over tokens of clipped surrogate + beta * k3, and whether a token was clipped."""
    losses, clipped = [], False
    logps = token_logps(models[sequence.role], sequence)
    tokens = zip(logps, sequence.old_logps, sequence.ref_logps, sequence.advantages, strict=True)
    for logp, old, ref, advantage in tokens:
        ratio = torch.exp(logp - old)
        bounded = ratio.clamp(1 - EPSILON, 1 + EPSILON)
        surrogate = torch.min(ratio * advantage, bounded * advantage)
        clipped = clipped or bool(surrogate < ratio * advantage)
        k3 = torch.exp(ref - logp) - (ref - logp) - 1
        losses.append(-surrogate + beta * k3)
    return sum(losses) / len(losses), clipped


class Reference:
    """Plain SGD on two separate models, planner and solver.

    Args:
        model_dir: the base, loaded once for each role.
        adapters_dir: the adapters that training starts from.
        args: the `CPPOConfig`, of which the settings of the method are read.
        rates: each role's learning rate.
    """

    def __init__(self, model_dir, adapters_dir, script, args, rates):
        self.models = {
            role: PeftModel.from_pretrained(
                AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32),
                adapters_dir,
                subfolder=role,
                is_trainable=True,
            )
            for role in ROLES
        }
        self.start = copy.deepcopy(self.models)
        self.script, self.args, self.rates = script, args, rates
        self.tokenizer = AutoTokenizer.from_pretrained(model_dir)
        self.losses: list[float] = []
        self.role_losses: list[dict[str, float]] = []
        self.gradients: list[dict[str, torch.Tensor]] = []
        self.clipped = False

    def rollout(self, problems) -> list[list[Sequence]]:
        """The tuples of these problems, with the log-probs of now and of the start."""
        tuples = []
        for problem in problems:
            tuples += sequences_of(self.script, problem, self.tokenizer, self.args)
        for sequence in (s for tuple_ in tuples for s in tuple_):
            with torch.no_grad():
                sequence.old_logps = token_logps(self.models[sequence.role], sequence)
                sequence.ref_logps = token_logps(self.start[sequence.role], sequence)
        return tuples

    def step(self, tuples: list[list[Sequence]]) -> None:
        """One optimizer step on the equal mean over all sequences."""
        losses = defaultdict(list)
        for sequence in (s for tuple_ in tuples for s in tuple_):
            loss, clipped = sequence_loss(self.models, sequence, self.args.beta)
            losses[sequence.role].append(loss)
            self.clipped = self.clipped or clipped
        loss = torch.stack([loss for own in losses.values() for loss in own]).mean()
        loss.backward()
        self.losses.append(loss.item())
        self.role_losses.append({r: sum(own).item() / len(own) for r, own in losses.items()})
        self.gradients.append({n: p.grad for n, p in self.weights().items() if p.grad is not None})
        for name, parameter in self.weights().items():
            if parameter.grad is not None:
                parameter.data -= self.rates[role_of(name)] * parameter.grad
                parameter.grad = None

    def weights(self) -> dict[str, torch.nn.Parameter]:
        """The weights of both adapters, named as in a model that holds both."""
        return {
            name.replace(".default.", f".{role}."): parameter
            for role, model in self.models.items()
            for name, parameter in model.named_parameters()
            if "lora_" in name
        }


# ---- the comparison ----


class GradientLog(TrainerCallback):
    """Keeps the gradients of each optimizer step."""

    def __init__(self):
        self.gradients: list[dict[str, torch.Tensor]] = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append(
            {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        )


@pytest.fixture(scope="module")
def trained_dir(qwen3_dir, tmp_path_factory):
    """A folder with a trained-looking adapter for each role; treat it as read-only."""
    return save_adapters(qwen3_dir, tmp_path_factory.mktemp("adapters"))


def assert_close(ours, expected, tolerance):
    """Every tensor differs from the expected one by at most `tolerance` of its norm."""
    assert ours.keys() == expected.keys()
    scale = max(tensor.norm() for tensor in expected.values())
    for name, tensor in expected.items():
        error = (ours[name] - tensor).norm()
        assert error <= tolerance * tensor.norm() + 1e-9 * scale, f"{name}: {error / tensor.norm()}"


def run_both(
    model_dir, tmp_path, script=SHORT_SCRIPT, *, adapters_dir=None, rates=None, **settings
):
    """Trains the trainer and the reference on the same rollouts, one problem each by default.

    Returns both, and the gradients of each of the trainer's steps.
    """
    rates = rates or {PLANNER: 0.05, SOLVER: 0.05}
    settings = {
        "beta": 0.0,
        "per_device_train_batch_size": len(script[0]),
        "gradient_accumulation_steps": 1,
    } | settings
    log = GradientLog()
    start = {"peft_config": lora_config()}
    if adapters_dir is not None:
        start = {"adapters": {role: str(adapters_dir) for role in ROLES}}
    trainer = scripted_trainer(
        model_dir,
        script,
        tmp_path,
        callbacks=[log],
        trainer_settings=start,
        optim="sgd",
        learning_rate=rates[SOLVER],
        planner_learning_rate=rates[PLANNER],
        num_train_epochs=1,
        **settings,
    )
    trainer.save_model(str(tmp_path / "start"))
    trainer.train()

    args = trainer.args
    reference = Reference(model_dir, tmp_path / "start", script, args, rates)
    per_rollout = args.generation_batch_size // args.num_generations
    per_step = args.per_device_train_batch_size * args.gradient_accumulation_steps
    for first in range(0, len(script), per_rollout):
        tuples = reference.rollout(range(first, first + per_rollout))
        for _ in range(args.num_iterations):
            for i in range(0, len(tuples), per_step):
                reference.step(tuples[i : i + per_step])
    return trainer, reference, log.gradients


def assert_same_run(trainer, reference, gradients, tolerance=2e-5):
    assert len(gradients) == len(reference.gradients) >= 2
    for ours, expected in zip(gradients, reference.gradients, strict=True):
        assert_close(ours, expected, tolerance)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses == pytest.approx(reference.losses, rel=1e-4, abs=1e-6)
    weights = {n: p for n, p in trainer.model.named_parameters() if role_of(n)}
    assert_close(weights, reference.weights(), tolerance)


LAYOUTS = {
    "one big batch": {"per_device_train_batch_size": 12},
    "accumulated": {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 4},
    "one by one": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 12},
}


@pytest.mark.parametrize(
    "layout, start",
    [*((layout, "trained") for layout in LAYOUTS), ("accumulated", "fresh")],
)
def test_steps_are_the_references_however_the_batch_is_split(
    qwen3_dir, trained_dir, tmp_path, layout, start
):
    adapters_dir = trained_dir if start == "trained" else None
    trainer, reference, gradients = run_both(
        qwen3_dir, tmp_path, SCRIPT, adapters_dir=adapters_dir, beta=0.1, **LAYOUTS[layout]
    )
    assert not reference.clipped  # one on-policy update for each rollout
    assert_same_run(trainer, reference, gradients)


def test_several_steps_on_one_rollout_are_the_references(
    qwen3_dir, trained_dir, tmp_path, monkeypatch
):
    # Which tuples share a step is drawn: keep them in order, so that the reference knows.
    monkeypatch.setattr("trl.trainer.grpo_trainer.shuffle_sequence_dict", lambda batch: batch)
    trainer, reference, gradients = run_both(
        qwen3_dir,
        tmp_path,
        SCRIPT,
        adapters_dir=trained_dir,
        beta=0.1,
        per_device_train_batch_size=3,
        gradient_accumulation_steps=2,
        steps_per_generation=4,
    )
    assert len(gradients) == 4
    assert reference.clipped
    assert_same_run(trainer, reference, gradients)


def test_several_passes_over_one_rollout_are_the_references(qwen3_dir, tmp_path):
    trainer, reference, gradients = run_both(
        qwen3_dir, tmp_path, beta=0.1, rates={PLANNER: 0.2, SOLVER: 0.2}, num_iterations=2
    )
    assert len(gradients) == 4
    assert reference.clipped
    assert_same_run(trainer, reference, gradients)


def test_steps_without_a_kl_term_are_the_references(qwen3_dir, trained_dir, tmp_path):
    assert_same_run(*run_both(qwen3_dir, tmp_path, adapters_dir=trained_dir, beta=0.0))


def test_steps_of_a_hybrid_model_are_the_references(qwen3_5_dir, tmp_path):
    run = run_both(qwen3_5_dir, tmp_path, beta=0.1)
    assert_same_run(*run, tolerance=2e-4)  # its recurrence sums in another order when padded


@pytest.mark.parametrize("group", ["problem", "strategy"])
def test_attempts_compete_within_the_solvers_group(qwen3_dir, tmp_path, group):
    if group == "problem":
        run = run_both(qwen3_dir, tmp_path, solver_group=group)
    else:
        script = (
            ("pass: pass/fail fail/fail", "broken", "pass: pass/pass fail/pass"),
            (
                "pass: lost/fail pass/fail",
                "pass: lost/lost fail/pass",
                "fail: pass/fail~ pass/fail",
            ),
        )
        run = run_both(qwen3_dir, tmp_path, script, solver_group=group, attempts_per_strategy=2)
    assert_same_run(*run)


# What the credit of strategies hangs on: lone and shared passes, verdicts and judgements that are
# unknown, plans that are rejected, cut, or do not parse, and a problem with no other variance.
CREDIT_SCRIPT = (
    ("pass: pass fail fail", "pass: pass pass fail", "broken", "pass: fail lost pass"),
    (
        "fail: pass fail pass",
        "lost: fail pass fail",
        "pass: fail pass fail",
        "pass: fail~ pass pass",
    ),
    (
        "pass: pass fail pass",
        "pass: fail pass fail",
        "pass: fail fail pass",
        "pass: pass pass pass",
    ),
    (
        "pass~: pass fail fail",
        "pass: lost lost pass",
        "pass: pass lost fail",
        "pass: fail fail fail",
    ),
)


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy_credit": "leave-one-out"},
        {"strategy_credit": "shapley"},
        {"strategy_credit": "shapley", "beta": 0.1},
        {"strategy_credit": "shapley", "solve_invalid": False},
        {
            "strategy_credit": "leave-one-out",
            "beta": 0.1,
            "per_device_train_batch_size": 1,
            "gradient_accumulation_steps": 8,
        },
        {"strategy_credit": "shapley", "num_iterations": 2, "beta": 0.1},
    ],
    ids=lambda settings: " ".join(f"{value}" for value in settings.values()),
)
def test_steps_with_credit_for_strategies_are_the_references(qwen3_dir, tmp_path, settings):
    rates = {PLANNER: 0.2, SOLVER: 0.2} if "num_iterations" in settings else None
    trainer, reference, gradients = run_both(
        qwen3_dir, tmp_path, CREDIT_SCRIPT, rates=rates, **settings
    )
    assert reference.clipped == ("num_iterations" in settings)
    assert_same_run(trainer, reference, gradients)


def test_strategies_with_several_attempts_get_their_share_of_the_credit(qwen3_dir, tmp_path):
    script = (
        ("pass: pass/fail fail/fail", "broken", "pass: pass/pass fail/pass"),
        ("pass: lost/fail pass/fail", "pass: lost/lost fail/pass", "fail: pass/fail~ pass/fail"),
    )
    settings = {"solver_group": "strategy", "attempts_per_strategy": 2}
    run = run_both(qwen3_dir, tmp_path, script, strategy_credit="shapley", **settings)
    assert_same_run(*run)


@pytest.mark.parametrize("group, k", [("tuple", 2), ("tuple", 3), ("problem", 4), ("strategy", 2)])
def test_steps_for_the_solvers_pass_at_k_are_the_references(qwen3_dir, tmp_path, group, k):
    script, attempts = CREDIT_SCRIPT[1:], 1
    if group == "strategy":
        script, attempts = (
            (
                ("pass: pass/fail/fail fail/fail/fail", "broken"),
                ("pass: lost/fail/pass pass/fail/fail", "fail: pass/lost/lost pass/fail~/fail"),
            ),
            3,
        )
    settings = {"solver_group": group, "attempts_per_strategy": attempts, "solver_pass_k": k}
    assert_same_run(*run_both(qwen3_dir, tmp_path, script, **settings))


def test_rejected_tuples_that_are_not_solved_are_left_out(qwen3_dir, tmp_path):
    assert_same_run(*run_both(qwen3_dir, tmp_path, solve_invalid=False))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_that_does_not_learn_is_left_out_and_stays_as_it_is(qwen3_dir, tmp_path, role):
    trainer, reference, gradients = run_both(qwen3_dir, tmp_path, train_roles=role, beta=0.1)
    assert {role_of(name) for name in gradients[0]} == {role}
    assert_same_run(trainer, reference, gradients)


def test_each_role_moves_at_its_own_learning_rate(qwen3_dir, tmp_path):
    assert_same_run(*run_both(qwen3_dir, tmp_path, rates={PLANNER: 0.1, SOLVER: 0.01}))


@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_logged_losses_of_the_roles_are_the_references(qwen3_dir, trained_dir, tmp_path, beta):
    trainer, reference, _ = run_both(qwen3_dir, tmp_path, adapters_dir=trained_dir, beta=beta)
    for role in ROLES:
        logged = [log[f"loss/{role}"] for log in trainer.state.log_history if "loss" in log]
        expected = [losses[role] for losses in reference.role_losses]
        assert logged == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_evaluation_loss_is_the_references(qwen3_dir, trained_dir, tmp_path):
    trainer, reference, _ = run_both(
        qwen3_dir,
        tmp_path,
        adapters_dir=trained_dir,
        beta=0.1,
        per_device_eval_batch_size=8,  # the tuples of both problems
    )
    loss = trainer.evaluate(scripted_problems(2))["eval_loss"]
    reference.step(reference.rollout([0, 1]))
    assert loss == pytest.approx(reference.losses[-1], rel=1e-4)


# ---- what a step moves ----


FOUR_BIT = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")


def digests(model):
    """A hash of the bytes of each tensor that is no role's adapter, quantization included."""
    return {
        name: hashlib.sha256(
            tensor.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        ).hexdigest()
        for name, tensor in model.state_dict().items()
        if role_of(name) is None
    }


@pytest.mark.parametrize("base", ["fp32", "4bit"])
@pytest.mark.parametrize("architecture", ["qwen3", "qwen3_5"])
def test_training_moves_every_tensor_of_both_adapters_and_not_a_byte_beside_them(
    architecture, base, request, tmp_path
):
    model_dir = request.getfixturevalue(f"{architecture}_dir")
    adapters_dir = save_adapters(model_dir, tmp_path / "adapters")
    trainer = scripted_trainer(
        model_dir,
        SHORT_SCRIPT,
        tmp_path,
        trainer_settings={
            "adapters": {role: str(adapters_dir) for role in ROLES},
            "quantization_config": FOUR_BIT if base == "4bit" else None,
        },
        beta=0.1,
        max_steps=1,
        learning_rate=1e-6,  # as small as the method's, where bf16 would stand still
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
    )
    four_bit = any(type(m).__name__ == "Linear4bit" for m in trainer.model.modules())
    assert four_bit == (base == "4bit")
    named = {n: p for n, p in trainer.model.named_parameters() if role_of(n)}
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    beside = digests(trainer.model)
    assert any("planner_ref" in name for name in beside)

    trainer.train()
    assert {n for n, p in trainer.model.named_parameters() if p.requires_grad} == set(named)
    still = [name for name, tensor in before.items() if torch.equal(tensor, named[name].detach())]
    assert not still
    assert digests(trainer.model) == beside


def test_trained_adapters_start_bit_for_bit_on_a_4bit_base(qwen3_dir, trained_dir, tmp_path):
    trainer = scripted_trainer(
        qwen3_dir,
        SHORT_SCRIPT,
        tmp_path,
        trainer_settings={
            "adapters": {role: str(trained_dir) for role in ROLES},
            "quantization_config": FOUR_BIT,
        },
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
    )
    for role in ROLES:
        saved = load_peft_weights(str(trained_dir / role), device="cpu")
        ours = get_peft_model_state_dict(trainer.model, adapter_name=role)
        torch.testing.assert_close(ours, saved, rtol=0, atol=0)
