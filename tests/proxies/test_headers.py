"""Headers and paths that nginx adds, drops or rewrites."""

from __future__ import annotations

import pytest

from tests.conversations.support import AGENT, KEY
from toolhouse_async import BadRequestError, ServerError

from .support import PASS, Proxied

MANY = {f"X-Context-{number}": "x" * 7000 for number in range(6)}
"""More than nginx has room for by default, though each fits."""


async def test_request_headers_above_the_limit_are_a_400(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(), headers=MANY)
    with pytest.raises(BadRequestError) as caught:
        await toolhouse.run(AGENT, "hi")
    assert "Request Header Or Cookie Too Large" in caught.value.body
    assert proxied.server.requests == []
    proxied.accepted()


async def test_large_request_headers_pass_where_the_limit_allows_them(proxied: Proxied) -> None:
    nginx = await proxied.nginx(server="large_client_header_buffers 8 8k;")
    toolhouse = await proxied.client(nginx, headers=MANY)
    assert (await toolhouse.run(AGENT, "hi")).text == "hi"
    (request,) = proxied.server.requests
    assert {name: request.headers[name] for name in MANY} == MANY
    proxied.accepted("POST hi")


async def test_headers_with_underscores_are_dropped_and_none_of_ours_has_any(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(), headers={"X_Under": "no", "X-Hyphen": "yes"})
    assert (await toolhouse.run(AGENT, "hi")).text == "hi"
    (request,) = proxied.server.requests
    assert ("X_Under" in request.headers, request.headers["X-Hyphen"]) == (False, "yes")
    proxied.accepted("POST hi")


async def test_answer_headers_above_the_limit_are_a_502_though_the_message_was_accepted(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx())
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        proxied.emulator.faults.add(method="PUT", headers={"X-Trace": "x" * 6000})
        with pytest.raises(ServerError) as caught:
            await session.send("hi")
        assert (caught.value.status, caught.value.safe_to_retry) == (502, None)
        result = await session.reconcile()
        assert result is not None
        assert result.text == "hi"
    proxied.accepted("POST hello", "PUT hi")


async def test_large_answer_headers_pass_where_the_limit_allows_them(proxied: Proxied) -> None:
    proxied.emulator.faults.add(headers={"X-Trace": "x" * 6000})
    toolhouse = await proxied.client(await proxied.nginx(f"{PASS} proxy_buffer_size 16k; proxy_buffers 8 16k;"))
    async with toolhouse.stream(AGENT, "hi") as turn:
        assert (await turn.result()).text == "hi"
        assert turn.headers["X-Trace"] == "x" * 6000
    proxied.accepted("POST hi")


async def test_nginx_may_hold_the_key(proxied: Proxied) -> None:
    """Clients that know only nginx need none, and pass an empty one."""
    nginx = await proxied.nginx(f'{PASS} proxy_set_header Authorization "Bearer {KEY}";')
    toolhouse = await proxied.client(nginx, api_key="")
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        assert [message.text for message in await session.history()] == ["hello", "hello"]
    assert {request.headers["Authorization"] for request in proxied.server.requests} == {f"Bearer {KEY}"}
    proxied.accepted("POST hello")


async def test_the_key_is_in_no_log_of_nginx(proxied: Proxied) -> None:
    """Nor in the one of accesses, in its usual format, nor in what nginx says of failures."""
    log = proxied.folder / "access.log"
    nginx = await proxied.nginx(f"{PASS} access_log {log} combined;")
    toolhouse = await proxied.client(nginx)
    await toolhouse.run(AGENT, "hi")
    proxied.emulator.faults.add(method="POST", cut="fin")
    with pytest.raises(ServerError):
        await toolhouse.run(AGENT, "hi")
    logged = log.read_text("utf-8")
    assert "POST /ndjson/worker" in logged
    assert "prematurely closed" in nginx.log
    assert KEY not in logged + nginx.log
    proxied.accepted("POST hi")
