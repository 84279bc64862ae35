"""CPPOTrainer: GRPO in which one adapter plans K strategies and another attempts each of them."""

from __future__ import annotations

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

from .batches import rollout_rows
from .cppo_config import CPPOConfig
from .gate import PlanGate
from .generation import ContinuousBatchingGenerator, Speaker, TransformersGenerator, Turn
from .guards.callbacks import LevelOffCallback, VarianceCallback
from .judges import Judge
from .metrics import rollout_facts
from .policy import save_policy_config
from .problems import Problem
from .roll_out import roll_out
from .rollout_logs import RolloutLogs
from .rollouts import Rollout, RolloutPolicy
from .scores import Scores
from .scoring import RewardFunction, RolloutScorer, judge_and_verifier
from .training_data import as_dataset, problems_of, refuse_too_few
from .tuple_trainer import TupleTrainer
from .vllm_backend import refuse_missing_vllm, vllm_generator

# What GRPOTrainer takes that replaces a part of its rollouts, which CPPO's replace whole.
_ROLLOUT_ARGUMENTS = ("tools", "rollout_func", "environment_factory")


class CPPOTrainer(RolloutLogs, TupleTrainer):
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
        self._phase_seconds: Counter[str] = Counter()

    # ---- problem -> plan -> judge -> attempts -> verdicts -> rewards -> advantages -> rows ----

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Turns the B rows of a generation batch (each problem M times) into B tuples of rows."""
        started = time.perf_counter()
        training, args = self.model.training, self.args
        M = self.num_generations if training else self.num_generations_eval
        L = args.attempts_per_strategy if training else 1

        with self._gate(inputs) as gate:
            with self._rollout_backend():
                rollouts = roll_out(
                    self.rollout_policy,
                    problems_of(inputs),
                    L,
                    gate,
                    finished=self._verify_early,
                    timed=self._timed,
                )
            with self._timed("judging"):
                valid = gate.verdicts()
        with self._timed("verifying"):
            passed = self.scorer.verify(inputs, rollouts, L, trainer_state=self.state)
        self.scorer.log(len(rollouts))

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
        for phase, seconds in self._phase_seconds.items():
            self._metrics[self._mode][f"seconds/{phase}"].append(seconds)
        self._phase_seconds.clear()
        self._rollout_seconds += time.perf_counter() - started
        # GRPOTrainer shuffles and splits both; it takes the number of tuples from the tensor.
        rewards = scores.rewards_PM.flatten()[first : first + len(rollouts)]
        return {"rewards": rewards, "tuples": tuples}

    def _gate(self, inputs: list[dict[str, Any]]) -> PlanGate:
        """Judges the plans of a batch. A reward function of the user's is asked once, about all of
        them, and from this thread.
        """

        def judge(places: Sequence[int], rollouts: Sequence[Rollout]) -> torch.Tensor:
            rows = [inputs[place] for place in places]
            return self.scorer.judge(rows, rollouts, places, trainer_state=self.state)

        if self.args.planner_reward == "judge":
            lets_through = "none"
        elif self.args.solve_invalid or not self.model.training:
            lets_through = "parsed"
        else:
            lets_through = "not rejected"
        ours = isinstance(self.judge, Judge)
        return PlanGate(
            judge,
            len(inputs),
            lets_through,
            in_pieces=ours,
            in_background=ours and self.judge.may_run_beside_a_rollout,
        )

    def _verify_early(self, rollout: Rollout, attempt: Turn) -> None:
        """Has an attempt run while others are written, by a verifier that can."""
        begin = getattr(self.verifier, "begin", None)
        if begin is not None:
            begin(rollout.problem, attempt.text)

    @contextmanager
    def _rollout_backend(self) -> Iterator[None]:
        if self._vllm is None:
            yield
            return
        self._vllm.begin_rollout()
        try:
            yield
        finally:
            self._vllm.end_rollout()

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        if not isinstance(eval_dataset, str):  # the name of one of several sets
            eval_dataset = as_dataset(eval_dataset, "eval_dataset")
        return super().evaluate(eval_dataset, *args, **kwargs)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        save_policy_config(self.rollout_policy, output_dir or self.args.output_dir)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        """Adds to the seconds of a phase of this rollout."""
        started = time.perf_counter()
        yield
        self._phase_seconds[phase] += time.perf_counter() - started

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
