"""What the client of a vLLM server makes of faults; tests/with_vllm has a real server."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from transformers import AutoModelForCausalLM

from cppo_trl.generation import AdapterSync, Completion, Sampling, VLLMServerError
from cppo_trl.generation import VLLMServerGenerator as Client
from cppo_trl.roles import add_roles
from tiny_adapters import lora_config

SAMPLING = Sampling(max_new_tokens=3)


class Server(ThreadingHTTPServer):
    """Speaks as vLLM's server does; `faults` are answers that come before the right ones."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.faults: list[tuple[int, dict]] = []
        self.loaded: list[str] = []
        self.temperature_counts = True
        self.requests: list[tuple[str, dict]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, path, body):
        self.requests.append((path, body))
        if path == "/v1/models":
            return 200, {"data": [{"id": "base", "max_model_len": 8}]}
        if path == "/v1/load_lora_adapter":
            self.loaded.append(body["lora_name"])
            return 200, {}
        if path == "/v1/unload_lora_adapter":
            self.loaded.remove(body["lora_name"])
            return 200, {}
        if body["logprobs"] == 5:
            scale = 1 / body["temperature"] if self.temperature_counts else 1.0
            top = {f"token_id:{n}": -n * scale for n in range(1, 6)}
            return 200, {"choices": [{"logprobs": {"top_logprobs": [top]}}]}
        if self.faults:
            return self.faults.pop(0)
        if body["model"] not in ("base", *self.loaded):
            return 404, {"error": f"The model `{body['model']}` does not exist."}
        return said(body["model"])


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply({})

    def do_POST(self):
        self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def reply(self, body):
        status, content = self.server.answer(self.path, body)
        content = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


def said(model, token_ids=(5, 6, 7), reason="length", logprobs=(-1.0, -2.0, -3.0)):
    choice = {"token_ids": list(token_ids), "finish_reason": reason}
    choice["logprobs"] = {"token_logprobs": list(logprobs)}
    return 200, {"model": model, "choices": [choice]}


@pytest.fixture
def server():
    stub = Server()
    thread = threading.Thread(target=stub.serve_forever)
    thread.start()
    yield stub
    stub.shutdown()
    thread.join()
    stub.server_close()


@pytest.fixture(scope="module")
def adapters(qwen3_dir):
    return AdapterSync(add_roles(AutoModelForCausalLM.from_pretrained(qwen3_dir), lora_config()))


def test_a_completion_has_tokens_and_log_probabilities(server):
    (completion,) = Client(server.url, None, [2]).generate([[1]], "__base__", SAMPLING)
    assert completion == Completion([5, 6, 7], True, [-1.0, -2.0, -3.0])


def test_a_request_leaves_nothing_to_the_servers_defaults(server):
    sampling = Sampling(30, temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, repetition_penalty=1.2)
    Client(server.url, None, [2, 3]).generate([[1, 1, 1]], "__base__", sampling)
    assert server.requests[-1] == (
        "/v1/completions",
        {
            "model": "base",
            "prompt": [1, 1, 1],
            "max_tokens": 5,  # what the context of 8 leaves
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 5,
            "min_p": 0.1,
            "repetition_penalty": 1.2,
            "stop_token_ids": [2, 3],
            "ignore_eos": True,
            "logprobs": 0,
            "return_token_ids": True,
        },
    )


def test_a_server_that_is_not_there_is_an_error_after_the_timeout():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(VLLMServerError, match=rf"{url} is out of reach for 0.5 s"):
        Client(url, None, [2], timeout=0.5)


def test_log_probabilities_from_before_the_temperature_are_refused(server):
    server.temperature_counts = False
    with pytest.raises(VLLMServerError, match="--logprobs-mode processed_logprobs"):
        Client(server.url, None, [2])


@pytest.mark.parametrize(
    "fault",
    [
        (503, {"error": "starting"}),
        said("base", reason="abort"),
        said("base", token_ids=[], logprobs=[]),
        said("base", logprobs=[-1.0]),
        said("another"),
    ],
    ids=["busy", "aborted", "empty", "cut log-probabilities", "another model"],
)
def test_a_fault_is_asked_again_and_never_taken_for_a_completion(server, fault):
    client = Client(server.url, None, [2], timeout=20)
    server.faults = [fault]
    (completion,) = client.generate([[1]], "__base__", SAMPLING)
    assert completion.token_ids == [5, 6, 7]
    client = Client(server.url, None, [2], timeout=0.3)
    server.faults = [fault] * 99
    with pytest.raises(VLLMServerError, match=server.url):
        client.generate([[1]], "__base__", SAMPLING)


def test_what_the_server_refuses_is_not_asked_again(server):
    client = Client(server.url, None, [2])
    server.faults = [(400, {"error": "no such thing"})]
    with pytest.raises(VLLMServerError, match=r"status 400: .*no such thing"):
        client.generate([[1]], "__base__", SAMPLING)


def test_a_server_that_came_back_is_given_the_adapter_anew(server, adapters):
    client = Client(server.url, adapters, [2])
    client.sync()
    name = adapters.current["solver"].name
    server.loaded.clear()
    (completion,) = client.generate([[1]], "solver", SAMPLING)
    assert completion.token_ids == [5, 6, 7]
    assert server.loaded == [name]


def test_a_prompt_that_fills_the_context_is_refused(server):
    with pytest.raises(ValueError, match=r"8 tokens; the server's --max-model-len is 8"):
        Client(server.url, None, [2]).submit([1] * 8, "__base__", SAMPLING)
