"""The doctor says what holds here, and does not call a machine safe that is not."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

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


@pytest.mark.parametrize("command", ["doctor", "verify"])
def test_other_systems_than_linux_are_refused_in_a_line(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = {
        "problems": {"id": "a", "tests": [{"input": "", "output": ""}]},
        "programs": {"problem_id": "a", "code": "pass"},
    }
    options = ["--output", str(tmp_path / "verdicts")]
    for name, row in rows.items():
        (tmp_path / name).write_text(json.dumps(row))
        options += [f"--{name}", str(tmp_path / name)]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert main([command, *(options if command == "verify" else [])]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"cppo-trl {command}: programs are verified on Linux only, and this is darwin"


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
