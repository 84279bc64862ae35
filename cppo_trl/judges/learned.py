"""A language model whose next token after "Answer:" says Pass or Fail (arXiv 2605.27000, stage 2).

Its score is the softmax over these two tokens. It is a model of its own, or, without a second base
in memory, an adapter beside planner and solver, to which its rows are routed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import zip_longest

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cppo_trl.plans import format_plan
from cppo_trl.prompts import DEFAULT_VALIDITY, check_template
from cppo_trl.routing import role_router

from .judge import Judge, StrategyTuple
from .judgement import Judgement

PASS, FAIL = " Pass", " Fail"


class ValidityQuestion:
    """A tuple as tokens that end with the answer's marker.

    Args:
        tokenizer: of the model.
        template: may use `{statement}`, `{plan}` (both required) and `{k}`; what stands after the
            plan is the marker, which is never cut.
        max_length: tokens of a question. Where it is too long, plan tokens are left out first, from
            the end, and then those of what stands before the plan.

    Raises:
        ValueError: a template that cannot be used.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str = DEFAULT_VALIDITY,
        max_length: int = 1024,
    ):
        check_template("validity", template, ("statement", "plan", "k"), ("statement", "plan"))
        if template.count("{plan}") != 1:
            raise ValueError("the validity template must have the field {plan} once")
        self.template = template
        self.max_length = max_length
        self.tokenizer = tokenizer
        # What both words begin with, as a space does in small vocabularies, belongs to the marker.
        words = [self._ids(word) for word in (PASS, FAIL)]
        shared = next(i for i, (p, f) in enumerate(zip_longest(*words)) if p != f)
        self._begun = words[0][:shared]
        self.answers = [ids[shared] for ids in words]

    def encode(self, item: StrategyTuple) -> list[int]:
        """The tokens of the question, at most `max_length`.

        Raises:
            ValueError: the marker alone is longer.
        """
        fields = {"statement": item.problem.statement, "k": len(item.strategies)}
        head, marker = (part.format(**fields) for part in self.template.split("{plan}"))
        head_ids = self.tokenizer(head)["input_ids"]
        plan_ids = self._ids(format_plan(item.strategies))
        marker_ids = [*self._ids(marker), *self._begun]
        room = self.max_length - len(marker_ids)
        if room < 0:
            raise ValueError(
                f"max_length is {self.max_length}; the marker has {len(marker_ids)} tokens"
            )
        plan_ids = plan_ids[: max(0, room - len(head_ids))]
        return [*head_ids[:room], *plan_ids, *marker_ids]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]


def pass_logits(
    model: nn.Module,
    questions: Sequence[Sequence[int]],
    answers: Sequence[int],
    pad_id: int,
) -> Tensor:
    """How much rather the model says Pass than Fail after each question, (N,), in nats, fp32.

    Questions are padded on the right, where neither causal nor linear attention looks.
    """
    device = next(model.parameters()).device  # a wrapped model has no `device`
    lengths = torch.tensor([len(ids) for ids in questions], device=device)
    longest = int(lengths.max())
    ids_NT = torch.full((len(questions), longest), pad_id, device=device)
    for row, ids in enumerate(questions):
        ids_NT[row, : len(ids)] = torch.tensor(ids, device=device)
    mask_NT = torch.arange(longest, device=device) < lengths[:, None]
    # The vocabulary's logits are wanted at the ends of the questions only.
    ends, place_N = torch.unique(lengths - 1, return_inverse=True)
    logits_NEV = model(
        input_ids=ids_NT, attention_mask=mask_NT.long(), logits_to_keep=ends, use_cache=False
    ).logits
    rows = torch.arange(len(questions), device=device)
    pass_id, fail_id = answers
    chosen_NV = logits_NEV[rows, place_N].float()
    return chosen_NV[:, pass_id] - chosen_NV[:, fail_id]


class LearnedJudge(Judge):
    """Passes a tuple whose score is at least a threshold.

    Args:
        model: a causal language model; with adapters, the rows are routed to `adapter`.
        question: how it is asked.
        pad_id: of the tokenizer.
        threshold: from 0 to 1.
        adapter: the name of the judge's adapter in the model; None where it has none.
        batch_size: most tuples in one forward.

    Raises:
        ValueError: a threshold or a batch size out of range.
    """

    __name__ = "learned_judge"

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        question: ValidityQuestion,
        pad_id: int,
        threshold: float = 0.5,
        adapter: str | None = None,
        batch_size: int = 16,
    ):
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold!r}; it must be from 0 to 1")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}; it must be 1 or more")
        self.model = model
        self.question = question
        self.pad_id = pad_id
        self.threshold = threshold
        self.adapter = adapter
        self.batch_size = batch_size

    def judge_many(self, tuples: Sequence[StrategyTuple]) -> list[Judgement]:
        """The verdict on each tuple, in their order; see `Judge`."""
        return [
            Judgement(True)
            if score >= self.threshold
            else Judgement(False, f"score {score:.3f} is below {self.threshold:.3f}")
            for score in self.scores(tuples)
        ]

    @torch.no_grad()
    def scores(self, tuples: Sequence[StrategyTuple]) -> list[float]:
        """The chance of Pass for each tuple, from 0 to 1, in their order."""
        questions = [self.question.encode(item) for item in tuples]
        # Of similar length together, so that little is padding.
        order = sorted(range(len(questions)), key=lambda place: len(questions[place]))
        found = [0.0] * len(questions)
        was_training = self.model.training
        self.model.eval()
        try:
            with self._routed():
                for start in range(0, len(order), self.batch_size):
                    places = order[start : start + self.batch_size]
                    logits = pass_logits(
                        self.model,
                        [questions[place] for place in places],
                        self.question.answers,
                        self.pad_id,
                    )
                    for place, score in zip(places, logits.sigmoid().tolist(), strict=True):
                        found[place] = score
        finally:
            self.model.train(was_training)
        return found

    def _routed(self) -> AbstractContextManager[None]:
        return (
            nullcontext() if self.adapter is None else role_router(self.model).route(self.adapter)
        )
