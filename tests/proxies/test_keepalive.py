"""Connections that nginx closes between messages."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.conversations.support import AGENT
from tests.faults.support import eventually
from toolhouse_async import OutcomeUnknownError

from .support import PASS, Job, Proxied

MESSAGES = [f"message {number}" for number in range(6)]
CONVERSATION = ["POST message 0", *(f"PUT {message}" for message in MESSAGES[1:])]


@pytest.mark.parametrize("limit", ["keepalive_requests 1", "keepalive_requests 2", "keepalive_timeout 0"])
async def test_a_conversation_goes_on_over_closed_connections(proxied: Proxied, limit: str) -> None:
    toolhouse = await proxied.client(await proxied.nginx(server=f"{limit};"))
    async with toolhouse.session(AGENT) as session:
        for message in MESSAGES:
            assert (await session.send(message, settle=True)).text == message
    proxied.accepted(*CONVERSATION)


async def test_many_at_once_over_closed_connections(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(server="keepalive_requests 2;"))
    messages = list(map(str, range(60)))
    items = [item async for item in toolhouse.map(AGENT, messages, concurrency=20)]
    assert all(item.result is not None and item.result.text == item.message for item in items)
    proxied.accepted(*(f"POST {message}" for message in messages), in_order=False)


@pytest.mark.parametrize("limit", ["keepalive_requests 1", "keepalive_timeout 0"])
async def test_a_job_is_waited_for_over_closed_connections(proxied: Proxied, limit: str) -> None:
    job = Job(proxied, polls=5)
    toolhouse = await proxied.client(await proxied.nginx(server=f"{limit};"))
    assert (await toolhouse.run(AGENT, "hi")).text == "working, done"
    assert job.may_end.is_set()
    proxied.accepted("POST hi", "PUT ")


async def test_a_connection_that_idled_out_is_not_used(proxied: Proxied) -> None:
    """nginx has closed it when the next message comes, and the client knows."""
    nginx = await proxied.nginx(server="keepalive_timeout 10ms;")
    toolhouse = await proxied.client(nginx)
    async with toolhouse.session(AGENT) as session:
        for message in MESSAGES:
            assert (await session.send(message)).text == message
            await eventually(lambda: not nginx.connections)
    proxied.accepted(*CONVERSATION)


async def test_a_connection_that_is_closed_as_a_message_is_sent_never_doubles_it(proxied: Proxied) -> None:
    """A race that nobody can decide: the message is either answered, or its fate is found out and it is said again."""
    toolhouse = await proxied.client(await proxied.nginx(server="keepalive_timeout 20ms;"))
    messages = [f"message {number}" for number in range(40)]
    async with toolhouse.session(AGENT) as session:
        for message in messages:
            try:
                result = await session.send(message)
            except OutcomeUnknownError:
                result = await session.reconcile() or await session.send(message)
            assert result.text == message
            await asyncio.sleep(0.02 + random.uniform(-0.004, 0.004))
    proxied.accepted("POST message 0", *(f"PUT {message}" for message in messages[1:]))


async def test_a_pause_longer_than_a_kept_connection_is_trusted_begins_another(proxied: Proxied) -> None:
    """A message uses a connection only that has idled for under 2 s: any longer ``keepalive_timeout`` is never met."""
    nginx = await proxied.nginx(server="keepalive_timeout 75s;", location=f"{PASS} add_header X-Number $connection;")
    toolhouse = await proxied.client(nginx)
    numbers = []
    async with toolhouse.session(AGENT) as session:
        for message, pause in (("one", 0.0), ("two", 2.5), ("three", 0.0)):
            async with session.stream(message) as turn:
                await turn.result()
            numbers.append(turn.headers["X-Number"])
            await asyncio.sleep(pause)
    assert numbers[0] == numbers[1] != numbers[2]
    proxied.accepted("POST one", "PUT two", "PUT three")


async def test_connections_to_the_service_may_be_kept_too(proxied: Proxied) -> None:
    """nginx's own connections, where the location says so; with the re-sending of PUT turned off."""
    kept = "upstream service { server {upstream}; keepalive 4; keepalive_timeout 60s; }"
    location = f'{PASS} proxy_set_header Connection ""; proxy_pass http://service; proxy_next_upstream off;'
    toolhouse = await proxied.client(await proxied.nginx(location, http=kept))
    async with toolhouse.session(AGENT) as session:
        for message in MESSAGES:
            assert (await session.send(message, settle=True)).text == message
    assert proxied.server.connections == 1
    proxied.accepted(*CONVERSATION)
