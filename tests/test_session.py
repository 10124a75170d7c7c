from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.answers import client_of, history, said
from tests.support.raw_server import RawServer, fin, ndjson, response, silence
from toolhouse_async import (
    AsyncToolhouse,
    ClosedError,
    ConfigurationError,
    OutcomeUnknownError,
    ProtocolError,
    ServerError,
    UncertainSessionError,
    WorkerError,
)


@asynccontextmanager
async def talk(script: Any, **options: Any) -> AsyncIterator[tuple[RawServer, AsyncToolhouse]]:
    async with RawServer(script) as server, client_of(server, **options) as toolhouse:
        yield server, toolhouse


async def test_before_the_first_answer() -> None:
    async with talk([]) as (server, toolhouse), toolhouse.session("a") as session:
        assert (session.agent_id, session.run_id) == ("a", None)
        assert repr(session) == "<Session of agent a, run None>"
        assert await session.history() == []
        assert await session.reconcile() is None
        for call in (session.job_status, session.wait_for_job):
            with pytest.raises(ConfigurationError, match="no run"):
                made = call()
                await made
        assert server.connections == 0


async def test_its_run_id_is_that_of_the_latest_answer() -> None:
    answers = [said("x"), said("y", run="r2"), said("z", run=None), history(), history()]
    async with talk(answers) as (server, toolhouse):
        session = toolhouse.session("a")
        for expected in ("r1", "r2", "r2"):
            await session.send("x")
            assert session.run_id == expected
        assert repr(session) == "<Session of agent a, run r2>"
        await session.history()
        assert (await session.job_status()).run_id == "r2"
    assert [request.path for request in server.requests] == [
        "/ndjson/a", "/ndjson/a/r1", "/ndjson/a/r2", "/a/r2", "/a/r2",
    ]  # fmt: skip


async def test_a_start_without_a_run_id_is_an_error_once_it_is_needed() -> None:
    async with talk([said("x", run=None)]) as (server, toolhouse):
        session = toolhouse.session("a")
        assert (await session.send("x")).run_id is None
        for call in (session.history, session.job_status, lambda: session.send("y")):
            with pytest.raises(ProtocolError, match="X-Toolhouse-Run-ID"):
                await call()
        assert len(server.requests) == 1


async def test_what_goes_with_every_message() -> None:
    answers = [said("x"), said("y", job="j1"), history(), said("z")]
    async with talk(answers) as (server, toolhouse):
        session = toolhouse.session("a", toolhouse_id="u1", vars={"name": "Ada"}, bundle="tools")
        await session.send("x", extra_body={"mode": "fast"})
        await session.send("y", resume_message="go on")
    extras = {"toolhouse_id": "u1", "vars": {"name": "Ada"}, "bundle": "tools"}
    assert [request.json() for request in server.requests if request.body] == [
        {"message": "x", "mode": "fast"} | extras,
        {"message": "y"} | extras,
        {"message": "go on"},
    ]


@pytest.mark.parametrize("bad", [{"toolhouse_id": 7}, {"bundle": ["x"]}, {"vars": [("a", 1)]}, {"vars": "x"}])
async def test_what_cannot_go_with_a_message(bad: Any) -> None:
    async with talk([]) as (_, toolhouse):
        with pytest.raises(ConfigurationError, match=next(iter(bad))):
            toolhouse.session("a", **bad)


@pytest.mark.parametrize("bad", [{"vars": {"x": object()}}, {"vars": {"x": {1, 2}}}, {"vars": {"x": "\ud800"}}])
async def test_what_is_no_json_is_refused_before_any_io(bad: Any) -> None:
    async with talk([]) as (server, toolhouse):
        with pytest.raises(ConfigurationError):
            await toolhouse.session("a", **bad).send("x")
        with pytest.raises(ConfigurationError):
            await toolhouse.session("a").send("x", extra_body=bad)
        assert server.connections == 0


@pytest.mark.parametrize("bad", [7, b"x", ["x"], {"message": "x"}])
async def test_a_message_is_a_string(bad: Any) -> None:
    async with talk([]) as (_, toolhouse):
        with pytest.raises(ConfigurationError, match="message"):
            toolhouse.session("a").stream(bad)


async def test_closing_a_session_ends_its_turns_and_nothing_else() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: object) -> None:
        writer.write(said("x", ends=False))
        await silence(reader)

    async with talk(script) as (server, toolhouse):
        ours, theirs = toolhouse.session("a"), toolhouse.session("a")
        turn, other = ours.stream("x"), theirs.stream("x")
        await anext(turn)
        await anext(other)
        await ours.aclose()
        await ours.aclose()
        with pytest.raises(ClosedError, match="session"):
            await turn.result()
        await anext(other)
        await asyncio.sleep(1)
        assert server.open_connections == 1
        for call in (ours.history, ours.job_status, ours.reconcile, lambda: ours.stream("x"), ours.wait_for_job):
            with pytest.raises(ClosedError, match="session"):
                made = call()
                await made  # type: ignore[misc]
        await theirs.aclose()


async def test_sessions_on_one_run_go_on_from_each_other() -> None:
    async with talk([said("x"), said("y")]) as (server, toolhouse):
        result = await toolhouse.session("a").send("x")
        session = toolhouse.session("a", run_id=result.run_id)
        await session.send("y")
    assert [request.method for request in server.requests] == ["POST", "PUT"]


def lost_once() -> Callable[..., Awaitable[None]]:
    """A server that drops the first message, and answers every further one."""
    dropped: list[bool] = []

    async def script(reader: object, writer: asyncio.StreamWriter, _: object) -> None:
        if dropped:
            writer.write(said("x"))
        else:
            dropped.append(True)
            fin(writer)

    return script


async def test_a_start_of_unknown_fate_is_never_known_and_not_sent_again() -> None:
    async with talk(lost_once()) as (server, toolhouse):
        session = toolhouse.session("a")
        for call in (lambda: session.send("x"), session.reconcile):
            with pytest.raises(OutcomeUnknownError) as caught:
                await call()
            assert caught.value.safe_to_retry is None
        with pytest.raises(UncertainSessionError) as refused:
            await session.send("x")
        assert refused.value.safe_to_retry is True  # it speaks of the second one, which was not sent
        assert len(server.requests) == 1
        assert (await toolhouse.session("a").send("x")).text == "x"  # the user has decided


async def test_an_error_says_whether_sending_again_is_safe() -> None:
    async def key() -> str:
        if keys:
            return keys.pop()
        raise LookupError

    keys = ["k"]
    async with talk([response(503, chunked=False)], api_key=key) as (_, toolhouse):
        session = toolhouse.session("a", run_id="r1")
        with pytest.raises(ServerError) as caught:
            await session.send("x")
        assert caught.value.safe_to_retry is None


async def test_a_message_that_nobody_can_know_about_is_settled_by_decision() -> None:
    async with talk(lost_once()) as (server, toolhouse):
        session = toolhouse.session("a")
        with pytest.raises(OutcomeUnknownError):
            await session.send("x")
        with pytest.raises(ConfigurationError, match="assume must be 'absent' or None"):
            await session.reconcile(assume="present")
        assert await session.reconcile(assume="absent") is None
        assert len(server.requests) == 1
        assert (await session.send("x")).text == "x"
        assert (await session.reconcile(assume="absent")).text == "x"  # nothing is uncertain any more


async def test_what_the_worker_reported_is_raised_again() -> None:
    failing = response(200, {"X-Toolhouse-Run-ID": "r1"}, ndjson({"type": "error", "message": "boom"}))
    async with talk([failing]) as (_, toolhouse):
        session = toolhouse.session("a")
        for call in (lambda: session.send("x"), session.reconcile):
            with pytest.raises(WorkerError, match="boom") as caught:
                await call()
            assert caught.value.safe_to_retry is False
