"""Headers that users give: which may be sent with a request, for a client or for one turn."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import ConfigurationError

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS: Final = frozenset(
    (
        "authorization",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "transfer-encoding",
    )
)


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Copy headers that may be sent.

    Raises:
        ConfigurationError: One is none, or is set by the client itself. No value is shown, since it may be a secret.
    """
    if not isinstance(headers, Mapping):
        raise ConfigurationError("headers must be a mapping of names to values")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        valid = isinstance(name, str) and _NAME.fullmatch(name) and isinstance(value, str)
        if not valid or not _VALUE.fullmatch(value):
            raise ConfigurationError(f"header {name!r:.80} is not a name of HTTP with a value of printable Latin-1")
        if name.lower() in _OURS:
            raise ConfigurationError(f"header {name!r:.80} is set by the client itself")
        checked[name] = value
    return checked
