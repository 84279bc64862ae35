"""What a report is of, in a line, and what made it."""

from __future__ import annotations

from cppo_trl.evaluation.results import Evaluation


def title(evaluation: Evaluation) -> str:
    """The heading of the report."""
    methods = len(evaluation.benchmarks[0].summaries)
    many = "1 method" if methods == 1 else f"{methods} methods"
    return f"pass@{evaluation.k} of {many}"


def attempts(k: int) -> str:
    """So many attempts, in words."""
    return "1 attempt" if k == 1 else f"{k} attempts"


def about(evaluation: Evaluation) -> str:
    """The model, K, the seeds and the baseline."""
    model = evaluation.settings.get("model")
    seeds = evaluation.seeds
    parts = [
        f"Model {model}" if isinstance(model, str) else "",
        f"K = {attempts(evaluation.k)}",
        "1 seed" if seeds == 1 else f"{seeds} seeds",
        f"baseline {evaluation.baseline}",
    ]
    return " · ".join(filter(None, parts))


def command(evaluation: Evaluation) -> str:
    """The command of the last session, whose settings are the report's; "" if it is not told."""
    for session in reversed(evaluation.sessions):
        if isinstance(session.get("command"), str):
            return session["command"]
    return ""
