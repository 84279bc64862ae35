"""Options that several subcommands of `cppo-trl` have."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

FILTERS = (
    *("start_date", "end_date", "difficulty", "platform", "io_mode", "ids"),
    *("fewest_tests", "most_tests", "max_tests", "errata", "on_bad_row"),
)
VERIFIER = ("compare", "workers", "time_limit", "memory_limit")
ENDPOINT = (
    *("base_url", "cache", "concurrency", "max_calls", "max_tokens", "timeout", "extra_body"),
)


def add_filters(parser: Any, on_bad_row: str) -> None:
    """Which problems of a benchmark. What is not given is not there: `load_benchmark` knows."""

    def add(name: str, said: str, **kind: Any) -> None:
        parser.add_argument(f"--{name}", default=argparse.SUPPRESS, help=said, **kind)

    add("start-date", "first day, as in 2024-08-31", metavar="DAY")
    add("end-date", "last day", metavar="DAY")
    for name in ("difficulty", "platform", "io-mode", "ids"):
        add(name, "only these (default: all)", nargs="+", metavar="X")
    for name in ("fewest-tests", "most-tests"):
        add(name, "only problems with that many tests", type=int, metavar="N")
    add("max-tests", "run the first N tests only (default: all)", type=int, metavar="N")
    add("errata", "problems with known errata (default: mark)", choices=("mark", "drop"))
    said = f"rows that give no problem (default: {on_bad_row})"
    add("on-bad-row", said, choices=("error", "skip"))


def add_verifier_options(parser: Any, compare: str = "lcb") -> None:
    """Those that several commands have. What is not given is not there: `CodeVerifier` knows."""
    for name, kind, metavar, said in (
        (
            "compare",
            str,
            "MODE",
            (
                "what counts as the expected output: lcb, codecontests, apps, exact or tokens; the "
                f"table stands in cppo_trl.verifier.compare (default: {compare})"
            ),
        ),
        ("workers", int, "N", "programs run at a time (default: all cores)"),
        (
            "time-limit",
            float,
            "S",
            "CPU seconds for one test, where the problem sets none (default: 6)",
        ),
        (
            "memory-limit",
            int,
            "MB",
            "memory for one test, where the problem sets none (default: 1024)",
        ),
    ):
        parser.add_argument(
            f"--{name}", default=argparse.SUPPRESS, type=kind, metavar=metavar, help=said
        )


def add_endpoint_options(parser: Any) -> None:
    """Those of commands that ask a large model. What is not given is not there."""
    for name, kind, metavar, said in (
        ("base-url", str, "URL", "of the endpoint (default: OPENAI_BASE_URL)"),
        ("cache", Path, "FILE", "file of answers, asked for once"),
        ("concurrency", int, "N", "open questions (default: 8)"),
        ("max-calls", int, "N", "most questions (default: no limit)"),
        ("max-tokens", int, "N", "of one answer, its thoughts included (default: 512)"),
        ("timeout", float, "S", "seconds for one answer (default: 60)"),
        (
            "extra-body",
            json_object,
            "JSON",
            'more fields of the request, such as {"chat_template_kwargs": ...} for vLLM',
        ),
    ):
        parser.add_argument(
            f"--{name}", default=argparse.SUPPRESS, type=kind, metavar=metavar, help=said
        )


def json_object(text: str) -> dict[str, Any]:
    """An object in JSON, as the type of an option."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r} must be an object, as {{...}}")
    return found


def endpoint_options(args: argparse.Namespace) -> dict[str, Any]:
    """What of `add_endpoint_options` was given, as options of `Endpoint`."""
    return {name: value for name, value in vars(args).items() if name in ENDPOINT}


def loading_options(args: argparse.Namespace) -> dict[str, Any]:
    """What of `add_filters` was given, as options of `load_benchmark`."""
    given = {name: value for name, value in vars(args).items() if name in FILTERS}
    limits = [given.pop(name, None) for name in ("fewest_tests", "most_tests")]
    if limits != [None, None]:
        given["num_tests"] = tuple(limits)
    return given


def verifier_options(args: argparse.Namespace) -> dict[str, Any]:
    """What of `add_verifier_options` was given."""
    return {name: value for name, value in vars(args).items() if name in VERIFIER}
