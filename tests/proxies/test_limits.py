"""What nginx refuses by itself: bodies and headers above its limits, and too many requests."""

from __future__ import annotations

import pytest

from tests.conversations.support import AGENT, methods
from toolhouse_async import APIStatusError, BadRequestError, RateLimitError, RetryPolicy, ServerError

from .support import PASS, Proxied

LARGE = "x" * 3_000_000


async def test_a_message_above_the_limit_is_a_413_and_never_reaches_the_service(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(server="client_max_body_size 1m;"))
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        with pytest.raises(APIStatusError) as caught:
            await session.send(LARGE)
        assert (caught.value.status, caught.value.safe_to_retry) == (413, True)
        assert (await session.send("smaller")).text == "smaller"
    assert methods(proxied.server) == "POST PUT"
    proxied.accepted("POST hello", "PUT smaller")


@pytest.mark.parametrize("spooled", ["on", "off"])
async def test_a_large_message_passes_where_the_limit_allows_it(proxied: Proxied, spooled: str) -> None:
    """Kept in a file first, or passed on as it comes."""
    server = f"client_max_body_size 4m; proxy_request_buffering {spooled};"
    toolhouse = await proxied.client(await proxied.nginx(server=server))
    result = await toolhouse.run(AGENT, LARGE)
    assert result.text == LARGE
    proxied.accepted(f"POST {LARGE}")


MANY = {f"X-Context-{number}": "x" * 7000 for number in range(6)}
"""More than nginx has room for by default, though each fits."""


async def test_request_headers_above_the_limit_are_a_400(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(), headers=MANY)
    with pytest.raises(BadRequestError) as caught:
        await toolhouse.run(AGENT, "hi")
    assert "Request Header Or Cookie Too Large" in caught.value.body
    assert methods(proxied.server) == ""


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


RATE = "limit_req_zone $binary_remote_addr zone=one:1m rate=4r/s;"
"""One request in a quarter of a second."""


async def test_a_rate_limit_that_answers_429_is_waited_for(proxied: Proxied) -> None:
    location = f"{PASS} limit_req zone=one; limit_req_status 429;"
    nginx = await proxied.nginx(location, http=RATE)
    toolhouse = await proxied.client(nginx, retries=RetryPolicy(max_attempts=100, initial=0.1, maximum=0.1))
    messages = ["one", "two", "three", "four"]
    async with toolhouse.session(AGENT) as session:
        for message in messages:
            assert (await session.send(message)).text == message
    assert "limiting requests" in nginx.log
    proxied.accepted("POST one", "PUT two", "PUT three", "PUT four")


async def test_a_rate_limit_by_default_is_a_503_after_which_nobody_knows(proxied: Proxied) -> None:
    """Nothing tells it from a 503 of the service, which may have accepted the message."""
    toolhouse = await proxied.client(
        await proxied.nginx(f"{PASS} limit_req zone=one;", http=RATE.replace("4r/s", "6r/m"))
    )
    async with toolhouse.session(AGENT) as session:
        await session.send("one")
        with pytest.raises(ServerError) as caught:
            await session.send("two")
    assert (caught.value.status, caught.value.safe_to_retry) == (503, None)
    proxied.accepted("POST one")


async def test_a_rate_limit_with_retry_after_is_raised_where_it_asks_for_too_long(proxied: Proxied) -> None:
    server = "error_page 429 @limited; location @limited { internal; add_header Retry-After 120 always; return 429; }"
    location = f"{PASS} limit_req zone=one; limit_req_status 429;"
    nginx = await proxied.nginx(location, http=RATE.replace("4r/s", "6r/m"), server=server)
    toolhouse = await proxied.client(nginx)
    async with toolhouse.session(AGENT) as session:
        await session.send("one")
        with pytest.raises(RateLimitError) as caught:
            await session.send("two")
    assert (caught.value.retry_after, caught.value.safe_to_retry) == (120, True)
    proxied.accepted("POST one")
