"""Folding a turn's events into its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .._values.results import JobRecord, TurnResult
from ..events import ErrorEvent, Event, MalformedLine, ToolCall, ToolResult, UnknownEvent
from .calls import Calls

_TOOLS: Final = (ToolCall, ToolResult)  # a union would be made anew for each event
_MOST_PARTS: Final = 1000
"""Small strings kept apart: each takes tens of bytes beside its words."""


class Fold:
    """Keeps what the result needs, and no event longer than that.

    Attributes:
        error: The first error event of the turn.
        jobs: Jobs that are over.
        recovered: Answers that were healed from the history.
        is_replaced: Whether the latest of them did not begin with what had been received.
        unknown: Events of unknown shape.
        malformed: Lines that could not be read as JSON.
    """

    __slots__ = (
        "_calls", "_ends_in_call", "_joined", "_parts", "_rounds",
        "error", "is_replaced", "jobs", "malformed", "recovered", "unknown",
    )  # fmt: skip

    def __init__(self) -> None:
        self._rounds: list[str] = []  # rounds that are over
        self._joined: list[str] = []  # the words of the round under way …
        self._parts: list[str] = []  # … and the latest of them, each as it came
        self._calls: Calls | None = None  # made when there is one: many idle turns are to take little memory
        self._ends_in_call = False
        self.unknown: int = 0
        self.malformed: int = 0
        self.error: ErrorEvent | None = None
        self.jobs: list[JobRecord] = []
        self.recovered: int = 0
        self.is_replaced: bool = False

    def say(self, text: str) -> None:
        """Take words that come next."""
        parts = self._parts
        parts.append(text)
        if len(parts) > _MOST_PARTS:
            self._join()
        self._ends_in_call = False

    def take(self, texts: list[str], others: Sequence[Event], unknown: int, *, ends_in_tools: bool) -> None:
        """Take the next events of the stream.

        Args:
            texts: The words, in order.
            others: The events that are neither words nor unknown, in order.
            unknown: How many are unknown.
            ends_in_tools: Whether a call or a result came last.
        """
        self._parts += texts
        if len(self._parts) > _MOST_PARTS:
            self._join()
        self.unknown += unknown
        if others:
            kinds = [*map(type, others)]
            if kinds.count(ToolCall) + kinds.count(ToolResult) == len(others):
                self._take_tools(others)
            else:
                for event in others:
                    self.add(event)
        if not ends_in_tools:
            self._ends_in_call = False

    def add(self, event: Event) -> None:
        """Take an event that comes next and has no words."""
        self._ends_in_call = False
        if type(event) is UnknownEvent:
            self.unknown += 1
        elif isinstance(event, _TOOLS):
            self._take_tools((event,))
        elif isinstance(event, ErrorEvent):
            self.error = self.error or event
        elif isinstance(event, MalformedLine):
            self.malformed += 1

    def _take_tools(self, events: Sequence[Any]) -> None:
        """Take calls and results."""
        if self._calls is None:
            self._calls = Calls()
        self._ends_in_call = self._calls.take(events)

    def _join(self) -> None:
        self._joined.append("".join(self._parts))
        self._parts = []

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
        return self._ends_in_call

    @property
    def round_has_call(self) -> bool:
        """Whether a tool was called in the round under way: a job may have begun by it."""
        return self._calls is not None and self._calls.has_new

    def next_round(self) -> None:
        """Begin another round: its words, and its calls, whose ids may be those of the round before."""
        self._rounds.append(self.round_text)
        self._joined = []
        if self._calls is not None:
            self._calls.next_round()

    def result(self, agent_id: str, run_id: str | None, **more: Any) -> TurnResult:
        """What the turn has come to so far."""
        rounds = (*self._rounds, self.round_text)
        return TurnResult(
            agent_id,
            run_id,
            text="".join(rounds),
            tool_calls=() if self._calls is None else self._calls.exchanges(),
            jobs=tuple(self.jobs),
            recovered=self.recovered,
            unknown=self.unknown,
            malformed=self.malformed,
            rounds=rounds,
            **more,
        )
