"""A large model behind an OpenAI-compatible endpoint as a judge: for labels, and as a gate.

    judge = EndpointJudge("Qwen/Qwen3-32B", base_url="http://localhost:8000/v1", cache="judge.db")
    judge.judge(problem, strategies)

Needs the package `openai` (`pip install 'cppo-trl[judge]'`), whose client does time limits and
retries with back-off. What could not be found out stays unknown: an endpoint that is down, an
answer that is none, a budget that is used up.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cppo_trl.errors import first_line
from cppo_trl.plans import format_plan
from cppo_trl.prompts import DEFAULT_JUDGE, check_template

from .answers import AnswerCache
from .judge import Judge, StrategyTuple
from .judgement import Judgement

if TYPE_CHECKING:
    from openai import AsyncOpenAI

_OBJECT = re.compile(r"\{.*\}", re.DOTALL)
_MALFORMED = 2  # times that an endpoint is asked for an answer that can be read


class EndpointError(RuntimeError):
    """The endpoint refuses all that is asked of it, such as for a wrong key or model name."""


class EndpointJudge(Judge):
    """Asks a model for "pass" or "fail", and why; each question once.

    Args:
        model: its name at the endpoint.
        base_url: of the endpoint; None for `OPENAI_BASE_URL`, or OpenAI's own.
        api_key: None for `OPENAI_API_KEY`; an endpoint of yours may need none.
        template: the question; may use `{statement}`, `{plan}` (both required) and `{k}`.
        concurrency: most questions that are open at a time.
        timeout: seconds for one answer.
        retries: times that a question is asked again where the endpoint is busy, fails or is out of
            reach, with growing pauses.
        cache: file of the answers, by question; a question in it is not asked again, in any later
            run. None remembers those of this object.
        max_calls: questions that this object may ask; None for any number.
        max_tokens: of one answer.
        temperature: of the answer.
        extra_body: more fields of the request, such as `{"chat_template_kwargs": ...}` for vLLM.

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
        concurrency: int = 8,
        timeout: float = 60.0,
        retries: int = 5,
        cache: str | Path | None = None,
        max_calls: int | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        extra_body: Mapping[str, Any] | None = None,
    ):
        check_template("judge", template, ("statement", "plan", "k"), ("statement", "plan"))
        for name, value, least in (
            ("concurrency", concurrency, 1),
            ("timeout", timeout, 1e-3),
            ("retries", retries, 0),
            ("max_calls", max_calls, 0),
            ("max_tokens", max_tokens, 1),
            ("temperature", temperature, 0),
        ):
            if value is not None and not value >= least:
                raise ValueError(f"{name} is {value!r}; it must be {least} or more")
        self._client_options = {
            "base_url": base_url,
            "api_key": _key(api_key),
            "timeout": timeout,
            "max_retries": retries,
        }
        self._template = template
        self._concurrency = concurrency
        self._left = max_calls
        self._request = {
            "model": model,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "extra_body": dict(extra_body or {}),
        }
        self._cache = AnswerCache(cache)
        self.spent_tokens = 0

    def judge_many(self, tuples: Sequence[StrategyTuple]) -> list[Judgement]:
        """The verdict on each tuple, in their order; see `Judge`.

        Raises:
            EndpointError: the endpoint refuses all questions.
        """
        questions = [self._question(item) for item in tuples]
        found = {question: self._cache.get(self._key_of(question)) for question in questions}
        asked = [question for question, answer in found.items() if answer is None]
        found |= zip(asked, _run(self._ask_all(asked)), strict=True) if asked else ()
        return [found[question] for question in questions]

    def _question(self, item: StrategyTuple) -> str:
        return self._template.format(
            statement=item.problem.statement,
            plan=item.plan or format_plan(item.strategies),
            k=len(item.strategies),
        )

    def _key_of(self, question: str) -> str:
        return json.dumps([question, self._request], sort_keys=True)

    async def _ask_all(self, questions: Sequence[str]) -> list[Judgement]:
        from openai import AsyncOpenAI

        limit = asyncio.Semaphore(self._concurrency)
        async with AsyncOpenAI(**self._client_options) as client:
            return list(
                await asyncio.gather(*(self._ask(client, text, limit) for text in questions))
            )

    async def _ask(self, client: AsyncOpenAI, question: str, limit: asyncio.Semaphore) -> Judgement:
        from openai import APIError, APIStatusError

        why = ""
        async with limit:
            for _ in range(_MALFORMED):
                if self._left == 0:
                    return Judgement(None, "the budget of calls is used up")
                if self._left is not None:
                    self._left -= 1
                try:
                    answer = await client.chat.completions.create(
                        messages=[{"role": "user", "content": question}], **self._request
                    )
                except APIStatusError as error:
                    if error.status_code in (401, 403, 404):
                        raise EndpointError(
                            f"{self._request['model']!r} at {client.base_url}: status "
                            f"{error.status_code}, {first_line(error)}"
                        ) from None
                    return Judgement(None, f"status {error.status_code}")
                except APIError as error:  # out of reach, too slow, or no JSON at all
                    return Judgement(None, first_line(error))
                except json.JSONDecodeError as error:
                    why = f"the endpoint sent no JSON ({error})"
                    continue
                self.spent_tokens += answer.usage.total_tokens if answer.usage else 0
                judgement = read_answer(_text(answer))
                if judgement.valid is not None:
                    self._cache.put(self._key_of(question), judgement)
                    return judgement
                why = judgement.reason
        return Judgement(None, why)


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


def _text(answer: Any) -> str:
    choices = getattr(answer, "choices", None)
    return (choices[0].message.content or "") if choices else ""


def _key(api_key: str | None) -> str | None:
    return api_key or os.environ.get("OPENAI_API_KEY") or "none"


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs it in a thread of its own, since the caller's may have a loop already (notebooks)."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
