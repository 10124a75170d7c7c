from __future__ import annotations

import asyncio
import logging

import pytest

from tests.support.answers import client_of, said, text
from tests.support.raw_server import RawServer, Request, chunk, ndjson, response, silence
from toolhouse_async import IdleTimeoutError, Timeouts, TurnTimeoutError
from toolhouse_async._reader import LateHead


async def test_silence_is_noticed_in_time_at_whatever_fraction_of_a_second_it_begins() -> None:
    """The timer and the difference of two times round differently: it must not wake up for ever just too early."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said("x", ends=False))
        await silence(reader)

    async with RawServer(script) as server, client_of(server, timeouts=Timeouts(idle=0.3)) as toolhouse:
        for _ in range(200):
            await asyncio.sleep(0.1)
            with pytest.raises(IdleTimeoutError):
                await toolhouse.run("a", "x", recover=False)


async def test_lines_that_are_not_read_as_json_are_logged_once_for_each_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "toolhouse_async")
    long = response(headers={"X-Toolhouse-Run-ID": "r1"}, body=b'{"type": "x", "n": ' + b"9" * 9000 + b"}\n")  # JSON
    odd = [said("x").replace(b'"x"}', b'"x"]'), said("y"), long]
    async with RawServer(odd) as server, client_of(server) as toolhouse:
        session = toolhouse.session("a")
        results = [await session.send("words", settle=False) for _ in odd]
        assert [result.malformed for result in results] == [1, 0, 1]
    assert [record.getMessage() for record in caplog.records] == ["run r1: 1 lines could not be read as JSON"] * 2


async def test_what_was_received_when_time_is_up_is_in_the_error() -> None:
    """A reader who is slow has not read it by then."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said("x", ends=False))
        await asyncio.sleep(1)
        writer.write(chunk(ndjson(text("y"))))
        await silence(reader)

    async with RawServer(script) as server, client_of(server) as toolhouse:
        turn = toolhouse.stream("a", "words", timeout=5)
        await anext(turn)
        await anext(turn)
        await asyncio.sleep(10)
        with pytest.raises(TurnTimeoutError) as caught:
            await turn.result()
    assert caught.value.partial is not None
    assert caught.value.partial.text == "xy"


def test_the_head_of_an_answer_that_nobody_has_read() -> None:
    head = LateHead("r1", "j1")
    assert (head.run_id, head.job_id, head.redact("words")) == ("r1", "j1", "words")
