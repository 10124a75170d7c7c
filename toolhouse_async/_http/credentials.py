"""The API key: the one place that turns it into a header, and a type that shows it nowhere else."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self, TypeAlias
from urllib.parse import quote

from .._values.nested import half_made
from ..errors import ConfigurationError

KeyFunction: TypeAlias = Callable[[], str] | Callable[[], Awaitable[str]]
ApiKey: TypeAlias = str | KeyFunction

_REDACTED: Final = "[redacted]"
_SECRET_LENGTH: Final = 8
"""Characters from which a key is one: a shorter placeholder ("test") would black out ordinary words."""


class _Unshown(str):
    """A header's value that tracebacks with local variables, such as error trackers send, do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return _REDACTED

    def __getitem__(self, index: Any) -> str:
        return _Unshown(super().__getitem__(index))  # what shows long values cut takes them apart first

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self  # tools that record requests copy their headers

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")


class Secret:
    """A key that only :meth:`header` gives out; ``""`` is the absence of one.

    It is made of whatever is given as a key, and refuses that in :meth:`check` only: so no frame that an error leaves
    holds the key itself, which error trackers would show.
    """

    __slots__ = ("__beginnings", "__header", "__spellings", "__value")

    def __init__(self, value: object) -> None:
        self.__value = key = value if isinstance(value, str) else None
        self.__header: Mapping[str, str] = {"Authorization": _Unshown(f"Bearer {key}")} if key else {}
        self.__spellings: list[str] | None = None
        self.__beginnings: list[str] = []

    @half_made
    def __repr__(self) -> str:
        return f"Secret({_REDACTED if self.__header else ''})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")

    def check(self) -> Self:
        """Return itself if it can be sent.

        Raises:
            ConfigurationError: It cannot.
        """
        if self.__value is None:
            raise ConfigurationError("the API key is not a string")
        if self.__value and (not self.__value.isascii() or not self.__value.isprintable() or " " in self.__value):
            raise ConfigurationError(
                "the API key holds spaces, line breaks or characters that no key has (it is not shown here); "
                "copy it again, without quotes, a trailing newline or the word Bearer"
            )
        if self.__value and "://" in self.__value:
            raise ConfigurationError("the API key is a URL (not shown here): a worker's URL or id goes to agent_id")
        return self

    def header(self) -> Mapping[str, str]:
        """The ``Authorization`` header; none for a public worker."""
        return self.__header

    def _spell(self) -> list[str]:
        """The key as it is and as JSON, Python, HTML or a URL may have it, longest first; none of a short one."""
        from html import escape  # here, since few programs ever need it

        key = self.__value or ""
        spellings = (
            set()
            if len(key) < _SECRET_LENGTH
            else {
                key,
                json.dumps(key)[1:-1],
                key.replace("/", "\\/"),
                repr(key)[1:-1],
                escape(key),
                quote(key, safe=""),
            }
        )
        self.__spellings = sorted(spellings, key=len, reverse=True)
        self.__beginnings = list({spelling[:_SECRET_LENGTH].lower() for spelling in spellings})
        return self.__spellings

    def is_in(self, text: str) -> bool:
        """Whether a text holds the key, however it is spelled, or ends with its beginning."""
        spellings = self._spell() if self.__spellings is None else self.__spellings
        if not spellings:
            return False
        text = text.lower()
        for beginning in self.__beginnings:
            if beginning in text:  # else neither holds, and this is asked for each answer
                return any(each.lower() in text for each in spellings) or _cut(text, spellings) > 0
        return False

    def equals(self, text: str) -> bool:
        """Whether a text is the key; never where that is a short placeholder."""
        return text == self.__value and len(text) >= _SECRET_LENGTH

    def redact(self, text: str) -> str:
        """Black the key out of a text from outside, which may be JSON, HTML or a URL, and cut within the key.

        In upper and lower case alike: names of headers have none of their own.
        """
        spellings = self._spell() if self.__spellings is None else self.__spellings
        for spelling in spellings:
            text = re.sub(re.escape(spelling), _REDACTED, text, flags=re.IGNORECASE)
        cut = _cut(text.lower(), spellings)
        return text[:-cut] + _REDACTED if cut else text


def _cut(text: str, spellings: list[str]) -> int:
    """How many characters at the end of a text in lower case are the beginning of the key; 0 if too few to tell."""
    for spelling in map(str.lower, spellings):
        start = text.find(spelling[:_SECRET_LENGTH], max(0, len(text) - len(spelling)))
        while start >= 0:
            if spelling.startswith(text[start:]):
                return len(text) - start
            start = text.find(spelling[:_SECRET_LENGTH], start + 1)
    return 0


def sealed(api_key: ApiKey | Secret | None) -> Secret | KeyFunction | None:
    """Put a key away, so that no frame from here on holds it; leave alone what only will give one."""
    return api_key if api_key is None or callable(api_key) or isinstance(api_key, Secret) else Secret(api_key)


class Credentials:
    """Where the key comes from: a string, or a callable that is asked before each request.

    Attributes:
        fixed: The key, where it is a string; ``None`` where a callable is asked.
    """

    __slots__ = ("_ask", "fixed")

    def __init__(self, api_key: ApiKey | Secret | None) -> None:
        key = sealed(api_key)
        del api_key  # which a refusal would show
        if key is None:
            key = Secret(os.environ.get("TOOLHOUSE_API_KEY", ""))
            if "TOOLHOUSE_API_KEY" not in os.environ:
                raise ConfigurationError(
                    "no API key: set the environment variable TOOLHOUSE_API_KEY or pass api_key= "
                    '("" in either place for a public worker, which takes none)'
                )
        self.fixed: Secret | None = None
        self._ask: KeyFunction | None = None
        if isinstance(key, Secret):
            self.fixed = key.check()
        else:
            self._ask = key

    def refuse(self, agent_id: str) -> None:
        """Refuse the key as an agent id, and an agent id as the key, where the key is known.

        Raises:
            ConfigurationError: They are the same.
        """
        if self.fixed is not None and self.fixed.equals(agent_id):
            raise ConfigurationError(
                "the agent id and the API key are the same (not shown here): "
                "the id is on the worker's page, the key on the page of API keys"
            )

    async def secret(self) -> Secret:
        """The key for the next request. What the user's callable raises passes through."""
        if self.fixed is not None:
            return self.fixed
        assert self._ask is not None  # noqa: S101 - set wherever _fixed is not
        value = self._ask()
        secret = Secret(await value if inspect.isawaitable(value) else value)
        del value  # which a refusal would show
        return secret.check()
