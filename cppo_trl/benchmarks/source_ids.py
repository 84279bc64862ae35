"""One name for a problem wherever it is found: its platform and the platform's own id."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SLUG = re.compile(r"[a-z0-9]+")


def source_id(platform: str, name: str) -> str:
    """As in "codeforces/1036_b"; upper and lower case are the same everywhere."""
    return f"{platform}/{name}".lower()


def slug(title: str) -> str:
    """The words of a title, as in addresses: "Two Sum" -> "two-sum"."""
    return "-".join(_SLUG.findall(title.lower()))


def source_id_of_url(url: str) -> str | None:
    """The source id of a problem's address; None if there is no address."""
    parts = urlsplit(url.strip())
    host = parts.hostname
    path = [part for part in parts.path.split("/") if part]
    if not host or not path:
        return None
    platform = host.removeprefix("www.").rpartition(".")[0].rpartition(".")[2]
    if platform == "codeforces":
        numbers = [part for part in path if part.isdigit()]
        if numbers and path[-1] != numbers[-1]:
            return source_id(platform, f"{numbers[-1]}_{path[-1]}")
    if platform == "leetcode" and "problems" in path[:-1]:
        return source_id(platform, path[path.index("problems") + 1])
    if platform in ("atcoder", "codechef", "codewars"):
        return source_id(platform, path[-1])
    return source_id(platform, "/".join(path))


def platform_of(found: str | None) -> str | None:
    """The platform in a source id."""
    return found.partition("/")[0] if found else None
