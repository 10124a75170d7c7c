"""Turns on their way to a browser: as Server-Sent Events, as NDJSON, as AG-UI, and kept while nobody reads.

And to OpenAI's clients: :func:`openai_gateway` is an endpoint for them.

:func:`sse`, :func:`ndjson` and :func:`ag_ui` take a turn, or a reader of a :class:`TurnHub`, and give an async iterator
of ``bytes`` that any web framework can send::

    @app.post("/ask")
    async def ask(question: str) -> StreamingResponse:
        turn = toolhouse.stream(AGENT_ID, question)
        return StreamingResponse(sse(turn), headers=EVENT_STREAM_HEADERS)

A turn that fails ends its stream with an event ``TurnFailed``, in words made for the people at the other end: neither
the key nor anything of what went on inside is in it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._extras import leave_out
from ._ag_ui import ag_ui
from ._callback import Callback
from ._failures import failure
from ._hub import HubTurn, TurnHub
from ._live import HubReader
from ._openai.gateway import openai_gateway
from ._streams import EVENT_STREAM_HEADERS, ByteStream, ndjson, sse

if TYPE_CHECKING:
    from ._redis.hub import RedisTurnHub
    from ._redis.turn import RedisHubTurn

__all__ = [
    "EVENT_STREAM_HEADERS",
    "ByteStream",
    "Callback",
    "HubReader",
    "HubTurn",
    "RedisHubTurn",
    "RedisTurnHub",
    "TurnHub",
    "ag_ui",
    "failure",
    "ndjson",
    "openai_gateway",
    "sse",
]
leave_out(__all__, dict.fromkeys(("RedisHubTurn", "RedisTurnHub"), "redis"))

_HOMES = {"RedisHubTurn": "turn", "RedisTurnHub": "hub"}
"""What is loaded on first use, since it needs a library of its own."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"._redis.{home}", __name__), name)
