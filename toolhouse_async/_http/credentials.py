"""The API key: the one place that turns it into a header, and a type that shows it nowhere else."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Self, TypeAlias
from urllib.parse import quote

from ..errors import ConfigurationError

ApiKey: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]

_REDACTED: Final = "[redacted]"
_SECRET_LENGTH: Final = 8
"""Characters from which a key is one: a shorter placeholder ("test") would black out ordinary words."""


class _Unshown(str):
    """A header's value that tracebacks with local variables, such as error trackers send, do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _REDACTED

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # tools that record requests copy their headers

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")


class Secret:
    """A key that only :meth:`header` gives out; ``""`` is the absence of one."""

    __slots__ = ("__header", "__value")

    def __init__(self, value: object) -> None:
        if not isinstance(value, str):
            raise ConfigurationError("the API key is not a string")
        if value and (not value.isascii() or not value.isprintable() or " " in value):
            raise ConfigurationError(
                "the API key holds spaces, line breaks or characters that no key has (it is not shown here); "
                "copy it again, without quotes or a trailing newline"
            )
        self.__value = value
        self.__header: Mapping[str, str] = {"Authorization": _Unshown(f"Bearer {value}")} if value else {}

    def __repr__(self) -> str:
        return f"Secret({_REDACTED if self.__value else ''})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")

    def header(self) -> Mapping[str, str]:
        """The ``Authorization`` header; none for a public worker."""
        return self.__header

    def is_in(self, text: str | None) -> bool:
        """Whether a text holds the key as it is."""
        return text is not None and len(self.__value) >= _SECRET_LENGTH and self.__value in text

    def redact(self, text: str) -> str:
        """Black the key out of a text from outside, which may be JSON, HTML or a URL, and cut within the key."""
        from html import escape  # here, since few programs ever need it

        key = self.__value
        if len(key) < _SECRET_LENGTH:
            return text
        spellings = {key, json.dumps(key)[1:-1], key.replace("/", "\\/"), escape(key), quote(key, safe="")}
        for spelling in sorted(spellings, key=len, reverse=True):
            text = text.replace(spelling, _REDACTED)
        for size in range(len(key) - 1, _SECRET_LENGTH - 1, -1):
            if text.endswith(key[:size]):
                return text[:-size] + _REDACTED
        return text


class Credentials:
    """Where the key comes from: a string, or a callable that is asked before each request."""

    __slots__ = ("_ask", "_fixed")

    def __init__(self, api_key: ApiKey | None) -> None:
        if api_key is None:
            api_key = os.environ.get("TOOLHOUSE_API_KEY")
            if api_key is None:
                raise ConfigurationError(
                    "no API key: set the environment variable TOOLHOUSE_API_KEY or pass api_key= "
                    '("" in either place for a public worker, which takes none)'
                )
        self._fixed: Secret | None = None
        self._ask: Callable[[], object] | None = None
        if callable(api_key):
            self._ask = api_key
        else:
            self._fixed = Secret(api_key)

    async def secret(self) -> Secret:
        """The key for the next request. What the user's callable raises passes through."""
        if self._fixed is not None:
            return self._fixed
        assert self._ask is not None  # noqa: S101 - set wherever _fixed is not
        value = self._ask()
        return Secret(await value if inspect.isawaitable(value) else value)
