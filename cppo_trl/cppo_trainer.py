"""CPPOTrainer: GRPO in which one adapter plans K strategies and another attempts each of them."""

from __future__ import annotations

import math
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from accelerate.utils import gather
from datasets import Dataset, IterableDataset
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.models import unwrap_model_for_generation
from trl.trainer.utils import get_config_model_id

from .batches import Row, collate, rollout_rows
from .cppo_config import CPPOConfig
from .generation import ContinuousBatchingGenerator, Speaker, TransformersGenerator
from .guards.callbacks import LevelOffCallback, VarianceCallback
from .judges import Judge
from .metrics import loss_terms, role_totals, rollout_facts
from .micro_batches import in_pieces, split_evenly
from .policy import save_policy_config
from .problems import Problem
from .role_trainer import RoleTrainer
from .roles import role_parameters
from .rollout_logs import RolloutLogs
from .rollouts import Rollout, RolloutPolicy
from .sampling_correction import correct_sampling, correction_metrics
from .scores import Scores
from .scoring import RewardFunction, RolloutScorer, judge_and_verifier
from .training_data import as_dataset, problems_of, refuse_too_few
from .vllm_backend import refuse_missing_vllm, vllm_generator

# What GRPOTrainer takes that replaces a part of its rollouts, which CPPO's replace whole.
_ROLLOUT_ARGUMENTS = ("tools", "rollout_func", "environment_factory")
# Loss types that average over the rows of a micro-batch; the others normalise by tokens themselves.
_ROW_MEAN_LOSSES = ("grpo", "sapo", "dr_grpo", "luspo")
# Loss types with the clipped surrogate; the others weigh tokens in ways of their own.
_CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")


class CPPOTrainer(RolloutLogs, RoleTrainer):
    """Trainer for Coordinated Pass@K Policy Optimization (arXiv 2605.27000).

    What changes against [`GRPOTrainer`]: a completion of the planner is a tuple of K strategies,
    each of which the solver attempts once; the planner's reward is validity times "any attempt
    passed" and its group the M tuples of a problem; the solver's reward is its own verdict and its
    group the attempts of one tuple; both roles are LoRA adapters on one frozen base and share one
    forward, one loss and one optimizer.

    Args:
        model: Hub id, path, `PreTrainedModel`, or a `PeftModel` that holds the adapters "planner"
            and "solver".
        reward_funcs: `[judge, verifier]`, an alternative to the two arguments below.
        judge: TRL reward function over plans, 1.0 for a valid tuple and 0.0 otherwise, None for
            unknown. Called with `prompts`, `completions`, `problem` and `strategies` (a `Problem`
            and its K strategies for each row), and the columns of the data set. May be None when
            `planner_reward="outcome"`. A `Judge` of the library is attached to the model first.
        verifier: TRL reward function over attempts, 1.0 for a program that passes all tests, 0.0
            otherwise, None for unknown. Called with `prompts`, `completions`, `problem`,
            `strategy`, and the columns of the data set. May be None when `planner_reward="judge"`.
        args: a `CPPOConfig`.
        train_dataset, eval_dataset: `Problem`s in a list, or a `Dataset` with the columns of
            `Problem.to_dict`.
        kwargs: what `RoleTrainer` takes (`peft_config`, `adapters`, `quantization_config`, ...).

    Raises:
        ValueError: for what cannot be trained, before a model is loaded where possible.
    """

    _tag_names: ClassVar = ["trl", "grpo", "cppo", "lora"]
    _name = "CPPO"
    _paper: ClassVar = {
        "title": "Cast a Wider Net: Coordinated Pass@K Policy Optimization for Code Reasoning",
        "id": "2605.27000",
        "citation": textwrap.dedent("""\
            @article{li2026cast,
                title  = {{Cast a Wider Net: Coordinated Pass@K Policy Optimization for Code
                          Reasoning}},
                author = {Li and Banerjee and Che},
                year   = 2026,
                eprint = {arXiv:2605.27000},
            }"""),
    }

    def __init__(
        self,
        model: str | PreTrainedModel | PeftModel,
        reward_funcs: Sequence[RewardFunction] | None = None,
        args: CPPOConfig | None = None,
        train_dataset: Dataset | IterableDataset | Sequence[Problem] | None = None,
        eval_dataset: Any = None,
        processing_class: PreTrainedTokenizerBase | None = None,
        *,
        judge: RewardFunction | None = None,
        verifier: RewardFunction | None = None,
        **kwargs: Any,
    ):
        if args is None:
            name = model if isinstance(model, str) else get_config_model_id(model.config)
            args = CPPOConfig(f"{name.split('/')[-1]}-CPPO")
        if not isinstance(args, CPPOConfig):
            raise TypeError(f"`args` is a {type(args).__name__}; it must be a CPPOConfig")
        for argument in _ROLLOUT_ARGUMENTS:
            if kwargs.get(argument) is not None:
                raise ValueError(
                    f"`{argument}` is not supported: CPPO plans and solves in rollouts of its own"
                )
        self.judge, self.verifier = judge_and_verifier(
            reward_funcs, judge, verifier, args.planner_reward
        )
        refuse_missing_vllm(args)
        train_dataset = as_dataset(train_dataset, "train_dataset")
        eval_dataset = as_dataset(eval_dataset, "eval_dataset")
        refuse_too_few(train_dataset, args.generation_batch_size, args.num_generations)

        super().__init__(
            model,
            [function for function in (self.judge, self.verifier) if function is not None],
            args,
            train_dataset,
            eval_dataset,
            processing_class,
            **kwargs,
        )
        if isinstance(self.judge, Judge):
            self.judge.attach(self.model)
        self.add_callback(LevelOffCallback())
        self.add_callback(VarianceCallback(args.learning_roles, args.planner_reward))
        self._vllm = (
            vllm_generator(self.model, args, self.accelerator, self.eos_token_ids)
            if args.use_vllm
            else None
        )
        self.rollout_policy = self._make_rollout_policy()
        self.scorer = RolloutScorer(
            self.judge,
            self.verifier,
            args.num_strategies,
            loop=self.async_loop if self._has_async_funcs else None,
            log_extra=self._log_completion_extra,
            log_metric=self._log_metric,
        )
        self._rollout_seconds = self._update_seconds = 0.0
        self._step_totals = torch.zeros(())  # sums and counts of the roles' loss terms

    # ---- problem -> plan -> judge -> attempts -> verdicts -> rewards -> advantages -> rows ----

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Turns the B rows of a generation batch (each problem M times) into B tuples of rows."""
        started = time.perf_counter()
        training, args = self.model.training, self.args
        M = self.num_generations if training else self.num_generations_eval
        L = args.attempts_per_strategy if training else 1

        if self._vllm is not None:
            self._vllm.begin_rollout()
        with self._timed("planning"):
            rollouts = self.rollout_policy.plan(problems_of(inputs))
        with self._timed("judging"):
            valid = self.scorer.judge(inputs, rollouts, trainer_state=self.state)
        with self._timed("solving"):
            self.rollout_policy.solve(self._worth_solving(rollouts, valid), L)
        if self._vllm is not None:
            self._vllm.end_rollout()
        with self._timed("verifying"):
            passed = self.scorer.verify(inputs, rollouts, L, trainer_state=self.state)

        # A problem's tuples may lie on several ranks: reward them together, then keep our own.
        valid, passed, facts = gather(
            (valid.to(args.device), passed.to(args.device), rollout_facts(rollouts).to(args.device))
        )
        scores = Scores.of(
            facts.unflatten(0, (-1, M)),
            valid.unflatten(0, (-1, M)),
            passed.unflatten(0, (-1, M)),
            **args.scoring(M, L),
        )
        counted = scores.first(self._rows_that_count(len(valid)) // M)
        self._log_rollouts(counted)
        self._log_table(rollouts, counted)
        first = self.accelerator.process_index * len(rollouts)
        decode = self.rollout_policy.speaker.decode
        tuples = rollout_rows(rollouts, scores, first, args.learning_roles, decode)
        self._score_rows([row for rows in tuples for row in rows])
        self._rollout_seconds += time.perf_counter() - started
        # GRPOTrainer shuffles and splits both; it takes the number of tuples from the tensor.
        rewards = scores.rewards_PM.flatten()[first : first + len(rollouts)]
        return {"rewards": rewards, "tuples": tuples}

    def _worth_solving(self, rollouts: list[Rollout], valid: torch.Tensor) -> list[Rollout]:
        if self.args.planner_reward == "judge":
            return []
        if self.args.solve_invalid or not self.model.training:
            return rollouts
        return [rollout for rollout, v in zip(rollouts, valid.tolist(), strict=True) if v != 0]

    # ---- rows -> micro-batches ----

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """Gives the next micro-batch, of a new rollout where the last is used up."""
        buffered = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if not self.model.training:
            (micro_batch,) = self._micro_batches([inputs])
            return micro_batch
        if self._buffered_inputs is not buffered:
            self._buffered_inputs = self._micro_batches(self._buffered_inputs)
            inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return inputs

    def _micro_batches(self, batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The micro-batches of a rollout, from GRPOTrainer's, which hold as many tuples each.

        Each has its `rows`, and the numbers of sequences of its optimizer step (`step_rows`) and of
        completion tokens of the rollout (`rollout_tokens`), over all ranks.
        """
        batches = [[row for rows in batch["tuples"] for row in rows] for batch in batches]
        tokens = sum(len(row.completion_ids) for rows in batches for row in rows)
        accumulated = self.args.gradient_accumulation_steps if self.model.training else 1
        micro_batches = []
        for first in range(0, len(batches), accumulated):
            step = batches[first : first + accumulated]
            totals = torch.tensor([sum(map(len, step)), tokens], device=self.args.device)
            step_rows, rollout_tokens = self.accelerator.reduce(totals, reduction="sum").tolist()
            if self._adds_up:
                step = split_evenly(step, self._teaches, self.accelerator)
            totals = {"step_rows": step_rows, "rollout_tokens": rollout_tokens}
            micro_batches += [totals | {"rows": rows} for rows in step]
        return micro_batches

    def _teaches(self, row: Row) -> bool:
        return row.has_advantage or not self._only_advantages_teach

    # ---- rows -> log-probabilities -> loss ----

    def _score_rows(self, rows: list[Row]) -> None:
        """Fills in the log-probabilities of sampling policy and reference that the loss needs."""
        args = self.args
        updates = (
            args.steps_per_generation * self.num_iterations // args.gradient_accumulation_steps
        )
        corrects = args.use_vllm and args.vllm_importance_sampling_correction
        size = args.per_device_train_batch_size * (args.num_strategies + 1)
        for chunk in in_pieces(rows, math.ceil(len(rows) / size)):
            if updates > 1 or corrects:  # later updates are off-policy
                sampling = self._logps(chunk, [row.role for row in chunk])
                for row, logps in zip(chunk, sampling, strict=True):
                    row.old_logps = logps
            if self.references:
                reference = self._logps(chunk, [self.references[row.role] for row in chunk])
                for row, logps in zip(chunk, reference, strict=True):
                    row.ref_logps = logps
        if corrects:
            facts = correct_sampling(
                rows,
                args.vllm_importance_sampling_mode,
                args.vllm_importance_sampling_clip_min,
                args.vllm_importance_sampling_clip_max,
            )
            for name, value in correction_metrics(gather(facts.to(args.device)).cpu()).items():
                self._metrics[self._mode][name].append(value)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Computes GRPO's loss of a micro-batch, weighted to its share of the optimizer step.

        The method's loss is the mean over all planner and solver sequences that count (METHOD:
        section 3). GRPOTrainer averages over the rows of a micro-batch, and their number varies
        with the plans that parse; with the weight, every split of a step over micro-batches and
        ranks gives the same gradient.
        """
        rows, roles = inputs["rows"], self.args.learning_roles
        still: Counter[str] = Counter()  # rows of each role that count, but move nothing
        if self.model.training:
            still.update(row.role for row in rows if not self._teaches(row))
            rows = [row for row in rows if self._teaches(row)]
        rows = rows or [Row.placeholder(roles[0])]
        # GRPOTrainer gathers one metric for each row, so all ranks need as many.
        most = self.accelerator.gather(torch.tensor([len(rows)], device=self.args.device)).max()
        rows = rows + [Row.placeholder(rows[0].role)] * (int(most) - len(rows))
        row_roles = [row.role for row in rows]
        batch = collate(rows, self._tokenizer.pad_token_id, self.args.device)
        batch["num_items_in_batch"] = most.new_tensor(inputs["rollout_tokens"])
        self.router.set_rows(row_roles)  # until the backward is done
        with self.temperatures.scoring(row_roles):
            loss = super().compute_loss(model, batch, return_outputs)
        self._log_roles(row_roles, batch, still)
        if self.loss_type in _ROW_MEAN_LOSSES:
            accumulated = self.args.gradient_accumulation_steps if self.model.training else 1
            micro_batches = accumulated * self.accelerator.num_processes
            loss = loss * (len(rows) * micro_batches / max(inputs["step_rows"], 1))
        for role in set(roles) - set(row_roles):
            # Other ranks wait for the gradient of every parameter, and so does the optimizer.
            loss = loss + 0.0 * sum(p.sum() for p in role_parameters(self.model, role))
        return loss

    @property
    def _clips_token_ratios(self) -> bool:
        """Whether the surrogate is the method's: clipped on both sides, token by token."""
        return (
            self.loss_type in _CLIPPED_LOSSES
            and self.importance_sampling_level == "token"
            and self.args.delta is None
        )

    @property
    def _only_advantages_teach(self) -> bool:
        """Whether a row without advantage changes nothing: the loss has no term but the surrogate,
        and nothing in it depends on the tokens of other rows.
        """
        return self._adds_up and not self.beta

    @property
    def _adds_up(self) -> bool:
        """Whether the loss of a step is the same however its rows are split over micro-batches."""
        return not (
            self._entropy_bonus_enabled
            or self.aux_loss_enabled
            or self.loss_type == "bnpo"
            or self.top_entropy_quantile < 1
        )

    def _log_roles(
        self, row_roles: list[str], batch: dict[str, torch.Tensor], still: Counter[str]
    ) -> None:
        """Logs loss, advantage, KL and entropy of each role over an optimizer step; `still` counts
        the rows that were left out because their loss and advantage are 0.
        """
        terms = loss_terms(*self._scores, batch, self.epsilon_low, self.epsilon_high, self.beta)
        if not self._clips_token_ratios:
            del terms["loss"]
        roles, metrics = self.args.learning_roles, self._metrics[self._mode]
        totals = role_totals(terms, row_roles, roles, still)
        totals = self.accelerator.reduce(totals, reduction="sum")
        for name, (_, counts_R) in zip(terms, totals, strict=True):
            if name in ("entropy", "kl") and not counts_R.sum():
                metrics[name].pop()  # GRPOTrainer logs 0 for a micro-batch of placeholders
        self._step_totals = self._step_totals + totals
        if self.model.training and not self.accelerator.sync_gradients:
            return
        for name, (sums_R, counts_R) in zip(terms, self._step_totals.tolist(), strict=True):
            for role, total, count in zip(roles, sums_R, counts_R, strict=True):
                metrics[f"{name}/{role}"].append(total / count if count else torch.nan)
        self._step_totals = torch.zeros(())

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        started, rollout_seconds = time.perf_counter(), self._rollout_seconds
        loss = super().training_step(model, inputs, num_items_in_batch)
        rolling = self._rollout_seconds - rollout_seconds
        self._update_seconds += time.perf_counter() - started - rolling
        if self.accelerator.sync_gradients:
            self._metrics["train"]["seconds/updating"].append(self._update_seconds)
            self._update_seconds = 0.0
        return loss

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        if not isinstance(eval_dataset, str):  # the name of one of several sets
            eval_dataset = as_dataset(eval_dataset, "eval_dataset")
        return super().evaluate(eval_dataset, *args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        save_policy_config(self.rollout_policy, output_dir or self.args.output_dir)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._metrics[self._mode][f"seconds/{phase}"].append(time.perf_counter() - started)

    def _make_rollout_policy(self) -> RolloutPolicy:
        args = self.args
        generator = self._vllm or self._transformers_backend()
        speaker = Speaker(generator, self.processing_class, args.chat_template_kwargs)
        return RolloutPolicy(speaker, args.prompts(), args.num_strategies, **args.sampling())

    def _transformers_backend(self) -> TransformersGenerator | ContinuousBatchingGenerator:
        args = self.args
        backend: dict[str, Any] = {
            "model": self.model,
            "tokenizer": self.processing_class,
            "eos_token_ids": self.eos_token_ids,
            "batch_size": args.rollout_batch_size,
            "unwrap": lambda: unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs,
            ),
        }
        if not args.use_transformers_continuous_batching:
            return TransformersGenerator(**backend)
        return ContinuousBatchingGenerator(**backend, config=self.continuous_batching_config)
