"""What the service asks of an HTTP library; a second one has its place beside ``transport`` and ``answer``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .._values.settings import Timeouts
from .._wire.answers import HeaderLookup, Headers
from .._wire.requests import Request
from .port import Answer, Dispatch


class Response(Answer, Protocol):
    """An answer of any status, of which nothing but its head was read."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def lookup(self) -> HeaderLookup:
        """The headers, as the HTTP library has them."""
        ...

    @property
    def headers(self) -> Headers:
        """The headers as an independent mapping."""
        ...

    @property
    def is_received(self) -> bool:
        """Whether all of the body has been received: its connection is free, read or not."""
        ...

    async def read_all(self, most: int | None = None) -> bytes:
        """Return the rest of the body, at most about ``most`` bytes of it.

        Raises:
            Cut: The body ended too early.
            BodyTooLargeError: It is longer than ``Limits.max_body``.
        """
        ...

    def identify(self, run_id: str | None, job_id: str | None, redact: Callable[[str], str]) -> None:
        """Note what the headers say, and what blacks the key out of a text."""
        ...


class Transport(Protocol):
    """Sends requests, each once, to one origin."""

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        dispatch: Dispatch | None = None,
        timeouts: Timeouts | None = None,
    ) -> Response:
        """Send a request once and return the answer as soon as its headers are there.

        Args:
            request: What to send.
            headers: The key's, and those that this request has beside what all have.
            dispatch: Where to note how far it has come.
            timeouts: Times to wait; ``None`` for those of all requests.

        Raises:
            NotSentError: It provably was not sent.
            OutcomeUnknownError: It was sent and no answer came.
            ProtocolError: The answer is not HTTP.

        Cancelling closes the connection; a message under way may have been accepted or not.
        """
        ...

    def within(self, seconds: float | None, /) -> AbstractAsyncContextManager[None]:
        """Bound what is awaited in a block, as ``asyncio.timeout`` does; ``None`` does not.

        Raises:
            TimeoutError: It took longer.
        """
        ...
