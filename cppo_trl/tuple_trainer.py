"""TupleTrainer: GRPO's update from the tuples of a rollout, both roles in one loss."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import Any

import torch
from accelerate.utils import gather

from .batches import Row, collate
from .metrics import loss_terms, role_totals
from .micro_batches import in_pieces, split_evenly
from .role_trainer import RoleTrainer
from .roles import role_parameters
from .sampling_correction import correct_sampling, correction_metrics

# Loss types that average over the rows of a micro-batch; the others normalise by tokens themselves.
_ROW_MEAN_LOSSES = ("grpo", "sapo", "dr_grpo", "luspo")
# Loss types with the clipped surrogate; the others weigh tokens in ways of their own.
_CLIPPED_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")


class TupleTrainer(RoleTrainer):
    """Trains planner and solver on tuples of rows, each with its advantage.

    What `_generate_and_score_completions` of a subclass gives in "tuples" (a list of rows for each
    tuple) becomes micro-batches; both roles share one forward, one loss and one optimizer.

    Args:
        args, kwargs: what `RoleTrainer` takes.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._rollout_seconds = self._update_seconds = 0.0
        self._step_totals = torch.zeros(())  # sums and counts of the roles' loss terms

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
