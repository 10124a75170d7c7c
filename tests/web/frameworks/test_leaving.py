"""Clients that leave: the turn is closed at once and nothing is left, whatever it was doing."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest

from .support import FASTAPI_TEXT, FRAMEWORKS, HEARTBEAT, LONG, SOON, TEXT, Site, each_framework, module, site, soon

HEARTBEAT_SECONDS = 15.0
both_ways = pytest.mark.parametrize("how", ["close", "reset"])


def now() -> float:
    return asyncio.get_running_loop().time()


async def tasks_of(it: Site) -> set[asyncio.Task[Any]]:
    """The tasks of a server that has had a request and has nothing to do."""
    await (await it.read("hello")).rest()
    it.worker.ended = ""
    return asyncio.all_tasks()


async def nothing_left(it: Site, before: set[asyncio.Task[Any]]) -> None:
    """Wait until no task is left that came since, but for one of the emulator's for each kept connection to it."""
    await soon(lambda: len(asyncio.all_tasks() - before) <= it.service.connections)


@each_framework
@both_ways
@pytest.mark.parametrize("question", ["words", "silent", "mute", "flood"])
async def test_the_turn_is_closed_at_once(name: str, question: str, how: str) -> None:
    """While words come, while the worker is silent, before it has said anything, and when nobody reads its words."""
    async with site(name) as it:
        before = await tasks_of(it)
        reading = await it.read(question)
        await it.accepted(2)
        if question == "words":
            for _ in range(3):
                await reading.event()
        elif question == "flood":  # the sending waits; the framework is cancelled there, and not within the turn
            await asyncio.sleep(2)
        else:
            await asyncio.sleep(7)
        assert it.service.connections == 1
        began = now()
        reading.leave(how)
        await soon(lambda: it.service.connections == 0)
        assert now() - began < SOON < HEARTBEAT_SECONDS
        await soon(lambda: it.worker.ended == "stopped")
        await nothing_left(it, before)
        assert len(it.service.accepted) == 2  # it stays sent, and is not sent again


@each_framework
@both_ways
async def test_the_turn_is_closed_at_once_between_two_heartbeats(name: str, how: str) -> None:
    async with site(name) as it:
        before = await tasks_of(it)
        reading = await it.read("silent")
        while await reading.piece() != HEARTBEAT:
            pass
        assert await reading.piece() == HEARTBEAT
        await asyncio.sleep(HEARTBEAT_SECONDS / 2)
        reading.leave(how)
        await soon(lambda: it.service.connections == 0)
        await soon(lambda: it.worker.ended == "stopped")
        await nothing_left(it, before)


@each_framework
@both_ways
async def test_the_turn_is_closed_at_once_in_the_moment_of_a_heartbeat(name: str, how: str) -> None:
    """It is on its way when the client leaves."""
    async with site(name) as it:
        before = await tasks_of(it)
        began = now()
        reading = await it.read("silent")
        await asyncio.sleep(began + HEARTBEAT_SECONDS - now())
        reading.leave(how)
        await soon(lambda: it.service.connections == 0)
        await nothing_left(it, before)


@each_framework
@both_ways
async def test_a_job_is_not_asked_for_any_more_and_goes_on(name: str, how: str) -> None:
    async with site(name) as it:
        before = await tasks_of(it)
        reading = await it.read("job")
        while (await reading.event()).name != "JobProgress":
            pass
        reading.leave(how)
        await asyncio.sleep(SOON)
        asked = len(it.service.requests)
        await asyncio.sleep(LONG)
        assert len(it.service.requests) == asked
        assert it.worker.ended == "finished"  # the worker's own part was over; the job is not
        it.worker.go_on.set()
        await nothing_left(it, before)


@each_framework
async def test_one_who_leaves_does_not_disturb_the_others(name: str) -> None:
    async with site(name) as it:
        leaving, staying = await it.read("silent"), await it.read("silent")
        await it.accepted(2)
        leaving.leave()
        await soon(lambda: it.service.connections == 1)
        events = await staying.rest()
        assert [event.name for event in events][-2:] == ["TextDelta", "TurnCompleted"]


# What the page says of each framework

ROWS = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", TEXT, re.MULTILINE)


def test_the_table_has_every_framework() -> None:
    assert [row[0] for row in ROWS] == FRAMEWORKS
    assert {row[1] for row in ROWS} == {"at once"}


@pytest.mark.parametrize(("name", "says"), [(name, says) for name, _, says in ROWS])
async def test_the_answer_of_a_client_that_leaves_is_as_the_table_says(name: str, says: str) -> None:
    async with site(name) as it:
        before = await tasks_of(it)
        asking = asyncio.create_task(it.client.post(f"{it.url}/answer", json={"question": "words"}))
        await it.accepted(2)
        asking.cancel()
        await asyncio.wait([asking])
        if says == "at once":
            await soon(lambda: it.worker.ended == "stopped")
        else:
            assert says == "runs on"
            await asyncio.sleep(100)
            assert it.worker.ended == ""
            await soon(lambda: it.worker.ended == "stopped", 25)  # by the timeout, which is 120 seconds
        await nothing_left(it, before)


@both_ways
async def test_aiohttp_without_its_setting_notices_at_the_next_heartbeat(how: str) -> None:
    async with site("aiohttp", handler_cancellation=False) as it:
        before = await tasks_of(it)
        began = now()
        reading = await it.read("silent")
        await it.accepted(2)
        await asyncio.sleep(1)
        reading.leave(how)
        await asyncio.sleep(HEARTBEAT_SECONDS - 2)
        assert it.service.connections == 1
        await soon(lambda: it.service.connections == 0, 20)
        assert now() - began < 2 * HEARTBEAT_SECONDS + 1
        await nothing_left(it, before)
        with pytest.raises(TimeoutError):
            await it.client.post(f"{it.url}/answer", json={"question": "words"}, timeout=aiohttp.ClientTimeout(total=1))
        it.worker.ended = ""
        await asyncio.sleep(100)
        assert it.worker.ended == ""
        await soon(lambda: it.worker.ended == "stopped", 25)  # by the endpoint's own timeout
    assert "`handler_cancellation=True` is needed" in TEXT


def announcing(name: str, version: str, reports: list[str]) -> Any:
    """The application under a server that announces a version of ASGI; from 2.4 on a sending in vain fails."""
    application = module(name).app

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        scope["asgi"]["spec_version"] = version
        left = asyncio.Event()
        received = [await receive()]

        async def watch() -> None:
            assert (await receive())["type"] == "http.disconnect"
            left.set()

        async def receive_as_ever() -> Any:
            if received:
                return received.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send_or_fail(message: Any) -> None:
            if left.is_set():
                raise OSError("the client has left")
            await send(message)

        watching = asyncio.create_task(watch())
        try:
            await application(scope, receive_as_ever, send_or_fail)
        except Exception as error:  # noqa: BLE001 - what the server would write into its log
            reports.append(type(error).__name__)
        finally:
            watching.cancel()

    return app


@pytest.mark.parametrize("name", ["fastapi", "django", "litestar"])
@pytest.mark.parametrize("version", ["2.3", "2.4"])
@both_ways
async def test_under_asgi_2_4_starlette_notices_at_the_next_heartbeat(name: str, version: str, how: str) -> None:
    reports: list[str] = []
    async with site(name, app=announcing(name, version, reports)) as it:
        before = await tasks_of(it)
        reading = await it.read("silent")
        await it.accepted(2)
        await asyncio.sleep(1)
        reading.leave(how)
        if (name, version) == ("fastapi", "2.4"):
            await asyncio.sleep(HEARTBEAT_SECONDS - 2)
            assert it.service.connections == 1
            await soon(lambda: it.service.connections == 0, HEARTBEAT_SECONDS + 2)
            assert reports == ["ClientDisconnect"]
        else:
            await soon(lambda: it.service.connections == 0)
            assert reports == []
        await nothing_left(it, before)
    assert "after 15 seconds at most" in FASTAPI_TEXT
