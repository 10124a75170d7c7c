"""A conversation as people and programs read it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from ... import events as ev
from ..._values.eventjson import json_text
from ..._wire.decode import EventDecoder
from ..jsonlines import document_line
from ..terminal import harmless, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..._values.results import Message

__all__ = ["as_json", "as_markdown", "as_text", "events_of", "last_words"]

Said: TypeAlias = ev.TextDelta | ev.ToolCall | ev.ToolResult | ev.UnknownEvent

_BRIEF: Final = 1000
"""The most characters of a tool's arguments and results that the plain form shows."""


def as_json(history: Sequence[Message]) -> str:
    """The history as the service has it: one line, a JSON array."""
    return document_line([message.raw for message in history])


def as_text(history: Iterable[Message]) -> Iterator[str]:
    """Each entry as plain text: who speaks, then the words, indented, so that none of them looks like an entry."""
    for message in history:
        yield f"{_role(message)}:\n"
        for event in events_of(message):
            text = harmless(event.text) if isinstance(event, ev.TextDelta) else one_line(_tool(event), _BRIEF)
            yield "".join(f"  {line}\n" for line in text.split("\n"))


def as_markdown(history: Iterable[Message]) -> Iterator[str]:
    """Each entry as a section of a Markdown document; words stand as they were written, tools in fenced blocks."""
    for number, message in enumerate(history):
        yield f"{chr(10) if number else ''}## {_role(message)}\n"
        for event in events_of(message):
            if isinstance(event, ev.TextDelta):
                yield f"\n{harmless(event.text).strip(chr(10))}\n"
            else:
                text = harmless(_tool(event))
                fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
                yield f"\n{fence}text\n{text}\n{fence}\n"


def last_words(message: Message, width: int = 200) -> str:
    """The beginning of an entry in one line."""
    pieces = (event.text if isinstance(event, ev.TextDelta) else _tool(event) for event in events_of(message))
    return one_line(" ".join(pieces), width)


def _role(message: Message) -> str:
    return one_line(message.role, 40) or "unknown"


def events_of(message: Message) -> list[Said]:
    """What an entry says: its words, calls and results in order; all of it as data where it holds none of these."""
    made = EventDecoder().decode([json_text(message.raw).encode()])
    found = [each for each in made if isinstance(each, ev.TextDelta | ev.ToolCall | ev.ToolResult)]
    found = [each for each in found if not (isinstance(each, ev.TextDelta) and not each.text)]
    has_words = any(isinstance(each, ev.TextDelta) for each in found)
    if message.text and not has_words and (not found or message.role == "user"):  # whose words no stream has
        return [ev.TextDelta(message.text), *found]
    if found or message.content in ("", None, []):
        return [*found]
    return [ev.UnknownEvent(None, message.raw)]


def _tool(event: Said) -> str:
    match event:
        case ev.ToolCall(name=name, arguments=arguments):
            return f"tool call: {name} {_data(arguments)}"
        case ev.ToolResult(content=content, is_error=is_error):
            return f"tool {'error' if is_error else 'result'}: {_data(content)}"
        case ev.UnknownEvent(data=data):
            return _data(data)
        case _:
            return event.text


def _data(value: object) -> str:
    return value if isinstance(value, str) else json_text(value)
