"""How a subcommand that cannot go on says so."""

from __future__ import annotations


class CommandError(Exception):
    """Why a subcommand stops, in the line that the user sees; status 2 is for bad input."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status
