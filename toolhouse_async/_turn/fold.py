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
        self._calls: list[ToolExchange] = []
        self._round_begins = 0  # how many calls there were before this round
        # Calls by what answers them, each by its number; one that has its result is passed over when it comes up.
        self._open: dict[tuple[str, str | None], list[int]] = {}  # by id and name (None: any), latest last
        self._waiting: dict[str | None, deque[int]] = {}  # for a result without id, by name (None: any), oldest first
        self._latest: dict[str, int] = {}  # by id: the latest call
        self._missed: dict[str, None] = {}  # ids of results of this round that came without a call
        self.unknown: int = 0
        self.malformed: int = 0
        self._last_call: int | None = None
        self.error: ErrorEvent | None = None
        self.jobs: list[JobRecord] = []
        self.recovered: int = 0

    def add(self, events: Iterable[Event]) -> None:
        """Take the next events of the stream."""
        said = self._parts.append
        for event in events:
            kind = type(event)
            if kind is TextDelta:
                said(event.text)  # type: ignore[union-attr]
                self._last_call = None
            else:
                self._add_other(event)
        if len(self._parts) > _MOST_PARTS:
            self._joined.append("".join(self._parts))
            self._parts = []

    def _add_other(self, event: Event) -> None:
        self._last_call = None
        match event:
            case ToolCall():
                self._add_call(event)
            case ToolResult():
                self._add_result(event)
            case ErrorEvent():
                self.error = self.error or event
            case UnknownEvent():
                self.unknown += 1
            case MalformedLine():
                self.malformed += 1
            case _:
                pass

    def _add_call(self, event: ToolCall) -> None:
        """Take a call: a new one, or an open one of this round once more, now with its arguments.

        Some models number their calls anew in each round, so an id says nothing about a call that has its result.
        """
        number = self._last_call = len(self._calls)
        if event.id is None:
            self._waiting.setdefault(None, deque()).append(number)
            self._waiting.setdefault(event.name, deque()).append(number)
            self._calls.append(ToolExchange(event))
            return
        if event.id in self._missed:
            del self._missed[event.id]
            missed = self._latest[event.id]
            self._calls[missed] = ToolExchange(event, self._calls[missed].result)
            self._last_call = None
            return
        announced = self._unanswered(self._open.get((event.id, event.name), []))
        if announced is not None and announced >= self._round_begins:
            self._calls[announced] = ToolExchange(event)
            self._last_call = announced
            return
        for name in (None, event.name):
            self._open.setdefault((event.id, name), []).append(number)
            self._waiting.setdefault(name, deque()).append(number)
        self._latest[event.id] = number
        self._calls.append(ToolExchange(event))

    def _add_result(self, event: ToolResult) -> None:
        number = self._call_answered_by(event)
        if number is None:
            if event.id is not None:
                self._missed[event.id] = None
                self._latest[event.id] = len(self._calls)
            self._calls.append(ToolExchange(ToolCall(event.id, event.name or "", None), event))
        else:
            self._calls[number] = ToolExchange(self._calls[number].call, event)

    def _call_answered_by(self, event: ToolResult) -> int | None:
        """The number of the call: by its id the latest that is open, else the latest; without an id the oldest open."""
        if event.id is not None:
            for name in (event.name, None):
                if (number := self._unanswered(self._open.get((event.id, name), []))) is not None:
                    return number
            return self._latest.get(event.id)
        waiting = self._waiting.get(event.name, deque())
        while waiting:
            number = waiting.popleft()
            if self._calls[number].result is None:
                return number
        return None

    def _unanswered(self, numbers: list[int]) -> int | None:
        """The latest of those calls that has no result; those behind it need not be asked about again."""
        while numbers and self._calls[numbers[-1]].result is not None:
            numbers.pop()
        return numbers[-1] if numbers else None

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
            tool_calls=tuple(self._calls),
            jobs=tuple(self.jobs),
            recovered=self.recovered,
            unknown=self.unknown,
            malformed=self.malformed,
            rounds=rounds,
            **more,
        )
