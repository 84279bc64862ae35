"""A table's settings from its YAML file, and parts of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from cppo_trl.pipeline import PipelineError
from cppo_trl.pipeline.config import changed, read_settings

from .config import TableConfig
from .rows import Budget, Row


def read_table(
    path: str | Path, changes: Sequence[str] = (), quick: bool = False, **given: Any
) -> TableConfig:
    """The settings of a YAML file, some of them changed.

    Args:
        path: the file.
        changes: "name=value", "rows.cppo.settings.max_plan_length=256" and so on.
        quick: whether what the file has under `quick` is changed too; `changes` win over it.
        given: fields that win over the file's.

    Raises:
        PipelineError: the file, a change or a setting cannot be used.
    """
    content = read_settings(path, changes)
    if quick:
        under = content.get("quick") or {}
        if not isinstance(under, Mapping):
            raise PipelineError(f"quick is {under!r}; it must be a mapping of settings")
        content = changed(merged(content, under), changes)
    content |= {name: value for name, value in given.items() if value is not None}
    known = [item.name for item in fields(TableConfig)]
    if unknown := sorted(str(name) for name in content if name not in known):
        raise PipelineError(f"{path}: unknown field {unknown[0]!r}; there are {', '.join(known)}")
    rows = content.get("rows")
    if not isinstance(rows, Mapping) or not all(isinstance(one, Mapping) for one in rows.values()):
        raise PipelineError(f"{path}: rows is {rows!r}; it must map names to the fields of a row")
    content["rows"] = {
        name: _made(Row, f"rows.{name}", {**row, "name": name}) for name, row in rows.items()
    }
    content["budget"] = _made(Budget, "budget", content.get("budget"))
    return TableConfig(**content)


def with_rows(config: TableConfig, names: Sequence[str]) -> TableConfig:
    """A table of these rows, of those that they start from, and of the method's row.

    Its report has a name of its own, so that it does not take the place of the whole one.

    Raises:
        PipelineError: there is no such row.
    """
    kept = {config.method.name}
    for name in names:
        if name not in config.rows:
            raise PipelineError(f"rows has no {name!r}; there are {', '.join(config.rows)}")
        kept.add(name)
    while missing := {config.rows[name].start for name in kept} - kept - {None}:
        kept |= missing
    rows = {name: row for name, row in config.rows.items() if name in kept}
    report = config.report if len(rows) == len(config.rows) else f"{config.report}-of-some-rows"
    return replace(config, rows=rows, report=report)


def with_benchmarks(config: TableConfig, labels: Sequence[str]) -> TableConfig:
    """A table on these of the benchmarks.

    Raises:
        PipelineError: there is no such benchmark.
    """
    for label in labels:
        if label not in config.benchmarks:
            known = ", ".join(config.benchmarks)
            raise PipelineError(f"benchmarks has no {label!r}; there are {known}")
    return replace(config, benchmarks={label: config.benchmarks[label] for label in labels})


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others put over them; where both are mappings, entry by entry."""
    result = dict(settings)
    for name, value in changes.items():
        own = result.get(name)
        both = isinstance(own, Mapping) and isinstance(value, Mapping)
        result[name] = merged(own, value) if both else value
    return result


def _made(kind: type, name: str, given: Any) -> Any:
    allowed = [item.name for item in fields(kind)]
    if not isinstance(given, Mapping):
        raise PipelineError(f"{name} is {given!r}; it must be a mapping of {', '.join(allowed)}")
    if unknown := sorted(str(one) for one in given if one not in allowed):
        raise PipelineError(f"{name} has {unknown[0]!r}; there are {', '.join(allowed)}")
    try:
        return kind(**given)
    except TypeError as error:
        raise PipelineError(f"{name}: {error}; there are {', '.join(allowed)}") from error
