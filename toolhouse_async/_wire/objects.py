"""JSON values into events: lines that are objects of a type, entries of a history, answers and chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, get_args

from ..errors import ConfigurationError
from ..events import ErrorEvent, Event, TextDelta, ToolCall, ToolResult, UnknownEvent
from . import plans
from .blocks import is_result, of_tools
from .fields import Json, error, is_error, text, tool_call, tool_result
from .learned import Stream
from .shapes import SHAPES, WHOLE_WORDS, Made, OfStream, Shape, Whole, answer_items
from .words import block_text, is_thought, normal

_MOST_LEARNED: Final = 200
_EVENTS: Final = frozenset(get_args(Event))
_OF_LINES: Final = (TextDelta, ToolCall, ToolResult, ErrorEvent, UnknownEvent)
_ANSWER: Final = Whole(answer_items, sums_up=True)
_MESSAGE_TEXT: Final = SHAPES["text_message_content"]
_CALL: Final = SHAPES["tool_call"]


def kind_of(obj: Json) -> str | None:
    """The type of an object as it is spelled: its ``type``, else its ``event``."""
    kind = obj.get("type")
    if type(kind) is not str:
        kind = obj.get("event")
    return kind if type(kind) is str else None


def _no_shape(obj: Json, line: bytes) -> None:
    """The shape of a type that is not known."""


def _no_plan(kind: str) -> None:
    """What is known of lines of words where each must be looked at."""


def _learn(learned: dict[str, Any], kind: str, plan: Any) -> None:
    if len(learned) < _MOST_LEARNED:
        learned[kind] = plan


class ObjectReader:
    """Reads JSON values by the decoding table and the shapes of the user's."""

    def __init__(self) -> None:
        self._shapes: dict[str, Shape | OfStream | Whole] = dict(SHAPES)
        self._spellings = dict(self._shapes)  # as met on the wire; saves normalising each
        self._own: set[str] = set()  # the types that the user has registered
        # How lines of types are read, as they are spelled, once one has been met:
        self._words: dict[str, plans.WordsPlan] = {}  # pieces, unless others of a type for pieces alone have come
        self._piece_words: dict[str, plans.WordsPlan] = {}  # of such types
        self._plans: dict[str, plans.Plan] = {}
        self._functions: dict[str, Shape] = {}  # that the user has registered
        self._unknown: dict[str, None] = {}

    def _value(self, value: Any, line: bytes, stream: Stream) -> Sequence[Event]:
        if type(value) is dict:
            return self._object(value, line, stream)
        if type(value) is str:
            return self._in_pieces((TextDelta(value, line=line),), stream)
        return (UnknownEvent(None, value, line=line),)

    def _in_pieces(self, made: Sequence[Event], stream: Stream) -> Sequence[Event]:
        """Pieces of words, of a type that no service uses for whole messages."""
        if not stream.has_deltas:
            stream.has_deltas = True
            stream.forget()
        return made

    # Objects

    def _object(self, obj: Json, line: bytes, stream: Stream) -> Sequence[Event]:
        kind = kind_of(obj)
        if kind is None:
            return self._untyped(obj, line, stream)
        shape = self._shape_of(kind)
        if self._own and normal(kind) in self._own:
            if obj.get("type") == kind:
                _learn(self._functions, kind, shape)
            return self._of_own(kind, shape(obj, line), obj, line, stream)  # type: ignore[operator]
        if shape is text:
            return self._text(kind, obj, line, stream)
        made = self._made(shape, obj, line, stream)
        if made is None:
            if is_error(obj):
                return (error(obj, line),)
            if shape is _no_shape and obj.get("type") == kind:
                _learn(self._unknown, kind, None)
            return (UnknownEvent(kind, obj, line=line),)
        if shape is _MESSAGE_TEXT:
            self._plan_words(kind, obj)
        elif shape is _CALL or shape is tool_result:
            self._plan_tool(kind, plans.call if shape is _CALL else plans.result, obj)
        return made

    def _shape_of(self, kind: str) -> Shape | OfStream | Whole:
        shape = self._spellings.get(kind)
        if shape is None:
            shape = self._shapes.get(normal(kind), _no_shape)
            if len(self._spellings) < 1000:
                self._spellings[kind] = shape
        return shape

    def _words_of(self, stream: Stream) -> Callable[[str], plans.WordsPlan | None]:
        """How lines of words are read in the state that a stream is in; of the first of others more has to be noted."""
        if stream.of_others:
            return _no_plan
        return (self._piece_words if stream.has_deltas else self._words).get

    def _plan_words(self, kind: str, obj: Json) -> None:
        learned = self._words if normal(kind) in WHOLE_WORDS else self._piece_words
        plan = None if kind in learned else plans.words(kind, obj)
        if plan is not None:
            _learn(learned, kind, plan)

    def _plan_tool(self, kind: str, how: Callable[[Json], plans.Plan | None], obj: Json) -> None:
        plan = None if kind in self._plans else how(obj)
        if plan is not None:
            _learn(self._plans, kind, plan)

    def _text(self, kind: str, obj: Json, line: bytes, stream: Stream) -> Sequence[Event]:
        event = text(obj, line)
        if event is None:
            return (error(obj, line) if is_error(obj) else UnknownEvent(kind, obj, line=line),)
        if normal(kind) not in WHOLE_WORDS:
            made = self._in_pieces((event,), stream)
        elif stream.has_deltas:
            return stream.fresh((event,)) or (UnknownEvent(kind, obj, line=line),)
        else:
            made = (event,)
        self._plan_words(kind, obj)
        return made

    def _made(self, shape: Shape | OfStream | Whole, obj: Json, line: bytes, stream: Stream) -> Sequence[Event] | None:
        """What a shape makes of an object; ``None`` if it is not of it."""
        if isinstance(shape, Whole):
            return self._whole(shape, obj, line, stream)
        if isinstance(shape, OfStream):
            made = shape.read(stream, obj, line)
            if stream.of_others:
                stream.forget()
        else:
            made = shape(obj, line)
        return self._events(made, stream)

    def _of_own(self, kind: str, made: Made, obj: Json, line: bytes, stream: Stream) -> Sequence[Event]:
        """What a function of the user's has made of an object; one that is not of its shape is unknown.

        Raises:
            ConfigurationError: It has made what a worker's line cannot be.
        """
        events = self._events(made, stream)
        if events is None:
            return (UnknownEvent(kind, obj, line=line),)
        for event in events:
            if not isinstance(event, _OF_LINES) or (isinstance(event, TextDelta) and not isinstance(event.text, str)):
                raise ConfigurationError(
                    f"the function registered for {kind!r:.80} has returned {made!r:.80}: it returns an event of a "
                    "line, such as TextDelta, several of them, or None"
                )
        return events

    def _events(self, made: Made, stream: Stream) -> Sequence[Event] | None:
        """What a shape has made, as events; ``None`` if it made nothing."""
        if made is None:
            return None
        if type(made) in _EVENTS:
            return self._in_pieces((made,), stream) if type(made) is TextDelta else (made,)  # type: ignore[return-value]
        return list(made) if isinstance(made, Iterable) else (made,)

    def _untyped(self, obj: Json, line: bytes, stream: Stream) -> Sequence[Event]:
        """An object without a type: an entry of a history, a chunk of a chat, an answer, or an error."""
        made = self._of_service(obj, line, stream)
        if is_error(obj) and not any(type(event) is ErrorEvent for event in made):
            made = [*made, error(obj, line)]
        return made or (UnknownEvent(None, obj, line=line),)

    def _of_service(self, obj: Json, line: bytes, stream: Stream) -> Sequence[Event]:
        message, response = obj.get("message"), obj.get("response")
        made: Sequence[Event]
        if "role" in obj:
            return stream.fresh(self._entry(obj, line, stream))
        if "choices" in obj:
            made = list(stream.chat_chunk(obj, line) or ())
            return made if stream.is_whole else self._in_pieces(made, stream)
        if obj.get("object") == "response":
            made = self._whole(_ANSWER, obj, line, stream) or ()
            return [*made, error(obj, line)] if obj.get("error") else made
        if type(message) is dict and ("role" in message or "done" in obj):
            made = self._entry({"role": "assistant", **message}, line, stream)
            made = [event for event in made if type(event) is not TextDelta or event.text]
        elif type(response) is str and "done" in obj:
            made = (TextDelta(response, line=line),) if response else ()
        else:
            return ()
        return stream.fresh(made) if obj.get("done") else self._in_pieces(made, stream)

    # Whole messages

    def tools_in(self, entry: Any) -> list[ToolCall | ToolResult]:
        """The tool calls and results in an entry of a history, in order."""
        if type(entry) is not dict:
            return []
        made = self._entry(entry, b"", Stream()) if "role" in entry else of_tools(entry, b"")
        return [event for event in made if isinstance(event, ToolCall | ToolResult)]

    def _whole(self, shape: Whole, obj: Json, line: bytes, stream: Stream) -> Sequence[Event] | None:
        """Messages, calls and results, as far as they are new."""
        if shape.sums_up and not stream.sum_up():
            return None
        made: list[Event] = []
        for item in shape.entries(obj):
            if type(item) is dict and ("role" in item or item.get("type") == "message"):
                made += self._entry({"role": "assistant", **item}, line, stream)
            else:
                made += of_tools(item, line) if type(item) is dict else ()
        return stream.fresh(made) or None

    def _entry(self, obj: Json, line: bytes, stream: Stream) -> list[Event]:
        """An object with a role, as entries of a history are."""
        events: list[Event] = []
        role, content, asked = obj.get("role"), obj.get("content"), obj.get("tool_calls")
        parts = obj.get("parts")
        if type(parts) is list and not content:
            content = parts
        blocks: list[Any] = content if type(content) is list else [content]
        if role == "assistant":
            for block in blocks:
                events += self._block(block, line, stream)
            if not content and type(obj.get("refusal")) is str:
                events = [TextDelta(obj["refusal"], line=line)]
            for call in asked if type(asked) is list else []:
                event = tool_call(call, line) if type(call) is dict else None
                events.append(event or UnknownEvent("tool_call", call, line=line))
        elif role in ("tool", "user") and any(map(is_result, blocks)):
            for block in blocks:
                events += self._block(block, line, stream) if is_result(block) else ()
        elif role == "tool" and (result := tool_result(obj, line)):
            events.append(result)
        return events

    def _block(self, block: Any, line: bytes, stream: Stream) -> Sequence[Event]:
        if block is None:
            return ()
        kind = kind_of(block) if type(block) is dict else None
        said = None if kind is not None and normal(kind) in self._own else block_text(block)
        if said is not None:
            return (TextDelta(said, line=line),)
        if type(block) is dict and not is_thought(block):
            if kind is not None and normal(kind) in self._own:
                return self._object(block, line, stream)
            if made := of_tools(block, line):
                return made
            shape = SHAPES.get(normal(kind)) if kind else None
            if shape is error:
                return (error(block, line),)
            if shape is text and (event := text(block, line)):
                return (event,)
        return (UnknownEvent(kind, block, line=line),)
