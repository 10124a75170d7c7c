from __future__ import annotations

import asyncio
import functools
import json
import sys
import threading

import pytest

from toolhouse_async import ConfigurationError
from toolhouse_async.testing import WorkersEmulator

from .conftest import Client


@pytest.fixture
def release(emulator: WorkersEmulator) -> asyncio.Event:
    """Ends the jobs of worker ``a``, which starts one for ``first``, and one behind its words for ``later``."""
    event = asyncio.Event()

    async def work(name: str) -> dict[str, str]:
        await event.wait()
        return {"done": name}

    @emulator.worker("a")
    async def a(ctx):
        if ctx.message == "first":
            yield ctx.background(work, "one")
            yield ctx.text("working")
        elif ctx.message == "later":
            yield ctx.text("words")
            yield ctx.background(work, "two")
        elif ctx.message == "two jobs":
            yield ctx.background(work, "three")
            yield ctx.background(work, "four")
        else:
            yield ctx.text(f"{ctx.job_result} {ctx.job_failed}")

    return event


async def test_job_on_the_answer(client: Client, release: asyncio.Event) -> None:
    first = await client.start("first")
    assert first.job_id
    assert first.text == "working"
    for method in ("GET", "HEAD"):
        assert (await client.ask(method, f"/a/{first.run_id}")).job_id == first.job_id
    refused = await client.go_on(first.run_id)
    assert (refused.status, refused.job_id) == (409, first.job_id)
    assert (await client.ask("PUT", f"/ndjson/a/{first.run_id}", json={"message": ""})).status == 409
    assert (await client.start("fresh")).status == 200
    release.set()
    await client.until_over(first.run_id)
    assert (await client.ask("HEAD", f"/a/{first.run_id}")).job_id is None
    last = await client.go_on(first.run_id)
    assert (last.status, last.job_id, last.text) == (200, None, "{'done': 'one'} False")
    assert await client.said(first.run_id) == [
        ("user", "first"),
        ("assistant", "working"),
        ("tool", '{"done":"one"}'),
        ("user", ""),
        ("assistant", "{'done': 'one'} False"),
    ]
    assert (await client.go_on(first.run_id)).text == "None False"


async def test_later_job_shows_on_reads_alone(client: Client, release: asyncio.Event) -> None:
    first = await client.start("later")
    assert first.job_id is None
    job_id = (await client.read(first.run_id)).job_id
    assert job_id
    assert (await client.go_on(first.run_id)).job_id == job_id
    release.set()
    await client.until_over(first.run_id)
    assert (await client.go_on(first.run_id)).text == "{'done': 'two'} False"


async def test_rounds(client: Client, release: asyncio.Event) -> None:
    release.set()
    answer = await client.start("first")
    jobs = [answer.job_id]
    for _ in range(3):
        await client.until_over(answer.run_id)
        answer = await client.go_on(answer.run_id, "first")
        jobs.append(answer.job_id)
    assert len({*jobs, None}) == 5


async def test_jobs_of_one_answer_run_one_after_another(client: Client, release: asyncio.Event) -> None:
    first = await client.start("two jobs")
    assert first.text == ""
    assert (await client.read(first.run_id)).job_id == first.job_id
    release.set()
    await client.until_over(first.run_id)
    assert (await client.said(first.run_id))[1:] == [("tool", '{"done":"three"}'), ("tool", '{"done":"four"}')]
    assert (await client.go_on(first.run_id)).text == "{'done': 'four'} False"


async def test_job_that_ends_first_still_stands_behind_its_answer(emulator: WorkersEmulator, client: Client) -> None:
    ended = asyncio.Event()

    async def quick() -> str:
        ended.set()
        return "result"

    @emulator.worker("a")
    async def a(ctx):
        yield ctx.background(quick)
        await ended.wait()
        while (await client.read(ctx.run_id)).job_id is not None:
            pass
        assert await client.said(ctx.run_id) == [("user", "x")]
        yield ctx.text("words")

    first = await client.start("x")
    assert first.job_id
    assert await client.said(first.run_id) == [("user", "x"), ("assistant", "words"), ("tool", "result")]


@pytest.mark.parametrize("make", [lambda: asyncio.sleep(1), lambda: "work"], ids=["coroutine", "text"])
async def test_what_is_no_function_is_refused_at_once(emulator: WorkersEmulator, client: Client, make) -> None:
    refused = []

    @emulator.worker("a")
    async def a(ctx):
        with pytest.raises(ConfigurationError, match=r"background\(\) takes a function and its arguments") as caught:
            ctx.background(make())
        refused.append(caught.value)
        yield ctx.text("words")

    assert (await client.start("x")).text == "words"
    assert len(refused) == 1


class _Callable:
    async def __call__(self) -> str:
        return "awaited"


async def _async(text: str) -> str:
    await asyncio.sleep(0)
    return text


def _thread_name() -> str:
    return threading.current_thread().name


def _fail() -> None:
    raise LookupError("no such file")


async def _afail() -> None:
    raise LookupError("no such file")


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: 1 + 1, (2, False)),
        (_thread_name, ("toolhouse background job", False)),
        (functools.partial(_async, "partial"), ("partial", False)),
        (_Callable(), ("awaited", False)),
        (_fail, ("LookupError: no such file", True)),
        (_afail, ("LookupError: no such file", True)),
        (sys.exit, ("SystemExit: ", True)),
        (functools.partial(next, iter(())), ("RuntimeError: StopIteration()", True)),
        (lambda: None, ("null", False)),  # as its history has it; None says that there was no job
        (functools.partial(asyncio.sleep, 0), ("null", False)),
        (object, (None, False)),
    ],
)
async def test_functions_really_run(emulator: WorkersEmulator, client: Client, function, expected) -> None:
    outcome = []

    @emulator.worker("a")
    async def a(ctx):
        if ctx.message == "start":
            yield ctx.background(function)
        outcome.append((ctx.job_result, ctx.job_failed))

    run_id = (await client.start("start")).run_id
    await client.until_over(run_id)
    await client.go_on(run_id)
    if function is object:
        assert isinstance(outcome[1][0], object)
        assert (await client.said(run_id))[1][1].startswith('"<object object')
    else:
        assert outcome == [(None, False), expected]
        text = expected[0] if isinstance(expected[0], str) else json.dumps(expected[0])
        assert (await client.said(run_id))[1] == ("tool", text)


async def test_many_blocking_jobs_at_once(emulator: WorkersEmulator, client: Client) -> None:
    barrier = threading.Barrier(40)

    @emulator.worker("a")
    async def a(ctx):
        yield ctx.background(barrier.wait)

    runs = [(await client.start("x")).run_id for _ in range(40)]
    for run_id in runs:
        await client.until_over(run_id)
    numbers = [(await client.said(run_id))[1][1] for run_id in runs]
    assert sorted(map(int, numbers)) == list(range(40))


async def test_blocking_job_does_not_hold_up_the_end(emulator: WorkersEmulator) -> None:
    import aiohttp

    held, started = threading.Event(), threading.Event()

    def block() -> None:
        started.set()
        held.wait()

    @emulator.worker("a")
    async def a(ctx):
        yield ctx.background(block)

    async with aiohttp.ClientSession() as session, emulator.serve() as server:
        await session.post(f"{server.url}/a")
        await asyncio.get_running_loop().run_in_executor(None, started.wait)
    assert not held.is_set()
    held.set()
