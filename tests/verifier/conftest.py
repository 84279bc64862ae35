"""Zygotes of a test's own: other verifiers of the process do not share them."""

from __future__ import annotations

import pytest

from cppo_trl.verifier import pool


@pytest.fixture(autouse=True)
def own_zygotes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_shared", {})
