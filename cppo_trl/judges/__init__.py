"""Judges: is a tuple of strategies a valid plan for its problem?"""

from .judgement import Judgement
from .rules import RuleJudge

__all__ = ["Judgement", "RuleJudge"]
