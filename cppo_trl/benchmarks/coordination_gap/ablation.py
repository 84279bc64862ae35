"""What each part of the planner's reward buys: the same training with the parts taken out.

Every arm starts from the same planner (after SFT), takes the same steps with the same settings and
differs in one thing: what the planner is paid for, or who judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cppo_trl.pipeline import PipelineConfig

from .results import Result
from .world import NUM_READINGS, coordinated_limit, independent_limit


@dataclass(frozen=True)
class Arm:
    """One way to pay the planner.

    Attributes:
        name: of the arm, and of its folder.
        said: what the planner is paid for, in words.
        settings: of the joint stage.
        has_judge: whether the learned judge is asked, after the rules; else the rules are alone,
            which see whether strategies are distinct, and not what they are for.
    """

    name: str
    said: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    has_judge: bool = True


ARMS = (
    Arm("product", "valid x any attempt passed (the method)"),
    Arm("outcome", "any attempt passed", {"planner_reward": "outcome"}),
    Arm("judge", "valid", {"planner_reward": "judge"}),
    Arm("sum", "valid + any attempt passed", {"planner_reward": "sum"}),
    Arm("distinct", "distinct x any attempt passed", has_judge=False),
    Arm("distinct-alone", "distinct", {"planner_reward": "judge"}, has_judge=False),
)


def arm_config(config: PipelineConfig, arm: Arm, output: Path) -> PipelineConfig:
    """The pipeline of an arm: the joint stage alone, from what a whole pipeline made before.

    Tuples that the judge rejects are solved in every arm, since some are paid for their outcome.

    Args:
        config: of the whole pipeline, which is done.
        arm: what to change.
        output: the directory of the arm.
    """
    made = Path(config.output)
    settings = {**(config.cppo or {}), "solve_invalid": True, "audit_problems": 0}
    if arm.settings.get("planner_reward") == "judge":
        settings["level_off_steps"] = 0  # as many steps as the others
    return replace(
        config,
        output=str(output),
        gold=None,
        sft=str(made / "sft"),
        judge=str(made / "judge") if arm.has_judge else None,
        warmup=None,
        audit=None,
        cppo={**settings, **arm.settings},
        evaluation=None,
        held_out=(),
    )


def ablation_table(results: Sequence[tuple[str, Result]]) -> str:
    """The table in Markdown: what the planner is paid for, and what comes of it.

    Args:
        results: what each row is, in words, and its result.
    """
    k = results[0][1].attempts
    header = [
        *("", "the planner is paid for", f"pass@{k} (95 %)", "admissible", "duplicates"),
        *("distinct", "parsed"),
    ]
    rows = [
        [name, "", f"{limit(NUM_READINGS, k):.3f}", *[""] * 4]
        for name, limit in (
            ("independent limit", independent_limit),
            ("coordinated limit", coordinated_limit),
        )
    ]
    for said, result in results:
        shares = (result.admissible, result.duplicates, result.distinct)
        rows.append(
            [
                result.name,
                said,
                str(result.pass_k),
                *("" if one is None else f"{one:.3f}" for one in shares),
                f"{result.parsed:.3f}" if result.parsed else "",
            ]
        )
    rule = ["---", "---", *["---:"] * (len(header) - 2)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))
