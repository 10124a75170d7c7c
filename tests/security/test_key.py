"""The key comes into nothing but the header of a request."""

from __future__ import annotations

import asyncio
import base64
import copy
import faulthandler
import gc
import importlib
import importlib.util
import logging
import os
import pickle
import pkgutil
import ssl
import traceback
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme

import toolhouse_async
from tests.support.answers import JOB, KEY, ONCE, RUN, chain, client_of, greeting, history, said, text, unused_port
from tests.support.raw_server import RawServer, Request, fin, ndjson, response, rst, silence
from toolhouse_async import (
    AsyncToolhouse,
    ConfigurationError,
    EventDecoder,
    Limits,
    PollingPolicy,
    Timeouts,
    ToolhouseError,
    WorkerError,
)

REAL_TIME = True

PASSWORD = "proxy-canary-5YtR"
BASIC = base64.b64encode(f"user:{PASSWORD}".encode()).decode().rstrip("=")


def shown(error: BaseException) -> str:
    """All that logs and error trackers show of an error, the local variables of every frame included."""
    parts = ["".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())]
    for each in chain(error):
        parts.append(f"{each!r}{each}{each.args!r}{vars(each)!r}")
    return "".join(parts)


async def failed(step: Awaitable[Any]) -> BaseException:
    """What the step raises, out of a frame that holds no key."""
    with pytest.raises((ToolhouseError, asyncio.CancelledError)) as caught:
        await step
    return caught.value


# Ways to fail: what the server does with a message, and what the client is told beside


async def _hangs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
    await silence(reader)


async def _closes(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    fin(writer)


async def _resets(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
    rst(writer)


def _answers(answer: Callable[[str], bytes]) -> Any:
    """Answers with what is made of the Authorization header."""

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(answer(request.headers["authorization"]))
        fin(writer)

    return script


def _cut(authorization: str) -> bytes:
    return response(headers={RUN: "r1", "X-You-Sent": authorization}, body=ndjson(text("x")), ends=False)


FAILURES: dict[str, tuple[Any, dict[str, Any]]] = {
    "closed": (_closes, {}),
    "reset": (_resets, {}),
    "no answer": (_hangs, {"timeouts": Timeouts(response=0.05)}),
    "no HTTP": (_answers(lambda said: f"{said}\r\n\r\n".encode()), {}),
    "401": (_answers(lambda said: response(401, {"X-You-Sent": said}, said.encode(), chunked=False)), {}),
    "429": (_answers(lambda said: response(429, {"X-You-Sent": said}, said.encode(), chunked=False)), {}),
    "500 cut": (_answers(lambda said: response(500, body=said.encode(), ends=False)), {}),
    "redirect": (_answers(lambda said: response(302, {"Location": f"/?{said}"}, chunked=False)), {}),
    "run id": ([response(headers={RUN: "../x"}), response(headers={RUN: ""}), response(404)], {}),
    "gzip": ([response(headers={RUN: "r1", "Content-Encoding": "gzip"})] * 3, {}),
    "cut": (_answers(_cut), {}),
    "long line": (
        _answers(lambda said: response(headers={RUN: "r1"}, body=b"x" * 999)),
        {"limits": Limits(max_line=9)},
    ),
    "long body": (
        _answers(lambda said: response(headers={RUN: "r1"}, body=b"x" * 999)),
        {"limits": Limits(max_body=9)},
    ),
}


@pytest.mark.parametrize("way", FAILURES)
async def test_the_key_is_not_in_the_locals_of_a_traceback(way: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    script, options = FAILURES[way]
    async with RawServer(script) as server, client_of(server, retries=ONCE, **options) as toolhouse:
        for step in (
            toolhouse.run("a", "x", recover=False),
            toolhouse.session("a", run_id="r1").send("x", recover=False),
            toolhouse.history("a", "r1"),
        ):
            assert KEY not in shown(await failed(step))
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    assert KEY not in caplog.text


async def test_the_key_is_not_in_the_locals_where_nothing_was_sent() -> None:
    async with greeting(b"") as port:
        for url in (f"http://127.0.0.1:{unused_port()}", f"https://127.0.0.1:{port}", "http://nowhere.invalid"):
            async with AsyncToolhouse(KEY, base_url=url, retries=ONCE, allow_insecure=True) as toolhouse:
                assert KEY not in shown(await failed(toolhouse.run("a", "x")))


async def test_the_key_is_not_in_the_locals_of_a_cancelled_turn() -> None:
    async with RawServer(_hangs) as server, client_of(server) as toolhouse:
        going = asyncio.ensure_future(toolhouse.run("a", "x"))
        while not server.requests:
            await asyncio.sleep(0.01)
        assert KEY not in repr(going)
        going.cancel()
        assert KEY not in shown(await failed(going))


async def test_the_key_is_in_no_error_of_a_worker() -> None:
    for said_back in ({"message": f"bad key {KEY}", "code": KEY}, {"error": {"message": KEY}}, {"error": {"key": KEY}}):
        answer = response(headers={RUN: "r1"}, body=ndjson({"type": "error", **said_back}))
        async with RawServer([answer]) as server, client_of(server) as toolhouse:
            turn = toolhouse.stream("a", "x")
            with pytest.raises(WorkerError) as caught:
                await turn.result()
        for each in chain(caught.value):
            assert KEY not in f"{each!r}{each}{each.args!r}{vars(each)!r}"
        assert KEY.encode() not in pickle.dumps(caught.value)


async def test_the_key_is_in_no_error_of_a_wait() -> None:
    """What polls that failed had said is told in the end."""
    refusal = response(500, {"X-You-Sent": KEY}, f"bad key {KEY}".encode(), chunked=False)
    policy = PollingPolicy(min_interval=0.01, max_interval=0.01, failure_budget=1, failure_window=0)
    async with RawServer([said("x", job="j1"), refusal]) as server, client_of(server, polling=policy) as toolhouse:
        assert KEY not in shown(await failed(toolhouse.run("a", "x")))


async def test_the_key_is_in_no_log_however_much_is_logged(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every logger at its lowest level, and asyncio's debug mode naming every callback, with TLS and without."""
    caplog.set_level(0)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    authority, serving, trusting = (
        trustme.CA(),
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
        ssl.create_default_context(),
    )
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    authority.configure_trust(trusting)
    for tls in (None, serving):
        answers = [said("x", job="j1"), history(job="j1"), history(), said("y"), response(401, chunked=False)]
        async with RawServer(answers, tls=tls) as server:
            polling = PollingPolicy(min_interval=0.01, max_interval=0.01)
            async with client_of(server, ssl_context=trusting, polling=polling) as toolhouse:
                session = toolhouse.session("a")
                await session.send("x")
                await failed(session.send("y"))
    loop.set_debug(False)
    assert any("Executing <" in record.getMessage() for record in caplog.records)
    for record in caplog.records:
        assert KEY not in f"{record.getMessage()}{record.args!r}{record.__dict__!r}"
    assert KEY not in "".join(capfd.readouterr())
    assert logging.getLogger("toolhouse_async").level == logging.NOTSET


def _parts(root: Any) -> list[Any]:
    """An object and everything of this library that its attributes lead to."""
    found, left = [], [root]
    while left:
        each = left.pop()
        if any(each is other for other in found) or not type(each).__module__.startswith("toolhouse_async"):
            continue
        found.append(each)
        slots = [name for kind in type(each).__mro__ for name in getattr(kind, "__slots__", ())]
        left += [*getattr(each, "__dict__", {}).values(), *(getattr(each, name, None) for name in slots)]
    return found


async def test_the_key_is_in_no_object_that_is_shown_copied_or_pickled() -> None:
    async with RawServer([said("x"), said("y", job="j")]) as server, client_of(server) as toolhouse:
        session = toolhouse.session("a")
        await session.send("x")
        turn = session.stream("y", background="detach")
        waiter = session.wait_for_job()
        parts = [part for root in (toolhouse, session, turn, waiter) for part in _parts(root)]
        assert {"AsyncToolhouse", "Session", "Turn", "Credentials", "Secret", "AiohttpTransport", "HTTPService"} <= {
            type(part).__name__ for part in parts
        }
        for part in parts:
            state = getattr(part, "__dict__", {})
            assert KEY not in f"{part!r}{part}{state!r}{state.keys()}"
            assert KEY not in repr(copy.copy(part)) if type(part).__name__ in ("AsyncToolhouse", "Session") else True
        for whole in (toolhouse, session, turn, waiter):
            with pytest.raises(TypeError):
                pickle.dumps(whole)
        result = await turn.result()
        assert KEY.encode() not in pickle.dumps((result, turn.headers))


async def test_the_key_is_in_no_warning_and_no_report_of_the_loop() -> None:
    """A turn and a client that are abandoned in the middle of an answer."""
    reports: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(repr(context)))
    async with RawServer([said("x", ends=False)]) as server:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            toolhouse = client_of(server)
            turn = toolhouse.stream("a", "x")
            await anext(turn)
            await toolhouse._transport.aclose()
            del turn, toolhouse
            gc.collect()
            await asyncio.sleep(0.05)
    assert any("was abandoned" in str(each.message) for each in caught)
    assert KEY not in "".join([*(str(each.message) for each in caught), *reports])


async def test_the_key_is_in_no_dump_of_faulthandler(tmp_path: Path) -> None:
    """It writes the frames of a crashing interpreter, without their variables."""
    with (tmp_path / "dump").open("w+") as file:

        async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
            faulthandler.dump_traceback(file)
            writer.write(said("x"))

        def key() -> str:
            faulthandler.dump_traceback(file)
            return KEY

        async with RawServer(script) as server, client_of(server, api_key=key) as toolhouse:
            await toolhouse.run("a", "x")
        file.seek(0)
        dumped = file.read()
    assert "_http/credentials.py" in dumped
    assert KEY not in dumped


async def test_the_key_is_not_taken_for_an_id() -> None:
    """A service that echoes the key as a run id would have it stand in every later URL, log and error."""
    async with RawServer([response(headers={RUN: KEY})]) as server, client_of(server) as toolhouse:
        session = toolhouse.session("a")
        error = await failed(session.send("x"))
        assert KEY not in f"{error!r}{error}{vars(error)!r}{session!r}{session.run_id}"


# Pieces of it: what is cut before it is blacked out, or taken apart on its way


def _has_a_piece(told: str, key: str = KEY) -> bool:
    """Whether eight characters of the key one after another stand in a text, in whatever case."""
    told, key = told.lower(), key.lower()
    return any(key[at : at + 8] in told for at in range(len(key) - 7))


LONG_KEY = "th-live-0123456789abcdefghijklmnopqrstuvwxyz"
"""Of such a length that what shows some characters of a header cuts it in half."""
BROKEN = b"HTTP/1.1 200 OK\r\nX-A: "
ECHOES: dict[str, Callable[[str], list[bytes]]] = {
    "content encoding": lambda key: [response(headers={RUN: "r1", "Content-Encoding": key})],
    "content encoding behind words": lambda key: [response(headers={RUN: "r", "Content-Encoding": f"{'y' * 20}{key}"})],
    "name of a header": lambda key: [response(401, {f"X-{key}": "x"}, chunked=False)],
    "name of a header in capitals": lambda key: [response(401, {f"X-{key.upper()}": "x"}, chunked=False)],
    "run id": lambda key: [response(headers={RUN: f"{'/' * 150}{key}"})],
    "run ids": lambda key: [
        response(headers={RUN: "/" * 160 + key, RUN.lower(): "r"}, chunked=False),
    ],
    "job id": lambda key: [response(headers={RUN: "r1", JOB: key})],
    "job id that is cut": lambda key: [response(headers={RUN: "r", JOB: "j" * (257 - len(key)) + key}, body=b"[]")],
    "job id without the last character": lambda key: [response(headers={RUN: "r1", JOB: f"j-{key[:-1]}"}, body=b"[]")],
    "run id that begins as it does": lambda key: [response(headers={RUN: key[:8]}, body=b"[]")],
    "second job id": lambda key: [response(headers={RUN: "r1", JOB: "j", JOB.lower(): key}, body=b"[]")],
    "length": lambda key: [b"HTTP/1.1 200 OK\r\nContent-Length: 5%b\r\n\r\n" % key.encode()],
    "status line": lambda key: [f"HTTP/1.1 {key} OK\r\n\r\n".encode()],
    "no HTTP": lambda key: [f"{key}\r\n\r\n".encode()],
    "no HTTP, behind words": lambda key: [f"{'x' * 480}{key}\r\n\r\n".encode()],
    "broken header": lambda key: [f"HTTP/1.1 200 OK\r\nX-{key}\x00: x\r\n\r\n".encode()],
    "broken header in two segments": lambda key: [BROKEN + key[:-1].encode(), key[-1:].encode() + b"\x00\x01\r\n\r\n"],
    "broken name in two segments": lambda key: [
        b"HTTP/1.1 200 OK\r\nX-" + key[:-1].encode(),
        key[-1:].encode() + b" \x01\r\n\r\n",
    ],
    "too long a head": lambda key: [BROKEN + b"x" * 9000 + key.encode() + b"x" * 9000],
    "head that is cut": lambda key: [BROKEN + key.encode(), b""],
    "broken chunk": lambda key: [response(headers={RUN: "r1"}, ends=False) + key.encode() + b"\r\n"],
    "body that is cut": lambda key: [response(500, body=b"x" * 65_536 + key.encode(), chunked=False)],
    "body cut in the key": lambda key: [response(500, body=b"x" * (65_539 - len(key)) + key.encode())],
    "redirect": lambda key: [response(302, {"Location": f"http://x/{'y' * 250}{key}"}, chunked=False)],
    "cookie": lambda key: [response(401, {"Set-Cookie": f"{key}=x; {key}"}, chunked=False)],
    "authenticate": lambda key: [response(401, {"WWW-Authenticate": f'Bearer error="{key}"'}, chunked=False)],
    "line that is none": lambda key: [response(headers={RUN: "r1"}, body=key.encode() + b"\n", chunked=False)],
    "history that is none": lambda key: [response(headers={RUN: "r"}, body=b'{"' + key.encode() + b'": 1}')],
}  # fmt: skip


@pytest.mark.parametrize("way", ECHOES)
async def test_no_piece_of_the_key_is_in_an_error_or_a_log(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """A service that repeats it anywhere, at every place where our words about that could be cut within it."""
    caplog.set_level(0)
    parts = ECHOES[way](LONG_KEY)

    async def script(reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        fin(writer)

    options: dict[str, Any] = {"api_key": LONG_KEY, "retries": ONCE, "decoder": EventDecoder(strict=True)}
    once: dict[str, Any] = {"recover": False, "settle": False, "background": "detach"}
    async with RawServer(script) as server, client_of(server, **options) as toolhouse:
        for step in (
            toolhouse.run("a", "x", **once),
            toolhouse.session("a", run_id="r1").send("x", **once),
            toolhouse.history("a", "r1"),
            toolhouse.job_status("a", "r1"),
        ):
            [came] = await asyncio.gather(step, return_exceptions=True)
            told = repr(getattr(came, "token", came))
            if isinstance(came, BaseException):
                assert isinstance(came, ToolhouseError)
                assert len(str(came)) < 600
                told = f"{came!r}{came}{came.args!r}{vars(came)!r}{getattr(came, 'body', '')}"
                told += "".join(f"{name}{value}" for name, value in came.headers.items())
                told += "".join(traceback.TracebackException.from_exception(came).format())
            assert not _has_a_piece(told, LONG_KEY), told
    assert not _has_a_piece(caplog.text, LONG_KEY)


async def test_the_key_is_not_taken_for_an_id_that_comes_as_the_turn_is_cancelled() -> None:
    """Neither as it is nor cut: the head is there in the very moment in which the reader is gone."""
    for header in ({RUN: KEY}, {RUN: "r1", JOB: KEY}, {RUN: "r1", JOB: "j" * 250 + KEY}):
        async with RawServer(_hangs) as server, client_of(server) as toolhouse:
            turn = toolhouse.stream("a", "x")
            going = asyncio.ensure_future(turn.result())
            while not server.requests:
                await asyncio.sleep(0.01)
            head = response(headers=header, chunked=False)
            next(iter(server._tasks.values())).write(head)
            connection = next(iter(toolhouse._transport._sessions.values())).connector
            assert connection is not None
            (protocol,) = connection._acquired
            protocol.data_received(head)  # it and the cancellation come in one pass of the loop
            going.cancel()
            error = await failed(going)
            assert not _has_a_piece(f"{error!r}{turn.run_id!r}{turn.job_id!r}{turn!r}")


# Frames


def _frames(error: BaseException) -> str:
    """All that trackers of errors make of the frames of an error: the standard library's words, and rich's."""
    from io import StringIO

    from rich.console import Console
    from rich.traceback import Traceback

    console = Console(file=StringIO(), width=400)
    tracebacks = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=1000, locals_max_string=30
    )
    for frame in (frame for stack in tracebacks.trace.stacks for frame in stack.frames):
        frame.filename = f"<{frame.filename}>"  # its lines, which hold no values, would be coloured for long
    console.print(tracebacks)
    assert isinstance(console.file, StringIO)
    return shown(error) + console.file.getvalue()


def _bare(error: BaseException, key: str) -> list[str]:
    """Frames of ours in which a variable is the key, shown or not."""
    found = []
    for each in chain(error):
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if f"toolhouse_async{os.sep}" in frame.f_code.co_filename and "tests" not in frame.f_code.co_filename:
                found += [
                    frame.f_code.co_qualname if hasattr(frame.f_code, "co_qualname") else frame.f_code.co_name
                    for value in frame.f_locals.values()
                    if isinstance(value, str | bytes) and key in str(value)
                ]
    return found


def _refused(api_key: Any, **options: Any) -> BaseException:
    """What the constructor raises; of the frames only those of ours."""
    with pytest.raises(ConfigurationError) as caught:
        AsyncToolhouse(api_key, **options)
    caught.value.__traceback__ = caught.value.__traceback__ and caught.value.__traceback__.tb_next
    return caught.value


@pytest.mark.parametrize(
    "api_key", [f"{KEY}\n", f" {KEY}", f"{KEY}é", f"{KEY}\r\nX: y", KEY.encode(), [KEY], {"key": KEY}]
)
def test_a_key_that_is_refused_is_in_no_frame(api_key: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    error = _refused(api_key)
    assert KEY not in _frames(error)
    assert not _bare(error, KEY)
    if isinstance(api_key, str):
        monkeypatch.setenv("TOOLHOUSE_API_KEY", api_key)
        error = _refused(None)
        assert KEY not in _frames(error)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": "ftp://x"},
        {"base_url": "http://agents.invalid"},
        {"proxy": "x"},
        {"ssl_context": False},
        {"headers": {"": ""}},
        {"headers": 5},
    ],
)
def test_the_key_is_in_no_frame_where_another_argument_is_refused(options: dict[str, Any]) -> None:
    error = _refused(KEY, **options)
    assert KEY not in _frames(error)
    assert not _bare(error, KEY)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("api_key", [f"{KEY}\n", KEY.encode(), [KEY]])
async def test_a_key_of_a_function_that_is_refused_is_in_no_frame(api_key: Any, is_async: bool) -> None:
    async def later() -> Any:
        return api_key

    def ask() -> Any:
        return later() if is_async else api_key

    async with RawServer([]) as server, client_of(server, api_key=ask) as toolhouse:
        for step in (toolhouse.run("a", "x"), toolhouse.history("a", "r1")):
            error = await failed(step)
            told = _frames(error)
            assert KEY not in told.replace(repr(api_key), "")  # a variable of this test's own function
            assert not _bare(error, KEY)


async def test_a_long_key_is_in_no_frame_that_is_shown_cut() -> None:
    """Trackers cut long values before they show them."""
    async with RawServer(_resets) as server, client_of(server, api_key=LONG_KEY, retries=ONCE) as toolhouse:
        told = _frames(await failed(toolhouse.run("a", "x")))
    assert not _has_a_piece(told, LONG_KEY)


def _classes() -> list[type]:
    """Every class of the package, but for what needs an extra that not all tests have."""
    names = [each.name for each in pkgutil.walk_packages(toolhouse_async.__path__, "toolhouse_async.")]
    absent = () if importlib.util.find_spec("mcp") else ("toolhouse_async._cli.mcp_server.",)
    names = [name for name in names if not name.endswith("__main__") and not name.startswith(absent)]
    modules = [importlib.import_module(name) for name in names]
    found = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    return sorted((each for each in found if each.__module__.startswith("toolhouse_async")), key=repr)


def test_what_is_half_made_can_be_shown() -> None:
    """A constructor that raises leaves such an object in its frame."""
    for kind in _classes():
        is_ours = str(getattr(kind.__repr__, "__module__", "")).startswith("toolhouse_async")
        if is_ours and (kind.__module__ == "toolhouse_async.events" or not attrs.has(kind)):
            with suppress(TypeError):  # it is not made without all its parts
                half = kind.__new__(kind)
                assert repr(half), kind


# A proxy's password


@pytest.mark.parametrize("base_url", ["http://agents.invalid", "https://agents.invalid"])
@pytest.mark.parametrize("status", [None, 407, 502])
async def test_the_password_of_a_proxy_is_in_no_error_and_no_log(
    base_url: str, status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    script = _closes if status is None else [response(status, body=b"no", chunked=False)]
    async with RawServer(script) as proxy:
        url = proxy.url.replace("//", f"//user:{PASSWORD}@")
        async with AsyncToolhouse(KEY, base_url=base_url, proxy=url, allow_insecure=True, retries=ONCE) as toolhouse:
            error = await failed(toolhouse.run("a", "x"))
            told = f"{shown(error)}{caplog.text}{toolhouse!r}"
        assert BASIC in proxy.requests[0].headers["proxy-authorization"]
        assert ("authorization" in proxy.requests[0].headers) == base_url.startswith("http:")
    assert PASSWORD not in told
    assert BASIC not in told


async def test_the_password_of_a_proxy_is_in_no_error_where_it_cannot_be_reached() -> None:
    for host in (f"127.0.0.1:{unused_port()}", "nowhere.invalid:3128"):
        proxy = f"http://user:{PASSWORD}@{host}"
        async with AsyncToolhouse(KEY, base_url="https://agents.invalid", proxy=proxy, retries=ONCE) as toolhouse:
            told = shown(await failed(toolhouse.run("a", "x")))
            assert PASSWORD not in told
            assert BASIC not in told
