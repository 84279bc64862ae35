"""Verify programs: take the code out of a completion, run it isolated, compare what it gives."""

from cppo_trl.verifier.code_verifier import CodeVerifier
from cppo_trl.verifier.compare import COMPARE_MODES, outputs_match, values_match
from cppo_trl.verifier.extract import extract_code
from cppo_trl.verifier.pool import SandboxError
from cppo_trl.verifier.verdict import Status, Verdict

__all__ = [
    "COMPARE_MODES",
    "CodeVerifier",
    "SandboxError",
    "Status",
    "Verdict",
    "extract_code",
    "outputs_match",
    "values_match",
]
