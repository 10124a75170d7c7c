"""Answers that break off: what was received is delivered, and nothing is sent again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    RUN,
    Reply,
    Scripted,
    assert_accepted,
    assistant,
    broken_off,
    connect,
    history,
    methods,
    now,
    refused,
    returned,
    said,
    streamed,
    user,
)
from tests.support.raw_server import Request, chunk, fin, ndjson, rst, silence
from toolhouse_async import (
    AsyncToolhouse,
    NotSentError,
    OutcomeUnknownError,
    RetryPolicy,
    ServerError,
    StreamInterruptedError,
    TextDelta,
)

CUTS = pytest.mark.parametrize("cut", [fin, rst], ids=["FIN", "RST"])
METHODS = pytest.mark.parametrize("method", ["POST", "PUT"])
OVER = history(user("hi"), assistant("wait"))
DONE = streamed(said("done"))
WORDS = [f"word{number} " for number in range(50)]
HALF = streamed(*map(said, WORDS), ends=False)


async def read_cut(toolhouse: AsyncToolhouse, pause: float = 0.0) -> tuple[list[str], StreamInterruptedError]:
    """The words of a turn that is cut, read ``pause`` seconds apart, and the error that ended it."""
    words: list[str] = []
    with pytest.raises(StreamInterruptedError) as caught:
        async for event in toolhouse.stream(AGENT, "hi", recover=False):
            if isinstance(event, TextDelta):
                words.append(event.text)
                await asyncio.sleep(pause)
    return words, caught.value


@CUTS
@pytest.mark.parametrize("pause", [0.0, 60.0], ids=["fast reader", "slow reader"])
async def test_all_events_that_were_received_come_before_the_error(cut: Any, pause: float) -> None:
    async with Scripted(post=[broken_off(HALF, cut)]) as server, connect(server) as toolhouse:
        words, error = await read_cut(toolhouse, pause)
    assert words == WORDS
    assert (error.partial.text, error.run_id, error.safe_to_retry) == ("".join(WORDS), RUN, False)
    assert_accepted(server, "POST hi")


@CUTS
async def test_a_cut_within_a_chunk_delivers_what_came_of_it(cut: Any) -> None:
    torn = streamed(said("one "), ends=False) + b'ff\r\n{"type": "text", "text": "two"}\n{"type"'
    async with Scripted(post=[broken_off(torn, cut)]) as server, connect(server) as toolhouse:
        words, error = await read_cut(toolhouse)
    assert words == ["one ", "two"]
    assert error.partial.malformed == 0
    assert_accepted(server, "POST hi")


async def test_a_body_shorter_than_its_length_is_a_cut() -> None:
    short = streamed(said("one"), chunked=False, headers={"Content-Length": "900"})
    async with Scripted(post=[broken_off(short, fin)]) as server, connect(server) as toolhouse:
        words, _ = await read_cut(toolhouse)
    assert words == ["one"]
    assert_accepted(server, "POST hi")


async def test_a_bad_chunk_size_is_a_cut_at_once_though_the_connection_stays_open() -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(streamed(said("one"), ends=False))
        await asyncio.sleep(1)
        writer.write(chunk(ndjson(said(" two"))) + b"zz\r\n")
        await silence(reader)

    async with Scripted(post=[reply]) as server, connect(server) as toolhouse:
        started = now()
        words, _ = await read_cut(toolhouse)
        assert now() - started < 30
    assert words == ["one", " two"]
    assert_accepted(server, "POST hi")


async def test_text_answers_are_delivered_before_the_error_too() -> None:
    torn = streamed(ends=False) + chunk("¿Qué tal? ".encode()) + chunk("ñ".encode()[:1])
    async with Scripted(post=[broken_off(torn, fin)]) as server, connect(server) as toolhouse:
        words = []
        with pytest.raises(StreamInterruptedError) as caught:
            async for event in toolhouse.stream(AGENT, "hi", recover=False, format="text"):
                words.append(getattr(event, "text", ""))
    assert "".join(words) == "¿Qué tal? " == caught.value.partial.text
    assert_accepted(server, "POST hi")


async def test_a_worker_that_is_cut_off_is_an_interruption() -> None:
    async with Scripted(post=[broken_off(streamed(ends=False), fin)]) as server, connect(server) as toolhouse:
        words, error = await read_cut(toolhouse)
    assert (words, error.partial.text) == ([], "")
    assert_accepted(server, "POST hi")


async def test_an_interruption_in_a_resumed_round_holds_all_rounds() -> None:
    async with (
        Scripted(
            post=[streamed(said("one "), job=JOB)],
            get=[OVER],
            put=[broken_off(streamed(said("two"), ends=False), fin)],
        ) as server,
        connect(server) as toolhouse,
    ):
        words, error = await read_cut(toolhouse)
    assert words == ["one ", "two"]
    assert error.partial.text == "one two"
    assert len(error.partial.jobs) == 1
    assert_accepted(server, "POST hi", "PUT ")


async def test_the_conversation_goes_on_after_an_interruption() -> None:
    async with (
        Scripted(post=[broken_off(HALF, rst)], put=[DONE]) as server,
        connect(server) as toolhouse,
        toolhouse.session(AGENT) as session,
    ):
        with pytest.raises(StreamInterruptedError):
            await session.send("hi", recover=False)
        assert (await session.send("more")).text == "done"
    assert_accepted(server, "POST hi", "PUT more")


# Before the headers


@CUTS
@METHODS
async def test_a_message_without_an_answer_is_sent_once_and_its_outcome_is_unknown(cut: Any, method: str) -> None:
    gone = broken_off(b"", cut)
    async with Scripted(post=[gone], put=[gone]) as server, connect(server) as toolhouse:
        with pytest.raises(OutcomeUnknownError) as caught:
            await toolhouse.session(AGENT, run_id=RUN if method == "PUT" else None).send("hi")
    assert caught.value.safe_to_retry is None
    assert methods(server) == method
    assert server.connections == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
@METHODS
async def test_a_message_answered_with_an_error_is_sent_once(status: int, method: str) -> None:
    async with Scripted(post=[refused(status)], put=[refused(status)]) as server, connect(server) as toolhouse:
        with pytest.raises(Exception, match=str(status)) as caught:
            await toolhouse.session(AGENT, run_id=RUN if method == "PUT" else None).send("hi")
    assert caught.value.status == status  # type: ignore[attr-defined]
    assert methods(server) == method


async def close_behind(_: object, writer: asyncio.StreamWriter, request: object) -> None:
    """Answers, and closes the connection that might have been kept."""
    writer.write(DONE)
    await writer.drain()
    writer.close()


async def test_a_kept_connection_that_was_closed_is_not_used() -> None:
    async with Scripted(post=[close_behind] * 3) as server, connect(server) as toolhouse:
        for _ in range(3):
            assert (await toolhouse.run(AGENT, "hi")).text == "done"
            await asyncio.sleep(0.5)
    assert_accepted(server, *["POST hi"] * 3)


async def test_a_kept_connection_that_is_being_closed_costs_no_second_message() -> None:
    """Whether the message went out on it is a race; then nobody knows, and nothing is sent again."""
    arrived = 0
    async with Scripted(post=[close_behind] * 20) as server, connect(server) as toolhouse:
        for _ in range(20):
            with suppress(OutcomeUnknownError):
                await toolhouse.run(AGENT, "hi")
                arrived += 1
    assert arrived == len(server.accepted) > 1


async def test_nobody_listening_is_not_sent_and_safe_to_retry() -> None:
    async with Scripted() as server:
        pass
    async with connect(server, retries=RetryPolicy(max_attempts=2)) as toolhouse:
        with pytest.raises(NotSentError) as caught:
            await toolhouse.run(AGENT, "hi")
    assert caught.value.safe_to_retry is True


# Resumes whose outcome nobody knows


@pytest.mark.parametrize("fault", [broken_off(b"", fin), broken_off(b"", rst), refused(502)], ids=["FIN", "RST", "502"])
async def test_a_resume_that_was_accepted_though_its_answer_was_lost_is_not_sent_again(fault: Reply) -> None:
    resumed = history(user("hi"), assistant("wait"), user(""), assistant("done"))
    async with (
        Scripted(post=[streamed(said("wait "), job=JOB)], get=[OVER, *[resumed] * 60], put=[fault]) as server,
        connect(server) as toolhouse,
    ):
        result = await toolhouse.run(AGENT, "hi")
    assert result.text == "wait done"
    assert methods(server).count("PUT") == 1


async def test_an_idle_server_error_names_the_status() -> None:
    async with Scripted(post=[refused(503, b"busy", Retry_After="9")]) as server, connect(server) as toolhouse:
        with pytest.raises(ServerError) as caught:
            await toolhouse.run(AGENT, "hi")
    assert (caught.value.status, caught.value.body, caught.value.retry_after) == (503, "busy", 9)
    assert methods(server) == "POST"


async def test_a_result_without_its_call_does_not_break_the_partial() -> None:
    torn = broken_off(streamed(returned("x"), said("a"), ends=False), fin)
    async with Scripted(post=[torn]) as server, connect(server) as toolhouse:
        _, error = await read_cut(toolhouse)
    assert error.partial.text == "a"
