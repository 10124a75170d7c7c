from __future__ import annotations

import asyncio
import inspect
import json
import math
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import KEY, ONCE, RUN, chain, client_of, history, said
from tests.support.raw_server import RawServer, Request, fin, response, silence
from toolhouse_async import (
    AsyncToolhouse,
    AuthenticationError,
    BackgroundJobWaiter,
    ClosedError,
    ConfigurationError,
    JobToken,
    Limits,
    OutcomeUnknownError,
    RedirectError,
    SessionManager,
    Timeouts,
    ToolhouseError,
    UnexpectedContentError,
    __version__,
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOOLHOUSE_API_KEY", "TOOLHOUSE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


async def run_with(api_key: Any, server: RawServer, **options: Any) -> Request:
    """Run a turn and return its request."""
    async with AsyncToolhouse(api_key, base_url=server.url, **options) as toolhouse:
        await toolhouse.run("a", "x")
    return server.requests[-1]


# The key


def sync_key() -> str:
    return KEY


async def async_key() -> str:
    await asyncio.sleep(0)
    return KEY


@pytest.mark.parametrize("api_key", [KEY, sync_key, async_key], ids=["str", "sync", "async"])
async def test_a_key(api_key: Any) -> None:
    async with RawServer([said("x")]) as server:
        assert (await run_with(api_key, server)).headers["authorization"] == f"Bearer {KEY}"


async def test_a_callable_is_asked_once_a_request() -> None:
    keys = iter(f"key-number-{n}" for n in range(1, 10))
    answers = [said("x", job="j1"), history(), said("y")]
    async with RawServer(answers) as server, client_of(server, api_key=lambda: next(keys)) as toolhouse:
        await toolhouse.run("a", "x")
    assert [request.headers["authorization"] for request in server.requests] == [
        f"Bearer key-number-{n}" for n in (1, 2, 3)
    ]


async def test_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLHOUSE_API_KEY", KEY)
    async with RawServer([said("x")] * 2) as server:
        assert (await run_with(None, server)).headers["authorization"] == f"Bearer {KEY}"
        assert "authorization" not in (await run_with("", server)).headers


async def test_a_public_worker_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLHOUSE_API_KEY", "")
    async with RawServer([said("x")]) as server:
        assert "authorization" not in (await run_with(None, server)).headers


def test_no_key() -> None:
    with pytest.raises(ConfigurationError, match="TOOLHOUSE_API_KEY"):
        AsyncToolhouse()


async def test_an_empty_key_is_that_of_a_public_worker() -> None:
    async with RawServer([said("x")] * 2) as server:
        assert "authorization" not in (await run_with("", server)).headers
        assert "authorization" not in (await run_with(lambda: "", server)).headers


BAD_KEYS = [
    *(f"{KEY}{end}" for end in ("\r\nX-Evil: 1", "\n", f" {KEY}", "é", "\0", "\t")),
    f" {KEY}",
    "  ",
    "\n",
    "\u3000",
]


@pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
def test_a_key_that_is_none_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AsyncToolhouse(key)
    holds_no_key(caught.value)
    monkeypatch.setenv("TOOLHOUSE_API_KEY", key.replace("\0", "\n"))
    with pytest.raises(ConfigurationError) as caught:
        AsyncToolhouse()
    holds_no_key(caught.value)


@pytest.mark.parametrize("key", [*BAD_KEYS, None, 7, KEY.encode(), [KEY]], ids=ascii)
async def test_a_callable_that_returns_no_key(key: Any) -> None:
    async with RawServer([]) as server:
        with pytest.raises(ConfigurationError) as caught:
            await run_with(lambda: key, server)
        assert server.requests == []
    holds_no_key(caught.value)


@pytest.mark.parametrize("key", [7, KEY.encode(), [KEY]], ids=ascii)
def test_a_key_of_another_type(key: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AsyncToolhouse(key)
    holds_no_key(caught.value)


async def test_what_a_callable_raises_passes_through() -> None:
    def vault() -> str:
        raise LookupError("the vault is shut")

    async with RawServer([]) as server:
        with pytest.raises(LookupError, match="the vault is shut"):
            await run_with(vault, server)
        assert server.requests == []


def holds_no_key(error: BaseException, *, key: str = KEY) -> None:
    for each in chain(error):
        assert key not in f"{each!r}{each}{each.args}{vars(each)}"
        assert not type(each).__module__.startswith("aiohttp")
    assert key not in "".join(traceback.format_exception(error))
    assert key.encode() not in pickle.dumps(error)


async def _reset(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    fin(writer)


async def _echo(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    """Says back what it was sent, as debugging servers and careless proxies do."""
    everything = repr(request.headers).encode()
    headers = {"X-You-Sent": request.headers["authorization"], "Retry-After": "1000"}
    writer.write(response(429, headers, everything, chunked=False))


async def _echo_in_the_status_line(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    said = request.headers["authorization"].encode()
    writer.write(b"HTTP/1.1 401 " + said + b"\r\nContent-Length: 0\r\n\r\n")


async def _echo_as_nonsense(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(request.headers["authorization"].encode() + b"\r\n\r\n")
    fin(writer)


async def _echo_as_a_run_id(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(response(headers={RUN: request.headers["authorization"]}))


async def _echo_as_an_encoding(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    writer.write(response(headers={RUN: "r1", "Content-Encoding": request.headers["authorization"]}))


async def _echo_as_a_length(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    said = request.headers["authorization"].encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + said + b"\r\n\r\n")
    fin(writer)


@pytest.mark.parametrize(
    "script",
    [
        _reset,
        _echo,
        _echo_in_the_status_line,
        _echo_as_nonsense,
        _echo_as_a_run_id,
        _echo_as_an_encoding,
        _echo_as_a_length,
    ],
)
async def test_the_key_is_in_nothing_that_is_raised_or_logged(script: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with RawServer(script) as server, client_of(server, retries=ONCE) as toolhouse:
        assert KEY not in repr(toolhouse)
        for attempt in (
            toolhouse.run("a", "x"),
            toolhouse.session("a", run_id="r1").send("x"),
            toolhouse.history("a", "r1"),
        ):
            with pytest.raises(ToolhouseError) as caught:
                await attempt
            holds_no_key(caught.value)
    assert KEY not in caplog.text


# The base URL


async def test_the_base_url_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer([said("x")]) as server:
        monkeypatch.setenv("TOOLHOUSE_BASE_URL", server.url + "/")
        async with AsyncToolhouse(KEY) as toolhouse:
            await toolhouse.run("a", "x")
        assert server.requests[0].path == "/ndjson/a"


def test_the_default_base_url() -> None:
    assert "https://agents.toolhouse.ai" in repr(AsyncToolhouse(KEY))


@pytest.mark.parametrize(
    "url",
    ["http://localhost:1", "http://127.0.0.1", "http://127.9.9.9:80/x", "http://[::1]:8080"],
)
def test_plain_http_to_this_machine(url: str) -> None:
    AsyncToolhouse(KEY, base_url=url)


@pytest.mark.parametrize(
    "url",
    ["http://example.com", "http://app.localhost", "http://10.0.0.1", "http://localhost.example.com", "http://127.0.0.1.example.com",
     "http://0.0.0.0", "HTTP://example.com"],
)  # fmt: skip
def test_plain_http_elsewhere(url: str) -> None:
    with pytest.raises(ConfigurationError, match="allow_insecure"):
        AsyncToolhouse(KEY, base_url=url)
    AsyncToolhouse(KEY, base_url=url, allow_insecure=True)


@pytest.mark.parametrize(
    "url",
    ["", "agents.toolhouse.ai", "ftp://x", "https://", "https://x:port", "https://x:99999", "https://x?y=1",
     "https://x#y", "https://user:pass@x", "http://[::1", "file:///etc/passwd", 7, b"https://x",
     "https://x?", "https://x#", "https://x/y?", "https://x/y/#", "https://x?#", "https://x/?/#/", "https://@x",
     "https://:@x", "https://x/y@z", "https://x\n", " https://x", "https://x y", "https://x\\y", "https://x:0",
     "https://\N{FULLWIDTH COMMERCIAL AT}x"],
)  # fmt: skip
def test_a_base_url_that_is_none(url: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError):
        AsyncToolhouse(KEY, base_url=url)


@pytest.mark.parametrize(
    "url",
    ["bob:canary@host:1", "//bob:canary@host:1", "bob:canary@host", "canary@host:1", "https:bob:canary@host:1",
     "https:/bob:canary@host:1", "socks5://bob:canary@host:1", "https://bob:canary@", "https://bob:canary@host:port",
     "https://bob:canary@host:99999", "https://bob:canary@host:0", "https://bob:canary@host?y", "https://bob:canary@host#",
     "https://bob:x/canary@host:1", "https://bob:1/canary@host:1", "https://bob:1/x@canary@host:1",
     "https://bob:x?canary@host:1", "https://bob:1?canary@host", "https://bob:x#canary@host:1", "https://bob:canary@[::1",
     "https://bob:canary%40host:port", "https://bob:canary\N{FULLWIDTH COMMERCIAL AT}host",
     "https://bob:canary\N{SMALL COMMERCIAL AT}host",
     "https://bob:canary\n@host:1", "https://bob:canary @host:1", "https://bob:canary\\@host:1", " https://bob:canary@host:1",
     "https://host?token=canary", "https://host#canary", "host?canary", b"https://bob:canary@host:1",
     ["https://bob:canary@host:1"]],
)  # fmt: skip
@pytest.mark.parametrize("what", ["proxy", "base_url"])
def test_a_password_in_a_url_is_not_shown(what: str, url: Any) -> None:
    with pytest.raises(ConfigurationError, match=what) as caught:
        AsyncToolhouse(KEY, **{what: url})
    holds_no_key(caught.value, key="canary")
    holds_no_key(caught.value, key="canar")


def test_what_a_password_has_to_be_written_like_is_said() -> None:
    for url in ("http://bob:se/cret@host:1", "http://bob:12/34@host:1"):
        with pytest.raises(ConfigurationError, match="%2F"):
            AsyncToolhouse(KEY, proxy=url)
    AsyncToolhouse(KEY, proxy="HTTP://bob:se%2Fcret%40@host:1")


def test_a_client_does_not_show_its_proxys_password() -> None:
    assert "canary" not in repr(AsyncToolhouse(KEY, proxy="http://bob:canary@host:1"))


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://127.0.0.1:1"])
def test_a_url_without_a_password_is_shown(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match=proxy):
        AsyncToolhouse(KEY, proxy=proxy)


# Proxies, cookies, redirects, encodings


async def test_proxies_and_netrc_of_the_environment_are_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer([said("x")] * 2) as server, RawServer([]) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        assert (await run_with(KEY, server)).headers["authorization"] == f"Bearer {KEY}"
        assert "authorization" not in (await run_with("", server)).headers
        assert proxy.connections == 0


async def test_a_proxy_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer([said("x")]) as proxy:
        options = {"base_url": "http://agents.invalid", "proxy": proxy.url, "allow_insecure": True}
        async with AsyncToolhouse(KEY, **options) as toolhouse:
            assert (await toolhouse.run("a", "hello")).text == "x"
    assert proxy.requests[0].path == "http://agents.invalid/ndjson/a"


async def test_a_proxy_with_a_password() -> None:
    async with RawServer([said("x")]) as proxy:
        options = {
            "base_url": "http://agents.invalid",
            "proxy": proxy.url.replace("//", "//user:pass@"),
            "allow_insecure": True,
        }
        async with AsyncToolhouse(KEY, **options) as toolhouse:
            await toolhouse.run("a", "hello")
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwYXNz"


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://127.0.0.1:1", "", 7])
def test_a_proxy_that_is_none(proxy: Any) -> None:
    with pytest.raises(ConfigurationError, match="proxy"):
        AsyncToolhouse(KEY, proxy=proxy)


@pytest.mark.parametrize(
    ("name", "wrong", "why"),
    [
        ("timeouts", 30, r"timeouts must be Timeouts, as in timeouts=Timeouts\(connect=…\), not int"),
        ("retries", 3, r"retries must be RetryPolicy, as in retries=RetryPolicy\(max_attempts=…\), not int"),
        ("polling", 5.0, r"polling must be PollingPolicy, as in polling=PollingPolicy\(min_interval=…\), not float"),
        ("recovery", False, r"recovery must be RecoveryPolicy, as in recovery=RecoveryPolicy\(quiet=…\), not bool"),
        ("limits", None, r"limits must be Limits, as in limits=Limits\(max_connections=…\), not NoneType"),
        ("decoder", dict, "decoder must be an EventDecoder or None, not type"),
    ],
)
def test_settings_of_another_type(name: str, wrong: Any, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        AsyncToolhouse("", **{name: wrong})


async def test_cookies_are_neither_kept_nor_sent() -> None:
    answers = [said("x", headers={"Set-Cookie": "a=b; Path=/"}), history(), said("y")]
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        session = toolhouse.session("a")
        await session.send("x")
        await session.history()
        await session.send("y")
    assert [request.headers.get("cookie") for request in server.requests] == [None] * 3


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_redirects_are_refused_and_nothing_goes_there(status: int, method: str) -> None:
    async with RawServer([]) as elsewhere:
        moved = response(status, {"Location": elsewhere.url + "/a", "Content-Length": "0"}, chunked=False)
        async with RawServer([moved]) as server, client_of(server) as toolhouse:
            with pytest.raises(RedirectError) as caught:
                if method == "POST":
                    await toolhouse.run("a", "secret words")
                elif method == "PUT":
                    await toolhouse.session("a", run_id="r1").send("secret words")
                else:
                    await toolhouse.history("a", "r1")
            assert len(server.requests) == 1
        assert caught.value.status == status
        assert caught.value.headers["location"] == elsewhere.url + "/a"
        assert elsewhere.connections == 0


async def test_only_identity_is_accepted() -> None:
    async with RawServer([said("x"), history()]) as server, client_of(server) as toolhouse:
        await toolhouse.run("a", "x")
        await toolhouse.history("a", "r1")
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "gzip, identity"])
async def test_an_encoded_answer(encoding: str) -> None:
    encoded = {"Content-Encoding": encoding}
    answers = [said("x", headers=encoded), history(headers=encoded)]
    async with RawServer(answers) as server, client_of(server, retries=ONCE) as toolhouse:
        with pytest.raises(UnexpectedContentError):
            await toolhouse.run("a", "x")
        with pytest.raises(UnexpectedContentError):
            await toolhouse.history("a", "r1")


async def test_an_answer_that_says_identity() -> None:
    answers = [said("x", headers={"Content-Encoding": "identity"})]
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        assert (await toolhouse.run("a", "x")).text == "x"


async def test_a_web_page_is_no_answer_unless_it_has_a_run_id() -> None:
    page = {"Content-Type": "text/html; charset=utf-8"}
    answers = [said("x", run=None, headers=page), said("<b>", headers=page)]
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        with pytest.raises(UnexpectedContentError, match="web page"):
            await toolhouse.run("a", "x")
        assert (await toolhouse.run("a", "x")).text == "<b>"


# Headers


async def test_headers_of_our_own_and_of_the_user() -> None:
    async with RawServer([said("x")]) as server:
        request = await run_with(KEY, server, headers={"X-Mine": "1", "User-Agent": "mine/1"})
    assert request.headers["x-mine"] == "1"
    assert request.headers["user-agent"] == "mine/1"
    async with RawServer([said("x")]) as server:
        assert (await run_with(KEY, server)).headers["user-agent"] == f"toolhouse-async/{__version__}"


@pytest.mark.parametrize(
    "name",
    ["Authorization", "AUTHORIZATION", "Accept-Encoding", "Content-Length", "Content-Type", "Cookie", "Host",
     "Transfer-Encoding"],
)  # fmt: skip
def test_headers_that_are_ours_are_not_overridden(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        AsyncToolhouse(KEY, headers={name: "x"})
    with pytest.raises(ConfigurationError) as by_turn:
        AsyncToolhouse(KEY).stream("a", "x", headers={name: "x"})
    assert str(by_turn.value) == str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [{"X-A": "b\r\nX-Evil: 1"}, {"X-A\n": "b"}, {"X-A": "\0"}, {"": "x"}, {"X A": "b"}, {"X:A": "b"}, {"X-A": 7},
     {7: "x"}, {"X-A": b"b"}, {"Ü": "x"}],
    ids=ascii,
)  # fmt: skip
def test_headers_that_are_none(headers: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AsyncToolhouse(KEY, headers=headers)
    with pytest.raises(ConfigurationError) as by_turn:
        AsyncToolhouse(KEY).stream("a", "x", headers=headers)
    assert str(by_turn.value) == str(caught.value)


async def test_a_header_of_the_users_replaces_one_of_the_same_name_in_any_case() -> None:
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(said("x", until_close=True))
        writer.close()

    async with await asyncio.start_server(script, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with AsyncToolhouse(KEY, base_url=url, headers={"user-agent": "mine/1", "ACCEPT": "x/y"}) as toolhouse:
            await toolhouse.run("a", settle=False)
            await toolhouse.run("a", settle=False, headers={"User-agent": "mine/2"})
    agents = [[line for line in head.split(b"\r\n") if line.lower().startswith(b"user-agent:")] for head in heads]
    assert agents == [[b"user-agent: mine/1"], [b"User-agent: mine/2"]]
    assert [head.lower().count(b"accept:") for head in heads] == [1, 1]


# Ids

BAD_IDS = ["..", ".", "a/b", "a?x", "a#x", "%2e%2e", "", "a b", "ä", "a" * 129, "a\n", "/a", None, 7, b"a"]


@pytest.mark.parametrize("bad", BAD_IDS, ids=ascii)
async def test_ids_that_are_none_are_refused_before_any_io(bad: Any) -> None:
    async with RawServer([]) as server, client_of(server) as toolhouse:
        calls: list[Callable[[], Any]] = [
            lambda: toolhouse.session(bad),
            lambda: toolhouse.stream(bad, "x"),
            lambda: toolhouse.run(bad, "x"),
            lambda: toolhouse.map(bad, ["x"]),
            lambda: toolhouse.history(bad, "r1"),
            lambda: toolhouse.job_status(bad, "r1"),
            lambda: toolhouse.history("a", bad),
            lambda: toolhouse.job_status("a", bad),
        ]
        if bad is not None:
            calls.append(lambda: toolhouse.session("a", run_id=bad))
        for call in calls:
            with pytest.raises(ConfigurationError) as caught:
                if inspect.isawaitable(made := call()):
                    await made
            assert len(str(caught.value)) < 1000
        assert server.connections == 0


async def test_slips_with_an_agent_id_are_refused_wherever_one_is_taken() -> None:
    key = "key-of-mine-0123"
    page = "https://app.toolhouse.ai/agents/0f8fad5b-d9cb-469f-a165-70867728950e"
    async with AsyncToolhouse(key) as toolhouse:
        for agent_id, why in ((page, "https://agents.toolhouse.ai/<agent id>"), (key, "the same")):
            for call in (
                lambda given=agent_id: toolhouse.session(given),
                lambda given=agent_id: toolhouse.stream(given, "x"),
                lambda given=agent_id: toolhouse.map(given, ["x"]),
                lambda given=agent_id: SessionManager(toolhouse, given),
            ):
                with pytest.raises(ConfigurationError, match=why) as caught:
                    call()
                assert key not in str(caught.value)
    with pytest.raises(ConfigurationError, match="another page of Toolhouse"):
        JobToken(page, "r1", "j1", 0.0)


async def test_a_worker_by_its_url() -> None:
    async with RawServer([said("x")] * 3) as server, client_of(server) as toolhouse:
        for url in ("/a", "/a/", "/ndjson/a"):
            assert toolhouse.session(server.url + url).agent_id == "a"
        await toolhouse.run(server.url + "/a", "x")
        assert server.requests[0].path == "/ndjson/a"
        for url in ("https://elsewhere.example/a", server.url + "/a/b", server.url + "/", server.url + "/a?x"):
            with pytest.raises(ConfigurationError):
                toolhouse.session(url)


# Its life


async def test_creating_and_opening_it_sends_nothing() -> None:
    async with RawServer([]) as server, client_of(server) as toolhouse:
        toolhouse.stream("a", "x")
        toolhouse.session("a").stream("x")
        toolhouse.map("a", ["x"])
        assert server.connections == 0


async def test_closing_it() -> None:
    async with RawServer([said("x")]) as server:
        toolhouse = client_of(server)
        await toolhouse.run("a", "x")
        session, turn = toolhouse.session("a", run_id="r1"), toolhouse.stream("a", "x")
        await toolhouse.aclose()
        await toolhouse.aclose()
        for call in (
            lambda: toolhouse.session("a"),
            lambda: toolhouse.stream("a", "x"),
            lambda: toolhouse.run("a", "x"),
            lambda: toolhouse.map("a", ["x"]),
            lambda: toolhouse.history("a", "r1"),
            lambda: toolhouse.job_status("a", "r1"),
            lambda: toolhouse.wait_for_job(JobToken("a", "r1", "j1", 0)),
            lambda: session.stream("x"),
            session.history,
            session.job_status,
            session.reconcile,
            session.wait_for_job,
            turn.result,
            toolhouse.__aenter__,
        ):
            with pytest.raises(ClosedError) as caught:
                if inspect.isawaitable(made := call()):
                    await made
            assert caught.value.safe_to_retry is True  # nothing was sent
        await asyncio.sleep(1)
        assert server.open_connections == 0
        assert len(server.requests) == 1


async def test_closing_it_ends_live_turns() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.path == "/ndjson/streams":
            writer.write(said("x", ends=False))
        await silence(reader)

    async with RawServer(script) as server:
        toolhouse = client_of(server)
        going = [asyncio.ensure_future(toolhouse.run(agent, "x")) for agent in ("streams", "is-silent")]
        await asyncio.sleep(1)
        await toolhouse.aclose()
        for outcome in await asyncio.gather(*going, return_exceptions=True):
            assert isinstance(outcome, ClosedError)
        await asyncio.sleep(1)
        assert server.open_connections == 0


async def test_a_second_event_loop() -> None:
    async with RawServer([said("x"), said("y")]) as server, client_of(server) as toolhouse:
        await toolhouse.run("a", "x")

        def elsewhere() -> list[BaseException]:
            async def use() -> list[Any]:
                session = toolhouse.session("a", run_id="r1")
                calls = (toolhouse.run("a", "x"), session.send("x"), session.history(), toolhouse.__aenter__())
                return await asyncio.gather(*calls, return_exceptions=True)

            return asyncio.run(use())

        for outcome in await asyncio.to_thread(elsewhere):
            assert isinstance(outcome, ConfigurationError)
            assert "event loop" in str(outcome)
        assert (await toolhouse.run("a", "y")).text == "y"


def test_made_anywhere_used_on_the_first_loop_that_comes() -> None:
    toolhouse = AsyncToolhouse(KEY, base_url="http://127.0.0.1:1", retries=ONCE)

    async def use() -> None:
        with pytest.raises(ToolhouseError) as caught:
            await toolhouse.run("a", "x")
        assert not isinstance(caught.value, ConfigurationError)
        await toolhouse.aclose()

    asyncio.run(use())


# What it offers


async def test_history_and_job_status_are_one_get_each() -> None:
    entries = ("user", "x"), ("assistant", "y")
    answers = [history(*entries), history(*entries, job="j1"), history(*entries, job="j1"), history()]
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        assert [(m.role, m.content, m.text) for m in await toolhouse.history("a", "r1")] == [
            ("user", "x", "x"),
            ("assistant", "y", "y"),
        ]
        assert len(await toolhouse.history("a", "r1")) == 2  # also while a job runs
        status = await toolhouse.job_status("a", "r1")
        assert (status.agent_id, status.run_id, status.job_id, status.running) == ("a", "r1", "j1", True)
        assert (await toolhouse.job_status("a", "r1")).running is False
    assert [(request.method, request.path) for request in server.requests] == [("GET", "/a/r1")] * 4


async def test_wait_for_job_takes_a_token_or_a_session() -> None:
    answers = [history(), said("y"), history(), history(), said("z")]
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        token = JobToken("a", "r1", "j1", 0, "text", 3)
        waiter = toolhouse.wait_for_job(token, resume_message="go on")
        assert isinstance(waiter, BackgroundJobWaiter)
        assert waiter.token is not None
        assert waiter.token.job_id == "j1"
        await waiter
        await toolhouse.wait_for_job(toolhouse.session("a", run_id="r2"))
        for bad in ("r1", None, {"run_id": "r1"}):
            with pytest.raises(ConfigurationError):
                toolhouse.wait_for_job(bad)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="no run"):
            toolhouse.wait_for_job(toolhouse.session("a"))
    assert [(request.method, request.path) for request in server.requests] == [
        ("GET", "/a/r1"),
        ("PUT", "/a/r1"),
        ("GET", "/a/r1"),
        ("GET", "/a/r2"),
        ("PUT", "/ndjson/a/r2"),
    ]
    assert server.requests[1].json() == {"message": "go on"}


async def test_a_session_of_another_client() -> None:
    """The contract is silent: a session belongs to the client that made it, key and connections included."""
    async with RawServer([]) as server, client_of(server) as ours, client_of(server) as theirs:
        with pytest.raises(ConfigurationError):
            ours.wait_for_job(theirs.session("a", run_id="r1"))


async def test_turns_of_the_client_are_sessions_of_their_own() -> None:
    async with RawServer([said("x"), said("y", run="r2")]) as server, client_of(server) as toolhouse:
        assert (await toolhouse.run("a", "x")).run_id == "r1"
        async with toolhouse.stream("a", "y") as turn:
            assert (await turn.result()).run_id == "r2"
    assert [request.method for request in server.requests] == ["POST", "POST"]


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"concurrency": True}, {"formt": "text"}, {"timeout": -1}])
async def test_map_refuses_at_once_what_is_wrong(options: Any) -> None:
    async with AsyncToolhouse(KEY) as toolhouse:
        with pytest.raises(ConfigurationError):
            toolhouse.map("a", ["x"], **options)
        for messages in ("words", b"words", 7):
            with pytest.raises(ConfigurationError, match="iterable"):
                toolhouse.map("a", messages)  # type: ignore[arg-type]


async def test_polls_never_queue_behind_streams() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "POST":
            writer.write(said("x", ends=False))
            await silence(reader)
        writer.write(history())

    async with RawServer(script) as server:
        options = {"limits": Limits(max_connections=1), "timeouts": Timeouts(pool=60)}
        async with client_of(server, **options) as toolhouse, toolhouse.stream("a", "x") as turn:
            await anext(turn)
            async with asyncio.timeout(30):
                assert await toolhouse.history("a", "r1") == []
                assert (await toolhouse.job_status("a", "r1")).running is False


async def test_errors_of_the_service_pickle_whole() -> None:
    async with RawServer([response(401, {"X-A": "b"}, b"no", chunked=False)]) as server, client_of(server) as toolhouse:
        with pytest.raises(AuthenticationError) as caught:
            await toolhouse.session("a", run_id="r1").send("x")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is AuthenticationError
    assert (str(copy), copy.status, copy.body, copy.run_id) == (str(caught.value), 401, "no", "r1")
    assert copy.headers["x-a"] == "b"
    assert copy.headers["X-A"] == "b"


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_message_whose_fate_is_unknown_was_sent_once(method: str) -> None:
    async with RawServer(_reset) as server, client_of(server) as toolhouse:
        session = toolhouse.session("a", run_id="r1" if method == "PUT" else None)
        with pytest.raises(OutcomeUnknownError) as caught:
            await session.send("x")
        assert [request.method for request in server.requests] == [method]
    assert caught.value.safe_to_retry is None


# What cannot be sent


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, [{"b": -math.inf}], (1, math.nan), {"b": [math.nan]}, {1: 2}, {"b": {None: 1}}, {1, 2}, b"x",
     "half \ud83d", {"\udc00": 1}, object()],
    ids=lambda value: ascii(value).partition(" at ")[0],
)  # fmt: skip
async def test_what_cannot_be_sent_as_it_is_is_refused_before_anything_is_sent(value: Any) -> None:
    async with RawServer([]) as server, client_of(server) as toolhouse:
        with pytest.raises(ConfigurationError, match="vars cannot be written as JSON"):
            toolhouse.session("a", vars={"a": value})
        with pytest.raises(ConfigurationError, match="extra_body cannot be written as JSON"):
            toolhouse.stream("a", "x", extra_body={"a": value})
        session = toolhouse.session("a", run_id="r1", vars={"a": (changing := {})})
        changing["b"] = value
        with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
            await session.send("x")
        assert server.requests == []


async def test_half_a_character_is_refused_before_anything_is_sent() -> None:
    async with RawServer([]) as server, client_of(server) as toolhouse:
        for option in ("toolhouse_id", "bundle"):
            with pytest.raises(ConfigurationError, match=f"{option} cannot be written"):
                toolhouse.session("a", **{option: "\ud83d"})  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="the message cannot be written"):
            toolhouse.stream("a", "\ud83d")
        with pytest.raises(ConfigurationError, match="resume_message cannot be written"):
            toolhouse.stream("a", "x", resume_message="\ud83d")
        assert server.requests == []


async def test_integers_of_any_size_are_sent_exactly() -> None:
    numbers = {"a": 2**64, "b": [-(2**63) - 1, 10**100], "c": 2**53 + 1, "d": None}
    async with RawServer([said("x")]) as server, client_of(server) as toolhouse:
        await toolhouse.session("a", vars=numbers).send("é", extra_body={"n": 3**99})
    assert json.loads(server.requests[0].body) == {"message": "é", "vars": numbers, "n": 3**99}


def test_an_ssl_context_is_one_or_none() -> None:
    with pytest.raises(ConfigurationError, match="SSLContext"):
        AsyncToolhouse("key", ssl_context=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "proxy",
    [
        "host:1:bob:s3cret",
        "http://host:1:bob:s3cret",
        "http://host:1@bob:s3cret",
        "host:1@bob:s3cret",
        "bob:s3cret",
        "http://bob:s3cret",
        "bob:s3cret host",
    ],
)
def test_a_proxy_that_is_no_url_is_not_shown(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match="such as http://host:3128") as caught:
        AsyncToolhouse("key", proxy=proxy)
    shown = "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in shown.replace(f'"{proxy}"', "").replace("proxy=proxy", "")


@pytest.mark.parametrize("headers", ["X: 1", [("X", "1")], 7])
def test_headers_are_a_mapping(headers: Any) -> None:
    with pytest.raises(ConfigurationError, match="mapping"):
        AsyncToolhouse("key", headers=headers)
