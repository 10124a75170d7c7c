from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.answers import ONCE, client_of, history, said
from tests.support.raw_server import RawServer, Request, response, rst
from toolhouse_async import AsyncToolhouse, ClosedError, OutcomeUnknownError, ProtocolError
from toolhouse_async.web import sse


@asynccontextmanager
async def talk(script: Any, **options: Any) -> AsyncIterator[tuple[RawServer, AsyncToolhouse]]:
    async with RawServer(script) as server, client_of(server, **options) as toolhouse:
        yield server, toolhouse


async def test_settling_without_a_run_id_is_an_error() -> None:
    async with talk([said("x", run=None)]) as (server, toolhouse):
        with pytest.raises(ProtocolError, match="X-Toolhouse-Run-ID"):
            await toolhouse.run("a", "x", settle=True)
        assert len(server.requests) == 1


async def test_an_answer_without_a_run_id_that_needs_no_history_stands() -> None:
    async with talk([said(run=None), said("x", run=None)]) as (_, toolhouse):
        assert (await toolhouse.run("a", "x")).text == ""
        assert (await toolhouse.run("a", "x")).text == "x"


async def test_an_odd_end_is_looked_up_and_stands_where_the_history_agrees() -> None:
    odd = response(headers={"X-Toolhouse-Run-ID": "r1"}, body=b"words \xe2\x82")
    agrees = history(("user", "x"), ("assistant", "words "))
    async with talk([odd, *[agrees] * 30]) as (server, toolhouse):
        assert (await toolhouse.run("a", "x", format="text")).text == "words "
        assert {request.method for request in server.requests[1:]} == {"GET"}


class Script:
    """Answers each method's requests in order, the last one for ever; ``None`` resets the connection."""

    def __init__(self, **answers: list[bytes | None]) -> None:
        self._answers = answers

    async def __call__(self, reader: object, writer: asyncio.StreamWriter, request: Request) -> None:
        answers = self._answers[request.method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if answer is None:
            rst(writer)
        else:
            writer.write(answer)


async def test_a_lost_resume_that_started_a_job_which_is_over_is_healed_and_resumed() -> None:
    before = ("user", "x"), ("assistant", "a")
    script = Script(
        POST=[said("a", job="j1")],
        GET=[history(*before), history(*before, ("user", ""), ("assistant", "b"), ("tool", "done"))],
        PUT=[None, said("c")],
    )
    async with talk(script) as (server, toolhouse):
        result = await toolhouse.run("a", "x")
        assert (result.text, bool(result.recovered)) == ("abc", True)
        assert [request.json()["message"] for request in server.requests if request.method == "PUT"] == ["", ""]


async def test_two_who_reconcile_at_once_both_learn_it() -> None:
    arrived = history(("user", "a"), ("assistant", "b"), ("user", "x"), ("assistant", "y"))
    script = Script(POST=[said("b")], PUT=[None], GET=[arrived])
    async with talk(script) as (server, toolhouse):
        session = toolhouse.session("a")
        await session.send("a")
        with pytest.raises(OutcomeUnknownError):
            await session.send("x")
        results = await asyncio.gather(session.reconcile(), session.reconcile())
        assert [result.text for result in results if result] == ["y", "y"]
        again = await session.reconcile()
        assert again is not None
        assert again.text == "y"
        assert sum(request.method == "PUT" for request in server.requests) == 1


async def test_a_turn_that_is_closed_before_its_refused_resume_is_sent_again_goes_on_with_that() -> None:
    over = history(("user", "x"), ("assistant", "a"))
    busy = response(429, headers={"Retry-After": "60"}, chunked=False)
    script = Script(POST=[said("a", job="j1")], GET=[over], PUT=[busy, said("b")])
    async with talk(script, retries=ONCE) as (server, toolhouse):
        session = toolhouse.session("a")
        turn = session.stream("x")
        reading = asyncio.ensure_future(turn.result())
        while not server.requests or server.requests[-1].method != "PUT":
            await asyncio.sleep(1)
        await asyncio.sleep(5)
        await turn.aclose()
        with pytest.raises(ClosedError):
            await reading
        result = await session.reconcile()
        assert result is not None
        assert result.text == "ab"
        assert [request.method for request in server.requests][-2:] == ["PUT", "PUT"]  # nothing is looked up before


async def test_a_stream_that_nobody_has_read_changes_nothing() -> None:
    async with talk([said("b")]) as (server, toolhouse):
        session = toolhouse.session("a")
        result = await session.send("a")
        unread = sse(session.stream("x"))
        del unread
        assert await session.reconcile() is result
        assert len(server.requests) == 1
