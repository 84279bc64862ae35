"""One engine and one server process for all tests that need vLLM: either takes a while to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

# Read by vLLM: gigabytes for the cache of keys and values, and threads that stay where they are.
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Where they are what is asked for, a missing vllm is a failure, and not a green run of nothing.
    if find_spec("vllm") is None and not os.environ.get("CPPO_TRL_REQUIRE_VLLM"):
        skip = pytest.mark.skip(reason="vllm needs an environment of its own: make test-vllm")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3 whose heads are as wide as vLLM's attention on a CPU wants them."""
    from tiny_models import save_qwen3

    return save_qwen3(tmp_path_factory.mktemp("models") / "qwen3-32", head_dim=32)


@pytest.fixture(scope="session")
def tokenizer(base_dir: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base_dir)


@pytest.fixture(scope="session")
def policy(base_dir: Path):
    """Planner and solver on the base, with unlike weights, ranks and scales."""
    from transformers import AutoModelForCausalLM

    from cppo_trl.roles import add_roles
    from tiny_adapters import lora_config, randomise_adapters

    patterns = {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"down_proj": 2}}
    configs = {"planner": lora_config(**patterns), "solver": lora_config(r=3, use_rslora=True)}
    model = add_roles(AutoModelForCausalLM.from_pretrained(base_dir), configs)
    randomise_adapters(model, seed=1)
    return model


@pytest.fixture(scope="session")
def engine(base_dir: Path, policy, tokenizer):
    """vLLM in this process."""
    from cppo_trl.generation import AdapterSync, VLLMGenerator

    return VLLMGenerator(
        str(base_dir),
        AdapterSync(policy),
        [tokenizer.eos_token_id],
        dtype="float32",
        enforce_eager=True,
        max_model_len=1024,
    )


class Server:
    """A vLLM server of its own process, which can be killed and started again."""

    def __init__(self, base: Path, log: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        # The module, not `vllm serve`: the command looks for a package that is called vllm.
        self._command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        self._command += ["--model", str(base), "--host", "127.0.0.1", "--port", str(port)]
        self._command += ["--enable-lora", "--max-loras", "2", "--max-lora-rank", "8"]
        self._command += ["--logprobs-mode", "processed_logprobs", "--enforce-eager"]
        self._command += ["--dtype", "float32", "--max-model-len", "1024"]
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                # On a CPU, the second one saves a process between the engine and its worker.
                env=os.environ
                | {
                    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
                    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Ends it with all its processes, at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="session")
def server(base_dir: Path, tmp_path_factory: pytest.TempPathFactory):
    """A running server."""
    started = Server(base_dir, tmp_path_factory.mktemp("server") / "log")
    yield started
    started.kill()
