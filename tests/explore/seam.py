"""Where the client meets the world: a stand-in for the transport below its service, and nothing else of its inside."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from attrs import fields

from toolhouse_async import (
    AsyncToolhouse,
    NotSentError,
    OutcomeUnknownError,
    PollingPolicy,
    RecoveryPolicy,
    RetryPolicy,
    Timeouts,
)
from toolhouse_async._http.port import Cut, Dispatch
from toolhouse_async._wire.answers import Headers
from toolhouse_async._wire.requests import Request

from . import world
from .world import World

STEP: Final = 0.25
"""Seconds that a connection, an answer's head, and each piece of its body take."""
QUIET: Final = 3.0
ABSENCE: Final = 8.0
_POLLING: Final = PollingPolicy(min_interval=1, max_interval=1, jitter=0, failure_budget=3, failure_window=5)
_RETRIES: Final = RetryPolicy(max_attempts=2, initial=0.5)


class _Lookup:
    """Headers as the HTTP library has them."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in headers.items()}

    def getall(self, key: str, default: list[str]) -> list[str]:
        value = self._values.get(key.lower())
        return default if value is None else [value]


class Answer:
    """What stands for the transport's answer; its attributes are those that the client's own has."""

    def __init__(self, reply: world.Reply, timeouts: Timeouts) -> None:
        self._reply = reply
        self._is_closed = False
        self.status: int = reply.status
        self.lookup: _Lookup = _Lookup(reply.headers)
        self.framed: bool = reply.framed
        self.idle: float | None = timeouts.idle
        self.run_id: str | None = None
        self.job_id: str | None = None
        self.received: int = 0
        self.waiting_since: float | None = None
        self.at_end: bool = False
        self._failed = ""
        reply.world.open += 1
        reply.world.told(reply.headers)

    @property
    def headers(self) -> Headers:
        return Headers(self._reply.headers.items())

    @property
    def is_received(self) -> bool:
        return self._reply.is_done or not self._reply.pieces

    def identify(self, run_id: str | None, job_id: str | None, redact: Any) -> None:
        self.run_id = run_id
        self.job_id = job_id

    def redact(self, text: str) -> str:
        return text

    async def read(self) -> bytes:
        if self._failed:
            raise Cut(self._failed)
        self.waiting_since = asyncio.get_running_loop().time()
        try:
            await asyncio.sleep(STEP if self._reply.round is not None else 0)
        finally:
            self.waiting_since = None
        try:
            data = self._reply.take()
        except world.Cut:
            self._failed = "the connection ended before the body's framing did"
            raise Cut(self._failed) from None
        self.received += len(data)
        self.at_end = not data
        return data

    async def read_all(self, most: int | None = None) -> bytes:
        parts = []
        while data := await self.read():
            parts.append(data)
        return b"".join(parts)

    def rest(self) -> bytes:
        return b""

    def fail(self, reason: str) -> None:
        self._failed = self._failed or reason

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._reply.world.open -= 1


class Transport:
    """What stands for the transport."""

    def __init__(self, truth: World) -> None:
        self._world = truth

    async def send(
        self,
        request: Request,
        headers: Mapping[str, str],
        *,
        dispatch: Dispatch | None = None,
        timeouts: Timeouts | None = None,
    ) -> Answer:
        await asyncio.sleep(STEP)
        if dispatch is not None:
            before, dispatch.in_flight = dispatch.in_flight, True
        try:
            reply = self._world.exchange(request.method, request.body)
        except world.NotSent:
            if dispatch is not None:
                dispatch.in_flight = before
            raise NotSentError(f"{request}: refused", run_id=request.run_id) from None
        except world.Lost:
            await asyncio.sleep(STEP)
            raise OutcomeUnknownError(f"{request}: the connection was lost", run_id=request.run_id) from None
        await asyncio.sleep(STEP)
        return Answer(reply, timeouts or Timeouts())

    def within(self, seconds: float | None) -> AbstractAsyncContextManager[Any]:
        return asyncio.timeout(seconds)

    async def aclose(self) -> None:
        pass


class _Half(random.Random):
    """No randomness."""

    def random(self) -> float:
        return 0.5


def client_of(truth: World, **more: Any) -> AsyncToolhouse:
    """A client of the world, with short policies."""
    settings: dict[str, Any] = {"quiet": QUIET, "deadline": 12.0, "absence": ABSENCE}
    known = {each.name for each in fields(RecoveryPolicy)}
    client = AsyncToolhouse(
        "",
        base_url="http://127.0.0.1:1",
        polling=_POLLING,
        retries=_RETRIES,
        recovery=RecoveryPolicy(**{name: value for name, value in settings.items() if name in known}),
        **more,
    )
    stand_in: Any = Transport(truth)
    service: Any = client._core.service
    client._transport = service._transport = stand_in
    service.randomness = _Half()
    return client
