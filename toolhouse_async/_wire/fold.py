"""Folding a turn's events into its result."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from .._results import JobRecord, ToolExchange, TurnResult
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
        "_parts",
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
        self._calls: dict[object, ToolExchange] = {}
        self._waiting: dict[str | None, deque[object]] = {}  # calls for a result without id, by name (None: any)
        self.unknown = 0
        self.malformed = 0
        self._last_call: object | None = None
        self.error: ErrorEvent | None = None
        self.jobs: list[JobRecord] = []
        self.recovered = 0

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
                # A service that announces a call and repeats it with its arguments means one call.
                key: object = event.id if event.id is not None else object()
                answered = self._calls[key].result if key in self._calls else None
                if key not in self._calls:
                    for name in (None, event.name):
                        self._waiting.setdefault(name, deque()).append(key)
                self._calls[key] = ToolExchange(event, answered)
                self._last_call = key if answered is None else None
            case ToolResult():
                key = self._call_answered_by(event)
                call = self._calls[key].call if key in self._calls else _missing_call(event)
                self._calls[key] = ToolExchange(call, event)
            case ErrorEvent():
                self.error = self.error or event
            case UnknownEvent():
                self.unknown += 1
            case MalformedLine():
                self.malformed += 1
            case _:
                pass

    def _call_answered_by(self, event: ToolResult) -> object:
        if event.id is not None:
            return event.id
        waiting = self._waiting.get(event.name, deque())
        while waiting:
            key = waiting.popleft()
            if self._calls[key].result is None:
                return key
        return object()

    @property
    def round_text(self) -> str:
        """The words of the round under way."""
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

    def next_round(self) -> None:
        """Begin the words of another round."""
        self._rounds.append(self.round_text)
        self._joined = []

    def result(self, agent_id: str, run_id: str | None, **more: Any) -> TurnResult:
        """What the turn has come to so far."""
        rounds = (*self._rounds, self.round_text)
        return TurnResult(
            agent_id,
            run_id,
            text="".join(rounds),
            tool_calls=tuple(self._calls.values()),
            jobs=tuple(self.jobs),
            recovered=self.recovered,
            unknown=self.unknown,
            malformed=self.malformed,
            rounds=rounds,
            **more,
        )


def _missing_call(event: ToolResult) -> ToolCall:
    """The call of a result that came without one."""
    return ToolCall(event.id, event.name or "", None)
