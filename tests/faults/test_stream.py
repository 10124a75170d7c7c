"""Faults 26 to 37: the answer's body breaks, stalls, or is not what it should be."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN_HEADER,
    Reply,
    assistant,
    broken_off,
    falls_silent,
    history,
    pieces,
    said,
    streamed,
    user,
)
from tests.support.proxy import Cut
from tests.support.raw_server import Request, chunk, drip, fin, ndjson, response, rst, silence
from toolhouse_async import (
    BodyTooLargeError,
    IdleTimeoutError,
    Limits,
    ProtocolError,
    StreamInterruptedError,
    TextDelta,
    Timeouts,
    UnexpectedContentError,
)

from .support import DONE, HISTORY, WHOLE, WORDS, Fault, cut_and_healed, eventually, now, slack, virtual_time

ENDS = pytest.mark.parametrize("end", [fin, rst], ids=["FIN", "RST"])
HALF = streamed(*map(said, WORDS), ends=False)
TORN = HALF + b'ff\r\n{"type": "text", "te'


def lingering(data: bytes, end: Any) -> Reply:
    """Answer, and cut once the client had time to read what was sent."""

    async def reply(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.05)
        end(writer)

    return reply


@contextmanager
def flat_memory(most: int) -> Iterator[None]:
    """The block may need this many bytes at once, and no more."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


@ENDS
async def test_fault_26_cut_mid_chunk(fault: Fault, end: Any) -> None:
    """The connection is closed or reset in the middle of a chunk.

    Outcome: all events that were received, then ``StreamInterruptedError`` with run id and ``partial``; by default
    the turn goes on and is completed from the history.
    """
    await cut_and_healed(fault, lingering(TORN, end), StreamInterruptedError)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_fault_26_cut_at_a_byte_by_the_network(fault: Fault, how: Any) -> None:
    """The network cuts the connection of a healthy service after a number of bytes.

    Outcome: the same.
    """
    whole = streamed(*map(said, WORDS), said("four"))
    position = whole.index(b"four")
    if how == "fin":
        await cut_and_healed(fault, whole, StreamInterruptedError, cut=Cut(position, "fin"))
    else:
        slow = pieces([ndjson(said(word)) for word in (*WORDS, "four")], pause=0.02)
        after = len(streamed(ends=False)) + sum(len(chunk(ndjson(said(word)))) for word in WORDS)
        await cut_and_healed(fault, slow, StreamInterruptedError, cut=Cut(after, "rst"))


@ENDS
async def test_fault_27_close_delimited_body_cut(fault: Fault, end: Any) -> None:
    """A body without length or chunks is cut: its end looks like any end.

    Outcome: it is compared with the history; what is missing is a ``StreamInterruptedError``, or healed by default.
    """
    unframed = streamed(*map(said, WORDS), until_close=True)
    await cut_and_healed(fault, lingering(unframed, end), StreamInterruptedError)


async def test_fault_27_close_delimited_body_complete(fault: Fault) -> None:
    """A body without length or chunks, and nothing is missing.

    Outcome: the history agrees, so the turn completes.
    """
    server = await fault.server(post=[streamed(said(WHOLE), until_close=True)], get=[HISTORY] * 30)
    result = await fault.read(fault.client(server).stream(AGENT, "hi", recover=False))
    assert (result.text, result.recovered) == (WHOLE, False)
    await fault.survived("POST hi", delivered=WHOLE)


async def test_fault_28_one_byte_per_segment(fault: Fault) -> None:
    """Every byte of the answer comes in a segment of its own.

    Outcome: the same events.
    """
    lines = [said("¿Qué "), {"type": "tool_call", "id": "c", "name": "f", "arguments": {"x": 1}}, {"new": [1]}]

    async def by_bytes(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        await drip(writer, streamed(*lines))

    server = await fault.server(post=[streamed(*lines), by_bytes])
    client = fault.client(server)
    await fault.read(client.stream(AGENT, "at once", settle=False))
    at_once, fault.events = fault.events, []
    await fault.read(client.stream(AGENT, "in bytes", settle=False))
    assert fault.events == at_once
    await fault.survived("POST at once", "POST in bytes", delivered="¿Qué ")


EMOJI = "é€🎉"
RAW = b'{"type": "text", "text": "' + EMOJI.encode() + b'"}\n'


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_fault_29_characters_cut_between_chunks(fault: Fault, family: Any) -> None:
    """A chunk ends within a character of several bytes, at every place there is.

    Outcome: every character arrives whole.
    """
    body = RAW if family == "ndjson" else EMOJI.encode()

    def halves(at: int) -> Reply:
        async def reply(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
            writer.write(streamed(ends=False) + chunk(body[:at]))
            await asyncio.sleep(0.005)
            writer.write(chunk(body[at:]) + b"0\r\n\r\n")

        return reply

    places = range(1, len(body))
    server = await fault.server(post=map(halves, places))
    client = fault.client(server)
    for at in places:
        assert (await fault.read(client.stream(AGENT, str(at), format=family, settle=False))).text == EMOJI
    await fault.survived(*(f"POST {at}" for at in places), delivered=EMOJI * len(places))


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_fault_29_character_cut_at_the_end(fault: Fault, family: Any) -> None:
    """The connection is cut within a character.

    Outcome: the half character is not shown as U+FFFD; by default it is healed.
    """
    body = ndjson(said("so ")) + RAW[:-8] if family == "ndjson" else b"so " + "🎉".encode()[:2]
    whole = history(user("hi"), assistant("so 🎉"))
    torn = broken_off(streamed(ends=False) + chunk(body), fin)
    server = await fault.server(post=[torn, torn], get=[whole] * 40)
    client = fault.client(server)
    await fault.fails(StreamInterruptedError, fault.read(client.stream(AGENT, "hi", format=family, recover=False)))
    assert (await fault.read(client.stream(AGENT, "hi", format=family))).text == "so 🎉"
    await fault.survived("POST hi", "POST hi", delivered="so so 🎉")


async def test_fault_30_silence(fault: Fault) -> None:
    """The service says nothing for longer than ``Timeouts.idle``.

    Outcome: ``IdleTimeoutError``, a ``StreamInterruptedError``; by default healed from the history.
    """
    await cut_and_healed(fault, falls_silent(HALF), IdleTimeoutError, timeouts=Timeouts(idle=0.1))


@virtual_time("takes 400 s")
async def test_fault_31_slow_drip(fault: Fault) -> None:
    """An answer comes byte by byte over 400 s.

    Outcome: completes: there is no limit to an answer's whole duration.
    """
    body = ndjson(said("drop")) * 10
    pause = 400 / len(body)
    server = await fault.server(post=[pieces([bytes([byte]) for byte in body], pause=pause)])
    began = now()
    await fault.read(fault.client(server).stream(AGENT, "hi"))
    assert now() - began >= 399
    await fault.survived("POST hi", delivered="drop" * 10)


GZIP = {"Content-Encoding": "gzip", RUN_HEADER: "run-1"}


async def test_fault_32_gzip_bomb(fault: Fault) -> None:
    """A small body would unpack to 100 MB.

    Outcome: ``UnexpectedContentError``; nothing is unpacked, memory stays flat.
    """
    bomb = gzip.compress(bytes(100_000_000), 1)
    server = await fault.server(post=[response(200, GZIP, bomb)], get=[response(200, GZIP, bomb)])
    client = fault.client(server)
    with flat_memory(5_000_000):
        await fault.fails(UnexpectedContentError, client.run(AGENT, "hi"))
        await fault.fails(UnexpectedContentError, client.history(AGENT, "run-1"))
    await fault.survived("POST hi")


async def test_fault_33_gzip_despite_identity(fault: Fault) -> None:
    """The service packs its answer although only ``identity`` was accepted.

    Outcome: ``UnexpectedContentError``, for an answer and for a history.
    """
    packed = gzip.compress(ndjson(said("packed")))
    server = await fault.server(post=[response(200, GZIP, packed)], get=[response(200, GZIP, gzip.compress(b"[]"))])
    client = fault.client(server)
    await fault.fails(UnexpectedContentError, fault.read(client.stream(AGENT, "hi")))
    await fault.fails(UnexpectedContentError, client.history(AGENT, "run-1"))
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}
    await fault.survived("POST hi")


@ENDS
async def test_fault_34_slow_consumer_then_cut(fault: Fault, end: Any) -> None:
    """The reader is megabytes behind when the connection is closed or reset.

    Outcome: nothing is lost that this process had read, then ``StreamInterruptedError``; reading ahead is bounded.
    """
    words = [f"{number:07d}{'.' * 1000}" for number in range(9000)]
    sent = 0

    async def pour(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(0)
        writer.write(streamed(ends=False))
        while not writer.transport.get_write_buffer_size():  # the client reads, or the system has room
            writer.write(chunk(ndjson(*map(said, words[sent : sent + 20]))))
            sent += 20
            await asyncio.sleep(0)
        over.set()
        if end is fin:
            await writer.drain()
        end(writer)

    over = asyncio.Event()
    server = await fault.server(post=[pour])
    turn = fault.client(server).stream(AGENT, "hi", recover=False)
    fault.events.append(await anext(turn))
    await over.wait()
    await asyncio.sleep(0.1)
    # How much this process has taken from the socket: nothing outside the HTTP library knows it.
    had_read = turn._driver._reader.answer._content.total_bytes  # type: ignore[union-attr]
    assert had_read < 2_000_000
    await fault.fails(StreamInterruptedError, fault.read(turn))
    count = sum(type(event) is TextDelta for event in fault.events)
    assert count * len(ndjson(said(words[0]))) > had_read - 100
    assert count > 100
    if end is fin:
        assert count == sent
    await fault.survived("POST hi", delivered="".join(words[:count]))


@ENDS
async def test_fault_34_reader_a_little_behind(fault: Fault, end: Any) -> None:
    """The reader has not looked yet when the connection is cut behind a few words.

    Outcome: the words that this process had read, then ``StreamInterruptedError``.
    """
    server = await fault.server(post=[lingering(TORN, end)])
    turn = fault.client(server).stream(AGENT, "hi", recover=False)
    fault.events.append(await anext(turn))
    await asyncio.sleep(0.2)
    await fault.fails(StreamInterruptedError, fault.read(turn))
    await fault.survived("POST hi", delivered="".join(WORDS))


@pytest.mark.parametrize("shape", ["one write", "endless"])
async def test_fault_35_endless_body(fault: Fault, shape: str) -> None:
    """The body has no end, and ``Limits.max_body`` is set.

    Outcome: ``BodyTooLargeError``; the events below the cap are delivered first.
    """
    line = ndjson(said("more "))

    async def pour(_: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(streamed(ends=False) + chunk(line * 9))
        while shape == "endless":
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(chunk(line * 9))
        await asyncio.sleep(0.1)

    server = await fault.server(post=[pour])
    client = fault.client(server, limits=Limits(max_body=5 * len(line) + 3))
    error = await fault.fails(BodyTooLargeError, fault.read(client.stream(AGENT, "hi")))
    assert error.safe_to_retry is False
    await fault.survived("POST hi", delivered="more " * 5)


@pytest.mark.parametrize(
    "junk", [b"zz\r\n", b"-5\r\nabcde\r\n", b"5\r\nabcdefgh\r\n"], ids=["word", "negative", "short"]
)
async def test_fault_36_bad_chunk_size(fault: Fault, junk: bytes) -> None:
    """The size of a chunk is no number or wrong, on a connection that then stays open in silence.

    Outcome: ``StreamInterruptedError`` at once, not at ``Timeouts.idle``; by default healed from the history.
    """

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(HALF)
        await asyncio.sleep(0.02)
        writer.write(junk)
        await silence(reader)

    began = now()
    await cut_and_healed(fault, reply, StreamInterruptedError)
    assert now() - began < 2 + slack()


async def test_fault_36_bad_chunk_size_from_the_start(fault: Fault) -> None:
    """The first chunk's size is nonsense, and comes in one segment with the head.

    Outcome: ``ProtocolError`` at once, since no part of the answer could be read; ``safe_to_retry`` is ``None``, and
    ``reconcile()`` brings the answer of a message that continued a conversation.
    """

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(streamed(ends=False) + b"zz\r\n")
        await silence(reader)

    later = history(user("hello"), assistant("done"), user("hi"), assistant(WHOLE))
    server = await fault.server(post=[reply, DONE], put=[reply], get=[later] * 40)
    client = fault.client(server)
    began = now()
    assert (await fault.fails(ProtocolError, client.run(AGENT, "hi"))).safe_to_retry is None
    session = client.session(AGENT)
    await session.send("hello")
    assert (await fault.fails(ProtocolError, session.send("hi"))).safe_to_retry is None
    result = await session.reconcile()
    assert result is not None
    assert result.text == WHOLE
    assert now() - began < 2 + slack()
    await fault.survived("POST hi", "POST hello", "PUT hi")


async def test_fault_37_unsolicited_second_response(fault: Fault) -> None:
    """A second answer follows that nobody asked for.

    Outcome: it is discarded; the next message gets its own answer.
    """
    server = await fault.server(post=[DONE + streamed(said("stray")), DONE, streamed(said("own"))])
    client = fault.client(server)
    assert (await fault.read(client.stream(AGENT, "a"))).text == "done"
    await asyncio.sleep(0.05)
    assert (await fault.read(client.stream(AGENT, "b"))).text == "done"
    assert (await fault.read(client.stream(AGENT, "c"))).text == "own"
    await fault.survived("POST a", "POST b", "POST c", delivered="donedoneown")


async def test_fault_26_cut_before_a_job(fault: Fault) -> None:
    """The answer that says a job is running is cut.

    Outcome: the job is waited for, what the cut had taken is healed, and the run is resumed once.
    """
    torn = streamed(*map(said, WORDS), job=JOB, ends=False)
    over = history(user("hi"), assistant(WHOLE))
    server = await fault.server(
        post=[broken_off(torn, fin)], get=[history(user("hi"), job=JOB), *[over] * 40], put=[DONE]
    )
    result = await fault.read(fault.client(server).stream(AGENT, "hi"))
    assert result.text == f"{WHOLE}done"
    assert json.loads(server.requests[-1].body) == {"message": ""}
    await fault.survived("POST hi", "PUT ", delivered=f"{WHOLE}done")


async def test_fault_30_the_silence_counts_between_bytes(fault: Fault) -> None:
    """The service falls silent again and again, each time for less than ``Timeouts.idle``.

    Outcome: completes.
    """
    server = await fault.server(post=[pieces([ndjson(said("a"))] * 5, pause=0.06)])
    await fault.read(fault.client(server, timeouts=Timeouts(idle=0.2)).stream(AGENT, "hi", recover=False))
    await eventually(lambda: server.open_connections <= 1)
    await fault.survived("POST hi", delivered="aaaaa")
