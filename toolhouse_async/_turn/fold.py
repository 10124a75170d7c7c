"""Folding a turn's events into its result."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from .._values.results import JobRecord, ToolExchange, TurnResult
from ..events import ErrorEvent, Event, MalformedLine, TextDelta, ToolCall, ToolResult, UnknownEvent

_MOST_PARTS: Final = 1000
"""Small strings kept apart: each takes tens of bytes beside its words."""


class Fold:
    """Keeps what the result needs, and no event longer than that.

    Attributes:
        error: The first error event of the turn.
        jobs: Jobs that are over.
        recovered: Answers that were healed from the history.
        unknown: Events of unknown shape.
        malformed: Lines that were not JSON.
    """

    __slots__ = (
        "_calls",
        "_joined",
        "_last_call",
        "_latest",
        "_missed",
        "_open",
        "_parts",
        "_results",
        "_round_begins",
        "_rounds",
        "_waiting",
        "error",
        "jobs",
        "malformed",
        "recovered",
        "unknown",
    )

    def __init__(self) -> None:
        self._rounds: list[str] = []  # rounds that are over
        self._joined: list[str] = []  # the words of the round under way …
        self._parts: list[str] = []  # … and the latest of them, each as it came
        self._calls: list[ToolCall] = []
        self._results: list[ToolResult | None] = []  # for each call
        self._round_begins = 0  # how many calls there were before this round
        # Calls by what answers them, each by its number; one that has its result is passed over when it comes up.
        self._latest: dict[str, int] = {}  # by id: the latest call
        self._open: dict[tuple[str, str | None], list[int]] = {}  # of ids that come again, by name (None: any)
        # For results without id, once there is one: by name (None: any), oldest first.
        self._waiting: dict[str | None, deque[int]] | None = None
        self._missed: dict[str, None] = {}  # ids of results of this round that came without a call
        self.unknown: int = 0
        self.malformed: int = 0
        self._last_call: int | None = None
        self.error: ErrorEvent | None = None
        self.jobs: list[JobRecord] = []
        self.recovered: int = 0

    def add(self, events: Iterable[Event]) -> None:
        """Take the next events of the stream."""
        for event in events:
            if type(event) is TextDelta:
                self.take([event.text], (), ends_in_words=True)
            else:
                self._add_other(event)

    def take(self, texts: list[str], others: Iterable[Event], *, ends_in_words: bool) -> None:
        """Take the next events of the stream: their words, and those that are none.

        Args:
            texts: The words, in order.
            others: The other events, in order.
            ends_in_words: Whether words came last.
        """
        self._parts += texts
        if len(self._parts) > _MOST_PARTS:
            self._joined.append("".join(self._parts))
            self._parts = []
        for event in others:
            self._add_other(event)
        if ends_in_words:
            self._last_call = None

    def _add_other(self, event: Event) -> None:
        self._last_call = None
        kind = type(event)
        if kind is UnknownEvent:
            self.unknown += 1
        elif isinstance(event, ToolCall):
            self._add_call(event)
        elif isinstance(event, ToolResult):
            self._add_result(event)
        elif isinstance(event, ErrorEvent):
            self.error = self.error or event
        elif isinstance(event, MalformedLine):
            self.malformed += 1

    def _add_call(self, event: ToolCall) -> None:
        """Take a call: a new one, or an open one of this round once more, now with its arguments.

        Some models number their calls anew in each round, so an id says nothing about a call that has its result.
        """
        number = self._last_call = len(self._calls)
        id_, name = event.id, event.name
        if id_ is not None:
            if id_ in self._missed:
                del self._missed[id_]
                self._calls[self._latest[id_]] = event
                self._last_call = None
                return
            latest = self._latest.get(id_)
            if latest is not None:
                announced = self._latest_open(id_, name)
                if announced is not None and announced >= self._round_begins:
                    self._calls[announced] = event
                    self._last_call = announced
                    return
                if (id_, None) not in self._open:
                    self._open[id_, None], self._open[id_, self._calls[latest].name] = [latest], [latest]
                self._open[id_, None].append(number)
                self._open.setdefault((id_, name), []).append(number)
            self._latest[id_] = number
        self._calls.append(event)
        self._results.append(None)
        if self._waiting is not None:
            self._wait(number)

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

    @property
    def round_text(self) -> str:
        """The words of the round under way."""
        if self._parts or len(self._joined) != 1:
            self._joined = ["".join((*self._joined, *self._parts))]
            self._parts = []
        return self._joined[0]

    def heal(self, text: str) -> None:
        """Put the words that the history has in place of those of the round under way."""
        self._joined, self._parts = [text], []
        self.recovered += 1

    @property
    def unanswered_call(self) -> bool:
        """Whether the last event was a tool call that has no result."""
        return self._last_call is not None

    @property
    def round_has_call(self) -> bool:
        """Whether a tool was called in the round under way: a job may have begun by it."""
        return len(self._calls) > self._round_begins

    def next_round(self) -> None:
        """Begin another round: its words, and its calls, whose ids may be those of the round before."""
        self._rounds.append(self.round_text)
        self._joined = []
        self._round_begins = len(self._calls)
        self._missed.clear()

    def result(self, agent_id: str, run_id: str | None, **more: Any) -> TurnResult:
        """What the turn has come to so far."""
        rounds = (*self._rounds, self.round_text)
        return TurnResult(
            agent_id,
            run_id,
            text="".join(rounds),
            tool_calls=tuple(map(ToolExchange, self._calls, self._results)),
            jobs=tuple(self.jobs),
            recovered=self.recovered,
            unknown=self.unknown,
            malformed=self.malformed,
            rounds=rounds,
            **more,
        )
