"""What an audit leaves for people: a table, and what to do where a criterion is not met."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .criteria import Audit


def markdown(found: Audit, facts: Mapping[str, Any]) -> str:
    """The report: a table, the advice for what is not met, and what was audited."""
    answer = "Go" if found.is_go else "No-go"
    size = f"{found.problems} problems, {found.tuples} tuples each"
    lines = [
        "# Reward-density audit",
        "",
        f"**{answer}**: {size}, {found.unknown} of unknown reward.",
        "",
        "| | share (95 %) | required | |",
        "|---|---:|---:|---|",
    ]
    for one in found.criteria:
        sure = "" if one.is_sure else " (its interval allows the opposite)"
        lines.append(
            f"| {one.name} | {one.value:.1%} ({one.low:.1%}–{one.high:.1%}) | {one.required} | "
            f"{'met' if one.is_met else 'NOT met'}{sure} |"
        )
    failed = [one for one in found.criteria if not one.is_met]
    if failed:
        lines += ["", "What to do:", "", *(f"- {one.name}: {one.advice}" for one in failed)]
    lines += ["", *(f"- {name}: {value}" for name, value in facts.items())]
    return "\n".join(lines) + "\n"


def write_audit(directory: str | Path, found: Audit, facts: Mapping[str, Any]) -> list[Path]:
    """Writes `audit.md` and `audit.json` into a directory, which is made if it is not there."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    report, numbers = directory / "audit.md", directory / "audit.json"
    report.write_text(markdown(found, facts), encoding="utf-8")
    numbers.write_text(json.dumps(found.to_dict() | {"facts": dict(facts)}, indent=2) + "\n")
    return [report, numbers]
