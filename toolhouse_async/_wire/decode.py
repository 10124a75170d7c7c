"""NDJSON lines into typed events, by a documented and tolerant table.

The Workers API publishes no schema of its events, so the shapes of the common agent services are read, and
whatever is not known becomes an :class:`~toolhouse_async.UnknownEvent` with all its data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import iscoroutinefunction
from operator import length_hint
from typing import Final

import orjson

from ..errors import ConfigurationError
from ..events import Event, TextDelta, ToolCall, UnknownEvent
from .framed import LineReader
from .jsontext import parse_line
from .learned import Form, Stream, are_words
from .objects import kind_of
from .shapes import Shape
from .words import normal

__all__ = ["EventDecoder", "Shape"]

_MANY: Final = 16
"""So many lines are worth a look at what they have in common."""
_LONG: Final = 180
"""Bytes of a line from which it is cheaper to parse each by itself."""
_EVERY: Final = 32
"""Of so many lines one is looked at for its length."""
_new = object.__new__


class EventDecoder(LineReader):
    """Decodes the lines of NDJSON answers into events.

    One decoder may serve any number of clients and turns: it keeps no state of a stream.

    Args:
        strict: Raise :class:`~toolhouse_async.MalformedEventError` for a line that cannot be read as JSON, instead
            of giving a :class:`~toolhouse_async.MalformedLine`.
    """

    def __init__(self, *, strict: bool = False) -> None:
        super().__init__(strict=strict)
        self._version = 0

    def register(self, type_name: str, function: Shape) -> None:
        """Add or replace the shape of a type.

        Args:
            type_name: The value of ``type`` (or ``event``); case does not matter, and ``-`` and ``.`` are ``_``.
            function: Called with the parsed object and its line; returns an event, several, or ``None`` for
                "unknown". What it raises ends the turn, and so does anything else that it returns
                (``ConfigurationError``).

        Raises:
            ConfigurationError: ``type_name`` is not a non-empty string, or ``function`` cannot be called, or is a
                coroutine function.
        """
        is_name = isinstance(type_name, str) and bool(type_name)
        if not is_name or not callable(function) or iscoroutinefunction(function):
            raise ConfigurationError("register() takes the name of a type and a function(obj, line), and no coroutine")
        self._shapes[normal(type_name)] = function
        self._spellings = dict(self._shapes)
        self._own.add(normal(type_name))
        for learned in (self._words, self._piece_words, self._plans, self._functions, self._unknown):
            learned.clear()
        self._version += 1

    def decode(self, lines: Iterable[bytes], first: int = 1) -> list[Event]:
        """Decode lines, the first of which is number ``first`` of its stream.

        A call whose arguments come in pieces is whole if all its lines are here.

        Raises:
            MalformedEventError: A line could not be read as JSON, and the decoder is strict.
        """
        events: list[Event] = []
        stream = Stream()
        self.extend(events, list(lines), first, stream)
        self.finish(events, stream)
        return events

    def finish(self, events: list[Event], stream: Stream, *, is_cut: bool = False) -> None:
        """Add what is whole because nothing more can come; where the stream was cut, no call is.

        Raises:
            MalformedEventError: As for :meth:`decode`.
        """
        if stream.pending:
            self._put_together(events, stream, is_cut=is_cut)
        if stream.begun and not is_cut:
            self._add(stream.finish(), events, stream)

    def extend(self, events: list[Event], lines: Sequence[bytes], first: int, stream: Stream) -> None:
        """Like :meth:`decode`, adding to ``events``, which keeps what came before an error.

        Args:
            events: Takes the events.
            lines: The next lines of the stream.
            first: The number of the first of them.
            stream: What is known of the stream; whoever reads it finishes it at its end.
        """
        if stream.version != self._version:
            stream.forget()
            stream.version = self._version
        if len(lines) < _MANY or sum(map(len, some := lines[::_EVERY])) > _LONG * len(some):
            self._one_by_one(events, lines, first, stream)
            return
        at = 0
        while len(lines) - at >= _MANY and stream.is_plain:
            form = stream.learn(lines[at:] if at else lines, self._read_apart, self._unknown)
            if form is None:
                break
            at += self._by_form(form, events, lines[at:] if at else lines, first + at, stream)
        if at < len(lines):
            self._one_by_one(events, lines[at:] if at else lines, first + at, stream)

    def read_alone(self, line: bytes, stream: Stream) -> Event | None:
        """The event of a line that came alone, if it is as plain as most are; else nothing has been done.

        All that was read of the stream before must have been given out; so is this event then.
        """
        try:
            obj = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        try:
            kind = obj.get("type")
            words = self._words_of(stream)(kind)
        except (AttributeError, TypeError):
            return None
        if stream.pending or (words is None and type(kind) is not str):
            return None
        if words is None:
            if kind not in self._unknown:
                plan = self._plans.get(kind)
                tool = None if plan is None or stream.begun else plan(obj, line)
                if tool is not None:
                    stream.give_tool(tool)
                return tool
            if "error" in obj or "errorText" in obj:
                return None
            other = _new(UnknownEvent)
            other.type = kind
            other.data = obj
            other.line = line
            return other
        field, size, names = words
        said = obj.get(field)
        if type(said) is not str or len(obj) != size or (size != 2 and tuple(obj) != names):
            return None
        event = _new(TextDelta)
        event.text = said
        event.line = line
        stream.give(said)
        return event

    def _read_apart(self, line: bytes, stream: Stream) -> list[Event]:
        """Read a line to learn from it; not by a function of the user's, which may do more than read."""
        events: list[Event] = []
        obj = parse_line(line)
        kind = kind_of(obj) if type(obj) is dict else None
        if not self._own or (kind is not None and normal(kind) not in self._own):
            self._one_by_one(events, [line], 1, stream)
        return events

    def _by_form(self, form: Form, events: list[Event], lines: Sequence[bytes], first: int, stream: Stream) -> int:
        """Read lines of which most have a form; returns how many were read before it did not hold any more."""
        try:
            parts = form.parts(lines)
        except UnicodeDecodeError:
            parts = []
        if len(parts) < len(lines) // 2 or not stream.holds(form):
            stream.missed(keeps=len(parts) >= len(lines) // 8 and stream.holds(form))
            self._one_by_one(events, lines, first, stream)
            return len(lines)
        stream.fitted()
        words = parts[1:-1]
        if len(words) == len(lines) and are_words(words):
            stream.add(form, words, lines, events)
            return len(lines)
        at = 0
        for words, others in form.runs(parts):
            if words:
                behind = at + len(words)
                if are_words(words):
                    stream.add(form, words, lines[at:behind], events)
                else:
                    self._one_by_one(events, lines[at:behind], first + at, stream)
                at = behind
            if others:
                self._one_by_one(events, lines[at : at + others], first + at, stream)
                at += others
                if not stream.holds(form):
                    break
        return at

    def _one_by_one(  # noqa: C901 - what is cheap is done in this one loop
        self, events: list[Event], lines: Sequence[bytes], first: int, stream: Stream
    ) -> None:
        parse, new, add = orjson.loads, _new, events.append
        words_of, plan_of, unknown = self._words_of(stream), self._plans.get, self._unknown
        function_of = self._functions.get
        texts, others = stream.texts, stream.others
        waits = bool(stream.pending)
        left = iter(lines)
        for line in left:
            try:
                obj = parse(line)
            except orjson.JSONDecodeError:
                self._refused(line, first + len(lines) - length_hint(left) - 1, events, stream)
                waits, words_of = bool(stream.pending), self._words_of(stream)
                continue
            if waits:
                self._put_together(events, stream)
                waits = False
            try:
                kind = obj.get("type")
                words = words_of(kind)
            except (AttributeError, TypeError):  # no object, or one whose type is a list: seldom, so not looked for
                kind = words = None
            if words is not None:
                field, size, names = words
                said = obj.get(field)
                if type(said) is str and len(obj) == size and (size == 2 or tuple(obj) == names):
                    event = new(TextDelta)  # most events by far: set by hand, it is made in half the time
                    event.text = said
                    event.line = line
                    add(event)
                    texts.append(said)
                    continue
            elif type(kind) is str:  # a list, which nothing can be looked up by, may have come as far as this
                if (plan := plan_of(kind)) is not None:
                    tool = None if stream.begun else plan(obj, line)
                    if tool is not None:
                        add(tool)
                        others.append(tool)
                        stream.mark = len(texts)
                        if type(tool) is ToolCall:
                            stream.note(tool.id)
                        continue
                elif kind in unknown:
                    if "error" not in obj and "errorText" not in obj:
                        other = new(UnknownEvent)
                        other.type = kind
                        other.data = obj
                        other.line = line
                        add(other)
                        stream.unknown += 1
                        continue
                elif (function := function_of(kind)) is not None:
                    made = function(obj, line)
                    if type(made) is TextDelta and stream.has_deltas:
                        add(made)
                        texts.append(made.text)
                    else:
                        self._add(self._of_own(kind, made, obj, line, stream), events, stream)
                        words_of = self._words_of(stream)
                    continue
            if (form := stream.form) is not None and (said := form.words_in(line)) and stream.holds(form):
                add(TextDelta(said, line=line))
                stream.say(form, [said])
                words_of = self._words_of(stream)
                continue
            self._add(self._value(obj, line, stream), events, stream)
            words_of = self._words_of(stream)
