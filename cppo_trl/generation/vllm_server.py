"""Generation with a vLLM server, over HTTP: any number of GPUs beside those of the training.

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve BASE --enable-lora --max-loras 2 \\
        --max-lora-rank 32 --logprobs-mode processed_logprobs

The adapters travel as files, so the server must see the folder that they are written to: it runs on
the same machine, or the folder is on a disk that both machines mount under the same path.

A server on a CPU (seen with vLLM 0.32) mixes up prompts of the bare base with prompts of adapters
that are open at the same time; on a GPU it does not use those kernels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from cppo_trl.routing import BASE

from .adapter_sync import AdapterSync, AdapterVersion
from .generator import Completion, Sampling
from .streams import Streams
from .vllm_generator import sampling_fields

_PAUSE, _LONGEST_PAUSE = 0.2, 5.0  # seconds between two attempts at a server that is down
_PAST_TROUBLE = (408, 425, 429, 500, 502, 503, 504)  # states that may be over at the next attempt


class VLLMServerError(RuntimeError):
    """The server is out of reach for too long, or cannot do what is asked of it."""


class VLLMServerGenerator(Streams):
    """Generates with a server, one request for each prompt, which vLLM batches.

    A server that dies is waited for; one that came back is given the adapters anew. A completion
    that was broken off is asked for again, whole.

    Args:
        base_url: of the server, without `/v1`.
        adapters: the adapters, which may change; None for a base that speaks as `routing.BASE`
            only.
        eos_token_ids: every id that ends a completion.
        timeout: seconds that the server may be out of reach before `VLLMServerError` is raised.
        request_timeout: seconds for one completion; None for any number.
        concurrency: most requests that are open at a time.
        loads: False for a process that leaves the loading of new adapters to another one.
        barrier: waits for all such processes, where there are several.

    Raises:
        VLLMServerError: there is no such server, or its log-probabilities are not those of the
            distribution that it samples from.
    """

    def __init__(
        self,
        base_url: str,
        adapters: AdapterSync | None,
        eos_token_ids: Sequence[int],
        *,
        timeout: float = 240.0,
        request_timeout: float | None = None,
        concurrency: int = 256,
        loads: bool = True,
        barrier: Callable[[], None] | None = None,
    ):
        super().__init__()
        self.base_url = base_url.rstrip("/")
        self.eos_token_ids = list(eos_token_ids)
        self._adapters = adapters
        self._timeout = timeout
        self._request_timeout = request_timeout
        self._loads = loads
        self._barrier = barrier
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=concurrency))
        self._tickets = count()
        self._futures: dict[Future[Completion], int] = {}
        model = self._ask("GET", "/v1/models").json()["data"][0]
        self._base, self._context = model["id"], model["max_model_len"]
        self._refuse_raw_logprobs()
        self._threads = ThreadPoolExecutor(concurrency, thread_name_prefix="vllm-server")

    def submit(self, prompt_ids: list[int], adapter: str, sampling: Sampling) -> int:
        """Begins to continue a prompt as `adapter`, with its weights of the last `sync`, and
        returns the ticket that `finished` names it by.

        Raises:
            ValueError: there is no such adapter, or the prompt is longer than the server allows.
        """
        version = self._version(adapter)
        if len(prompt_ids) >= self._context:
            raise ValueError(
                f"a prompt has {len(prompt_ids)} tokens; the server's --max-model-len is "
                f"{self._context}"
            )
        ticket = next(self._tickets)
        future = self._threads.submit(self._complete, prompt_ids, version, sampling)
        self._futures[future] = ticket
        self._open.add(ticket)
        return ticket

    def _next(self, seconds: float | None) -> dict[int, Completion]:
        done, _ = wait(self._futures, seconds, return_when=FIRST_COMPLETED)
        tickets = {self._futures.pop(future): future for future in done}
        self._open -= tickets.keys()  # whatever comes of them
        return {ticket: future.result() for ticket, future in tickets.items()}

    def _give_up(self, tickets: Set[int]) -> None:
        for future in self._futures:
            future.cancel()  # what the server works on already is not listened to
        self._futures = {}

    def sync(self) -> None:
        """Gives the server the adapters whose weights have changed since the last call, each state
        under a name and in a folder of its own.

        Raises:
            RuntimeError: there are open prompts, whose tokens would come from two policies.
            VLLMServerError: the server does not load them.
        """
        if self._adapters is None:
            return
        if self._open:
            raise RuntimeError(f"{len(self._open)} prompts are open; adapters change between them")
        before = dict(self._adapters.current)
        updated = self._adapters.update()
        for version in updated if self._loads else []:
            self._load(version)
            if version.adapter in before:
                # A server that came back does not know it: gone is gone.
                name = {"lora_name": before[version.adapter].name}
                self._ask("POST", "/v1/unload_lora_adapter", name, accepts=(200, 404))
        if updated and self._barrier is not None:
            self._barrier()

    def begin_rollout(self) -> None:
        """Gives the server the adapters as they are now."""
        self.sync()

    def end_rollout(self) -> None:
        """Does nothing: the server's memory is its own."""

    def close(self) -> None:
        """Ends the threads; prompts that have not begun are dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _version(self, adapter: str) -> AdapterVersion | None:
        if adapter == BASE:
            return None
        current = {} if self._adapters is None else self._adapters.current
        if adapter not in current:
            raise ValueError(
                f"adapter is {adapter!r}; allowed: {', '.join([BASE, *current])} (`sync` loads "
                "adapters)"
            )
        return current[adapter]

    def _load(self, version: AdapterVersion) -> None:
        body = {"lora_name": version.name, "lora_path": str(version.path)}
        answer = self._ask("POST", "/v1/load_lora_adapter", body, accepts=(200, 400, 404))
        if answer.status_code == 200 or "already been loaded" in answer.text:
            return
        raise VLLMServerError(
            f"the server at {self.base_url} did not load {version.path} (status "
            f"{answer.status_code}: {answer.text[:300]}). It must see that folder, and needs "
            f"--enable-lora, a --max-lora-rank of {self._adapters.rank} or more, and "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
        )

    def _complete(
        self, prompt_ids: list[int], version: AdapterVersion | None, sampling: Sampling
    ) -> Completion:
        name = self._base if version is None else version.name
        body = sampling_fields(sampling, self.eos_token_ids) | {
            "model": name,
            "prompt": prompt_ids,
            "max_tokens": min(sampling.max_new_tokens, self._context - len(prompt_ids)),
            "return_token_ids": True,
        }
        deadline = None
        while True:
            answer = self._ask("POST", "/v1/completions", body, accepts=(200, 404))
            try:
                return _completion(answer, name)
            except ValueError as error:
                fault = error
            deadline = deadline or time.monotonic() + self._timeout
            if time.monotonic() > deadline:
                raise VLLMServerError(f"the server at {self.base_url}: {fault}")
            if answer.status_code == 404 and version is not None:
                self._load(version)  # the server came back without it
            else:
                time.sleep(_PAUSE)  # it is on its way down

    def _refuse_raw_logprobs(self) -> None:
        """Compares two temperatures: the log-probabilities of a raw mode know neither."""
        body = {"model": self._base, "prompt": [0], "max_tokens": 1, "logprobs": 5}
        body["return_tokens_as_token_ids"] = True  # two tokens may have the same text
        tops = []
        for temperature in (1.0, 2.0):
            answer = self._ask("POST", "/v1/completions", body | {"temperature": temperature})
            (top,) = answer.json()["choices"][0]["logprobs"]["top_logprobs"]
            tops.append(sorted(top.values())[-5:])
        if tops[0] == tops[1] and len(set(tops[0])) > 1:
            raise VLLMServerError(
                f"the server at {self.base_url} gives log-probabilities from before the "
                "temperature; start it with --logprobs-mode processed_logprobs"
            )

    def _ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        accepts: tuple[int, ...] = (200,),
    ) -> requests.Response:
        """Asks until there is an answer with an accepted status; a server that is down, starting or
        overloaded is asked again, with growing pauses.
        """
        deadline, pause = None, _PAUSE
        while True:
            try:
                answer = self._session.request(
                    method,
                    self.base_url + path,
                    json=body,
                    timeout=(self._timeout, self._request_timeout),
                )
                if answer.status_code in accepts:
                    return answer
                fault = f"status {answer.status_code}: {answer.text[:300]}"
                if answer.status_code not in _PAST_TROUBLE:
                    raise VLLMServerError(f"{path} at {self.base_url}: {fault}")
            except requests.RequestException as error:
                fault = str(error)
            # The clock runs from the first fault on: a completion may take longer than that.
            deadline = deadline or time.monotonic() + self._timeout
            if time.monotonic() + pause > deadline:
                raise VLLMServerError(
                    f"the server at {self.base_url} is out of reach for "
                    f"{self._timeout:g} s: {fault}"
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _completion(answer: requests.Response, name: str) -> Completion:
    """Reads an answer, and refuses one of another model or that was broken off, as `ValueError`."""
    if answer.status_code != 200:
        raise ValueError(answer.text[:300])
    said = answer.json()  # what is no JSON is a ValueError, too
    (choice,) = said["choices"]
    token_ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
    if said["model"] != name:
        raise ValueError(f"{said['model']!r} answered for {name!r}")
    if choice["finish_reason"] not in ("stop", "length") or not token_ids:
        raise ValueError(f"finish_reason {choice['finish_reason']!r}")
    if len(logprobs) != len(token_ids):
        raise ValueError(f"{len(token_ids)} tokens, but {len(logprobs)} log-probabilities")
    logprobs = [math.nan if logprob is None else logprob for logprob in logprobs]
    return Completion(token_ids, choice["finish_reason"] == "length", logprobs)
