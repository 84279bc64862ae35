"""Coordinated Pass@K Policy Optimization (arXiv 2605.27000) on TRL.

A planner writes K different strategies, a solver attempts each, and the tuple is rewarded as one.
Names are loaded on first use, so that `import cppo_trl` alone imports neither torch nor trl.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .baselines import (
        PassAtKConfig,
        PassAtKTrainer,
        PKPOConfig,
        PKPOTrainer,
        UpSkillConfig,
        UpSkillTrainer,
    )
    from .cppo_config import CPPOConfig
    from .cppo_trainer import CPPOTrainer
    from .judges import Judgement, RuleJudge
    from .planner_sft.config import PlannerSFTConfig
    from .planner_sft.trainer import PlannerSFTTrainer
    from .policy import Policy, load_policy
    from .problems import Problem, TestCase
    from .prompts import Prompts
    from .verifier import CodeVerifier, Verdict

__version__ = "0.1.0"

_MODULES = {
    "CPPOConfig": "cppo_config",
    "CPPOTrainer": "cppo_trainer",
    "CodeVerifier": "verifier",
    "Judgement": "judges",
    "PKPOConfig": "baselines",
    "PKPOTrainer": "baselines",
    "PassAtKConfig": "baselines",
    "PassAtKTrainer": "baselines",
    "PlannerSFTConfig": "planner_sft.config",
    "PlannerSFTTrainer": "planner_sft.trainer",
    "Policy": "policy",
    "Problem": "problems",
    "Prompts": "prompts",
    "RuleJudge": "judges",
    "TestCase": "problems",
    "UpSkillConfig": "baselines",
    "UpSkillTrainer": "baselines",
    "Verdict": "verifier",
    "load_policy": "policy",
}

__all__ = [
    "CPPOConfig",
    "CPPOTrainer",
    "CodeVerifier",
    "Judgement",
    "PKPOConfig",
    "PKPOTrainer",
    "PassAtKConfig",
    "PassAtKTrainer",
    "PlannerSFTConfig",
    "PlannerSFTTrainer",
    "Policy",
    "Problem",
    "Prompts",
    "RuleJudge",
    "TestCase",
    "UpSkillConfig",
    "UpSkillTrainer",
    "Verdict",
    "__version__",
    "load_policy",
]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
