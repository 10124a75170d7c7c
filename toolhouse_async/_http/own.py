"""What the requests of one turn have of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from .._values.settings import Timeouts
from .._wire.requests import Request
from .credentials import Secret
from .library import Response, Transport
from .port import Dispatch

if TYPE_CHECKING:
    from .observed import ObservedRequests


class Own(NamedTuple):
    """What requests have of their own.

    Attributes:
        headers: Headers beside those of all requests, or in their place.
        timeouts: Times to wait; ``None`` for those of all.
        observed: What tells of them; ``None`` where nobody wants to know.
    """

    headers: Mapping[str, str]
    timeouts: Timeouts | None
    observed: ObservedRequests | None

    async def send(
        self, transport: Transport, request: Request, secret: Secret, attempt: int, dispatch: Dispatch | None
    ) -> Response:
        """Send a request once: ``library.Transport.send``; for the ``attempt``-th time."""
        headers = {**self.headers, **secret.header()}
        if self.observed is None:
            return await transport.send(request, headers, dispatch=dispatch, timeouts=self.timeouts)
        with self.observed.told(request, attempt) as answered:
            answer = await transport.send(request, headers, dispatch=dispatch, timeouts=self.timeouts)
            answered(answer.status)
            return answer
