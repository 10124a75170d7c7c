"""Turns on their way to a browser: as Server-Sent Events, as NDJSON, as AG-UI, and kept while nobody reads.

:func:`sse`, :func:`ndjson` and :func:`ag_ui` take a turn, or a reader of a :class:`TurnHub`, and give an async iterator
of ``bytes`` that any web framework can send::

    @app.post("/ask")
    async def ask(question: str) -> StreamingResponse:
        turn = toolhouse.stream(AGENT_ID, question)
        return StreamingResponse(sse(turn), headers=EVENT_STREAM_HEADERS)

A turn that fails ends its stream with an event ``TurnFailed``, in words made for the people at the other end: neither
the key nor anything of what went on inside is in it.
"""

from ._ag_ui import ag_ui
from ._failures import failure
from ._hub import HubReader, HubTurn, TurnHub
from ._streams import EVENT_STREAM_HEADERS, ByteStream, ndjson, sse

__all__ = [
    "EVENT_STREAM_HEADERS",
    "ByteStream",
    "HubReader",
    "HubTurn",
    "TurnHub",
    "ag_ui",
    "failure",
    "ndjson",
    "sse",
]
