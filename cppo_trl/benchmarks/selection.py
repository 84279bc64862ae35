"""What a user asks for in a word or two: "apps:test", "livecodebench:v6", "my/problems.jsonl"."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .load import BENCHMARKS, BenchmarkProblems, load_benchmark
from .sources import BenchmarkError

_PARAMETERS = inspect.signature(load_benchmark).parameters
OPTIONS = tuple(name for name in _PARAMETERS if name not in ("name", "progress"))


@dataclass(frozen=True)
class Selection:
    """Problems of one benchmark or file.

    Attributes:
        label: what it is called in tables, and its folder.
        name: of the benchmark.
        options: of `load_benchmark`.
        limit: use the first so many problems only; None for all.
    """

    label: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None

    @classmethod
    def of(cls, asked: str | Mapping[str, Any]) -> Selection:
        """From "NAME", "NAME:PART", "NAME:PART=PATH" or "FILE.jsonl", or from a mapping.

        PART is a split or a version; PATH a file or a folder in the Hub's format. A mapping has a
        `name`, and may have a `label`, a `limit` and options of `load_benchmark`.

        Raises:
            BenchmarkError: there is no such benchmark, file or option.
        """
        if isinstance(asked, str):
            return cls._of_text(asked)
        if not isinstance(asked, Mapping) or not isinstance(asked.get("name"), str):
            shown = asked.get("name", asked) if isinstance(asked, Mapping) else asked
            raise BenchmarkError(
                f"benchmark {shown!r}: it must be text, or a mapping that has a name"
            )
        options = dict(asked)
        selected = cls._of_text(options.pop("name"))
        label, limit = options.pop("label", None), options.pop("limit", None)
        unknown = sorted(options.keys() - set(OPTIONS))
        if unknown:
            raise BenchmarkError(
                f"benchmark {asked['name']!r} has the unknown option {unknown[0]!r}; there are "
                f"label, limit, {', '.join(OPTIONS)}"
            )
        if limit is not None and (type(limit) is not int or limit < 1):
            raise BenchmarkError(f"limit is {limit!r}; it must be a whole number from 1 on")
        given = [str(options[key]) for key in ("version", "split") if options.get(key)]
        label = str(label or ":".join([selected.label, *given]))
        if not label.isprintable() or not any(map(str.isalnum, label)):
            raise BenchmarkError(f"label is {label!r}; it must be one line with a letter or digit")
        return cls(label, selected.name, {**selected.options, **options}, limit)

    @classmethod
    def _of_text(cls, text: str) -> Selection:
        if text.endswith(".jsonl") and "=" not in text:
            return cls(Path(text).stem, "jsonl", {"path": text})
        named, _, path = text.partition("=")
        name, _, part = named.partition(":")
        if name not in BENCHMARKS:
            raise BenchmarkError(
                f"benchmark {text!r}: there are {', '.join(BENCHMARKS)}, and files ending in .jsonl"
            )
        options: dict[str, Any] = {"path": path} if path else {}
        if part:
            options["version" if part in BENCHMARKS[name].files else "split"] = part
        return cls(named, name, options)

    def load(self, progress: bool = True) -> BenchmarkProblems:
        """Loads the problems; raises what `load_benchmark` raises."""
        problems = load_benchmark(self.name, progress=progress, **self.options)
        if self.limit is not None and self.limit < len(problems):
            problems.filtered["limit"] += len(problems) - self.limit
            del problems[self.limit :]
        return problems
