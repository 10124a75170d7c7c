"""Who is talked to: the origin that was named, over TLS that was verified, and nobody else."""

from __future__ import annotations

import random
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
import yarl

from tests.support.answers import KEY, ONCE, RUN, client_of, history, refused_handshakes, said
from tests.support.raw_server import RawServer, ndjson, response
from toolhouse_async import AsyncToolhouse, ConfigurationError, TLSError, ToolhouseError

REAL_TIME = True


@pytest.mark.parametrize("wrong", [False, True, 0, "", "x", Path("ca.pem"), ssl.CERT_NONE, ssl.SSLContext])
def test_verification_is_not_switched_off_by_another_type(wrong: Any) -> None:
    """HTTP libraries take ``False`` for "do not verify"; here nothing does but a context that the caller made so."""
    with pytest.raises(ConfigurationError, match="ssl_context"):
        AsyncToolhouse(KEY, ssl_context=wrong)


@pytest.fixture(scope="module")
def forged() -> ssl.SSLContext:
    """The certificate of somebody in between: for the right name, by an authority that nobody trusts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_somebody_in_between_gets_neither_key_nor_message(forged: ssl.SSLContext) -> None:
    async with refused_handshakes(), RawServer([said("x")], tls=forged) as server, client_of(server) as toolhouse:
        for step in (
            toolhouse.run("a", "x"),
            toolhouse.session("a", run_id="r1").send("x"),
            toolhouse.history("a", "r1"),
        ):
            with pytest.raises(TLSError):
                await step
        assert server.requests == []


async def test_a_context_without_verification_is_the_callers_own_doing(forged: ssl.SSLContext) -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    careless.verify_mode = ssl.CERT_NONE
    async with RawServer([said("x")], tls=forged) as server, client_of(server, ssl_context=careless) as toolhouse:
        assert (await toolhouse.run("a", "x")).text == "x"


PIECES = [
    *"ab.:/\\@#?%[] \t\r\n\x00\x1b",
    *("127.0.0.1", "localhost", "evil.example", "//", "http://", "https://", "[::1]", "::1", "%2e", "%00", "%40"),
    *("user:pw@", "xn--", "\uff0e", "\u3002", "\uff10", "\u2488", "\u2100", "\u2044", "é", "\u200b", ":80", ":443"),
]


async def test_no_url_makes_the_key_travel_unprotected_or_elsewhere() -> None:
    """Parsers of URLs disagree: whatever is taken for this machine must be it for the HTTP library, too."""
    random_ = random.Random(6)
    taken = 0
    for _ in range(30_000):
        url = random_.choice(("http://", "HTTP://", "http:/", "")) + "".join(
            random_.choices(PIECES, k=random_.randint(1, 6))
        )
        try:
            AsyncToolhouse(KEY, base_url=url)
        except ConfigurationError:
            continue
        if not url.lower().startswith("http:"):
            continue
        taken += 1
        try:
            goes_to = yarl.URL(url.rstrip("/") + "/ndjson/a").raw_host
        except ValueError:
            continue
        assert goes_to in ("127.0.0.1", "::1", "localhost"), ascii(url)
        assert goes_to == urlsplit(url).hostname
    assert taken > 100


ELSEWHERE = ["http://proxy.invalid:3128", "https://proxy.invalid", "http://10.0.0.1:1", "http://u:pw@169.254.0.1:1"]


@pytest.mark.parametrize("proxy", ELSEWHERE)
@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1", "HTTP://[::1]:1", "http://localhost"])
def test_the_key_does_not_go_in_the_clear_to_a_proxy_elsewhere(base_url: str, proxy: str) -> None:
    """``http://`` to this machine is no way within this machine where a proxy stands on another."""
    with pytest.raises(ConfigurationError, match="in the clear") as caught:
        AsyncToolhouse(KEY, base_url=base_url, proxy=proxy)
    assert "pw" not in str(caught.value)
    AsyncToolhouse(KEY, base_url=base_url, proxy=proxy, allow_insecure=True)
    AsyncToolhouse(KEY, base_url=base_url, proxy="http://127.0.0.1:3128")
    AsyncToolhouse(KEY, base_url="https://agents.invalid", proxy=proxy)


@pytest.mark.parametrize(
    "end", ["/\r\nX-Evil: 1", "\r\nX-Evil: 1\r\n\r\n", "/a b", "/%0d%0aX-Evil:1", "/\x00", "/\x85x"]
)
async def test_a_base_url_puts_no_header_into_a_request(end: str) -> None:
    async with RawServer([said("x")]) as server:
        try:
            async with AsyncToolhouse(KEY, base_url=server.url + end, retries=ONCE) as toolhouse:
                await toolhouse.run("a", "x")
        except ToolhouseError:
            assert server.requests == []
        for request in server.requests:
            assert "x-evil" not in request.headers
            assert request.path.endswith("/ndjson/a")


HOPS = [
    "X-Toolhouse-Run-ID: ../../admin",
    "X-Toolhouse-Run-ID: http://evil.example/r",
    "X-Toolhouse-Run-ID: r1%2f..%2f..%2fadmin",
    "X-Toolhouse-Run-ID: r1?x=",
    "X-Toolhouse-Run-ID: r1#",
    "X-Toolhouse-Run-ID: r1\r\n Host: evil.example",
    "X-Toolhouse-Run-ID: //evil.example",
]


@pytest.mark.parametrize("header", HOPS)
async def test_no_run_id_of_an_answer_leads_elsewhere(header: str) -> None:
    """The id of an answer stands in the URLs of later requests, which carry the key."""
    answer = f"HTTP/1.1 200 OK\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()
    async with RawServer([answer, answer]) as server, client_of(server) as toolhouse:
        session = toolhouse.session("a", run_id="r0")
        for _ in range(2):
            with pytest.raises(ToolhouseError):
                await session.send("x")
            assert session.run_id == "r0"
        assert {request.path for request in server.requests} == {"/ndjson/a/r0"}
        assert {request.headers["host"] for request in server.requests} == {f"127.0.0.1:{server.port}"}


async def test_headers_of_an_answer_change_nothing_in_later_requests() -> None:
    """Cookies, alternative services, credentials, origins: an answer may name them all."""
    tempting = {
        RUN: "r1",
        "Set-Cookie": "session=1; Path=/",
        "Alt-Svc": 'h2="evil.example:443"',
        "Location": "http://evil.example/",
        "Content-Location": "http://evil.example/",
        "Link": '<http://evil.example/>; rel="canonical"',
        "Refresh": "0; url=http://evil.example/",
        "WWW-Authenticate": "Basic",
        "Authorization": "Bearer evil",
        "Clear-Site-Data": "*",
        "Upgrade": "h2c",
    }
    answer = response(headers=tempting, body=ndjson({"type": "text", "text": "x"}))
    async with RawServer([answer, history(headers=tempting), answer]) as server, client_of(server) as toolhouse:
        session = toolhouse.session("a")
        await session.send("x")
        await session.history()
        await session.send("x")
    first, _, third = server.requests
    assert first.headers == third.headers
    assert "cookie" not in first.headers
    assert [request.path for request in server.requests] == ["/ndjson/a", "/a/r1", "/ndjson/a/r1"]
