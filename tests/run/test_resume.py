from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.run.support import Holder
from tests.support.answers import KEY, client_of, history, said, text
from tests.support.raw_server import LAST_CHUNK, RawServer, Request, chunk, ndjson, response, rst, silence
from toolhouse_async import (
    AsyncToolhouse,
    AuthenticationError,
    BackgroundJobWaiter,
    ClosedError,
    JobFinished,
    PollingPolicy,
    TextDelta,
    Timeouts,
    TurnTimeoutError,
    WorkerError,
)
from toolhouse_async._http.port import Dispatch
from toolhouse_async._run.resume import KEPT, SharedResume
from toolhouse_async._turn.heard import Said
from toolhouse_async._wire import requests

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]
STEADY = PollingPolicy(min_interval=10, max_interval=10, jitter=0)
BEFORE = ("user", "x"), ("assistant", "p")
HEALED = history(*BEFORE, ("user", ""), ("assistant", "abc"))


class Service:
    """A run whose job is over at the second poll, and the answer to the resume."""

    def __init__(self, answer: bytes | Reply) -> None:
        self.answer = answer
        self.polls = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "GET":
            self.polls += 1
            writer.write([history(job="j1"), history(*BEFORE), HEALED][min(self.polls, 3) - 1])
        elif request.method == "POST":
            writer.write(said("p", job="j1"))
        elif isinstance(self.answer, bytes):
            writer.write(self.answer)
        else:
            await self.answer(reader, writer)


def piecewise(*words: str, end: Callable[[asyncio.StreamWriter], None] | None = None, pause: float = 10) -> Reply:
    async def reply(reader: object, writer: asyncio.StreamWriter) -> None:
        writer.write(said(ends=False))
        for word in words:
            await asyncio.sleep(pause)
            writer.write(chunk(ndjson(text(word))))
        await asyncio.sleep(pause)
        if end is None:
            writer.write(LAST_CHUNK)
        else:
            end(writer)

    return reply


@asynccontextmanager
async def waiters_on(
    service: Service, *policies: PollingPolicy
) -> AsyncIterator[tuple[RawServer, AsyncToolhouse, list[BackgroundJobWaiter]]]:
    async with RawServer(service) as server, client_of(server, timeouts=Timeouts(idle=30)) as toolhouse:
        sessions = [toolhouse.session("a", run_id="r1") for _ in policies]
        made = [s.wait_for_job(polling=p) for s, p in zip(sessions, policies, strict=True)]
        yield server, toolhouse, made


def puts(server: RawServer) -> int:
    return sum(request.method == "PUT" for request in server.requests)


async def going(*coroutines: Any) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("policies", [(STEADY,) * 4, (STEADY, PollingPolicy(), PollingPolicy(jitter=0.1))])
async def test_all_get_the_one_answer(policies: tuple[PollingPolicy, ...]) -> None:
    async with waiters_on(Service(piecewise(*"abc")), *policies) as (server, _, waiters):
        results = await asyncio.gather(*(waiter.result() for waiter in waiters))
        assert [result.text for result in results] == ["abc"] * len(policies)
        assert {result.run_id for result in results} == {"r1"}
        assert puts(server) == 1


@pytest.mark.parametrize("leaves_at", [5, 15, 25, 35, 45, 55])
@pytest.mark.parametrize("who", [0, 1])
async def test_one_leaving_at_any_time_never_stops_the_other(who: int, leaves_at: float) -> None:
    async with waiters_on(Service(piecewise(*"abc")), STEADY, STEADY) as (server, _, waiters):
        tasks = await going(*(waiter.result() for waiter in waiters))
        await asyncio.sleep(leaves_at)
        tasks[who].cancel()
        assert (await tasks[1 - who]).text == "abc"
        assert tasks[who].cancelled() or tasks[who].result().text == "abc"
        assert puts(server) == 1


@pytest.mark.parametrize("leave_at", [25, 35])
async def test_when_all_have_left_the_connection_is_closed(leave_at: float) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)
        writer.write(said("a", ends=False))
        await silence(reader)

    async with waiters_on(Service(never), STEADY, STEADY) as (server, toolhouse, waiters):
        tasks = await going(*(waiter.result() for waiter in waiters))
        await asyncio.sleep(leave_at)
        assert puts(server) == 1
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await asyncio.sleep(10)
        assert server.open_connections == 1  # the idle one of the polls
        other = await going(toolhouse.session("a", run_id="r1").send("x"))
        await asyncio.sleep(1)
        assert puts(server) == 2  # the run is free
        other[0].cancel()
        await asyncio.wait(other)


async def test_a_refused_resume_is_an_error_for_each() -> None:
    async with waiters_on(Service(response(401, chunked=False)), STEADY, STEADY) as (server, _, waiters):
        outcomes = await asyncio.gather(*(waiter.result() for waiter in waiters), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [AuthenticationError] * 2
        assert outcomes[0] is not outcomes[1]
        assert puts(server) == 1


async def test_an_error_of_the_workers_reaches_each_without_the_key() -> None:
    failed = response(headers={"X-Toolhouse-Run-ID": "r1"}, body=ndjson({"type": "error", "message": f"key {KEY} bad"}))
    async with waiters_on(Service(failed), STEADY, STEADY) as (server, _, waiters):
        outcomes = await asyncio.gather(*(waiter.result() for waiter in waiters), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [WorkerError] * 2
        assert not any(KEY in str(outcome) for outcome in outcomes)
        assert puts(server) == 1


async def test_an_error_of_the_users_own_key_function_reaches_each() -> None:
    def key() -> str:
        if service.polls == 2:
            raise LookupError("the vault is shut")
        return "k"

    service = Service(said("x"))
    async with RawServer(service) as server, client_of(server, api_key=key) as toolhouse:
        waiters = [toolhouse.session("a", run_id="r1").wait_for_job(polling=STEADY) for _ in range(2)]
        outcomes = await asyncio.gather(*(waiter.result() for waiter in waiters), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 2


async def test_a_cut_answer_is_healed_for_each_and_sent_once() -> None:
    async with waiters_on(Service(piecewise("a", end=rst)), STEADY, STEADY) as (server, _, waiters):
        results = await asyncio.gather(*(waiter.result() for waiter in waiters))
        assert [(result.text, bool(result.recovered)) for result in results] == [("abc", True)] * 2
        assert puts(server) == 1


async def test_a_silent_answer_is_healed_for_each() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said("a", ends=False))
        await silence(reader)

    async with waiters_on(Service(silent), STEADY, STEADY) as (server, _, waiters):
        results = await asyncio.gather(*(waiter.result() for waiter in waiters))
        assert [result.text for result in results] == ["abc"] * 2
        assert puts(server) == 1


async def test_each_reads_as_slowly_as_they_like() -> None:
    async def read(waiter: BackgroundJobWaiter, pause: float) -> list[str]:
        words = []
        async for event in waiter:
            if isinstance(event, TextDelta):
                words.append(event.text)
            await asyncio.sleep(pause)
        return words

    async with waiters_on(Service(piecewise(*"abc")), STEADY, STEADY) as (server, _, waiters):
        words = await asyncio.gather(read(waiters[0], 0), read(waiters[1], 1000))
        assert list(words) == [["a", "b", "c"]] * 2
        assert puts(server) == 1


async def test_one_who_looks_back_late_finds_the_job_over_and_the_answer() -> None:
    async with waiters_on(Service(piecewise(*"abc")), STEADY, STEADY) as (server, _, waiters):
        late = waiters[1]
        await anext(late)
        assert (await waiters[0]).text == "abc"
        events = [event async for event in late]
        assert [type(event) for event in events].count(JobFinished) == 1
        assert (await late).text == "abc"
        assert puts(server) == 1


async def test_one_who_comes_while_the_answer_is_read_gets_it_from_its_first_word() -> None:
    async with waiters_on(Service(piecewise(*"abc")), STEADY, STEADY) as (server, toolhouse, waiters):
        (first,) = await going(waiters[0].result())
        await asyncio.sleep(45)
        assert puts(server) == 1
        late = toolhouse.session("a", run_id="r1").wait_for_job(polling=STEADY)
        results = await asyncio.gather(first, late.result())
        assert [result.text for result in results] == ["abc"] * 2
        assert puts(server) == 1
        await waiters[1].aclose()


async def test_one_who_comes_when_much_of_the_answer_is_gone_gets_it_from_the_history() -> None:
    """Only so much of an answer is kept for latecomers: memory is bounded."""
    large, before = "x" * (KEPT + 1), [("user", "x"), ("assistant", "p")]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "PUT":
            await piecewise(large, "y", pause=100)(reader, writer)
            before.append(("assistant", large + "y"))
        else:
            writer.write(history(*before, job="j1" if len(server.requests) == 1 else None))

    async with RawServer(script) as server, client_of(server) as toolhouse:
        early, late = (toolhouse.session("a", run_id="r1").wait_for_job(polling=STEADY) for _ in range(2))
        (first,) = await going(early.result())
        await asyncio.sleep(150)
        assert puts(server) == 1
        results = await asyncio.gather(first, late.result())
        assert [(result.text == large + "y", result.recovered) for result in results] == [(True, 0), (True, 1)]
        assert puts(server) == 1


async def test_one_whose_own_poll_fails_meanwhile_gets_the_answer_too() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        if request.method == "PUT":
            await piecewise(*"abc", pause=50)(reader, writer)
        else:
            writer.write(history() if len(server.requests) == 1 else response(503, chunked=False))

    async with RawServer(script) as server, client_of(server) as toolhouse:
        rare = PollingPolicy(min_interval=100, max_interval=100)
        sessions = [toolhouse.session("a", run_id="r1") for _ in range(2)]
        waiters = [s.wait_for_job(polling=p) for s, p in zip(sessions, (STEADY, rare), strict=True)]
        results = await asyncio.gather(*(waiter.result() for waiter in waiters))
        assert [result.text for result in results] == ["abc"] * 2
        assert puts(server) == 1


async def test_a_turn_that_shares_a_resume_has_the_headers_of_its_answer() -> None:
    async with waiters_on(Service(said("x", headers={"X-N": "2"}))) as (server, toolhouse, _):
        turn = toolhouse.stream("a", "x")
        await anext(turn)
        waiter = toolhouse.session("a", run_id="r1").wait_for_job(polling=STEADY)
        results = await asyncio.gather(turn.result(), waiter.result())
        assert [result.text for result in results] == ["px", "x"]
        assert turn.headers["x-n"] == "2"
        assert puts(server) == 1


async def test_the_timeout_of_one_has_what_was_received_and_the_other_goes_on() -> None:
    async with waiters_on(Service(piecewise(*"abc")), STEADY, STEADY) as (server, toolhouse, waiters):
        session = toolhouse.session("a", run_id="r1")
        short = BackgroundJobWaiter(session, polling=STEADY, timeout=35)
        hurried, patient = await going(short.result(), waiters[0].result())
        with pytest.raises(TurnTimeoutError) as caught:
            await hurried
        assert caught.value.partial is not None
        assert "abc".startswith(caught.value.partial.text)
        assert caught.value.partial.text
        assert (await patient).text == "abc"
        assert puts(server) == 1
        await waiters[1].aclose()


async def test_the_timeout_of_one_who_reads_slowly_has_all_that_was_received() -> None:
    async with waiters_on(Service(piecewise(*"abcd")), STEADY, STEADY) as (_, toolhouse, waiters):
        session = toolhouse.session("a", run_id="r1")
        slow = BackgroundJobWaiter(session, polling=STEADY, timeout=100)
        (patient,) = await going(waiters[0].result())
        while not isinstance(event := await anext(slow), TextDelta):
            pass
        await asyncio.sleep(100)
        with pytest.raises(TurnTimeoutError) as caught:
            while True:
                await anext(slow)
        assert event.text == "a"
        assert caught.value.partial is not None
        assert caught.value.partial.text == "abcd"
        assert (await patient).text == "abcd"
        await waiters[1].aclose()


async def test_closing_the_client_ends_all() -> None:
    async with waiters_on(Service(piecewise(*"abc")), STEADY, STEADY) as (server, toolhouse, waiters):
        tasks = await going(*(waiter.result() for waiter in waiters))
        await asyncio.sleep(35)
        await toolhouse.aclose()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ClosedError] * 2
        assert puts(server) == 1


async def test_an_answer_that_comes_when_the_last_has_just_left_is_closed() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> None:
        writer.write(said("a", ends=False))
        await silence(reader)

    async with RawServer(script) as server, client_of(server) as toolhouse:
        answer = await toolhouse._core.service.send(requests.send("a", "r1", "ndjson", {"message": ""}))

        async def sends() -> Any:
            return answer

        shared = SharedResume(sends(), Dispatch(), format="ndjson", said=Said(""))
        tap = shared.join(Holder())
        await asyncio.sleep(0)  # sent, and nobody has been told yet
        tap.close()
        tap.close()
        await asyncio.sleep(1)
        assert server.open_connections == 0
