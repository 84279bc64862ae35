"""A large model behind an OpenAI-compatible endpoint as a judge: for labels, and as a gate.

    judge = EndpointJudge("my-model", base_url="http://localhost:8000/v1", cache="judge.db")
    judge.judge(problem, strategies)

What could not be found out stays unknown: an endpoint that is down, an answer that is none, a
budget that is used up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from cppo_trl.endpoint import AnswerError, Endpoint, EndpointError, Question
from cppo_trl.plans import format_plan
from cppo_trl.prompts import DEFAULT_JUDGE, check_template

from .judge import Judge, StrategyTuple
from .judgement import Judgement

__all__ = ["EndpointError", "EndpointJudge", "read_answer"]

_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class EndpointJudge(Judge):
    """Asks a model for "pass" or "fail", and why; each question once.

    Args:
        model: its name at the endpoint.
        base_url: of the endpoint; None for `OPENAI_BASE_URL`, or OpenAI's own.
        api_key: None for `OPENAI_API_KEY`; an endpoint of yours may need none.
        template: the question; may use `{statement}`, `{plan}` (both required) and `{k}`.
        options: of `Endpoint`: `concurrency`, `timeout`, `retries`, `cache`, `max_calls`,
            `max_tokens`, `temperature`, `extra_body`.

    Raises:
        ImportError: there is no package `openai`.
        ValueError: a number out of range, or a template that cannot be used.
    """

    __name__ = "endpoint_judge"

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        template: str = DEFAULT_JUDGE,
        **options: Any,
    ):
        check_template("judge", template, ("statement", "plan", "k"), ("statement", "plan"))
        self._template = template
        self._endpoint = Endpoint(model, base_url, api_key, **options)

    @property
    def spent_tokens(self) -> int:
        """Tokens of all questions and answers so far."""
        return self._endpoint.spent_tokens

    @property
    def may_run_beside_a_rollout(self) -> bool:
        """See `Judge`."""
        return True

    def judge_many(self, tuples: Sequence[StrategyTuple]) -> list[Judgement]:
        """The verdict on each tuple, in their order; see `Judge`.

        Raises:
            EndpointError: the endpoint refuses all questions.
        """
        answers = self._endpoint.ask_many([Question(self._asked(item), _read) for item in tuples])
        return [answer.value or Judgement(None, answer.reason) for answer in answers]

    def _asked(self, item: StrategyTuple) -> str:
        return self._template.format(
            statement=item.problem.statement,
            plan=item.plan or format_plan(item.strategies),
            k=len(item.strategies),
        )


def _read(text: str) -> Judgement:
    judgement = read_answer(text)
    if judgement.valid is None:
        raise AnswerError(judgement.reason)
    return judgement


def read_answer(text: str) -> Judgement:
    """The verdict in an answer; unknown where there is none, or it was cut."""
    said = text.rpartition("</think>")[2]
    found = _OBJECT.search(said)
    try:
        content = json.loads(found.group()) if found else None
    except (ValueError, RecursionError):
        content = None
    verdict = str(content.get("verdict", "")).strip().lower() if isinstance(content, dict) else ""
    if verdict not in ("pass", "fail"):
        return Judgement(None, f"no verdict in the answer: {said.strip()[:80]!r}")
    reason = " ".join(str(content.get("reason") or "no reason was given").split())
    return Judgement(True) if verdict == "pass" else Judgement(False, reason)
