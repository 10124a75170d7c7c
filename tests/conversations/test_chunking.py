"""However an answer is cut into pieces on its way, the same events come in the same order."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.conversations.support import (
    AGENT,
    RUN,
    RUN_HEADER,
    Scripted,
    assert_accepted,
    called,
    connect,
    pieces,
    returned,
    said,
    text_of,
)
from tests.support.raw_server import Request, drip, fin, ndjson, response
from tests.support.virtual_time import VirtualTimeLoop
from toolhouse_async import Event, TextDelta, ToolCall, ToolResult, TurnCompleted, TurnStarted

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
"""Without shrinking, which would take minutes of whole conversations."""

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LINES = st.one_of(
    WORDS.map(said),
    st.builds(called, WORDS, st.just("search"), st.dictionaries(WORDS, st.integers(), max_size=2)),
    st.builds(returned, WORDS, st.lists(st.none() | st.booleans() | WORDS, max_size=2)),
    st.fixed_dictionaries({"type": st.just("trace"), "data": WORDS}),
    st.integers() | WORDS,
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\n\n"])


async def read(reply: Any, **options: Any) -> list[Event]:
    async with Scripted(post=[reply]) as server, connect(server) as toolhouse:
        events = [event async for event in toolhouse.stream(AGENT, "hi", settle=False, **options)]
    assert_accepted(server, "POST hi")
    assert events[0] == TurnStarted(AGENT, RUN)
    assert isinstance(events[-1], TurnCompleted)
    return events[1:-1]


def cut_at(body: bytes, places: set[int]) -> list[bytes]:
    bounds = [0, *sorted(place for place in places if 0 < place < len(body)), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(bounds) if end > start]


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(
    lines=st.lists(st.tuples(LINES, ENDS), max_size=8),
    last=st.booleans(),
    places=st.sets(st.integers(1, 600), max_size=12),
)
def test_any_chunking_of_any_lines_gives_the_same_events(
    lines: list[tuple[Any, bytes]], last: bool, places: set[int]
) -> None:
    body = b"".join(json.dumps(line, ensure_ascii=False).encode() + end for line, end in lines)
    body = body if last else body.rstrip(b"\r\n")
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        expected = runner.run(read(response(200, {RUN_HEADER: RUN}, body, chunked=False)))
        assert runner.run(read(pieces(cut_at(body, places)))) == expected
    assert len(expected) == len(lines)


@settings(max_examples=30, deadline=None, phases=PHASES)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    places=st.sets(st.integers(1, 150), max_size=12),
)
def test_any_chunking_of_any_text_gives_the_same_words(text: str, places: set[int]) -> None:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        events = runner.run(read(pieces(cut_at(text.encode(), places)), format="text"))
    assert text_of(events) == text


BODY = ndjson(said("¿Qué "), called("c1", arguments={"q": "ñ \U0001f427"}), returned(), said("\U0001f427!"))
WANTED = [
    TextDelta("¿Qué "),
    ToolCall("c1", "search", {"q": "ñ \U0001f427"}),
    ToolResult("c1", None, "found"),
    TextDelta("\U0001f427!"),
]
FRAMINGS = {"chunked": {}, "content-length": {"chunked": False}, "until close": {"until_close": True}}


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
async def test_one_byte_per_segment_gives_the_same_events(framing: dict[str, Any]) -> None:
    async def reply(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await drip(writer, response(200, {RUN_HEADER: RUN}, BODY, **framing), pause=0.1)
        fin(writer)

    assert await read(reply) == WANTED


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS)
async def test_everything_in_one_segment_gives_the_same_events(framing: dict[str, Any]) -> None:
    assert await read(response(200, {RUN_HEADER: RUN}, BODY, **framing)) == WANTED


async def test_events_come_as_their_lines_do() -> None:
    times = []
    async with (
        Scripted(post=[pieces([ndjson(said(str(n))) for n in range(5)], pause=10)]) as server,
        connect(server) as toolhouse,
    ):
        loop = asyncio.get_running_loop()
        started = loop.time()
        async for event in toolhouse.stream(AGENT, "hi"):
            if getattr(event, "text", ""):
                times.append(loop.time() - started)
    assert times == pytest.approx([10, 20, 30, 40, 50], abs=0.1)
