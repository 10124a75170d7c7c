"""Tool calls, and which result is whose."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .._values.results import ToolExchange
from ..events import ToolCall, ToolResult


class Calls:
    """The tool calls of a turn and their results, in order."""

    __slots__ = ("_calls", "_latest", "_missed", "_open", "_results", "_round_begins", "_waiting")

    def __init__(self) -> None:
        self._calls: list[ToolCall] = []
        self._results: list[ToolResult | None] = []  # for each call
        self._round_begins = 0  # how many calls there were before this round
        # Calls by what answers them, each by its number; one that has its result is passed over when it comes up.
        self._latest: dict[str, int] = {}  # by id: the latest call
        self._open: dict[tuple[str, str | None], list[int]] = {}  # of ids that come again, by name (None: any)
        # For results without id, once there is one: by name (None: any), oldest first.
        self._waiting: dict[str | None, deque[int]] | None = None
        self._missed: dict[str, None] = {}  # ids of results of this round that came without a call

    def take(self, events: Iterable[ToolCall | ToolResult]) -> bool:
        """Take the next calls and results; whether the last of them is a call that waits for its result."""
        calls, results, latest = self._calls, self._results, self._latest
        waits = False
        for event in events:
            id_ = event.id
            if isinstance(event, ToolCall):
                if id_ is None or id_ in latest or self._waiting is not None:
                    waits = self._add_call(event)
                else:  # as nearly all are, of which there may be very many
                    latest[id_] = len(calls)
                    calls.append(event)
                    results.append(None)
                    waits = True
            else:
                number = None if id_ is None or self._open else latest.get(id_)
                if number is None or results[number] is not None:
                    self._add_result(event)
                else:
                    results[number] = event
                waits = False
        return waits

    @property
    def has_new(self) -> bool:
        """Whether there was a call in the round under way."""
        return len(self._calls) > self._round_begins

    def next_round(self) -> None:
        """Begin another round, whose ids may be those of the round before."""
        self._round_begins = len(self._calls)
        self._missed.clear()

    def exchanges(self) -> tuple[ToolExchange, ...]:
        """The calls, each with its result."""
        return tuple(map(ToolExchange, self._calls, self._results))

    def _add_call(self, event: ToolCall) -> bool:
        """Take a call: a new one, or an open one of this round once more, now with its arguments.

        Some models number their calls anew in each round, so an id says nothing about a call that has its result.
        """
        number = len(self._calls)
        id_, name = event.id, event.name
        if id_ is not None:
            if id_ in self._missed:
                del self._missed[id_]
                self._calls[self._latest[id_]] = event
                return False
            latest = self._latest.get(id_)
            if latest is not None:
                announced = self._latest_open(id_, name)
                if announced is not None and announced >= self._round_begins:
                    self._calls[announced] = event
                    return True
                if (id_, None) not in self._open:
                    self._open[id_, None], self._open[id_, self._calls[latest].name] = [latest], [latest]
                self._open[id_, None].append(number)
                self._open.setdefault((id_, name), []).append(number)
            self._latest[id_] = number
        self._calls.append(event)
        self._results.append(None)
        if self._waiting is not None:
            self._wait(number)
        return True

    def _wait(self, number: int) -> None:
        """Note a call that a result without id may answer."""
        waiting = self._waiting
        assert waiting is not None  # noqa: S101 - there has been such a result
        for name in (None, self._calls[number].name):
            waiting.setdefault(name, deque()).append(number)

    def _add_result(self, event: ToolResult) -> None:
        number = self._call_answered_by(event)
        if number is None:
            if event.id is not None:
                self._missed[event.id] = None
                self._latest[event.id] = len(self._calls)
            self._calls.append(ToolCall(event.id, event.name or "", None))
            self._results.append(event)
        else:
            self._results[number] = event

    def _call_answered_by(self, event: ToolResult) -> int | None:
        """The number of the call: by its id the latest that is open, else the latest; without an id the oldest open."""
        if event.id is not None:
            for name in (event.name, None):
                if (number := self._latest_open(event.id, name)) is not None:
                    return number
            return self._latest.get(event.id)
        if self._waiting is None:
            self._waiting = {}
            for number in range(len(self._calls)):
                self._wait(number)
        waiting = self._waiting.get(event.name, deque())
        while waiting:
            number = waiting.popleft()
            if self._results[number] is None:
                return number
        return None

    def _latest_open(self, id_: str, name: str | None) -> int | None:
        """The latest call of an id and a name (``None``: any) that has no result."""
        if (id_, None) in self._open:
            numbers = self._open.get((id_, name), [])
            while numbers and self._results[numbers[-1]] is not None:
                numbers.pop()  # nor need it be asked about again
            return numbers[-1] if numbers else None
        number = self._latest.get(id_)
        if number is None or self._results[number] is not None:
            return None
        return number if name is None or self._calls[number].name == name else None
