"""What each part of the planner's reward buys: the same training with the parts taken out.

Every arm starts from the same planner (after SFT), takes the same steps with the same settings and
differs in one thing: what the planner is paid for, or who judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cppo_trl.pipeline import PipelineConfig

from .plot import BLUE, INK, ORANGE
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
    judge = config.judge if isinstance(config.judge, str) else str(made / "judge")
    settings = {**(config.cppo or {}), "solve_invalid": True, "audit_problems": 0}
    if arm.settings.get("planner_reward") == "judge":
        settings["level_off_steps"] = 0  # as many steps as the others
    return replace(
        config,
        output=str(output),
        gold=None,
        sft=str(made / "sft"),
        judge=judge if arm.has_judge else None,
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


def ablation_plot(results: Sequence[tuple[str, Result]], path: str | Path) -> None:
    """Draws pass@K against both limits, and beside it what the plans are like.

    Args:
        results: as for `ablation_table`.
        path: of the image.
    """
    rows = [result for _, result in results][::-1]
    k = rows[0].attempts
    figure = Figure(figsize=(9, 0.42 * len(rows) + 1.2), dpi=160, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.4, 1))
    for limit in (independent_limit, coordinated_limit):
        left.axvline(limit(NUM_READINGS, k), color=INK, linewidth=1, linestyle=(0, (4, 3)))
    for place, result in enumerate(rows):
        mean, low, high = result.pass_k
        left.plot([low, high], [place, place], color=BLUE, linewidth=2)
        left.plot(mean, place, "o", color=BLUE, markersize=6)
        left.annotate(f"{mean:.3f}", (high, place), (4, -3), textcoords="offset points", fontsize=8)
    for name, colour, marker, said in (
        ("admissible", BLUE, "o", "strategies that are admissible"),
        ("duplicates", ORANGE, "s", "plans that repeat a strategy"),
    ):
        points = [(getattr(result, name), place) for place, result in enumerate(rows)]
        known = [point for point in points if point[0] is not None]
        right.plot(*zip(*known, strict=True), marker, color=colour, label=said)
    left.set_yticks(range(len(rows)), [result.name for result in rows])
    left.set_xlabel(f"pass@{k}, 95 % interval; dashed: both limits", fontsize=9)
    right.set_xlabel("share of strategies, and of plans", fontsize=9)
    right.set_xlim(-0.03, 1.03)
    right.legend(frameon=False, fontsize=8, loc="upper left")  # where direct sampling has no plans
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
    figure.savefig(path)
