"""Stage 1 of the method: gold tuples, and the planner's adapter trained on them.

The trainer and its configuration are `cppo_trl.PlannerSFTTrainer` and `cppo_trl.PlannerSFTConfig`.
"""

from .gold import Gold, gold_from_attempts, gold_from_model

__all__ = ["Gold", "gold_from_attempts", "gold_from_model"]
