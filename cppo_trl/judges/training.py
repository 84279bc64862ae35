"""Trains a judge on labels: binary cross-entropy on Pass against Fail, with LoRA (stage 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from cppo_trl.guards.callbacks import StillWeightsCallback
from cppo_trl.problems import Problem
from cppo_trl.prompts import DEFAULT_VALIDITY
from cppo_trl.roles import default_lora_config

from .calibration import Quality, quality, threshold_for_recall
from .judge import StrategyTuple
from .labels import Label, LabelError, balanced, split_by_problem
from .learned import LearnedJudge, ValidityQuestion, pass_logits
from .saved import JUDGE


@dataclass(frozen=True)
class Trained:
    """A judge that was trained, and what it is worth.

    Attributes:
        judge: with its threshold.
        quality: on labels of problems that took no part in training or calibration.
        labels: how many were trained on, calibrated on and measured on.
        scores, held_out: of the last, for plots.
    """

    judge: LearnedJudge
    quality: Quality
    labels: tuple[int, int, int]
    scores: Sequence[float]
    held_out: Sequence[Label]


def training_arguments(output_dir: str, **settings: Any) -> TrainingArguments:
    """METHOD's settings (3 epochs, batch 8), at the rate that suits LoRA; each can be replaced."""
    defaults = {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "cosine",
        "logging_steps": 10,
        "save_strategy": "no",
        "report_to": "none",
    }
    return TrainingArguments(output_dir, **{**defaults, **settings}, remove_unused_columns=False)


def train_judge(
    model: str | PreTrainedModel,
    labels: Sequence[Label],
    problems: Mapping[str, Problem],
    args: TrainingArguments,
    peft_config: LoraConfig | None = None,
    template: str = DEFAULT_VALIDITY,
    max_length: int = 1024,
    recall: float = 0.9,
    held_out: float = 0.2,
    tokenizer: Any = None,
    **model_kwargs: Any,
) -> Trained:
    """Trains an adapter to be a judge, chooses its threshold, and measures it.

    Problems are parted in three: to train on, to choose the threshold on, and to measure on, so
    that no number is of a problem that decided anything.

    Args:
        model: id, path or model of the base.
        labels: of both kinds; balanced 1:1 within each problem for training and for measuring.
        problems: by id, those of all labels.
        args: of the training.
        peft_config: LoRA of the judge; None for the method's.
        template, max_length: as for `ValidityQuestion`.
        recall: share of the valid tuples that should pass.
        held_out: share of the problems that the judge is measured on, and of the rest that its
            threshold is chosen on.
        tokenizer: of the base; None loads it.
        model_kwargs: passed to `AutoModelForCausalLM.from_pretrained`.

    Raises:
        LabelError: a label of an unknown problem, or too few labels.
    """
    unknown = sorted({label.problem_id for label in labels} - set(problems))
    if unknown:
        raise LabelError(f"labels of {len(unknown)} unknown problems, such as {unknown[0]!r}")
    rest, measured = split_by_problem(balanced(labels, args.seed), held_out, args.seed)
    trained, calibrated = split_by_problem(rest, held_out, args.seed + 1)
    if isinstance(model, str):
        tokenizer = tokenizer or AutoTokenizer.from_pretrained(model)
        model = AutoModelForCausalLM.from_pretrained(model, **{"dtype": "auto", **model_kwargs})
    if tokenizer is None:
        raise ValueError("tokenizer is None; a model that is loaded already needs one")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    adapted: PeftModel = get_peft_model(
        model,
        peft_config or default_lora_config(),
        JUDGE,
        autocast_adapter_dtype=True,  # to fp32: in bf16 small steps would change nothing
    )
    question = ValidityQuestion(tokenizer, template, max_length)
    judge = LearnedJudge(
        adapted, question, tokenizer.pad_token_id, 0.5, JUDGE, args.per_device_eval_batch_size
    )
    rows = [
        {"ids": question.encode(_tuple(label, problems)), "valid": float(label.valid)}
        for label in trained
    ]
    args._n_gpu = min(1, args.n_gpu)  # else Trainer splits a batch, whose questions are one tensor
    trainer = JudgeTrainer(judge, adapted, args, rows)
    trainer.train()
    trainer.save_state()
    scores = judge.scores([_tuple(label, problems) for label in calibrated])
    judge.threshold = threshold_for_recall(scores, [label.valid for label in calibrated], recall)
    scores = judge.scores([_tuple(label, problems) for label in measured])
    found = quality(
        scores,
        [label.valid for label in measured],
        [label.problem_id for label in measured],
        judge.threshold,
        swapped=[label.is_swapped for label in measured],
    )
    return Trained(judge, found, (len(trained), len(calibrated), len(measured)), scores, measured)


class JudgeTrainer(Trainer):
    """`transformers.Trainer` with the loss of a judge; an update that moves nothing is an error.

    Args:
        judge: whose question and padding are used.
        model: with the judge's adapter, which alone is trained.
        args: of the training.
        rows: `{"ids", "valid"}`.
    """

    def __init__(
        self,
        judge: LearnedJudge,
        model: PeftModel,
        args: TrainingArguments,
        rows: Sequence[Mapping[str, Any]],
    ):
        self._answers = judge.question.answers
        self._pad_id = judge.pad_id
        super().__init__(
            model,
            args,
            train_dataset=rows,
            data_collator=_collate,
            callbacks=[StillWeightsCallback()],
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """The mean binary cross-entropy of a batch, in nats."""
        logits = pass_logits(model, inputs["questions"], self._answers, self._pad_id)
        return binary_cross_entropy_with_logits(logits, inputs["valid"].to(logits.device))


def _collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    valid = torch.tensor(np.array([row["valid"] for row in rows]), dtype=torch.float32)
    return {"questions": [row["ids"] for row in rows], "valid": valid}


def _tuple(label: Label, problems: Mapping[str, Problem]) -> StrategyTuple:
    return StrategyTuple(problems[label.problem_id], label.strategies)
