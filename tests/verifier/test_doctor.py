"""The doctor says what holds here, and does not call a machine safe that is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cppo_trl.cli import main
from cppo_trl.verifier import doctor
from cppo_trl.verifier.doctor import ADVICE, Diagnosis, describe, diagnose


def test_every_layer_is_named_and_the_self_tests_pass(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["doctor"])
    said = capsys.readouterr().out
    assert all(name in said for name in ADVICE)
    assert "FAILED" not in said
    assert status == 0


def test_a_missing_layer_comes_with_its_reason_and_advice() -> None:
    diagnosis = replace(
        diagnose(), missing={**dict.fromkeys(ADVICE), "landlock": "Function not implemented"}
    )
    said = describe(diagnosis)
    assert "Function not implemented" in said
    assert ADVICE["landlock"] in said
    assert diagnosis.is_safe


@pytest.mark.parametrize(
    "change",
    [
        {"missing": {**dict.fromkeys(ADVICE), "seccomp": "switched off"}},
        {"failed": {"no socket can be had": "wrong_answer: got 'not held'"}},
    ],
)
def test_without_the_needed_layer_or_with_a_failed_self_test_it_is_not_safe(
    change: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Diagnosis("a machine", dict.fromkeys(ADVICE), {}, 0.1, 0.002)
    monkeypatch.setattr(doctor, "diagnose", lambda: replace(found, **change))
    assert main(["doctor"]) == 1
    assert "should not be run" in capsys.readouterr().out
