"""Judges: is a tuple of strategies a valid plan for its problem?"""

from .endpoint import EndpointError, EndpointJudge
from .judge import Judge, JudgeChain, StrategyTuple
from .judgement import Judgement
from .rules import RuleJudge

__all__ = [
    "EndpointError",
    "EndpointJudge",
    "Judge",
    "JudgeChain",
    "Judgement",
    "RuleJudge",
    "StrategyTuple",
]
