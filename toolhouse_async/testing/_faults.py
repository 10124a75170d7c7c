"""Faults: what goes wrong with which request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from attrs import define, field

from ..errors import ConfigurationError
from ._checks import one_of, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cut", "Fault", "Faults"]

Cut: TypeAlias = Literal["fin", "rst", "silence"]
"""How an answer breaks off: the connection is closed in order, reset, or stays open without another byte."""


@define(eq=False, kw_only=True)
class Fault:
    """A fault as ``Faults.add`` made it.

    Attributes:
        hits: How many requests it has met.
    """

    method: str | None = field(
        validator=one_of("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", optional=True)
    )
    agent: str | None
    skip: int = field(validator=whole(0))
    times: int | None = field(validator=whole(1, optional=True))
    status: int | None = field(validator=whole(200, 599, optional=True))
    body: bytes
    headers: Mapping[str, str | None]
    accept: bool
    cut: Cut | None = field(validator=one_of("fin", "rst", "silence", optional=True))
    cut_after: int | None = field(validator=whole(0, optional=True))
    byte_by_byte: bool
    close_delimited: bool
    hits: int = field(default=0, init=False)
    _released: bool = field(default=False, init=False)
    _stalls: set[asyncio.Future[None]] = field(factory=set[asyncio.Future[None]], init=False)

    def __attrs_post_init__(self) -> None:
        if self.cut_after is not None and self.cut is None:
            raise ConfigurationError("cut_after needs cut=")
        if self.body and self.status is None:
            raise ConfigurationError("body needs status=")
        if not (self.status or self.cut or self.headers or self.byte_by_byte or self.close_delimited):
            raise ConfigurationError(
                "nothing goes wrong: add status=, cut=, headers=, retry_after=, byte_by_byte= or close_delimited="
            )

    @property
    def replaces(self) -> bool:
        """Whether nothing of the Workers API's own answer is left."""
        return self.status is not None or (self.cut is not None and self.cut_after is None)

    @property
    def delays(self) -> bool:
        """Whether the request is handled as usual, but not before the silence ends."""
        return self.cut == "silence" and self.cut_after is None and self.status is None and not self.accept

    @property
    def breaks_framing(self) -> bool:
        """Whether the answer cannot be sent by a server that keeps to HTTP and the connection."""
        return self.cut is not None or self.byte_by_byte or self.close_delimited

    def release(self) -> None:
        """End the silence, for good: what was held back is sent. May be called from any thread."""
        self._released = True
        for stall in list(self._stalls):
            stall.get_loop().call_soon_threadsafe(_wake, stall)

    async def released(self) -> None:
        """Wait until ``release`` is called. Cancelling leaves the fault as it is."""
        stall = asyncio.get_running_loop().create_future()
        self._stalls.add(stall)
        try:
            if not self._released:  # asked only now, since another thread may release
                await stall
        finally:
            self._stalls.discard(stall)


def _wake(stall: asyncio.Future[None]) -> None:
    if not stall.done():
        stall.set_result(None)


class Faults:
    """An emulator's faults: a request meets at most one, the first added that fits and is not used up."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def add(
        self,
        *,
        method: str | None = None,
        agent: str | None = None,
        skip: int = 0,
        times: int | None = 1,
        status: int | None = None,
        body: bytes | str = b"",
        headers: Mapping[str, str | None] | None = None,
        retry_after: float | str | None = None,
        accept: bool = False,
        cut: Cut | None = None,
        cut_after: int | None = None,
        byte_by_byte: bool = False,
        close_delimited: bool = False,
    ) -> Fault:
        """Let something go wrong. May be called from any thread.

        Args:
            method: Meet requests of this HTTP method only, in capitals.
            agent: Meet requests to this agent id only.
            skip: Let so many fitting requests pass first.
            times: Meet so many requests; ``None`` meets every one.
            status: Answer with this status and ``body`` in place of the API's answer.
            body: The body for ``status``; its type is ``text/plain`` unless ``headers`` says otherwise.
            headers: Headers to add to whichever answer is sent or to replace in it; ``None`` takes one away.
            retry_after: The ``Retry-After`` header, in seconds or as text.
            accept: Where the API's answer is replaced or cut before its headers: whether the API handles the
                request all the same, so that the message is accepted and the worker called, though the client
                cannot know.
            cut: Break the answer off.
            cut_after: After so many bytes of its body; ``None``: before its headers, once the request is
                read.
            byte_by_byte: Send each byte by itself.
            close_delimited: Frame the body by the connection's end alone, as HTTP/1.0 does.

        Returns:
            The fault; its ``release()`` ends a silence.

        Raises:
            ConfigurationError: An argument is out of range, ``cut_after`` stands without ``cut``, or ``body`` without
                ``status``; or nothing of the answer changes.
        """
        edits: dict[str, str | None] = {} if retry_after is None else {"Retry-After": str(retry_after)}
        fault = Fault(
            method=method,
            agent=agent,
            skip=skip,
            times=times,
            status=status,
            body=body.encode() if isinstance(body, str) else body,
            headers=edits | dict(headers or {}),
            accept=accept,
            cut=cut,
            cut_after=cut_after,
            byte_by_byte=byte_by_byte,
            close_delimited=close_delimited,
        )
        self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Take away what has not happened yet; a silence that has begun is ended by its own ``release()``."""
        self._faults.clear()

    def take(self, method: str, agent: str | None) -> Fault | None:
        """Return the fault that a request meets."""
        for fault in list(self._faults):
            if fault.method not in (None, method) or fault.agent not in (None, agent):
                continue
            if fault.skip:
                fault.skip -= 1
                continue
            fault.hits += 1
            if fault.hits == fault.times:
                self._faults.remove(fault)
            return fault
        return None


CLOSE_DELIMITED: Final = Faults().add(close_delimited=True)
"""What every request meets that meets nothing else, where the emulator frames all answers so."""
