"""AG-UI's rules for the order of events, as its documentation and the verifier of its TypeScript client have them."""

from __future__ import annotations

import json
from typing import Any

from ag_ui.core import Event
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(Event)


def read_ag_ui(stream: bytes) -> list[Any]:
    """Read a stream of events by the package's own models, and hold it to the rules.

    A run is started first and once, and finished or failed last and once; text messages and tool calls have a start,
    then content, then an end, and are not left open; a result belongs to a call that has been made; content is not
    empty; activities are named.
    """
    events = []
    for block in stream.decode().split("\n\n"):
        if block.strip() and not block.startswith(":"):
            name, _, data = block.partition(": ")
            assert name == "data"
            event = _EVENT.validate_python(json.loads(data))
            assert not event.model_extra, f"fields that the protocol does not know: {event.model_extra}"
            events.append(event)
    check(events)
    return events


def check(events: list[Any]) -> None:
    """Hold events to the rules."""
    names = [event.type.value for event in events]
    assert names[0] in ("RUN_STARTED", "RUN_ERROR"), names
    assert names.count("RUN_STARTED") <= 1
    ends = [name for name in names if name in ("RUN_FINISHED", "RUN_ERROR")]
    assert ends == names[-1:], names
    messages: set[str] = set()
    calls: set[str] = set()
    called: set[str] = set()
    for event in events:
        match event.type.value:
            case "TEXT_MESSAGE_START":
                assert event.message_id not in messages
                messages.add(event.message_id)
            case "TEXT_MESSAGE_CONTENT":
                assert event.message_id in messages
                assert event.delta
            case "TEXT_MESSAGE_END":
                messages.remove(event.message_id)
            case "TOOL_CALL_START":
                assert event.tool_call_id not in calls
                calls.add(event.tool_call_id)
                called.add(event.tool_call_id)
            case "TOOL_CALL_ARGS":
                assert event.tool_call_id in calls
            case "TOOL_CALL_END":
                calls.remove(event.tool_call_id)
            case "ACTIVITY_SNAPSHOT":
                assert event.activity_type
            case "RUN_FINISHED":
                assert not messages
                assert not calls
            case _:
                pass
    ids = [event.message_id for event in events if event.type.value in ("TEXT_MESSAGE_START", "TOOL_CALL_RESULT")]
    assert len(ids) == len(set(ids)), "a message of its own for each stretch of words and each result"
