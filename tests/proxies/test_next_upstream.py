"""Messages that nginx itself sends again, which no client can prevent: what it does, and how to keep it from that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conversations.support import AGENT, KEY
from tests.support.answers import unused_port
from toolhouse_async import AsyncToolhouse, ServerError

from .support import PASS, SHORT, WHOLE, Proxied

TWO = "upstream service {{ server {first} max_fails=0; server {second} max_fails=0; }}"
KEPT = "upstream service { server {upstream}; keepalive 4; }"
BY_NAME = f"{PASS} proxy_pass http://service;"
ON_KEPT = f'{BY_NAME} proxy_set_header Connection "";'
OFF = "proxy_next_upstream off;"


@asynccontextmanager
async def two_servers(proxied: Proxied, location: str = BY_NAME) -> AsyncIterator[AsyncToolhouse]:
    """One Workers API behind two addresses, nginx before both."""
    async with proxied.emulator.serve() as other:
        addresses = [server.url.removeprefix("http://") for server in (proxied.server, other)]
        nginx = await proxied.nginx(location, http=TWO.format(first=addresses[0], second=addresses[1]))
        proxied.servers.append(other)
        yield await proxied.client(nginx)


def dies(proxied: Proxied, method: str, how: Any = "fin") -> None:
    """Let the service take the next message and break the connection in place of an answer."""
    proxied.emulator.faults.add(method=method, cut=how, accept=True)


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_nginx_does_not_send_a_first_message_to_a_second_server(proxied: Proxied, how: Any) -> None:
    async with two_servers(proxied) as toolhouse:
        dies(proxied, "POST", how)
        with pytest.raises(ServerError) as caught:
            await toolhouse.run(AGENT, "hi")
        assert (caught.value.status, caught.value.safe_to_retry) == (502, None)
        proxied.accepted("POST hi")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_nginx_sends_a_later_message_to_a_second_server_by_default(proxied: Proxied, how: Any) -> None:
    """A hazard of nginx's defaults: PUT counts as safe to repeat, so the worker hears the message twice."""
    async with two_servers(proxied) as toolhouse, toolhouse.session(AGENT) as session:
        await session.send("hello")
        dies(proxied, "PUT", how)
        assert (await session.send("hi")).text == "hi"  # the client sent it once, and cannot know
        proxied.accepted("POST hello", "PUT hi", "PUT hi")


async def test_nginx_sends_a_late_message_to_a_second_server_by_default(proxied: Proxied) -> None:
    """The same where the first server is only slow, and still at work for the message."""
    async with two_servers(proxied, f"{BY_NAME} {SHORT}") as toolhouse, toolhouse.session(AGENT) as session:
        requests = [server.requests for server in proxied.servers]
        proxied.pausing(lambda: sum(each.method == "PUT" for some in requests for each in some) == 2, first=False)
        await session.send("hello")
        assert (await session.send(WHOLE)).text == WHOLE
        proxied.accepted("POST hello", f"PUT {WHOLE}", f"PUT {WHOLE}")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_nginx_sends_a_later_message_again_on_a_kept_connection_by_default(proxied: Proxied, how: Any) -> None:
    """The same hazard with a single server: a kept connection that broke is taken for one that had been closed."""
    toolhouse = await proxied.client(await proxied.nginx(ON_KEPT, http=KEPT))
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        dies(proxied, "PUT", how)
        assert (await session.send("hi")).text == "hi"
    proxied.accepted("POST hello", "PUT hi", "PUT hi")


async def test_nginx_sends_a_first_message_again_where_it_is_told_to(proxied: Proxied) -> None:
    async with two_servers(proxied, f"{BY_NAME} proxy_next_upstream error non_idempotent;") as toolhouse:
        dies(proxied, "POST")
        assert (await toolhouse.run(AGENT, "hi")).text == "hi"
        proxied.accepted("POST hi", "POST hi")


async def test_nginx_sends_a_later_message_again_after_a_502_where_it_is_told_to(proxied: Proxied) -> None:
    location = f"{BY_NAME} proxy_next_upstream error http_502;"
    async with two_servers(proxied, location) as toolhouse, toolhouse.session(AGENT) as session:
        await session.send("hello")
        proxied.emulator.faults.add(method="PUT", status=502, accept=True)
        assert (await session.send("hi")).text == "hi"
        proxied.accepted("POST hello", "PUT hi", "PUT hi")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_nginx_sends_nothing_again_with_next_upstream_off(proxied: Proxied, how: Any) -> None:
    async with two_servers(proxied, f"{BY_NAME} {OFF}") as toolhouse, toolhouse.session(AGENT) as session:
        await session.send("hello")
        dies(proxied, "PUT", how)
        await reconciled(session)
        proxied.accepted("POST hello", "PUT hi")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_nginx_sends_nothing_again_on_a_kept_connection_with_next_upstream_off(
    proxied: Proxied, how: Any
) -> None:
    toolhouse = await proxied.client(await proxied.nginx(f"{ON_KEPT} {OFF}", http=KEPT))
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        dies(proxied, "PUT", how)
        await reconciled(session)
    proxied.accepted("POST hello", "PUT hi")


async def reconciled(session: Any) -> None:
    """The next message breaks, and its answer is found in the history."""
    with pytest.raises(ServerError) as caught:
        await session.send("hi")
    assert (caught.value.status, caught.value.safe_to_retry) == (502, None)
    result = await session.reconcile()
    assert result is not None
    assert result.text == "hi"


async def test_a_single_server_without_kept_connections_gets_nothing_twice(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(PASS))
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        dies(proxied, "PUT")
        await reconciled(session)
    proxied.accepted("POST hello", "PUT hi")


@pytest.mark.parametrize("off", ["", OFF], ids=["default", "off"])
async def test_a_server_that_is_not_there_is_passed_over_unless_next_upstream_is_off(
    proxied: Proxied, off: str
) -> None:
    """What was never sent may go to another server; that is given up with ``off``, for the price of some 502."""
    absent = f"127.0.0.1:{unused_port()}"
    http = TWO.format(first=absent, second=proxied.server.url.removeprefix("http://"))
    toolhouse = await proxied.client(await proxied.nginx(f"{BY_NAME} {off}", http=http))
    items = [item async for item in toolhouse.map(AGENT, ["a", "b"], concurrency=1)]
    errors = [item.error for item in items if item.result is None]
    assert [error.status for error in errors if isinstance(error, ServerError)] == ([502] if off else [])
    proxied.accepted(*(f"POST {item.message}" for item in items if item.result is not None))


async def test_the_key_reaches_every_server(proxied: Proxied) -> None:
    async with two_servers(proxied) as toolhouse:
        for message in ("a", "b", "c", "d"):
            await toolhouse.run(AGENT, message)
        for server in proxied.servers:
            assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}
        proxied.accepted("POST a", "POST b", "POST c", "POST d")
