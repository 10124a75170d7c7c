"""What the rest may know of HTTP: the service's calls, the answer to a message, and how far a message has come."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from random import Random
from typing import Protocol

from .._values.results import JobStatus, Message
from .._values.settings import Timeouts
from .._wire.answers import HeaderLookup
from .._wire.requests import Request


class Cut(Exception):  # noqa: N818 - a signal inside the library, never seen outside
    """An answer's body ended before its framing said so."""


class Dispatch:
    """How far one message has come: what proves that it was not sent, or was answered.

    Attributes:
        in_flight: Whether it was sent and its fate is not known.
        head: The headers of a good answer, where the sender was cancelled in the very moment that they came.
    """

    __slots__ = ("head", "in_flight")

    def __init__(self) -> None:
        self.in_flight: bool = False
        self.head: HeaderLookup | None = None


class Answer(Protocol):
    """A good answer to a message, whose body is still to be read."""

    @property
    def run_id(self) -> str | None:
        """The run id in its headers, if there is one."""
        ...

    @property
    def job_id(self) -> str | None:
        """The job in its headers, if there is one."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers as an independent mapping."""
        ...

    @property
    def framed(self) -> bool:
        """Whether the end of the body will be proven by its framing."""
        ...

    @property
    def idle(self) -> float | None:
        """Seconds that may pass between its bytes: ``Timeouts.idle`` of the request that it answers."""
        ...

    @property
    def waiting_since(self) -> float | None:
        """The loop's time at which the reader began to wait for bytes, ``None`` while it does not."""
        ...

    @property
    def at_end(self) -> bool:
        """Whether the body ended well and was read to its end, so that the next reading gives nothing."""
        ...

    def redact(self, text: str) -> str:
        """Black the key out of what the answer said."""
        ...

    async def read(self) -> bytes:
        """Return the next bytes of the body; ``b""`` at its end.

        All that was received before a cut is returned before the cut is raised. A cancelled call loses nothing.

        Raises:
            Cut: The body ended too early.
            BodyTooLargeError: It is longer than the limit.
        """
        ...

    def rest(self) -> bytes:
        """Return what was received and not yet read, also after a failure."""
        ...

    def fail(self, reason: str) -> None:
        """End the body here: the reader gets what was received, then :class:`Cut`."""
        ...

    def close(self) -> None:
        """Let the connection go. Idempotent."""
        ...


class Service(Protocol):
    """The calls of one Workers API, with one set of credentials and policies.

    Attributes:
        randomness: Where what is left to chance comes from.
    """

    randomness: Random

    def within(self, seconds: float | None, /) -> AbstractAsyncContextManager[None]:
        """Bound what is awaited in a block."""
        ...

    def for_turn(
        self, headers: Mapping[str, str] | None, timeouts: Timeouts | None, number: int | None = None
    ) -> Service:
        """The same service, as one turn uses it.

        Args:
            headers: Sent with its requests too.
            timeouts: The times that it waits; ``None`` for the same.
            number: By which observers know the turn, where there are any.
        """
        ...

    async def send(self, request: Request, deadline: float | None = None, dispatch: Dispatch | None = None) -> Answer:
        """Send a message and return the answer with its body still to be read.

        Args:
            request: A POST or PUT.
            deadline: The loop's time after which no retry begins.
            dispatch: Where to note how far it has come.

        Raises:
            APIStatusError: The status is not a success.
            TransportError: There was no answer.
            ProtocolError: The answer is not one of this service.
        """
        ...

    async def read(self, agent_id: str, run_id: str, deadline: float | None = None) -> JobStatus:
        """Read a run: one GET, retried as a read may be; no retry begins after ``deadline``, a time of the loop."""
        ...

    async def probe(self, agent_id: str, run_id: str, deadline: float | None) -> JobStatus:
        """Read a run, retried as a read may be, each time within the time of a poll.

        Args:
            agent_id: The worker.
            run_id: The conversation.
            deadline: The loop's time after which no retry begins.
        """
        ...

    async def poll(self, agent_id: str, run_id: str, *, whole: bool = False) -> JobStatus:
        """Read a run once, within the time a poll may take; whoever polls decides about failures.

        Args:
            agent_id: The worker.
            run_id: The conversation.
            whole: Read the history also while a job is running.
        """
        ...

    async def history(self, agent_id: str, run_id: str) -> list[Message]:
        """Read a run's history, also while a job is running; any success will do but a part of it (206)."""
        ...
