"""Agent ids and run ids: what may enter a URL."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigurationError

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_PATH: Final = re.compile(r"/(?:ndjson/)?([A-Za-z0-9_-]{1,128})/?", re.ASCII)


def is_id(value: object) -> bool:
    """Whether ``value`` may stand in a URL as an agent id or run id."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def check_id(value: str, what: str = "id") -> str:
    """Return ``value`` if it is an id.

    Raises:
        ConfigurationError: It is not.
    """
    if not is_id(value):
        raise ConfigurationError(f"not a valid {what}: {value!r:.200} (expected 1 to 128 of A-Z a-z 0-9 _ -)")
    return value


def agent_id_of(value: str, base_url: str, *others: str) -> str:
    """Return the agent id that ``value`` is, or that stands in it as the worker's URL.

    Args:
        value: An id, or a URL under one of the following.
        base_url: The service that the client talks to.
        others: Other names of it: the worker's public URL is known even where a test service stands in for it.

    Raises:
        ConfigurationError: It is neither; or the URL is another service's.
    """
    if not (isinstance(value, str) and "://" in value):
        return check_id(value, "agent id")
    try:
        url = urlsplit(value)
        base = next((each for each in map(urlsplit, (base_url, *others)) if _origin(url) == _origin(each)), None)
    except ValueError:
        raise ConfigurationError(f"not a worker's URL (expected {base_url}/<agent id>)") from None
    if base is None:
        raise ConfigurationError(
            f"not a worker of {base_url}, but of {url.hostname!r:.200}: "
            "pass base_url= to the client to use another service"
        )
    folder = base.path.rstrip("/")
    match = _PATH.fullmatch(url.path.removeprefix(folder)) if url.path.startswith(f"{folder}/") else None
    clean = value.isprintable() and not value.startswith(" ")  # urlsplit overlooks some characters
    if not match or not clean or url.query or url.fragment or "@" in url.netloc:
        raise ConfigurationError(f"not a worker's URL (expected {base_url}/<agent id>)")
    return match[1]


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)
