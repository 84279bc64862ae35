"""A large model behind an OpenAI-compatible endpoint, asked many questions at a time.

    endpoint = Endpoint("my-model", base_url="http://localhost:8000/v1", cache="answers.db")
    answers = endpoint.ask_many([Question("Which is it, pass or fail?", read)])

Needs the package `openai` (`pip install 'cppo-trl[judge]'`), whose client does time limits and
retries with back-off. What could not be found out stays unknown: an endpoint that is down, an
answer that cannot be read, a budget that is used up.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tqdm.auto import tqdm

from cppo_trl.errors import first_line

from .answers import AnswerCache

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

Value = TypeVar("Value")


class EndpointError(RuntimeError):
    """The endpoint refuses all that is asked of it, such as for a wrong key or model name."""


class AnswerError(ValueError):
    """An answer that cannot be used; the message says why."""


@dataclass(frozen=True)
class Question(Generic[Value]):
    """One question, a user's only message.

    Attributes:
        prompt: its text.
        read: takes the text of an answer and gives what it says, or raises `AnswerError`; then the
            question is asked anew.
        sample: which of several answers to the same prompt is asked for, from 0.
        is_whole: an answer that was cut at `max_tokens` is none, whatever can be read in it.
    """

    prompt: str
    read: Callable[[str], Value]
    sample: int = 0
    is_whole: bool = False


@dataclass(frozen=True)
class Answer(Generic[Value]):
    """What was read in an answer; None where there is none, and `reason` says why."""

    value: Value | None
    reason: str = ""


class Endpoint:
    """Asks a model, each question once.

    Args:
        model: its name at the endpoint.
        base_url: of the endpoint; None for `OPENAI_BASE_URL`, or OpenAI's own.
        api_key: None for `OPENAI_API_KEY`; an endpoint of yours may need none.
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

    Attributes:
        temperature: as given.
        spent_tokens: of all questions and answers so far.

    Raises:
        ImportError: there is no package `openai`.
        OSError: the file cannot be one of answers.
        ValueError: a number out of range.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        concurrency: int = 8,
        timeout: float = 60.0,
        retries: int = 5,
        cache: str | Path | None = None,
        max_calls: int | None = None,
        max_tokens: int = 512,
        temperature: float = 0.0,
        extra_body: Mapping[str, Any] | None = None,
    ):
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
        if find_spec("openai") is None:
            raise ImportError("there is no package openai; pip install 'cppo-trl[judge]'")
        self._client_options = {
            "base_url": base_url,
            "api_key": api_key or os.environ.get("OPENAI_API_KEY") or "none",
            "timeout": timeout,
            "max_retries": retries,
        }
        self._concurrency = concurrency
        self._left = max_calls
        self._request = {
            "model": model,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "extra_body": dict(extra_body or {}),
        }
        self._cache = AnswerCache(cache)
        self.temperature = temperature
        self.spent_tokens = 0

    def ask_many(
        self, questions: Sequence[Question[Value]], tries: int = 2, progress: str | None = None
    ) -> list[Answer[Value]]:
        """The answer to each question, in their order; equal questions are asked once.

        Args:
            questions: what to ask.
            tries: times that a question is asked for an answer that can be read.
            progress: the title of a bar that counts the questions; None for no bar.

        Raises:
            EndpointError: the endpoint refuses all questions.
        """
        found = {question: self._known(question) for question in questions}
        asked = [question for question, answer in found.items() if answer is None]
        with tqdm(
            total=len(found),
            initial=len(found) - len(asked),
            desc=progress,
            unit="question",
            disable=progress is None,
        ) as bar:
            if asked:
                found |= zip(asked, _run(self._ask_all(asked, tries, bar)), strict=True)
        return [found[question] for question in questions]

    def _known(self, question: Question[Value]) -> Answer[Value] | None:
        text = self._cache.get(self._key_of(question))
        try:
            return None if text is None else Answer(question.read(text))
        except AnswerError:  # others may read other things in answers to the same question
            return None

    def _key_of(self, question: Question[Any]) -> str:
        sample = [question.sample] if question.sample else []
        return json.dumps([question.prompt, self._request, *sample], sort_keys=True)

    async def _ask_all(
        self, questions: Sequence[Question[Value]], tries: int, bar: tqdm
    ) -> list[Answer[Value]]:
        from openai import AsyncOpenAI

        limit = asyncio.Semaphore(self._concurrency)

        async def counted(question: Question[Value]) -> Answer[Value]:
            async with limit:
                answer = await self._ask(client, question, tries)
            bar.update()
            return answer

        async with AsyncOpenAI(**self._client_options) as client:
            return list(await asyncio.gather(*map(counted, questions)))

    async def _ask(
        self, client: AsyncOpenAI, question: Question[Value], tries: int
    ) -> Answer[Value]:
        from openai import APIError, APIStatusError

        why = ""
        for _ in range(tries):
            if self._left == 0:
                return Answer(None, "the budget of calls is used up")
            if self._left is not None:
                self._left -= 1
            try:
                answer = await client.chat.completions.create(
                    messages=[{"role": "user", "content": question.prompt}], **self._request
                )
            except APIStatusError as error:
                if error.status_code in (401, 403, 404):
                    raise EndpointError(
                        f"{self._request['model']!r} at {client.base_url}: status "
                        f"{error.status_code}, {first_line(error)}"
                    ) from None
                return Answer(None, f"status {error.status_code}: {first_line(error)}")
            except APIError as error:  # out of reach, too slow, or no JSON at all
                return Answer(None, first_line(error))
            except json.JSONDecodeError as error:
                why = f"the endpoint sent no JSON ({error})"
                continue
            try:
                text = self._text(answer, question.is_whole)
                value = question.read(text)
            except AnswerError as error:
                why = str(error)
                continue
            self._cache.put(self._key_of(question), text)
            return Answer(value)
        return Answer(None, why)

    def _text(self, answer: ChatCompletion, is_whole: bool) -> str:
        try:
            self.spent_tokens += (answer.usage.total_tokens or 0) if answer.usage else 0
            said = answer.choices[0]
            text = said.message.content or ""
            was_cut = said.finish_reason == "length"
            if not isinstance(text, str):
                raise TypeError
        except (AttributeError, IndexError, TypeError):
            # The client checks nothing: what came with status 200 may be any JSON.
            raise AnswerError("the endpoint sent no chat completion") from None
        if is_whole and was_cut:
            raise AnswerError(f"the answer was cut: max_tokens is {self._request['max_tokens']}")
        return text


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs it in a thread of its own, since the caller's may have a loop already (notebooks).

    An interrupt stops it too: what is not asked yet costs nothing then.
    """
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[Any]]] = []

    async def noted() -> Any:
        task = asyncio.ensure_future(work)
        running.append((asyncio.get_running_loop(), task))
        return await task

    with ThreadPoolExecutor(1) as thread:
        result = thread.submit(asyncio.run, noted())
        try:
            return result.result()
        except KeyboardInterrupt:
            for loop, task in running:
                loop.call_soon_threadsafe(task.cancel)
            raise
