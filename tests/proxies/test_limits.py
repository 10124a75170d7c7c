"""What nginx refuses by itself: bodies above its limit, and too many requests."""

from __future__ import annotations

import pytest

from tests.conversations.support import AGENT, methods
from toolhouse_async import APIStatusError, RateLimitError, RetryPolicy, ServerError

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
