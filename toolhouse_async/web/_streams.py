"""Turns as streams of bytes: Server-Sent Events and NDJSON."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, Self

import orjson

from .._held import EventReader
from .._log import in_own_words, log
from .._values.numeric import plain_number
from ..errors import ClosedError, ConfigurationError, ToolhouseError
from ..events import Event, TurnCompleted
from ._failures import browser_json, failure
from ._heartbeat import Paced
from ._live import HubReader

__all__ = ["EVENT_STREAM_HEADERS", "ByteStream", "Form", "ndjson", "sse"]

EVENT_STREAM_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Type": "text/event-stream; charset=utf-8",
        "Cache-Control": "no-cache, no-transform",
        "X-Accel-Buffering": "no",
    }
)
"""The headers of a response that is a stream of events; the last one tells nginx not to hold it back."""

HEARTBEAT: Final = 15.0


class Form(Protocol):
    """How a stream is written."""

    @property
    def heartbeat(self) -> bytes:
        """What is sent while there is nothing to say."""
        ...

    def begin(self) -> bytes:
        """What comes before the first event."""
        ...

    def event(self, event: Event) -> bytes:
        """An event; nothing where it has no form."""
        ...

    def failed(self, error: BaseException) -> bytes:
        """What ends a stream whose turn failed."""
        ...


class ByteStream:
    """An async iterator of ``bytes`` for the body of a response.

    It reads its turn as it is read itself, and closes it with itself: when it is closed, when its reader is cancelled,
    and when it is dropped, as web frameworks do with the stream of a client that has left. A failure of the turn is the
    last item and no exception; an error that is none of the library's is raised behind it.
    """

    __slots__ = ("__weakref__", "_completed", "_error", "_form", "_has_begun", "_is_over", "_paced", "_source")

    def __init__(self, source: AsyncIterable[Event], form: Form, heartbeat: float | None) -> None:
        heartbeat = plain_number(heartbeat)
        if heartbeat is not None and not (type(heartbeat) in (int, float) and heartbeat > 0):
            raise ConfigurationError(f"heartbeat must be seconds above 0 or None, not {heartbeat!r:.80}")
        if not isinstance(source, AsyncIterable):
            raise ConfigurationError(
                f"{type(source).__name__} is no stream of events: pass a turn, as toolhouse.stream(…) makes it, "
                "or a reader of a hub's turn, its follow()"
            )
        self._source = aiter(source)
        self._paced = Paced(self._source, heartbeat)
        self._form = form
        self._has_begun = False
        self._is_over = False
        self._error: Exception | None = None
        self._completed: TurnCompleted | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece.

        Cancelling closes the stream and its turn.
        """
        piece = b""
        if not self._has_begun:
            self._has_begun = True
            piece = self._form.begin()
        while not piece:
            if self._is_over:
                raise self._error or StopAsyncIteration
            piece = await self._piece()
        return piece

    async def _piece(self) -> bytes:
        """The next piece; none at the end, and where an event has no form."""
        try:
            event = await self._next()
            return self._form.heartbeat if event is None else self._written(event)
        except StopAsyncIteration:
            self._is_over = True
            return b"" if self._completed is None else self._form.event(self._completed)
        except Exception as error:  # noqa: BLE001 - told to the reader, and raised next unless it is a turn's
            self._drop()  # it may be open still, if it was an event that could not be written
            self._note(error)
            return self._form.failed(error)
        except BaseException:  # cancelled: what a turn holds is let go without waiting
            self._drop()
            if not isinstance(self._source, EventReader) and self._paced.is_idle:
                await self.aclose()
            raise

    async def _next(self) -> Event | None:
        """The next event, or ``None`` for a heartbeat; of a turn that others have read, what it came to."""
        try:
            return await self._paced.next()
        except StopAsyncIteration:
            if self._completed is None and isinstance(self._source, EventReader):
                return TurnCompleted(await self._source.result())
            raise

    def _written(self, event: Event) -> bytes:
        """An event as bytes. The completion waits for what follows: what could not be saved is known behind it only."""
        held, self._completed = self._completed, None
        piece = b"" if held is None else self._form.event(held)
        if isinstance(event, TurnCompleted):
            self._completed = event
            return piece
        return piece + self._form.event(event)

    def _note(self, error: Exception) -> None:
        if isinstance(error, ClosedError):
            log.info("a stream to a reader ends: %s", in_own_words(error))
        elif isinstance(error, ToolhouseError):
            log.warning("a reader was told that a turn failed: %s", in_own_words(error))
        else:
            self._error = error

    async def aclose(self) -> None:
        """Close it and its turn; a reader of a hub only leaves its turn. Idempotent."""
        was_over, self._is_over = self._is_over, True
        await self._paced.stop()
        if was_over and isinstance(self._source, EventReader):
            return  # it was let go of then; if another was reading it, they are still
        close = getattr(self._source, "aclose", None)
        if close is not None:
            await close()

    def _drop(self) -> None:
        """Let go of all that can be let go without waiting."""
        self._is_over = True
        self._paced.abandon()
        if isinstance(self._source, EventReader):
            self._source._driver.abandon()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]

    def __del__(self) -> None:
        if hasattr(self, "_paced") and not self._is_over:  # else __init__ failed
            self._drop()


def sse(turn: AsyncIterable[Event], *, heartbeat: float | None = HEARTBEAT) -> ByteStream:
    """Write a turn as Server-Sent Events, for ``EventSource`` and any other reader of ``text/event-stream``.

    Each event has an id, the name of its class as event name, and its fields as JSON data, with the name as ``event``
    among them. The last one is ``TurnCompleted`` or ``TurnFailed`` (with what :func:`failure` says): close the
    ``EventSource`` then, for it would connect again. Send :data:`EVENT_STREAM_HEADERS` with it.

    Args:
        turn: A turn, a waiter, a :class:`HubReader` (whose ids a browser can return with), or any async iterable of
            events.
        heartbeat: Seconds after which a comment is sent while nothing comes, so that neither proxies nor browsers give
            up; ``None`` for never.

    Returns:
        An async iterator of ``bytes``. It raises nothing that the turn raises. Cancelling its reader, closing or
        dropping it closes the turn; the service may go on with the run. Of a turn that somebody else is reading it says
        ``SessionBusyError``, and leaves the turn to them.

    Raises:
        ConfigurationError: ``heartbeat`` is no number of seconds.
    """
    return ByteStream(turn, _EventStreamForm(turn), heartbeat)


class _EventStreamForm:
    """As https://html.spec.whatwg.org/multipage/server-sent-events.html says."""

    heartbeat = b":\n\n"

    def __init__(self, source: object) -> None:
        self._hub = source if isinstance(source, HubReader) else None
        self._count = 0

    def begin(self) -> bytes:
        return b""

    def event(self, event: Event) -> bytes:
        self._count += 1
        number = str(self._count) if self._hub is None else self._hub.last_id
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (
            number.encode(),
            type(event).__name__.encode(),
            browser_json(event),
        )

    def failed(self, error: BaseException) -> bytes:
        return b"event: TurnFailed\ndata: %s\n\n" % _failed_json(error)


def ndjson(turn: AsyncIterable[Event], *, heartbeat: float | None = None) -> ByteStream:
    """Write a turn as NDJSON: an event a line, as :func:`sse` has it in its data.

    Args:
        turn: As for :func:`sse`.
        heartbeat: Seconds after which an empty line is sent while nothing comes; default never, since not every reader
            of NDJSON passes over it.

    Returns:
        As for :func:`sse`.

    Raises:
        ConfigurationError: ``heartbeat`` is no number of seconds.
    """
    return ByteStream(turn, _LineForm(), heartbeat)


class _LineForm:
    heartbeat = b"\n"

    def begin(self) -> bytes:
        return b""

    def event(self, event: Event) -> bytes:
        return browser_json(event) + b"\n"

    def failed(self, error: BaseException) -> bytes:
        return _failed_json(error) + b"\n"


def _failed_json(error: BaseException) -> bytes:
    fields: dict[str, Any] = {"event": "TurnFailed", **failure(error)}
    return orjson.dumps(fields)
