"""The assertion in which every test of a fault ends notices what it is there for."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conversations.support import AGENT
from toolhouse_async import NotSentError

from .support import DONE, KEY, Fault, virtual_time


@asynccontextmanager
async def nothing(fault: Fault) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def second_message(fault: Fault) -> AsyncIterator[None]:
    await fault.client(fault._servers[0]).run(AGENT, "hi")
    yield


@asynccontextmanager
async def lost_event(fault: Fault) -> AsyncIterator[None]:
    fault.events.clear()
    yield


@asynccontextmanager
async def task(fault: Fault) -> AsyncIterator[None]:
    left = asyncio.ensure_future(asyncio.sleep(3600))
    yield
    left.cancel()


@asynccontextmanager
async def descriptor(fault: Fault) -> AsyncIterator[None]:
    with socket.socket():
        yield


@asynccontextmanager
async def connection(fault: Fault) -> AsyncIterator[None]:
    _, writer = await asyncio.open_connection("127.0.0.1", fault._servers[0].port)
    yield
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def warning(fault: Fault) -> AsyncIterator[None]:
    class Careless:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            import warnings

            warnings.warn("not closed", ResourceWarning, 1)

    Careless()
    yield


@asynccontextmanager
async def report(fault: Fault) -> AsyncIterator[None]:
    asyncio.get_running_loop().call_exception_handler({"message": "never retrieved"})
    yield


@asynccontextmanager
async def key_in_a_log(fault: Fault) -> AsyncIterator[None]:
    logging.getLogger("any").debug("sent %s", {"Authorization": KEY})
    yield


@asynccontextmanager
async def key_in_a_context(fault: Fault) -> AsyncIterator[None]:
    async def fail() -> None:
        try:
            raise KeyError(KEY)
        except KeyError:
            raise NotSentError("no connection") from None

    await fault.fails(NotSentError, fail())
    yield


@asynccontextmanager
async def key_in_an_attribute(fault: Fault) -> AsyncIterator[None]:
    async def fail() -> None:
        raise NotSentError("no connection", headers={"Authorization": KEY})

    await fault.fails(NotSentError, fail())
    yield


@virtual_time("waits for what never ends")
@pytest.mark.parametrize(
    "leave",
    [
        second_message,
        lost_event,
        task,
        connection,
        descriptor,
        warning,
        report,
        key_in_a_log,
        key_in_a_context,
        key_in_an_attribute,
        nothing,
    ],
    ids=lambda leave: leave.__name__,
)
async def test_what_is_wrong_is_noticed(fault: Fault, leave: object) -> None:
    server = await fault.server(post=[DONE] * 2)
    await fault.read(fault.client(server).stream(AGENT, "hi"))
    async with leave(fault):  # type: ignore[operator]
        if leave is nothing:
            await fault.survived("POST hi", delivered="done")
        else:
            with pytest.raises((AssertionError, TimeoutError, pytest.fail.Exception)):
                await fault.survived("POST hi", delivered="done")
