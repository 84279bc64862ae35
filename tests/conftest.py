"""Offline, quiet and single-threaded tests, and the tiny checkpoints that several files share."""

from __future__ import annotations

import os
from pathlib import Path

# Read at import time by huggingface_hub, tokenizers and OpenMP: set before any of them is imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
# An example is slow when other processes have the cores, not because something is wrong.
settings.register_profile("shared_cores", settings(), deadline=None)
settings.load_profile("shared_cores")


@pytest.fixture(scope="session")
def qwen3_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Qwen3 and its tokenizer; treat it as read-only."""
    from tiny_models import save_qwen3

    return save_qwen3(tmp_path_factory.mktemp("models") / "qwen3")


@pytest.fixture(scope="session")
def qwen3_5_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random Qwen3.5 (hybrid linear attention); treat it as read-only."""
    from tiny_models import save_qwen3_5

    return save_qwen3_5(tmp_path_factory.mktemp("models") / "qwen3_5")
