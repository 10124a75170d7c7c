"""What users see of a batch."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import socket
import traceback
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from typing import Any

import pytest

import toolhouse_async
from tests.support.numbers import Whole
from tests.support.stores import Troubled
from toolhouse_async import (
    AsyncToolhouse,
    Batch,
    BatchItem,
    BatchProgress,
    ClosedError,
    ConfigurationError,
    LeaseLostError,
    NotFoundError,
    OutcomeUnknownError,
    RecoveryPolicy,
    ServerError,
    StoreError,
    StreamInterruptedError,
    ToolResult,
    TurnTimeoutError,
    UnexpectedContentError,
    WorkerError,
)
from toolhouse_async.stores import MemorySessionStore

from .support import AGENT, Mortal, Way, World, all_of, client_of, served, texts


def now() -> float:
    return asyncio.get_running_loop().time()


# What it gives


async def test_each_row_is_asked_once_and_given_again_from_the_store() -> None:
    rows = ["one", "tool two", "job three", "error four"]
    async with served() as (world, server, client, store):
        first = await all_of(client.batch(AGENT, rows, store=store, name="b"))
        requests = len(server.requests)
        again = await all_of(client.batch(AGENT, rows, store=store, name="b"))
        assert len(server.requests) == requests
        assert world.told == dict.fromkeys(rows, 1)
    assert [(item.key, item.row, item.status) for item in first] == [
        ("0", "one", "done"),
        ("1", "tool two", "done"),
        ("2", "job three", "done"),
        ("3", "error four", "failed"),
    ]
    assert [{item.from_store for item in items} for items in (first, again)] == [{False}, {True}]
    assert texts(first)[:3] == ["you said one", "you said tool two", "you said job three[computed]"]
    assert first[1].result is not None
    assert first[1].result.tool_calls[0].result == ToolResult(
        first[1].result.tool_calls[0].call.id, "look_up", [1, {"deep": None}]
    )
    assert first[2].result is not None
    assert first[2].result.jobs[0].elapsed > 0.4
    for new, stored in zip(first, again, strict=True):
        assert (stored.key, stored.row, stored.status, stored.result) == (new.key, new.row, new.status, new.result)
    stored_error = again[3].error
    assert isinstance(stored_error, WorkerError)
    assert stored_error.partial == first[3].error.partial  # type: ignore[union-attr]
    assert str(stored_error) == str(first[3].error)
    assert pickle.loads(pickle.dumps(again[0])) == again[0]


async def test_mappings_with_a_template_and_keys_of_their_own() -> None:
    rows = [{"id": 7, "city": "Graz"}, {"id": 9, "city": "Linz"}]
    options: Any = {"template": "Where is {city}?", "key": lambda row, index: f"city-{row['id']}", "name": "b"}
    async with served() as (world, _, client, store):
        items = await all_of(client.batch(AGENT, rows, store=store, **options))
        assert [(item.key, item.row) for item in items] == [("city-7", rows[0]), ("city-9", rows[1])]
        assert texts(items) == ["you said Where is Graz?", "you said Where is Linz?"]
        # rows may come in another order, and with others
        more = [{"id": 1, "city": "Wien"}, rows[1], rows[0]]
        items = await all_of(client.batch(AGENT, more, store=store, **options))
        assert [item.key for item in items] == ["city-1", "city-7", "city-9"]
        assert world.told.total() == 3


async def test_batches_of_other_names_and_agents_and_sessions_do_not_meet() -> None:
    async with served() as (world, _, client, store):
        for name in ("b", "b/", "b/0", "%2F", "c"):
            assert texts(await all_of(client.batch(AGENT, ["x"], store=store, name=name))) == ["you said x"]
        assert world.told["x"] == 5
        manager = toolhouse_async.SessionManager(client, AGENT, store=store)
        assert [info async for info in manager.sessions()] == []
        assert (await client.batch(AGENT, [], store=store, name="b").read_progress()).done == 1


async def test_turn_options_are_for_every_row() -> None:
    async with served() as (_, server, client, store):
        items = await all_of(client.batch(AGENT, ["a", "b"], store=store, name="b", format="text", extra_body={"x": 1}))
        assert texts(items) == ["you said a", "you said b"]
        posts = [request for request in server.requests if request.method == "POST"]
        assert {request.path for request in posts} == {f"/{AGENT}"}


async def test_a_job_may_be_left_running() -> None:
    async with served() as (world, _, client, store):
        for _ in range(2):
            (item,) = await all_of(client.batch(AGENT, ["job"], store=store, name="b", background="detach"))
            assert item.status == "done"
            assert item.result is not None
            assert item.result.status == "background"
            assert item.result.token is not None
        assert (await client.wait_for_job(item.result.token)).text == "[computed]"
        assert world.told.total() == 1


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_no_rows(asynchronous: bool) -> None:
    async def none() -> AsyncIterator[str]:
        for row in ():
            yield row

    async with served() as (_, _, client, store):
        batch = client.batch(AGENT, none() if asynchronous else [], store=store, name="b")
        assert await all_of(batch) == []
        assert batch.progress == BatchProgress(0, 0, 0, 0, 0) == await batch.read_progress()


# How much at a time


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_rows_are_read_as_there_is_room(concurrency: int, asynchronous: bool) -> None:
    pulled: list[str] = []

    def endless() -> Iterator[str]:
        while True:
            pulled.append(f"row {len(pulled)}")
            yield pulled[-1]

    async def slowly() -> AsyncIterator[str]:
        for row in endless():
            await asyncio.sleep(0.01)
            yield row

    async with served() as (world, _, client, store):
        rows: Any = slowly() if asynchronous else endless()
        async with client.batch(AGENT, rows, store=store, name="b", concurrency=concurrency) as batch:
            assert pulled == []
            taken = 0
            async for _ in batch:
                taken += 1
                assert len(pulled) <= taken + 2 * concurrency
                if taken == 20:
                    await asyncio.sleep(60)  # a reader who is slow
                    assert len(pulled) <= taken + 2 * concurrency
                if taken == 30:
                    break
        assert world.most == concurrency
        assert world.twice == []
        if asynchronous:
            await rows.aclose()


async def test_so_many_messages_a_second() -> None:
    began: list[float] = []
    async with served() as (world, _, client, store):
        world.on_told = lambda: began.append(now())
        rows = [f"row {number}" for number in range(10)]
        await all_of(client.batch(AGENT, rows[:5], store=store, name="b"))
        began.clear()
        start = now()
        await all_of(client.batch(AGENT, rows, store=store, name="b", rate=0.5))
        # those that were done before cost no time
        assert [round(each - start) for each in began] == [0, 2, 4, 6, 8]


async def test_memory_does_not_grow_with_the_rows() -> None:
    import tracemalloc

    class Forgetful(MemorySessionStore):
        async def read(self, key: str) -> Any:
            reading = await super().read(key)
            return reading if key != "batch:b/done" and not key.startswith("batch:b/") else reading._replace(value=done)

    async with served() as (_, _, client, _):
        plain = MemorySessionStore()
        await all_of(client.batch(AGENT, ["x"], store=plain, name="b"))
        done = plain._entries["batch:b/0"]
        sizes = []
        async with client.batch(AGENT, ("x" for _ in range(2500)), store=Forgetful(), name="b") as batch:
            number = 0
            async for item in batch:
                assert item.status == "done"
                number += 1
                if number == 400:
                    tracemalloc.start()
                if number in (500, 2500):
                    gc.collect()
                    sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 25_000


# Outages


async def test_an_outage_of_an_hour_costs_an_hour_and_no_row() -> None:
    world = World()
    rows = [f"row {number}" for number in range(30)]
    async with world.emulator.serve() as server, Way(server.url) as way:
        client = AsyncToolhouse("key", base_url=way.url, recovery=RecoveryPolicy(quiet=1, absence=1))
        async with client, client.batch(AGENT, rows, store=MemorySessionStore(), name="b", concurrency=4) as batch:
            items = []
            start = now()
            async for item in batch:
                items.append(item)
                if len(items) == 10:
                    await way.close()
                    way.open_in(3600)
            took = now() - start
            assert sorted({item.row for item in items}) == sorted(rows)
    unknown = [item for item in items if item.status == "unknown"]
    assert len(unknown) <= 4  # those that were just being sent
    assert [item for item in items if item.status == "failed"] == []
    assert world.twice == []
    assert 3600 < took < 3600 + 150


async def test_a_service_that_is_away_from_the_beginning() -> None:
    world = World()
    async with world.emulator.serve() as server:
        way = Way(server.url)
        async with AsyncToolhouse("key", base_url=way.url) as client:
            way.open_in(600)
            items = await all_of(client.batch(AGENT, ["a", "b", "c"], store=MemorySessionStore(), name="b"))
            await way.close()
    assert texts(items) == ["you said a", "you said b", "you said c"]
    assert way.tries < 10


async def test_an_answer_under_way_outlasts_an_outage() -> None:
    world = World()
    async with world.emulator.serve() as server, Way(server.url) as way:
        client = AsyncToolhouse("key", base_url=way.url, recovery=RecoveryPolicy(quiet=1, deadline=30))
        async with client, client.batch(AGENT, ["slow a", "slow b"], store=MemorySessionStore(), name="b") as batch:
            reading = asyncio.ensure_future(all_of(batch))
            while world.slow < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
            await way.close()
            await asyncio.sleep(7200)
            world.go_on.set()
            await way.open()
            items = await reading
    assert texts(items) == ["you said slow a", "you said slow b"]
    assert world.twice == []


async def test_it_is_said_once_that_rows_that_have_begun_look_for_their_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    async with (
        world.emulator.serve() as server,
        Way(server.url) as way,
        AsyncToolhouse("key", base_url=way.url) as client,
    ):
        for row in ("slow a", "slow b"):
            async with client.batch(AGENT, [row, f"{row}!"], store=MemorySessionStore(), name="b") as batch:
                world.go_on.clear()
                begun = world.slow
                reading = asyncio.ensure_future(all_of(batch))
                while world.slow < begun + 2:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(1)
                await way.close()
                await asyncio.sleep(60)
                (said,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
                assert said.startswith("the service is away (NotSentError: ")
                assert said.endswith("): rows that have begun look for their answers until it is there")
                world.go_on.set()
                await way.open()
                await reading
                caplog.clear()


async def test_an_answer_that_was_cut_is_looked_for_once_the_service_can_be_read() -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", cut="rst", cut_after=5)
        world.emulator.faults.add(method="GET", status=503, times=None)
        asyncio.get_running_loop().call_later(3600, world.emulator.faults.clear)
        start = now()
        assert texts(await all_of(client.batch(AGENT, ["a", "b"], store=store, name="b"))) == [
            "you said a",
            "you said b",
        ]
        assert 3600 < now() - start < 3600 + 90
        assert world.twice == []


async def test_rows_whose_answers_are_looked_for_again_let_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "toolhouse_async")
    world = World()
    async with world.emulator.serve() as server, Way(server.url) as way:
        client = AsyncToolhouse("key", base_url=way.url, recovery=RecoveryPolicy(quiet=1, deadline=100))
        rows = [f"{kind} {number}" for kind in ("slow", "slow again", "quick") for number in range(2)]
        async with client, client.batch(AGENT, rows, store=MemorySessionStore(), name="b", concurrency=2) as batch:
            reading = asyncio.ensure_future(all_of(batch))
            start = now()
            for wave in (2, 4):  # both are cut, and no history has what they have said
                while world.slow < wave:
                    await asyncio.sleep(1)
                world.emulator.faults.add(method="GET", times=None, body="[]", status=200)
                await way.close()
                await asyncio.sleep(10)
                await way.open()
                await asyncio.sleep(80)
                assert world.told.total() == wave
            assert 180 < now() - start < 220
            await asyncio.sleep(50)
            assert world.told.total() == 4  # all are looked for, and no more of them than twice as many at once
            items = await reading
    assert texts(items) == ["failed: StreamInterruptedError"] * 4 + ["you said quick 0", "you said quick 1"]
    assert 300 < now() - start < 450
    assert caplog.messages.count("the service is there again: the batch goes on") == 2


async def test_too_many_requests_are_waited_for_as_long_as_the_service_asks() -> None:
    async with served() as (world, server, client, store):
        world.emulator.faults.add(method="POST", status=429, retry_after=900, times=1)
        start = now()
        items = await all_of(client.batch(AGENT, ["a", "b"], store=store, name="b", concurrency=1))
        assert texts(items) == ["you said a", "you said b"]
        assert 900 < now() - start < 1000
        assert world.twice == []
        assert len([request for request in server.requests if request.method == "POST"]) == 3


async def test_answers_that_were_on_their_way_do_not_shorten_the_pause_that_the_service_asks_for() -> None:
    async with served() as (world, server, client, store):
        world.emulator.faults.add(method="POST", status=429, retry_after=900, times=1)
        start, ends = now(), {}
        async with client.batch(AGENT, ["a", "b", "c", "d"], store=store, name="b", concurrency=3) as batch:
            async for item in batch:
                ends[item.row] = now() - start
        early = [row for row, end in ends.items() if end < 900]
        assert sorted(early) == ["b", "c"]  # were asked with the one that was refused
        assert len([request for request in server.requests if request.method == "POST"]) == 5
        assert world.twice == []


async def test_the_log_names_the_row_for_which_the_batch_waits(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", status=500, times=1)
        await all_of(client.batch(AGENT, ["a"], store=store, name="b", key=lambda row, _: row))
    assert " s, since row 'a' has met with that" in caplog.text


async def test_after_each_pause_one_row_tries_it() -> None:
    async with served() as (world, _, client, store):
        rows = [f"row {number}" for number in range(40)]
        async with client.batch(AGENT, rows, store=store, name="b", concurrency=10) as batch:
            items = [await anext(batch)]
            fault = world.emulator.faults.add(method="POST", status=429, times=None)
            asyncio.get_running_loop().call_later(1800, world.emulator.faults.clear)
            items += [item async for item in batch]
        assert {item.status for item in items} == {"done"}
        assert len(items) == 40
        assert fault.hits < 10 + 10 + 1800 / 30


async def test_a_service_that_is_silent_for_longer_than_a_row_may_take_is_away() -> None:
    async with served() as (world, _, client, store):
        rows = [f"row {number}" for number in range(30)]
        async with client.batch(AGENT, rows, store=store, name="b", concurrency=5, timeout=60) as batch:
            items = [await anext(batch)]
            world.emulator.faults.add(cut="silence", times=None)
            asyncio.get_running_loop().call_later(3600, world.emulator.faults.clear)
            items += [item async for item in batch]
        unknown = [item for item in items if item.status == "unknown"]
        assert 1 <= len(unknown) <= 5
        assert {type(item.error) for item in unknown} == {TurnTimeoutError}
        assert {item.status for item in items} == {"done", "unknown"}
        assert world.twice == []


PAGE = {"status": 200, "body": "<html>Sign in</html>", "headers": {"Content-Type": "text/html"}}


@pytest.mark.parametrize(("answer", "kind"), [({"status": 503}, ServerError), (PAGE, UnexpectedContentError)])
async def test_a_read_shows_that_the_service_is_still_away_before_a_message_is_risked(
    answer: dict[str, Any], kind: type[Exception]
) -> None:
    """A 503 to a message says nothing of its fate, and neither does the page of a network."""
    async with served() as (world, server, client, store):
        rows = [f"row {number}" for number in range(30)]
        async with client.batch(AGENT, rows, store=store, name="b", concurrency=5) as batch:
            items = [await anext(batch)]
            world.emulator.faults.add(**answer, times=None)
            asyncio.get_running_loop().call_later(3600, world.emulator.faults.clear)
            items += [item async for item in batch]
        unknown = [item for item in items if item.status == "unknown"]
        assert 1 <= len(unknown) <= 5
        assert all(isinstance(item.error, kind) for item in unknown)
        assert sum(item.status == "done" for item in items) == 30 - len(unknown)
        assert len(server.requests) < 30 + 5 + 3600 / 20


@pytest.mark.parametrize("status", [302, 307, 407])
async def test_what_a_proxy_answers_in_place_of_the_service_is_waited_for(status: int) -> None:
    """The service itself never says it, so no row would fare better, and none was accepted."""
    async with served() as (world, _, client, store):
        fault = world.emulator.faults.add(status=status, body="sign in", times=None)
        asyncio.get_running_loop().call_later(3600, world.emulator.faults.clear)
        rows = [f"row {number}" for number in range(30)]
        items = await all_of(client.batch(AGENT, rows, store=store, name="b", concurrency=5))
        assert {item.status for item in items} == {"done"}
        assert fault.hits < 5 + 3600 / 20
        assert set(world.told.values()) == {1}


@pytest.mark.parametrize("status", [302, 407])
async def test_an_answer_that_was_cut_is_looked_for_once_the_proxy_lets_it_be_read(status: int) -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", cut="rst", cut_after=5)
        world.emulator.faults.add(method="GET", status=status, times=None)
        asyncio.get_running_loop().call_later(3600, world.emulator.faults.clear)
        items = await all_of(client.batch(AGENT, ["a"], store=store, name="b"))
        assert texts(items) == ["you said a"]
        assert world.told == {"a": 1}


async def test_a_proxy_that_wants_a_login_is_named(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", status=407, body="sign in")
        await all_of(client.batch(AGENT, ["a"], store=store, name="b"))
    why = f"APIStatusError: POST /ndjson/{AGENT} was answered with 407; a proxy on the way wants a login"
    assert f"the service is away ({why}): the batch waits " in caplog.text


# Failures, and trying again


async def test_what_was_refused_fails_and_may_be_retried() -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", status=422, body="no")
        items = await all_of(client.batch(AGENT, ["a", "b", "error"], store=store, name="b", concurrency=1))
        assert texts(items) == ["failed: UnprocessableEntityError", "you said b", "failed: WorkerError"]
        batch = client.batch(AGENT, ["another", "b", "error"], store=store, name="b")
        assert await batch.retry_failed() == 2
        items = await all_of(batch)  # the message may be another one now
        assert texts(items) == ["you said another", "you said b", "failed: WorkerError"]
        assert world.told == {"b": 1, "error": 2, "another": 1}
        assert await batch.retry_failed() == 1
        assert (await batch.read_progress()).failed == 0


async def test_an_error_from_the_store_says_so_in_a_traceback_and_what_asks_anew() -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", status=404)
        world.emulator.faults.add(method="POST", cut="rst", cut_after=5)
        world.emulator.faults.add(method="POST", cut="rst")
        world.emulator.faults.add(method="GET", status=404, times=None)
        batches = [client.batch(AGENT, ["a", "b", "c"], store=store, name="b", concurrency=1) for _ in range(2)]
        new, stored = [[item.error for item in await all_of(batch)] for batch in batches]
        assert [type(error) for error in new] == [NotFoundError, StreamInterruptedError, OutcomeUnknownError]
        assert [str(error) for error in stored] == [str(error) for error in new]
        assert not any(hasattr(error, "__notes__") for error in new)
        assert [traceback.format_exception(error)[-1] for error in stored] == [
            "from the store: this start has not asked; retry_failed() has the row asked again\n",
            "from the store: this start has not asked; retry_failed() has its answer looked for once more\n",
            "from the store: this start has not asked; retry_unknown=True asks again\n",
        ]


async def test_retried_a_row_that_was_accepted_is_recovered_and_not_asked_again() -> None:
    async with served() as (world, _, client, store):
        (item,) = await all_of(client.batch(AGENT, ["slow"], store=store, name="b", timeout=5))
        assert isinstance(item.error, TurnTimeoutError)
        world.go_on.set()
        batch = client.batch(AGENT, ["slow"], store=store, name="b")
        assert await batch.retry_failed() == 1
        assert texts(await all_of(batch)) == ["you said slow"]
        assert world.told["slow"] == 1


@pytest.mark.parametrize("seconds", [0.1, 5.0])
async def test_a_row_whose_job_is_over_is_resumed_at_once_by_the_next_start(seconds: float) -> None:
    """It stands in the store that no resume was sent."""
    async with served(recovery=RecoveryPolicy()) as (world, _, client, store):
        batch = client.batch(AGENT, ["job"], store=store, name="b")
        reading = asyncio.ensure_future(all_of(batch))
        while not world.told["job"]:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.25)  # its answer has ended, and its job runs
        await batch.aclose()
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.sleep(seconds)
        began = asyncio.get_running_loop().time()
        (item,) = await all_of(client.batch(AGENT, ["job"], store=store, name="b"))
        assert (item.status, item.result.rounds) == ("done", ("you said job", "[computed]"))
        assert asyncio.get_running_loop().time() - began < 60
        assert (world.told["job"], world.resumes) == (1, 1)


async def test_an_answer_that_never_comes_fails_in_the_end() -> None:
    async with served() as (world, _, client, store):
        async with client.batch(AGENT, ["slow"], store=store, name="b") as batch:
            reading = asyncio.ensure_future(all_of(batch))
            while not world.slow:
                await asyncio.sleep(0.01)
            world.emulator.faults.add(method="GET", times=None, body="[]", status=200)
            await batch.aclose()
            await asyncio.wait({reading})
            assert isinstance(reading.exception(), ClosedError)
        (item,) = await all_of(client.batch(AGENT, ["slow"], store=store, name="b"))
        assert item.status == "failed"
        assert isinstance(item.error, StreamInterruptedError)  # its message had arrived
        world.emulator.faults.clear()
        world.go_on.set()
        batch = client.batch(AGENT, ["slow"], store=store, name="b")
        assert await batch.retry_failed() == 1
        assert texts(await all_of(batch)) == ["you said slow"]
        assert world.told["slow"] == 1


async def test_unknown_rows_are_sent_again_only_if_that_is_wanted() -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", cut="rst", accept=True)
        world.emulator.faults.add(method="POST", cut="rst", accept=False)
        items = await all_of(client.batch(AGENT, ["a", "b", "c"], store=store, name="b", concurrency=1))
        assert texts(items) == ["unknown: OutcomeUnknownError"] * 2 + ["you said c"]
        assert world.told == {"a": 1, "c": 1}
        again = await all_of(client.batch(AGENT, ["a", "b", "c"], store=store, name="b"))
        assert [str(item.error) for item in again] == [str(item.error) for item in items]
        batch = client.batch(AGENT, ["a", "b", "c"], store=store, name="b", retry_unknown=True)
        assert await batch.retry_failed() == 0
        assert texts(await all_of(batch)) == ["you said a", "you said b", "you said c"]
        assert world.told == {"a": 2, "b": 1, "c": 1}


async def test_a_message_that_is_lost_again_is_unknown_again() -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", cut="rst", times=2)
        for _ in range(2):
            (item,) = await all_of(client.batch(AGENT, ["a"], store=store, name="b", retry_unknown=True))
            assert item.status == "unknown"
        (item,) = await all_of(client.batch(AGENT, ["a"], store=store, name="b", retry_unknown=True))
        assert item.status == "done"


async def test_what_is_no_error_of_ours_fails_its_row_alone() -> None:
    from toolhouse_async import EventDecoder

    def broken(obj: dict[str, Any], line: bytes) -> None:
        raise KeyError("mine")

    decoder = EventDecoder()
    decoder.register("tool_call", broken)
    async with served(decoder=decoder) as (_, _, client, store):
        for _ in range(2):
            items = await all_of(client.batch(AGENT, ["tool", "b"], store=store, name="b"))
            assert [item.status for item in items] == ["failed", "done"]
            assert "mine" in str(items[0].error)


# What ends it


@pytest.mark.parametrize(
    ("rows", "options", "why"),
    [
        (["a", "changed"], {}, "row 1 .counted from 0. has another message than when it was asked"),
        (["a", 5], {}, "a row must be a string or a mapping, not int"),
        (["a", {"x": 1}], {}, "needs template="),
        (["a", "b", "a"], {"key": lambda row, index: row, "name": "other"}, "two rows have the key 'a'"),
    ],
)
async def test_a_row_that_is_wrong_ends_it_once_all_before_is_done(rows: Any, options: Any, why: str) -> None:
    async with served() as (world, _, client, store):
        await all_of(client.batch(AGENT, ["a", "b"], store=store, name="b"))
        given = []
        async with client.batch(AGENT, rows, store=store, **{"name": "b", "concurrency": 1, **options}) as batch:
            with pytest.raises(ConfigurationError, match=why):
                given.extend([item async for item in batch])
            assert [item async for item in batch] == []
        assert world.told["changed"] == 0


async def test_what_to_do_about_another_message_depends_on_whether_places_are_keys() -> None:
    async with served() as (_, _, client, store):
        cases: tuple[tuple[str, Any, str], ...] = (
            ("by place", {}, "put the rows back in their places, .* or give the batch another name, which asks all"),
            ("by key", {"key": lambda row, index: "k"}, "give the row another key, or the batch another name"),
        )
        for name, options, advice in cases:
            await all_of(client.batch(AGENT, ["a"], store=store, name=name, **options))
            with pytest.raises(ConfigurationError, match=advice):
                await all_of(client.batch(AGENT, ["changed"], store=store, name=name, **options))


async def test_a_failed_row_that_another_process_has_taken_meanwhile_is_not_counted_as_to_be_done_again() -> None:
    class Overtaken(MemorySessionStore):
        is_quicker = False

        async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
            return not self.is_quicker and await super().swap(key, old, new)

    async with served() as (world, _, client, _):
        store = Overtaken()
        world.emulator.faults.add(status=422)
        assert [item.status for item in await all_of(client.batch(AGENT, ["a"], store=store, name="b"))] == ["failed"]
        batch = client.batch(AGENT, ["a"], store=store, name="b")
        store.is_quicker = True
        assert await batch.retry_failed() == 0
        store.is_quicker = False
        assert await batch.retry_failed() == 1


async def test_a_table_that_has_shifted_ends_it_before_anything_is_sent() -> None:
    """Rows are known by their numbers: behind one that is gone, all have other messages, those not asked yet too."""
    async with served() as (world, _, client, store):
        rows = [f"row {number}" for number in range(40)]
        await all_of(client.batch(AGENT, rows[:3], store=store, name="b"))
        for concurrency in (1, 10, 100):
            with pytest.raises(ConfigurationError, match=r"row 1 .* has another message"):
                await all_of(client.batch(AGENT, rows[:1] + rows[2:], store=store, name="b", concurrency=concurrency))
        assert sum(world.told.values()) == 3
        assert len(await all_of(client.batch(AGENT, rows, store=store, name="b"))) == 40
        assert set(world.told.values()) == {1}


async def test_rows_that_raise_end_it_once_all_before_is_done() -> None:
    def rows() -> Iterator[str]:
        yield from ("a", "b")
        raise RuntimeError("no more rows")

    async with served() as (_, _, client, store), client.batch(AGENT, rows(), store=store, name="b") as batch:
        given = []
        with pytest.raises(RuntimeError, match="no more rows"):
            async for item in batch:
                given.append(item.row)
        assert sorted(given) == ["a", "b"]
        assert batch.progress.total is None
        assert (await batch.read_progress()).total is None


async def test_another_agent_under_the_same_name() -> None:
    async with served() as (world, _, client, store):
        world.emulator.worker("other")(world._worker)
        await all_of(client.batch(AGENT, ["a"], store=store, name="b"))
        with pytest.raises(ConfigurationError, match="the batch 'b' asks the worker worker, not other"):
            await all_of(client.batch("other", ["a"], store=store, name="b"))


async def test_a_store_that_is_away_is_waited_for() -> None:
    async with served() as (world, _, client, plain):
        store = Troubled(plain)
        async with client.batch(AGENT, [f"{number}" for number in range(20)], store=store, name="b") as batch:
            items = [await anext(batch)]
            store.down = True
            asyncio.get_running_loop().call_later(300, lambda: setattr(store, "down", False))
            items += [item async for item in batch]
        assert {item.status for item in items} == {"done"}
        assert world.twice == []


class Full(MemorySessionStore):
    """A store on a disk without space: it can be read."""

    is_full = False

    async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
        if self.is_full:
            raise StoreError("the disk is full")
        return await super().swap(key, old, new)


async def test_it_is_said_once_that_the_batch_waits_for_its_store(caplog: pytest.LogCaptureFixture) -> None:
    store = Full()
    async with served() as (world, _, client, _):
        world.on_told = lambda: setattr(store, "is_full", True)
        asyncio.get_running_loop().call_later(300, setattr, world, "on_told", lambda: None)
        asyncio.get_running_loop().call_later(300, setattr, store, "is_full", False)
        rows = [f"job {number}" for number in range(20)]  # the answers to the first tell of a job while it is full
        items = await all_of(client.batch(AGENT, rows, store=store, name="b"))
        assert {item.status for item in items} == {"done"}
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == ["the store fails (the disk is full): the batch waits until it works again"]


async def test_a_batch_that_waits_for_its_store_is_stopped() -> None:
    async with served() as (world, _, client, _):
        store = Full()
        async with client.batch(AGENT, [f"{number}" for number in range(20)], store=store, name="b") as batch:
            await anext(batch)
            store.is_full = True
            await asyncio.sleep(300)
            now = asyncio.get_running_loop().time
            stopped = now()
            batch.stop()
            with pytest.raises(StoreError, match="the disk is full"):
                _ = [item async for item in batch]
            assert now() - stopped < 30
        store.is_full = False
        items = await all_of(client.batch(AGENT, [f"{number}" for number in range(20)], store=store, name="b"))
        assert {item.status for item in items} == {"done"}
        assert world.twice == []


async def test_a_store_that_fails_for_good_ends_it() -> None:
    class Broken(MemorySessionStore):
        async def swap(self, key: str, old: bytes | None, new: bytes | None) -> bool:
            if new is not None and b'"done"' in new:
                error = StoreError("the disk is full")
                error.is_lasting = True
                raise error
            return await super().swap(key, old, new)

    async with served() as (world, _, client, _):
        with pytest.raises(StoreError, match="the disk is full") as caught:
            await all_of(client.batch(AGENT, ["a", "b"], store=Broken(), name="b"))
        assert caught.value.partial is not None
        assert caught.value.partial.text in ("you said a", "you said b")
        assert caught.value.safe_to_retry is False
        assert world.twice == []


NO_HEADS = (
    b"[]",
    b"x",
    b'{"v":2}',
    b'{"v":1}',
    b'{"v":1,"agent_id":5,"total":1,"is_keyed":false}',
    b'{"v":1,"agent_id":"a","total":"x","is_keyed":false}',
    b'{"v":1,"agent_id":"a","total":1,"is_keyed":0}',
    b'{"v":1,"agent_id":"a","total":1}',
)


@pytest.mark.parametrize("first", [None, lambda row, _: row])
async def test_rows_that_are_named_in_another_way_are_not_asked_once_more(first: Any) -> None:
    async with served() as (world, _, client, store):
        await all_of(client.batch(AGENT, ["a", "b"], store=store, name="b", key=first))
        other = None if first else lambda row, _: row
        with pytest.raises(ConfigurationError, match="would all be asked again"):
            await all_of(client.batch(AGENT, ["a", "b"], store=store, name="b", key=other))
        assert world.told == {"a": 1, "b": 1}
        await all_of(client.batch(AGENT, ["a", "b"], store=store, name="other", key=other))
        assert world.told == {"a": 2, "b": 2}


@pytest.mark.parametrize("at_its_end", [False, True])
async def test_a_store_that_was_emptied_ends_it_and_nothing_is_sent_again(at_its_end: bool) -> None:
    async with served() as (world, _, client, store):
        reading = asyncio.ensure_future(all_of(client.batch(AGENT, ["slow a"], store=store, name="b")))
        while not world.slow:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        store._entries.clear()
        if at_its_end:
            world.go_on.set()
        with pytest.raises(LeaseLostError) as caught:
            await reading
        assert caught.value.has_vanished
        assert world.told["slow a"] == 1


async def test_an_entry_that_nobody_can_read_ends_it() -> None:
    async with served() as (_, _, client, store):
        await store.swap("batch:b/1", None, b"nothing")
        with pytest.raises(StoreError, match="cannot be read"):
            await all_of(client.batch(AGENT, ["a", "b"], store=store, name="b"))
        for number, head in enumerate(NO_HEADS):
            await store.swap(f"batches:{number}", None, head)
            with pytest.raises(StoreError, match="entry of this batch cannot be read"):
                await all_of(client.batch(AGENT, ["a", "b"], store=store, name=str(number)))


async def test_a_client_that_is_closed_ends_it() -> None:
    async with served() as (world, server, client, store):
        batch = client.batch(AGENT, ["slow", "slow b"], store=store, name="b")
        reading = asyncio.ensure_future(all_of(batch))
        while world.slow < 2:
            await asyncio.sleep(0.01)
        await client.aclose()
        with pytest.raises(ClosedError):
            await reading
        world.go_on.set()
        async with client_of(server) as other:
            items = await all_of(other.batch(AGENT, ["slow", "slow b"], store=store, name="b"))
        assert texts(items) == ["you said slow", "you said slow b"]
        assert world.twice == []


# Leaving early


@pytest.mark.parametrize("how", ["break", "error", "cancel", "aclose"])
async def test_what_is_left_early_goes_on_later(how: str) -> None:
    rows = ["a", "slow b", "slow c", "job d", *(f"row {number}" for number in range(10))]
    async with served() as (world, _, client, store):

        async def leave() -> None:
            async with client.batch(AGENT, rows, store=store, name="b", concurrency=4) as batch:
                async for _ in batch:
                    while world.slow < 2:
                        await asyncio.sleep(0.01)
                    if how == "error":
                        raise LookupError("mine")
                    if how == "break":
                        break
                    if how == "aclose":
                        await batch.aclose()
                        with pytest.raises(ClosedError, match="the batch is closed"):
                            await anext(batch)
                        return

        task = asyncio.ensure_future(leave())
        if how == "cancel":
            while world.slow < 2:
                await asyncio.sleep(0.01)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        world.go_on.set()
        assert not [entry for entry in store._entries.values() if b'"who":""' not in entry and b'"who"' in entry]
        items = await all_of(client.batch(AGENT, rows, store=store, name="b"))
        assert world.twice == []
        assert world.resumes == 1
        for item, text in zip(items, texts(items), strict=True):
            assert item.status == "unknown" or text.startswith(f"you said {item.row}"), item


@pytest.mark.parametrize("is_stopped", [False, True])
async def test_a_row_that_its_own_process_has_interrupted_says_so(is_stopped: bool) -> None:
    """To say so sends nothing: a batch that was stopped before it began says it as well."""
    async with served() as (world, _, client, store):
        asked = asyncio.Event()

        async def thinks(ctx: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()
            yield ctx.text("done")

        world.emulator.worker(AGENT)(thinks)
        task = asyncio.ensure_future(all_of(client.batch(AGENT, ["a"], store=store, name="b")))
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        batch = client.batch(AGENT, ["a"], store=store, name="b")
        if is_stopped:
            batch.stop()
        (item,) = await all_of(batch)
        assert item.status == "unknown"
        said = "sending this message was interrupted before its answer began; nobody knows whether it was accepted"
        assert str(item.error) == said


async def test_cancelling_one_who_waits_ends_it() -> None:
    async with served() as (world, _, client, store):
        batch = client.batch(AGENT, ["slow"], store=store, name="b")
        waiting = asyncio.ensure_future(anext(batch))
        while not world.slow:
            await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()
        with pytest.raises(ClosedError):
            await anext(batch)
        assert world.told["slow"] == 1


async def test_a_block_in_which_nothing_is_iterated_sends_nothing() -> None:
    async with served() as (_, server, client, store):
        async with client.batch(AGENT, ["a"], store=store, name="b"):
            await asyncio.sleep(60)
        assert server.requests == []
        assert store._entries == {}


async def test_an_abandoned_batch_is_warned_about_and_ended() -> None:
    async with served() as (world, _, client, store):
        batch = client.batch(AGENT, ["a", *("slow" for _ in range(5))], store=store, name="b")
        await anext(batch)
        with pytest.warns(ResourceWarning, match="a batch was abandoned"):  # noqa: PT031 - it is collected there
            del batch
            gc.collect()
        await asyncio.sleep(1)
        world.go_on.set()
        assert not [task for task in asyncio.all_tasks() if "follow" in repr(task)]


def test_abandoned_with_its_event_loop() -> None:
    loop = asyncio.new_event_loop()
    made: list[Any] = []

    async def begin() -> None:
        world = World()
        async with world.emulator.serve() as server, client_of(server) as client:
            batch = client.batch(AGENT, ["a", "slow"], store=MemorySessionStore(), name="b")
            await anext(batch)
            batch._engine._tasks.clear()
            made.append((batch, asyncio.ensure_future(asyncio.sleep(0))))
            batch._engine._tasks.add(made[0][1])
            await made[0][1]

    loop.run_until_complete(begin())
    loop.run_until_complete(loop.shutdown_asyncgens())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    with pytest.warns(ResourceWarning, match="a batch was abandoned"):
        made.clear()
    gc.collect()


async def test_stopped_it_finishes_what_is_under_way() -> None:
    rows = [f"row {number}" for number in range(30)]
    async with served() as (world, _, client, store):
        async with client.batch(AGENT, rows, store=store, name="b", concurrency=4) as batch:
            items = []
            async for item in batch:
                items.append(item)
                if len(items) == 6:
                    batch.stop()
                    batch.stop()
            assert 6 <= len(items) <= 6 + 2 * 4
            assert {item.status for item in items} == {"done"}
            assert world.told.total() == len(items)
            assert batch.progress == BatchProgress(30, len(items), 0, 0, 0)
            assert [item async for item in batch] == []
        again = await all_of(client.batch(AGENT, rows, store=store, name="b"))
        assert world.told == dict.fromkeys(rows, 1)
        assert len(again) == 30


async def test_at_most_so_many_are_asked_in_a_start() -> None:
    rows, most, concurrency = [f"{number}" for number in range(50)], 20, 4
    async with served() as (world, _, client, store):
        for before in (0, 20, 40):
            new = 0
            async with client.batch(AGENT, rows, store=store, name="b", concurrency=concurrency) as batch:
                async for item in batch:
                    new += not item.from_store
                    if new > most - 2 * concurrency:
                        batch.stop()
            assert most - 2 * concurrency < new <= most or world.told.total() == 50
            assert world.told.total() <= before + most
        assert world.twice == []


async def test_stopped_before_it_is_iterated_it_gives_what_there_is_and_asks_nothing() -> None:
    rows = ["a", "error b", "c", "slow d", "e"]
    async with served() as (world, server, client, store):
        assert len(await all_of(client.batch(AGENT, rows[:3], store=store, name="b"))) == 3
        other = client.batch(AGENT, rows[:4], store=store, name="b")  # as another process that is at work
        reading = asyncio.ensure_future(all_of(other))
        while not world.slow:
            await asyncio.sleep(0.1)
        requests = len(server.requests)
        batch = client.batch(AGENT, rows, store=store, name="b", concurrency=1)
        batch.stop()
        assert texts(await all_of(batch)) == ["you said a", "failed: WorkerError", "you said c"]
        assert batch.progress == BatchProgress(5, 2, 1, 0, 0)
        assert len(server.requests) == requests
        async with client.batch(AGENT, rows, store=store, name="b", concurrency=1) as batch:
            batch.stop()
            await anext(batch)
            batch.stop()  # which ends that, too
            assert len([item async for item in batch]) <= 2
        assert len(server.requests) == requests
        world.go_on.set()
        await reading


async def test_stopped_it_does_not_wait_for_a_service_that_is_away() -> None:
    world = World()
    async with world.emulator.serve() as server:
        way = Way(server.url)
        async with AsyncToolhouse("key", base_url=way.url) as client:
            batch = client.batch(AGENT, ["a", "b"], store=MemorySessionStore(), name="b")
            asyncio.get_running_loop().call_later(100, batch.stop)
            start = now()
            assert await all_of(batch) == []
            assert now() - start < 130
            assert batch.progress == BatchProgress(2, 0, 0, 0, 0)


async def test_stopped_while_rows_are_asked_for() -> None:
    async def rows() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(1e6)
        yield "b"

    async with served() as (_, _, client, store):
        batch = client.batch(AGENT, rows(), store=store, name="b")
        asyncio.get_running_loop().call_later(100, batch.stop)
        assert texts(await all_of(batch)) == ["you said a"]


# Several at once


async def test_two_batches_at_once_share_the_rows() -> None:
    rows = [f"row {number}" for number in range(60)]
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        start = now()
        both = await asyncio.gather(
            *(
                all_of(client.batch(AGENT, iter(rows), store=Troubled(store), name="b", concurrency=5))
                for client in (one, two)
            )
        )
        assert world.told == dict.fromkeys(rows, 1)
        assert world.most > 5
        assert now() - start < 60 * 0.15 / 5
        for items in both:
            assert texts(items) == [f"you said {row}" for row in rows]


async def test_a_row_that_a_live_process_has_is_left_to_it(caplog: pytest.LogCaptureFixture) -> None:
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        first = asyncio.ensure_future(all_of(one.batch(AGENT, ["slow a", "b"], store=store, name="b")))
        while not world.slow:
            await asyncio.sleep(0.01)
        other = two.batch(AGENT, ["slow a", "b"], store=store, name="b")
        second = asyncio.ensure_future(all_of(other))
        await asyncio.sleep(300)  # ten leases
        assert not second.done()
        assert other.progress == BatchProgress(2, 1, 0, 0, 1)
        assert await other.read_progress() == BatchProgress(2, 1, 0, 0, 1)
        who = f"{socket.gethostname()}:{os.getpid()}"
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert warning.startswith("the batch waits for rows that other starts of it have (")  # b is done, or not yet
        assert warning.endswith(
            f", of {who}): until they are done, or at most 31 s where a process has stopped; their answers are "
            "then looked for, some seconds more"
        )
        world.go_on.set()
        assert texts(await first) == texts(await second) == ["you said slow a", "you said b"]
        assert world.twice == []


async def test_nothing_is_estimated_where_all_rows_that_are_left_are_those_of_other_starts() -> None:
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as client:
        first = asyncio.ensure_future(all_of(client.batch(AGENT, ["slow a"], store=store, name="b")))
        while not world.slow:
            await asyncio.sleep(0.01)
        other = client.batch(AGENT, ["slow a", "b"], store=store, name="b")
        second = asyncio.ensure_future(all_of(other))
        await asyncio.sleep(300)
        assert other.progress == BatchProgress(2, 1, 0, 0, 1)
        assert (other.progress.rate, other.progress.seconds_left) == (None, None)
        world.go_on.set()
        await asyncio.gather(first, second)
        assert other.progress.rate
        assert other.progress.seconds_left == 0


async def test_so_many_rows_of_others_are_set_aside() -> None:
    rows = [f"slow {number}" for number in range(200)]
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        first = asyncio.ensure_future(all_of(one.batch(AGENT, rows, store=store, name="b", concurrency=100)))
        while world.slow < 100:
            await asyncio.sleep(0.01)
        other = two.batch(AGENT, iter(rows), store=store, name="b", concurrency=1)
        second = asyncio.ensure_future(all_of(other))
        await asyncio.sleep(10)
        assert other.progress == BatchProgress(None, 0, 0, 0, 50)
        world.go_on.set()
        assert len(await first) == len(await second) == 200
        assert world.twice == []


async def test_who_stops_leaves_the_rows_of_others() -> None:
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        first = asyncio.ensure_future(all_of(one.batch(AGENT, ["slow a"], store=store, name="b")))
        while not world.slow:
            await asyncio.sleep(0.01)
        other = two.batch(AGENT, ["slow a"], store=store, name="b")
        asyncio.get_running_loop().call_later(10, other.stop)
        assert await all_of(other) == []
        world.go_on.set()
        await first


async def test_a_row_is_taken_over_when_its_lease_has_run_out() -> None:
    """A process whose store is away loses its rows: it gives out what the other has found."""
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        troubled = Troubled(store)
        first = asyncio.ensure_future(all_of(one.batch(AGENT, ["slow a"], store=troubled, name="b", lease=10)))
        while not world.slow:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        troubled.down = True
        second = asyncio.ensure_future(all_of(two.batch(AGENT, ["slow a"], store=store, name="b", lease=10)))
        await asyncio.sleep(20)
        world.go_on.set()
        assert texts(await second) == ["you said slow a"]
        troubled.down = False
        assert texts(await first) == ["you said slow a"]
        assert world.twice == []


@pytest.mark.parametrize("quiet", [0, 10])
async def test_the_rows_of_a_process_that_has_died_come_when_it_is_said(
    quiet: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The lease, a look at the rows of others, and a history that has not changed for a while."""
    async with served(recovery=RecoveryPolicy(quiet=quiet)) as (world, _, client, store):
        dying = Mortal(store, dies_at=0, does_it=False)
        world.on_told = lambda: asyncio.get_running_loop().call_later(0.05, dying.die) and None
        first = asyncio.ensure_future(all_of(client.batch(AGENT, ["a"], store=dying, name="b")))
        await dying.died.wait()
        died = now()
        await asyncio.sleep(1)
        assert texts(await all_of(client.batch(AGENT, ["a"], store=store, name="b"))) == ["you said a"]
        assert 29 < now() - died < 31 + quiet + 1
        assert "at most 31 s" in caplog.text
        assert world.told == {"a": 1}
        first.cancel()
        await asyncio.wait([first])


async def test_a_process_whose_row_was_taken_over_gives_what_the_other_finds() -> None:
    """Its clock says that the lease has run out."""
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        first = asyncio.ensure_future(all_of(one.batch(AGENT, ["slow a"], store=store, name="b")))
        while not world.slow:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        ahead = Troubled(store)
        ahead.ahead = 100
        second = asyncio.ensure_future(all_of(two.batch(AGENT, ["slow a"], store=ahead, name="b")))
        await asyncio.sleep(12)  # the first finds it out when it renews its lease
        world.go_on.set()
        assert texts(await second) == texts(await first) == ["you said slow a"]
        assert world.twice == []


async def test_of_two_that_find_a_row_of_a_dead_process_one_takes_it() -> None:
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        troubled = Troubled(store)
        async with client_of(server) as dying:
            dead = dying.batch(AGENT, ["slow a"], store=troubled, name="b")
            waiting = asyncio.ensure_future(anext(dead))
            while not world.slow:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1)
            troubled.down = True
            waiting.cancel()
            await asyncio.wait({waiting})
        world.go_on.set()
        await asyncio.sleep(60)
        batches = [client.batch(AGENT, ["slow a"], store=Troubled(store), name="b") for client in (one, two)]
        for items in await asyncio.gather(*map(all_of, batches)):
            assert texts(items) == ["you said slow a"]
        assert world.told["slow a"] == 1


async def test_two_that_ask_something_else_under_one_key() -> None:
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        first = asyncio.ensure_future(all_of(one.batch(AGENT, ["slow a"], store=store, name="b")))
        while not world.slow:
            await asyncio.sleep(0.01)
        with pytest.raises(ConfigurationError, match="has another message"):
            await all_of(two.batch(AGENT, ["another"], store=store, name="b"))
        world.go_on.set()
        assert texts(await first) == ["you said slow a"]
        assert world.told["another"] == 0


async def test_a_row_of_another_process_that_nobody_can_read_any_more() -> None:
    world, store = World(), MemorySessionStore()
    async with world.emulator.serve() as server, client_of(server) as one, client_of(server) as two:
        first = one.batch(AGENT, ["slow a"], store=store, name="b")
        running = asyncio.ensure_future(anext(first))
        while not world.slow:
            await asyncio.sleep(0.01)
        second = asyncio.ensure_future(all_of(two.batch(AGENT, ["slow a"], store=store, name="b")))
        await asyncio.sleep(5)
        assert not second.done()
        store._entries["batch:b/0"] = b"nothing"
        with pytest.raises(StoreError, match="cannot be read"):
            await second
        await first.aclose()
        with pytest.raises((ClosedError, StoreError)):
            await running


# The arguments, and what is shown


async def test_progress_counts_what_this_iteration_has_read() -> None:
    async with served() as (world, _, client, store):
        world.emulator.faults.add(method="POST", cut="rst")
        batch = client.batch(AGENT, iter(["a", "error b", "slow c"]), store=store, name="b", concurrency=3)
        assert batch.progress == BatchProgress(None, 0, 0, 0, 0)
        async with batch:
            seen = [await anext(batch), await anext(batch)]
            assert {item.status for item in seen} == {"unknown", "failed"}
            assert batch.progress == BatchProgress(3, 0, 1, 1, 1)
            assert await batch.read_progress() == BatchProgress(None, 0, 1, 1, 1)
            world.go_on.set()
            assert (await anext(batch)).status == "done"
            with pytest.raises(StopAsyncIteration):
                await anext(batch)
            assert await batch.read_progress() == BatchProgress(3, 1, 1, 1, 0) == batch.progress
        without_rows = client.batch(AGENT, [], store=store, name="b")
        assert await without_rows.read_progress() == BatchProgress(3, 1, 1, 1, 0)
        assert repr(without_rows) == "<Batch 'b'>"
        assert await client.batch(AGENT, [], store=store, name="none").read_progress() == BatchProgress(
            None, 0, 0, 0, 0
        )


class Table:
    """Like a DataFrame of pandas: its iterator gives the names of its columns."""

    def __iter__(self) -> Iterator[str]:
        return iter(("id", "question"))

    def itertuples(self) -> Iterator[tuple[str, str]]:
        return iter([("q1", "What is 2 + 2?")])


class Columns:
    """Like a DataFrame of polars: its iterator gives its columns."""

    def __iter__(self) -> Iterator[list[str]]:
        return iter((["q1"], ["What is 2 + 2?"]))

    def to_dicts(self) -> list[dict[str, str]]:
        return [{"id": "q1", "question": "What is 2 + 2?"}]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"rows": "text"}, "rows must be an iterable"),
        ({"rows": {"a": 1}}, "rows must be an iterable"),
        ({"rows": 5}, "rows must be an iterable"),
        ({"rows": Table()}, r"rows is a table, .*frame\.notna\(\), ''\)\.to_dict\('records'\)"),
        ({"rows": Columns()}, r"rows is a table, .* frame\.fill_nan\(None\)\.to_dicts\(\), with '' in place of None"),
        ({"store": "batch.db"}, r"store must be a SessionStore, such as SQLiteSessionStore\(…\), not str"),
        ({"store": MemorySessionStore}, "store must be a SessionStore, such as .*, not the class MemorySessionStore"),
        ({"name": ""}, "the name of a batch must be a string that is not empty"),
        ({"name": 5}, "the name of a batch must be a string"),
        ({"key": "id"}, "key must be a function"),
        ({"template": "{"}, "template is no pattern"),
        ({"template": "the same"}, "template has no field"),
        ({"concurrency": 0}, "concurrency must be a whole number of at least 1, not 0"),
        ({"concurrency": 2.5}, "concurrency must be a whole number of at least 1, not 2.5"),
        ({"rate": 0}, "rate must be messages a second above zero, or None, not 0"),
        ({"rate": True}, "rate must be"),
        ({"retry_unknown": None}, "retry_unknown must be True or False"),
        ({"lease": 0}, "lease must be seconds above zero"),
        ({"recover": 5}, "recover must be"),
        ({"unknown": 5}, "unknown options"),
        ({"agent_id": "a/b"}, "agent"),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_sent(wrong: dict[str, Any], why: str) -> None:
    async with served() as (_, server, client, store):
        arguments: dict[str, Any] = {"agent_id": AGENT, "rows": ["a"], "store": store, "name": "b", **wrong}
        with pytest.raises(ConfigurationError, match=why):
            client.batch(arguments.pop("agent_id"), arguments.pop("rows"), **arguments)
        assert server.requests == []


async def test_numbers_of_other_libraries_are_taken() -> None:
    async with served() as (_, _, client, store):
        numbers: dict[str, Any] = {
            "concurrency": Whole(2),
            "rate": Fraction(500),
            "lease": Whole(30),
            "timeout": Whole(5),
        }
        assert len(await all_of(client.batch(AGENT, ["a", "b"], store=store, name="b", **numbers))) == 2


async def test_a_closed_client_has_no_batches() -> None:
    async with served() as (_, _, client, store):
        await client.aclose()
        with pytest.raises(ClosedError):
            client.batch(AGENT, ["a"], store=store, name="b")


def test_it_is_loaded_when_it_is_used() -> None:
    assert toolhouse_async.Batch is Batch
    assert isinstance(BatchItem("k", "row", "done"), BatchItem)


async def test_a_worker_that_is_not_there_fails_every_row() -> None:
    async with served() as (_, _, client, store):
        items = await all_of(client.batch("nobody", ["a", "b"], store=store, name="b"))
        assert all(isinstance(item.error, NotFoundError) for item in items)


async def test_progress_in_the_store_counts_rows_that_the_input_has_no_longer() -> None:
    async with served() as (_, _, client, store):
        for rows in (["a", "b", "c", "d"], ["a", "b"]):
            batch = client.batch(AGENT, rows, store=store, name="b", key=lambda row, _: row)
            await all_of(batch)
        assert (await batch.read_progress()) == BatchProgress(2, 4, 0, 0, 0)
        assert batch.progress == BatchProgress(2, 2, 0, 0, 0)


async def test_progress_has_the_rate_of_this_process_and_the_time_left() -> None:
    async with served() as (_, _, client, store):
        rows = [f"row {number}" for number in range(100)]
        async with client.batch(AGENT, rows, store=store, name="b", concurrency=2) as batch:
            seen = [batch.progress async for _ in batch]
        assert (seen[0].rate, seen[0].seconds_left) == (None, None)
        assert seen[49].rate == pytest.approx(20, rel=0.1)  # two at a time, of a tenth of a second each
        assert seen[49].seconds_left == pytest.approx(2.5, rel=0.1)
        assert seen[-1].rate == pytest.approx(20, rel=0.1)
        assert seen[-1].seconds_left == 0
        stored = await batch.read_progress()
        assert (stored.rate, stored.seconds_left) == (None, None)
        more = [*rows, "slow"]
        async with client.batch(AGENT, more, store=store, name="b", concurrency=2) as batch:  # the rest is not its work
            for _ in rows:
                await anext(batch)
            assert (batch.progress.rate, batch.progress.seconds_left) == (None, None)
    assert (batch.progress.done, batch.progress.rate) == (100, None)  # nor does it need a loop that runs
