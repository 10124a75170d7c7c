"""Headers and times of one turn: all of its requests have them, and no other."""

from __future__ import annotations

import asyncio
from itertools import repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    Scripted,
    assistant,
    broken_off,
    connect,
    falls_silent,
    history,
    now,
    refused,
    said,
    streamed,
    user,
)
from tests.support.raw_server import RawServer, response, rst
from toolhouse_async import (
    AsyncToolhouse,
    ConnectTimeoutError,
    IdleTimeoutError,
    Limits,
    OutcomeUnknownError,
    PollingPolicy,
    RecoveryPolicy,
    RedirectError,
    ResponseTimeoutError,
    RetryPolicy,
    Session,
    SessionManager,
    StreamInterruptedError,
    Timeouts,
    TurnResult,
)

MINE = {"X-Mine": "1"}
EVERY_SECOND = PollingPolicy(min_interval=1, max_interval=1, jitter=0)
ANSWERED = history(user("hi"), assistant("done"))


def own(server: RawServer, name: str = "x-mine") -> list[str]:
    """Each request's method, with its own header."""
    return [f"{request.method} {request.headers.get(name, '-')}" for request in server.requests]


async def test_every_request_of_a_turn_has_its_headers_and_none_of_the_next_turn() -> None:
    job = streamed(said("wait"), job=JOB)
    post = [refused(429, Retry_After="1"), job]
    get = [history(job=JOB), history(user("hi"), assistant("wait")), history(user("x"), assistant("y"))]
    put = [streamed(said("done")), streamed(said("y"), run="run-2")]
    async with Scripted(post=post, get=get, put=put) as server, connect(server, polling=EVERY_SECOND) as toolhouse:
        session = toolhouse.session(AGENT)
        result = await session.send("hi", headers=MINE)
        assert result.text == "waitdone"
        await session.send("x")
        await session.history()
    assert own(server) == ["POST 1", "POST 1", "GET 1", "GET 1", "PUT 1", "PUT -", "GET -"]


async def test_they_stand_beside_those_of_the_client_or_in_their_place() -> None:
    everywhere = {"X-Mine": "0", "X-All": "a"}
    async with Scripted(post=[streamed(said("x"))] * 3) as server, connect(server, headers=everywhere) as toolhouse:
        for headers in ({"x-mine": "1"}, None, {}):
            await toolhouse.run(AGENT, "hi", headers=headers)
    assert own(server) == ["POST 1", "POST 0", "POST 0"]
    assert own(server, "x-all") == ["POST a"] * 3
    assert len({request.headers["authorization"] for request in server.requests}) == 1


async def test_readings_that_heal_a_cut_answer_have_them() -> None:
    post = [broken_off(streamed(said("do"), ends=False), rst)]
    async with Scripted(post=post, get=repeat(ANSWERED)) as server, connect(server) as toolhouse:
        assert (await toolhouse.run(AGENT, "hi", headers=MINE)).text == "done"
    assert set(own(server)) == {"POST 1", "GET 1"}


async def test_reconciling_goes_on_with_those_of_the_turn_and_the_next_turn_has_its_own() -> None:
    post = [streamed(said("x"))]
    put = [broken_off(b"", rst), streamed(said("y"))]
    get = repeat(history(user("a"), assistant("x"), user("b"), assistant("done")))
    async with Scripted(post=post, put=put, get=get) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await session.send("a")
        with pytest.raises(OutcomeUnknownError):
            await session.send("b", headers=MINE)
        found = await session.reconcile()
        assert found is not None
        assert found.text == "done"
        await session.send("c", headers={"X-Mine": "2"})
    assert own(server)[:3] == ["POST -", "PUT 1", "GET 1"]
    assert own(server)[-1] == "PUT 2"
    assert set(own(server)[2:-1]) == {"GET 1"}


async def _by_session(session: Session, **options: Any) -> None:
    await session.send("x", **options)


async def _by_ask(session: Session, **options: Any) -> None:
    assert await session.ask("x", int, **options) == 7


async def _by_stream(session: Session, **options: Any) -> None:
    async with session.stream("x", **options) as turn:
        await turn.result()


@pytest.mark.parametrize("ask", [_by_session, _by_ask, _by_stream])
async def test_all_that_begins_a_turn_of_a_session_takes_them(ask: Any) -> None:
    async with Scripted(post=[streamed(said("7"))]) as server, connect(server) as toolhouse:
        await ask(toolhouse.session(AGENT), headers=MINE)
    assert own(server) == ["POST 1"]


async def test_maps_and_managers_and_recoveries_take_them() -> None:
    post = [streamed(said("x"))] * 5
    async with Scripted(post=post, get=repeat(ANSWERED)) as server, connect(server) as toolhouse:
        async with toolhouse.map(AGENT, ["a", "b"], headers=MINE) as items:
            assert [item.error async for item in items] == [None, None]
        async with toolhouse.stream(AGENT, "a", headers=MINE) as turn:
            await turn.result()
        async with SessionManager(toolhouse, AGENT) as manager:
            await manager.send("k", "a", headers=MINE)
            async with manager.stream("l", "a", headers=MINE) as turn:
                await turn.result()
        assert own(server) == ["POST 1"] * 5
        assert (await toolhouse.recover(AGENT, "run-9", headers=MINE)).text == "done"
    assert set(own(server)[5:]) == {"GET 1"}


async def test_a_redirect_takes_them_nowhere() -> None:
    async with RawServer([]) as elsewhere:
        moved = response(307, {"Location": elsewhere.url + "/a"}, chunked=False)
        async with Scripted(post=[moved]) as server, connect(server) as toolhouse:
            with pytest.raises(RedirectError):
                await toolhouse.run(AGENT, "hi", headers=MINE)
            assert own(server) == ["POST 1"]
        assert elsewhere.connections == 0


# What several turns share


@pytest.mark.parametrize("headers", [None, {}, MINE], ids=["none", "empty", "own"])
async def test_polls_are_shared_by_those_who_have_the_same_and_the_resume_by_all(
    headers: dict[str, str] | None,
) -> None:
    began = now()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any) -> None:
        if request.method == "GET":
            writer.write(history(user("hi"), assistant("wait"), job=JOB if now() < began + 5 else None))
        else:
            writer.write(streamed(said("done")) if request.method == "PUT" else streamed(said("wait"), job=JOB))

    async with RawServer(answer) as server, connect(server, polling=EVERY_SECOND) as toolhouse:
        session = toolhouse.session(AGENT)
        async with session.stream("hi", headers=headers) as turn:
            waiter = asyncio.ensure_future(_waited(session))
            assert (await turn.result()).text == "waitdone"
            assert (await waiter).text == "done"
    found = own(server)
    its, others = ("1", "-") if headers else ("-", "1")
    assert len([each for each in found if each.startswith("PUT")]) == 1
    assert found.count(f"GET {its}") >= 4
    if headers:
        assert found.count(f"GET {others}") >= 4
    else:
        assert found.count("GET -") <= 6


async def _waited(session: Session) -> TurnResult:
    while session.run_id is None:
        await asyncio.sleep(0.1)
    return await session.wait_for_job()


async def test_the_times_of_a_shared_resume_are_those_of_the_turn_that_sends_it() -> None:
    gets = [history(job=JOB), *repeat(history(user("hi"), assistant("wait")), 9)]
    put = falls_silent(streamed(said("do"), ends=False))
    async with Scripted(post=[streamed(said("wait"), job=JOB)], get=gets, put=[put]) as server:
        recovery = RecoveryPolicy(quiet=0, deadline=1)
        async with connect(server, polling=EVERY_SECOND, recovery=recovery) as toolhouse:
            session = toolhouse.session(AGENT)
            turn = asyncio.ensure_future(session.send("hi", timeouts=Timeouts(idle=50), recover=False))
            while server.requests[-1:] == [] or server.requests[-1].method != "PUT":
                await asyncio.sleep(0.1)
            began = now()
            ends = await asyncio.gather(turn, session.wait_for_job(), return_exceptions=True)
    assert [type(error) for error in ends] == [IdleTimeoutError, StreamInterruptedError]
    assert now() - began == pytest.approx(50, abs=3)  # for whoever joined it, who would wait 300
    assert [request.method for request in server.requests].count("PUT") == 1


# Times


async def test_silence_between_bytes() -> None:
    post = [falls_silent(streamed(said("do"), ends=False))] * 2
    async with Scripted(post=post) as server, connect(server) as toolhouse:
        for timeouts, seconds in ((Timeouts(idle=5), 5), (None, 300)):
            began = now()
            with pytest.raises(IdleTimeoutError, match=f"for {seconds} s"):
                await toolhouse.run(AGENT, "hi", recover=False, timeouts=timeouts)
            assert now() - began == pytest.approx(seconds, abs=1)


async def test_the_time_for_an_answer() -> None:
    async with Scripted(post=[falls_silent()] * 2) as server, connect(server) as toolhouse:
        for timeouts, seconds in ((Timeouts(response=5), 5), (None, 600)):
            began = now()
            with pytest.raises(ResponseTimeoutError, match=f"within {seconds} s"):
                await toolhouse.run(AGENT, "hi", timeouts=timeouts)
            assert now() - began == pytest.approx(seconds, abs=1)


async def test_the_time_for_an_answer_of_a_poll() -> None:
    post = [streamed(said("do"), job=JOB)]
    get = [falls_silent(), history(user("hi"), assistant("do"))]
    began = now()
    put = [streamed(said("ne"))]
    async with Scripted(post=post, get=get, put=put) as server, connect(server, polling=EVERY_SECOND) as toolhouse:
        result = await toolhouse.run(AGENT, "hi", timeouts=Timeouts(response=5))
    assert result.text == "done"
    assert now() - began < 10  # not the half minute that a poll may take


async def test_the_wait_for_a_connection() -> None:
    post = [falls_silent(streamed(said("do"), ends=False))]
    options: dict[str, Any] = {"limits": Limits(max_connections=1), "retries": RetryPolicy(max_attempts=1)}
    async with Scripted(post=post) as server, connect(server, **options) as toolhouse, toolhouse.stream(AGENT, "hi"):
        began = now()
        with pytest.raises(ConnectTimeoutError, match=r"within Timeouts.pool \(5 s\)"):
            await toolhouse.run(AGENT, "hi", timeouts=Timeouts(pool=5))
        assert now() - began == pytest.approx(5, abs=1)


async def test_the_time_to_connect() -> None:
    async with RawServer(_never) as server:  # which does not shake hands
        url = server.url.replace("http:", "https:")
        async with AsyncToolhouse("key", base_url=url, retries=RetryPolicy(max_attempts=1)) as toolhouse:
            for timeouts, seconds in ((Timeouts(connect=3), 3), (None, 10)):
                began = now()
                with pytest.raises(ConnectTimeoutError):
                    await toolhouse.run(AGENT, "hi", timeouts=timeouts)
                assert now() - began == pytest.approx(seconds, abs=1)


async def _never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Any) -> None:
    raise AssertionError("nothing is asked in the clear")
