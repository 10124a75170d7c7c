"""What comes in pieces over many lines of one stream: calls of tools, and messages in somebody's name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ..events import ErrorEvent, Event, TextDelta, ToolCall, ToolResult
from .fields import Json, error, first_text, id_of, is_of_others, parsed, text, tool_call, tool_result
from .repeats import Repeats
from .words import block_text, normal

_MESSAGE_ID: Final = ("messageId", "message_id")
_PIECE_KEYS: Final = ("argsTextDelta", "inputTextDelta", "delta")
_MOST: Final = 100
"""Messages of others that may be open at once."""


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


_NONE_BEGUN: Final[dict[object, _Begun]] = {}
_NOBODY: Final[dict[str | None, None]] = {}


class Streamed(Repeats):
    """What one stream has begun and not ended. Its methods are shapes, like those of a decoder.

    Attributes:
        of_others: The ids of open messages that are not the worker's; of the latest, ``None`` if it has none.
    """

    __slots__ = ("begun", "of_others")

    def __init__(self) -> None:
        super().__init__()
        # Most streams have none, so these are made when there is one: many idle streams are to take little memory.
        self.begun: dict[object, _Begun] = _NONE_BEGUN
        self.of_others: dict[str | None, None] = _NOBODY

    def _begin(
        self, key: object, id_: str | None, name: str, line: bytes, arguments: Any = None, *, announced: bool = False
    ) -> None:
        if self.begun is _NONE_BEGUN:
            self.begun = {}
        self.begun[key] = _Begun(id_, name, arguments, line, announced=announced)

    def _add(self, key: object, piece: object, line: bytes) -> None:
        call = self.begun.get(key)
        if call is not None and type(piece) is str:
            call.line = line
            call.pieces += [piece] if piece else []

    def _end(self, key: object, line: bytes) -> list[Event]:
        call = self.begun.pop(key, None)
        if call is None:
            return []
        call.line = line
        return call.whole()

    def finish(self, line: bytes | None = None) -> list[Event]:
        """The calls that are whole because nothing more can come, or because ``line`` says so."""
        if not self.begun:
            return []
        calls, self.begun = self.begun, _NONE_BEGUN
        for call in calls.values():
            call.line = call.line if line is None else line
        return [event for call in calls.values() for event in call.whole()]

    def before(self, made: Sequence[Event]) -> Sequence[Event]:
        """The same events; a result stands behind the call that it answers, which is whole by then."""
        if not self.begun:
            return made
        both: list[Event] = []
        for event in made:
            if type(event) is ToolResult:
                for key in [key for key, call in self.begun.items() if call.id in (None, event.id) or not event.id]:
                    both += self.begun.pop(key).whole()
            both.append(event)
        return both

    # --- the AI SDK

    def input_start(self, obj: Json, line: bytes) -> None:
        """``tool-input-start``, ``tool-call-streaming-start``: a call has begun; it comes whole, too."""
        name = tool_call(obj, line)
        if name is not None and name.id is not None:
            self._begin(name.id, name.id, name.name, line)

    def input_delta(self, obj: Json, line: bytes) -> None:
        """``tool-input-delta``, ``tool-call-delta``: a piece of its arguments."""
        self._add(id_of(obj), first_text(obj, _PIECE_KEYS), line)

    def call(self, obj: Json, line: bytes) -> Event | None:
        """``tool-call``, ``tool-input-available`` and the like: a call that is whole."""
        call = tool_call(obj, line)
        if call is not None and self.begun:
            self.begun.pop(call.id, None)
        return call

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

    def message_start(self, obj: Json, line: bytes) -> None:
        """``TEXT_MESSAGE_START``: a message begins, in somebody's name."""
        self._is_heard(obj, id_of(obj, _MESSAGE_ID))

    def message_text(self, obj: Json, line: bytes) -> Event | None:
        """``TEXT_MESSAGE_CONTENT``, ``TEXT_MESSAGE_CHUNK``: a piece of a message, the worker's or another's."""
        key = id_of(obj, _MESSAGE_ID)
        if "role" in obj and not self._is_heard(obj, key):
            return None
        return text(obj, line) if not self.of_others or key not in self.of_others else None

    def message_end(self, obj: Json, line: bytes) -> None:
        """``TEXT_MESSAGE_END``."""
        self.of_others.pop(id_of(obj, _MESSAGE_ID), None)

    def _is_heard(self, obj: Json, key: str | None) -> bool:
        """Note whose a message is; whether it is the worker's."""
        self.of_others.pop(None, None)
        if not is_of_others(obj):
            self.of_others.pop(key, None)
            return True
        if self.of_others is _NOBODY:
            self.of_others = {}
        elif len(self.of_others) >= _MOST:
            del self.of_others[next(iter(self.of_others))]
        self.of_others[key] = self.of_others[None] = None
        return False

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
        if call is not None and call.id not in self.begun:
            made = self.finish(line)
            self._begin(call.id, call.id, call.name, line)
        key = id_of(obj)
        self._add(next(reversed(self.begun), None) if key is None else key, obj.get("delta"), line)
        return made or None

    # --- OpenAI's Chat Completions

    def chat_chunk(self, obj: Json, line: bytes) -> Iterable[Event] | None:
        """``choices``: words and pieces of calls of the first choice; in a ``message`` all is whole."""
        made: list[Event] = []
        choices = obj["choices"]
        for choice in choices if type(choices) is list else ():
            if type(choice) is not dict or choice.get("index", 0) != 0:
                continue
            delta, message = choice.get("delta"), choice.get("message")
            for part in (choice, delta):
                if type(part) is dict:
                    made += _words_of(part, line)
                    made += self._calls_of(part, line)
            if type(message) is dict:
                made += self.fresh([*_words_of(message, line), *self._calls_of(message, line)])
            if choice.get("finish_reason"):
                made += self.finish(line)
            made += [error(part, line) for part in (choice, delta, message) if type(part) is dict and part.get("error")]
        if obj.get("error"):
            made = [*(event for event in made if type(event) is not ErrorEvent), error(obj, line)]
        return made or None

    def _calls_of(self, part: Json, line: bytes) -> list[Event]:
        calls, single = part.get("tool_calls"), part.get("function_call")
        if calls is None and single is None:
            return []
        made: list[Event] = []
        whole = [each for each in calls if type(each) is dict] if type(calls) is list else []
        if type(single) is dict:
            whole.append({"function": single})
        for place, each in enumerate(whole):
            key, id_ = each.get("index", place), id_of(each)
            function = each.get("function")
            if type(key) is not int or type(function) is not dict:
                continue
            begun = self.begun.get(key)
            if type(name := function.get("name")) is str and (begun is None or (id_ and id_ != begun.id)):
                made += self._end(key, line)
                self._begin(key, id_, name, line)
            arguments = function.get("arguments")
            self._add(key, arguments, line)
            if key in self.begun and arguments is not None and type(arguments) is not str:
                self.begun[key].arguments = arguments
        return made


def _words_of(part: Json, line: bytes) -> list[Event]:
    content = part.get("content")
    if type(content) is str and content:
        return [TextDelta(content, line=line)]
    if type(content) is not list:
        content = [part.get("text"), part.get("refusal")]
    return [TextDelta(said, line=line) for block in content if (said := block_text(block))]


def _block(obj: Json) -> object:
    index = obj.get("index")
    return ("block", index if type(index) in (int, str) else None)
