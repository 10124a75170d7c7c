"""Calls of tools whose arguments come in pieces, over many lines of one stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..events import Event, TextDelta, ToolCall, ToolResult
from .fields import Json, error, id_of, parsed, tool_call, tool_result
from .words import block_text, normal


class _Begun:
    """A call that has begun: its latest line, and the pieces of its arguments."""

    __slots__ = ("announced", "arguments", "id", "line", "name", "pieces")

    def __init__(self, id_: str | None, name: str, arguments: Any, line: bytes, *, announced: bool) -> None:
        self.id = id_
        self.name = name
        self.arguments = arguments
        self.line = line
        self.announced = announced
        self.pieces: list[str] = []

    def whole(self) -> list[Event]:
        """The call, unless it has been said as it is."""
        if self.announced and not self.pieces:
            return []
        arguments = parsed("".join(self.pieces)) if self.pieces else self.arguments
        return [ToolCall(self.id, self.name, arguments, line=self.line)]


class StreamedCalls:
    """The calls of one stream that have begun and are not whole. Its methods are shapes, like those of a decoder.

    Attributes:
        event: The event that a line of Server-Sent Events has named for the next one.
    """

    __slots__ = ("_begun", "event")

    def __init__(self) -> None:
        self._begun: dict[object, _Begun] = {}
        self.event: str | None = None

    def _begin(
        self, key: object, id_: str | None, name: str, line: bytes, arguments: Any = None, *, announced: bool = False
    ) -> None:
        self._begun[key] = _Begun(id_, name, arguments, line, announced=announced)

    def _add(self, key: object, piece: object, line: bytes) -> None:
        call = self._begun.get(key)
        if call is not None and type(piece) is str:
            call.line = line
            call.pieces += [piece] if piece else []

    def _end(self, key: object, line: bytes) -> list[Event]:
        call = self._begun.pop(key, None)
        if call is None:
            return []
        call.line = line
        return call.whole()

    def finish(self, line: bytes | None = None) -> list[Event]:
        """The calls that are whole because nothing more can come, or because ``line`` says so."""
        if not self._begun:
            return []
        calls, self._begun = self._begun, {}
        for call in calls.values():
            call.line = call.line if line is None else line
        return [event for call in calls.values() for event in call.whole()]

    def before(self, made: Sequence[Event]) -> Sequence[Event]:
        """The same events; where a result is among them, behind the calls that are whole by then."""
        if self._begun and any(type(event) is ToolResult for event in made):
            return [*self.finish(), *made]
        return made

    # --- Anthropic's Messages

    def block_start(self, obj: Json, line: bytes) -> Iterable[Event] | Event | None:
        """``content_block_start``: text, a call or a result, whole or about to be."""
        block = obj.get("content_block")
        if type(block) is not dict:
            return None
        kind = normal(str(block.get("type")))
        if kind.endswith("tool_use"):
            if (call := tool_call(block, line)) is not None:
                self._begin(_block(obj), call.id, call.name, line, call.arguments)
            return None
        if kind.endswith("tool_result"):
            return tool_result(block, line)
        said = block_text(block)
        return TextDelta(said, line=line) if said else None

    def block_delta(self, obj: Json, line: bytes) -> Event | None:
        """``content_block_delta``: text, or a piece of a call's arguments."""
        delta = obj.get("delta")
        if type(delta) is not dict:
            return None
        self._add(_block(obj), delta.get("partial_json"), line)
        said = block_text(delta)
        return None if said is None else TextDelta(said, line=line)

    def block_stop(self, obj: Json, line: bytes) -> Iterable[Event] | None:
        """``content_block_stop``: a call is whole."""
        return self._end(_block(obj), line) or None

    # --- AG-UI

    def call_start(self, obj: Json, line: bytes) -> Event | None:
        """``TOOL_CALL_START``: a call, of which the arguments may follow."""
        call = tool_call(obj, line)
        if call is not None and call.id is not None and call.arguments is None:
            self._begin(call.id, call.id, call.name, line, announced=True)
        return call

    def call_args(self, obj: Json, line: bytes) -> None:
        """``TOOL_CALL_ARGS``: a piece of the arguments."""
        self._add(id_of(obj), obj.get("delta"), line)

    def call_end(self, obj: Json, line: bytes) -> Iterable[Event] | None:
        """``TOOL_CALL_END``: the call is whole."""
        return self._end(id_of(obj), line) or None

    def call_chunk(self, obj: Json, line: bytes) -> Iterable[Event] | None:
        """``TOOL_CALL_CHUNK``: a call begins, or goes on; it is whole when another begins, or a result comes."""
        made: list[Event] = []
        call = tool_call(obj, line)
        if call is not None and call.id not in self._begun:
            made = self.finish(line)
            self._begin(call.id, call.id, call.name, line)
        key = id_of(obj)
        self._add(next(reversed(self._begun), None) if key is None else key, obj.get("delta"), line)
        return made or None

    # --- OpenAI's Chat Completions

    def chat_chunk(self, obj: Json, line: bytes) -> Iterable[Event] | None:
        """``choices``: words and pieces of calls of the first choice; in a ``message`` calls are whole."""
        made: list[Event] = []
        choices = obj["choices"]
        for choice in choices if type(choices) is list else []:
            if type(choice) is not dict or choice.get("index", 0) != 0:
                continue
            for part in (choice, choice.get("delta"), choice.get("message")):
                if type(part) is dict:
                    made += _words_of(part, line)
                    made += self._calls_of(part, line)
            if choice.get("finish_reason"):
                made += self.finish(line)
        if obj.get("error"):
            made.append(error(obj, line))
        return made or None

    def _calls_of(self, part: Json, line: bytes) -> list[Event]:
        made: list[Event] = []
        calls, single = part.get("tool_calls"), part.get("function_call")
        whole = [each for each in calls if type(each) is dict] if type(calls) is list else []
        if type(single) is dict:
            whole.append({"function": single})
        for place, each in enumerate(whole):
            key, id_ = each.get("index", place), id_of(each)
            function = each.get("function")
            if type(key) is not int or type(function) is not dict:
                continue
            begun = self._begun.get(key)
            if type(name := function.get("name")) is str and (begun is None or (id_ and id_ != begun.id)):
                made += self._end(key, line)
                self._begin(key, id_, name, line)
            arguments = function.get("arguments")
            self._add(key, arguments, line)
            if key in self._begun and arguments is not None and type(arguments) is not str:
                self._begun[key].arguments = arguments
        return made


def _words_of(part: Json, line: bytes) -> list[Event]:
    content = part.get("content", part.get("text"))
    texts = (block_text(block) for block in (content if type(content) is list else [content]))
    return [TextDelta(said, line=line) for said in texts if said]


def _block(obj: Json) -> object:
    index = obj.get("index")
    return ("block", index if type(index) in (int, str) else None)
