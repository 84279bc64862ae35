"""The reward-density audit: is there anything to learn from yet? (arXiv 2605.27000, stage 4)"""

from .criteria import Audit, Criterion, audit
from .measure import audit_policy
from .report import markdown, write_audit

__all__ = ["Audit", "Criterion", "audit", "audit_policy", "markdown", "write_audit"]
