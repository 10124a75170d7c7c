"""Agent ids and run ids: what may enter a URL."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigurationError

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
_PATH: Final = re.compile(r"/(?:ndjson/)?([A-Za-z0-9_-]{1,128})/?", re.ASCII)
_RUN_PATH: Final = re.compile(r"/(?:ndjson/[\w-]+|(?!ndjson/)[\w-]+)/[\w-]+/?", re.ASCII)
_LONG: Final = r"(?=[A-Za-z0-9]*[0-9])[A-Za-z0-9]{20,}"
"""Letters and digits as only a generated key has them: the parts of a GUID are shorter, and names have no digits."""
_KEY: Final = re.compile(rf"(?:th|sk)[-_](?:[a-z0-9]+[-_])*{_LONG}", re.ASCII)
"""An id that is a key: it begins as keys do."""
_SECRET: Final = re.compile(rf"(?<![A-Za-z0-9]){_LONG}", re.ASCII)
"""What may be a key in what is no id, and is not shown."""
_AGENTS: Final = "agents.toolhouse.ai"
_EXPECTED: Final = "expected 1 to 128 of A-Z a-z 0-9 _ -"
WHERE: Final = f"the worker's page at Toolhouse shows its URL, https://{_AGENTS}/<agent id>"
"""Where an agent id is found."""
_OTHER_PAGE: Final = f"the address of another page of Toolhouse: {WHERE}"


def is_id(value: object) -> bool:
    """Whether ``value`` may stand in a URL as an agent id or run id."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def check_id(value: str, what: str = "id") -> str:
    """Return ``value`` if it is an id.

    Raises:
        ConfigurationError: It is not.
    """
    if not is_id(value):
        raise ConfigurationError(f"not a valid {what}: {value!r:.200} ({_EXPECTED})")
    return value


def check_agent_id(value: str) -> str:
    """Return ``value`` if it is an agent id.

    Raises:
        ConfigurationError: It is not, or looks like an API key; the message says where the id is, and shows no key.
    """
    if is_id(value) and not _KEY.fullmatch(value):
        return value
    raise ConfigurationError(f"not a valid agent id: {_slip(value)}")


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
        return check_agent_id(value)
    wrong = f"not a worker's URL (expected {base_url}/<agent id>)"
    try:
        url = urlsplit(value)
        base = next((each for each in map(urlsplit, (base_url, *others)) if _origin(url) == _origin(each)), None)
    except ValueError:
        raise ConfigurationError(wrong) from None
    if base is None:
        if _is_toolhouse(url.hostname or ""):
            raise ConfigurationError(f"not a worker's URL, but {_OTHER_PAGE}")
        origin = f"{url.scheme}://{url.netloc.rpartition('@')[2]}"  # without a password
        raise ConfigurationError(
            f"not a worker of {base_url}, but of {origin!r:.200}: pass base_url= to the client to use another service"
        )
    folder = base.path.rstrip("/")
    path = url.path.removeprefix(folder) if url.path.startswith(f"{folder}/") else ""
    clean = value.isprintable() and " " not in value  # urlsplit overlooks some characters
    if "@" in url.netloc or not clean:
        raise ConfigurationError(f"{wrong}: leave out white space, user and password")
    if _RUN_PATH.fullmatch(path):
        raise ConfigurationError(f"{wrong}: what follows the agent id is a run id, and goes to run_id=")
    match = _PATH.fullmatch(path)
    if not match or url.query or url.fragment:
        raise ConfigurationError(f"{wrong}: leave out what follows the agent id")
    return check_agent_id(match[1])


def _slip(value: object) -> str:
    """What is probably wrong with what was given as an agent id, and what to do."""
    if not isinstance(value, str):
        return f"{value!r:.200} (expected a string)"
    bare = value.strip()
    if is_id(bare) and bare != value:
        return "it has white space around it: strip it"
    host, scheme, rest = bare.partition("://")
    host, _, path = (rest if scheme else host).partition("/")
    if _is_toolhouse(host.lower()) and host.lower() != _AGENTS:
        return f"it is {_OTHER_PAGE}"
    if _SECRET.search(bare) or bare.lower().startswith("bearer "):
        return f"it looks like an API key (not shown), which goes to api_key= or TOOLHOUSE_API_KEY; {WHERE}"
    if scheme or path:
        return f"pass what follows the host, the agent id alone; {WHERE}"
    return f"{value!r:.200} ({_EXPECTED}); {WHERE}"


def _is_toolhouse(host: str) -> bool:
    """Whether a host is one of Toolhouse's own: its site, its dashboard, its documentation, its services."""
    return host.endswith((".toolhouse.ai", ".toolhouse.app")) or host in ("toolhouse.ai", "toolhouse.app")


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)
