"""The run id is known whenever the answer's head has been received, whatever the moment of the cancellation."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.client_proto import ResponseHandler

from tests.support.answers import RUN, client_of
from tests.support.raw_server import RawServer, rst, silence
from toolhouse_async import OutcomeUnknownError

HEAD = f"HTTP/1.1 200 OK\r\n{RUN}: r1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What connections have received so far."""
    data_received, received = ResponseHandler.data_received, list[bytes]()

    def noting(self: ResponseHandler, data: bytes) -> None:
        received.append(data)
        data_received(self, data)

    monkeypatch.setattr(ResponseHandler, "data_received", noting)
    return received


@pytest.mark.parametrize("started", [False, True])
async def test_a_head_that_was_received_tells_the_run(received: list[bytes], started: bool) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: object) -> None:
        writer.write(HEAD)
        await writer.drain()
        await silence(reader)

    async with RawServer(script) as server, client_of(server) as toolhouse:
        told = []
        for passes in range(60):
            received.clear()
            session = toolhouse.session("worker", run_id="r0" if started else None)
            task = asyncio.create_task(session.send("x"))
            for _ in range(passes):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            came = bool(received)
            assert (session.run_id == "r1") is came, passes
            told.append(came)
        assert True in told
        assert False in told


async def test_a_connection_that_fails_in_the_moment_of_the_cancellation(received: list[bytes]) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: object) -> None:
        rst(writer)

    async with RawServer(script) as server, client_of(server) as toolhouse:
        ends = set()
        for passes in range(40):
            session = toolhouse.session("worker")
            task = asyncio.create_task(session.send("x"))
            for _ in range(passes):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises((asyncio.CancelledError, OutcomeUnknownError)) as caught:
                await task
            ends.add(caught.type)
            assert session.run_id is None
        assert ends == {asyncio.CancelledError, OutcomeUnknownError}
        assert not received
