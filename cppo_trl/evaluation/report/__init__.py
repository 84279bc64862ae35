"""The report of an evaluation: a page for people, Markdown for a repository, JSON for programs."""

from .write import write_report

__all__ = ["write_report"]
