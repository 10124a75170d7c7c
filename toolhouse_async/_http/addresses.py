"""Where requests go, as users say it: checked before anything is sent."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from ..errors import ConfigurationError


def checked_url(url: str, what: str, *, allow_insecure: bool) -> str:
    """Refuse what is no URL that the key may go to; what is one is returned without a slash at its end.

    Raises:
        ConfigurationError: The message says why.
    """
    if not isinstance(url, str) or not url.isprintable() or any(c in url for c in " \\"):
        raise ConfigurationError(f"{what} is not a URL{_quoted(url, what)}")
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        parts, valid = None, False
    if parts is None:  # raised here, since the error that is handled above may quote a password
        raise ConfigurationError(f"{what} is not a URL{_quoted(url, what)}{_ENCODE if '@' in url else ''}")
    if not valid:
        raise ConfigurationError(f"{what} must be an http:// or https:// URL{_quoted(url, what)}")
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise ConfigurationError(f"{what} has an @ behind its host: {_shown(url)}{_ENCODE}")
    if "?" in url or "#" in url:
        raise ConfigurationError(f"{what} takes no query or fragment: {_shown(url)}")
    if what != "proxy" and "@" in url:
        raise ConfigurationError(f"{what} takes no user or password; pass the key as api_key")
    if parts.scheme == "http" and not allow_insecure and not _is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"{what} is http:// and would send messages, and the key, in the clear to {parts.hostname}: "
            "use https://, or pass allow_insecure=True if you mean it"
        )
    return url.rstrip("/")


def check_way(base_url: str, proxy: str, *, allow_insecure: bool) -> None:
    """Refuse a way on which a proxy elsewhere reads the key: TLS alone hides it from one, and HTTP goes through one.

    Raises:
        ConfigurationError: It is one.
    """
    host = urlsplit(proxy).hostname or ""
    if urlsplit(base_url).scheme == "http" and not allow_insecure and not _is_loopback(host):
        raise ConfigurationError(
            f"base_url is http:// and would send messages, and the key, in the clear through the proxy {host}: "
            "use https://, leave proxy= out, or pass allow_insecure=True if you mean it"
        )


_ENCODE: Final = " (write an @, : / ? or # of a user or password as %40, %3A, %2F, %3F or %23)"


def _quoted(url: object, what: str) -> str:
    """Show what is no URL; of a proxy no more than a scheme, a host and a port, since all else may be a password."""
    if what == "proxy" and not (isinstance(url, str) and _HOST_AND_PORT.fullmatch(url)):
        return ", such as http://host:3128"
    return f": {_shown(url)}"


_HOST_AND_PORT: Final = re.compile(r"([a-z][a-z0-9+.-]*://)?[\w.-]+(:[0-9]{1,5})?/?", re.IGNORECASE)


def _shown(url: object) -> str:
    """A URL without what stands before its last @, which may be a password, and without a query or fragment."""
    shown = re.sub(r"(?is).*(?:@|\N{FULLWIDTH COMMERCIAL AT}|\N{SMALL COMMERCIAL AT}|%40)", "…@", repr(url))
    return re.sub(r"(?s)([?#]).+", r"\1…", shown)[:200]


def _is_loopback(host: str) -> bool:
    if host == "localhost":  # not what lies below it: many systems ask the network's DNS for that
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
