"""What nginx answers where the service does not: 502 and 504, as pages of its own, and answers that it cuts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conversations.support import AGENT, JOB_HEADER, RUN_HEADER
from tests.faults.support import eventually
from tests.support.answers import unused_port
from toolhouse_async import (
    IdleTimeoutError,
    JobProgress,
    OutcomeUnknownError,
    ServerError,
    StreamRecovered,
    Timeouts,
)

from .nginx import Nginx
from .support import DEFAULTS, PASS, SHORT, WHOLE, Job, Proxied


async def fails(nginx: Nginx, step: Any, status: int) -> ServerError:
    """Await what must fail with a page of nginx's own."""
    with pytest.raises(ServerError) as caught:
        await step
    error = caught.value
    assert (error.status, error.safe_to_retry) == (status, None)
    assert "<center>nginx" in error.body
    assert RUN_HEADER not in error.headers
    assert JOB_HEADER not in error.headers
    return error


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize(
    ("location", "missing"), [(PASS, " three four"), (DEFAULTS, WHOLE)], ids=["streaming", "defaults"]
)
async def test_a_pause_longer_than_the_read_timeout_is_healed(
    proxied: Proxied, location: str, missing: str, family: Any
) -> None:
    """nginx cuts the answer, and throws away what it had buffered; the worker goes on, and the history has all."""
    proxied.pausing()
    nginx = await proxied.nginx(f"{location} {SHORT}")
    toolhouse = await proxied.client(nginx)
    result = await proxied.read(toolhouse.stream(AGENT, WHOLE, format=family))
    assert (result.text, result.recovered) == (WHOLE, True)
    assert StreamRecovered(WHOLE, missing) in proxied.events
    assert "upstream timed out" in nginx.log
    proxied.accepted(f"POST {WHOLE}")


async def test_a_read_timeout_above_the_clients_leaves_the_cut_to_the_client(proxied: Proxied) -> None:
    proxied.pausing()
    nginx = await proxied.nginx(f"{PASS} proxy_read_timeout 600s;")
    toolhouse = await proxied.client(nginx, timeouts=Timeouts(idle=0.5))
    assert (await toolhouse.run(AGENT, WHOLE)).recovered
    with pytest.raises(IdleTimeoutError):
        proxied.pausing(lambda: proxied.count("GET") > 100)
        await toolhouse.run(AGENT, WHOLE, recover=False)
    assert "upstream timed out" not in nginx.log
    proxied.accepted(f"POST {WHOLE}", f"POST {WHOLE}")


async def test_a_late_answer_is_a_504_that_is_not_sent_again_and_is_reconciled(proxied: Proxied) -> None:
    proxied.pausing(first=False)
    nginx = await proxied.nginx(f"{PASS} {SHORT}")
    toolhouse = await proxied.client(nginx)
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        await fails(nginx, session.send(WHOLE), 504)
        result = await session.reconcile()
        assert result is not None
        assert result.text == WHOLE
        assert (await session.send("thanks")).text == "thanks"
    proxied.accepted("POST hello", f"PUT {WHOLE}", "PUT thanks")


async def test_a_late_first_answer_is_a_504_that_nobody_can_look_up(proxied: Proxied) -> None:
    may_go_on = asyncio.Event()
    proxied.pausing(may_go_on.is_set, first=False)
    nginx = await proxied.nginx(f"{PASS} {SHORT}")
    toolhouse = await proxied.client(nginx)
    async with toolhouse.session(AGENT) as session:
        error = await fails(nginx, session.send(WHOLE), 504)
        assert error.run_id is None
        with pytest.raises(OutcomeUnknownError):
            await session.reconcile()
    may_go_on.set()
    proxied.accepted(f"POST {WHOLE}")


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("accept", [True, False], ids=["accepted", "lost"])
async def test_a_service_that_dies_before_it_answers_is_a_502_that_is_reconciled(
    proxied: Proxied, how: Any, accept: bool
) -> None:
    nginx = await proxied.nginx()
    toolhouse = await proxied.client(nginx)
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        proxied.emulator.faults.add(method="PUT", cut=how, accept=accept)
        await fails(nginx, session.send(WHOLE), 502)
        result = await session.reconcile()
        if accept:
            assert result is not None
            assert result.text == WHOLE
        else:
            assert result is None
            assert (await session.send(WHOLE)).text == WHOLE
    assert proxied.count("PUT") == (1 if accept else 2)
    proxied.accepted("POST hello", f"PUT {WHOLE}")


async def test_a_service_that_is_not_there_is_a_502_that_is_not_sent_again(proxied: Proxied) -> None:
    nginx = await proxied.nginx(upstream=f"http://127.0.0.1:{unused_port()}")
    toolhouse = await proxied.client(nginx)
    await fails(nginx, toolhouse.run(AGENT, "hi"), 502)
    assert nginx.log.count("Connection refused") == 1
    await nginx.reload(upstream=proxied.server.url)
    await eventually(lambda: not nginx.connections)
    assert (await toolhouse.run(AGENT, "hi")).text == "hi"
    proxied.accepted("POST hi")


async def test_reads_are_repeated_over_502_and_504(proxied: Proxied) -> None:
    nginx = await proxied.nginx(f"{PASS} {SHORT}")
    toolhouse = await proxied.client(nginx)
    async with toolhouse.session(AGENT) as session:
        await session.send("hi")
        proxied.emulator.faults.add(method="GET", cut="fin")
        silent = proxied.emulator.faults.add(method="GET", cut="silence")
        assert [message.text for message in await session.history()] == ["hi", "hi"]
        silent.release()
    assert "prematurely closed" in nginx.log
    assert "timed out" in nginx.log
    proxied.accepted("POST hi")


async def test_a_job_is_waited_for_over_502_and_504(proxied: Proxied) -> None:
    """The service dies under a poll, is slow, and then away altogether."""
    job = Job(proxied)
    nginx = await proxied.nginx(f"{PASS} {SHORT}")
    toolhouse = await proxied.client(nginx)
    proxied.emulator.faults.add(method="GET", cut="rst", times=2)
    silent = proxied.emulator.faults.add(method="GET", cut="silence")
    turn = toolhouse.stream(AGENT, "hi")
    await proxied.read_until(turn, lambda: proxied.events and isinstance(proxied.events[-1], JobProgress))
    silent.release()
    assert nginx.log.count("upstream timed out") == 1
    await nginx.reload(upstream=f"http://127.0.0.1:{unused_port()}")
    job.may_end.set()
    reading = asyncio.create_task(proxied.read(turn))
    await eventually(lambda: nginx.log.count("Connection refused") >= 3)
    await nginx.reload(upstream=proxied.server.url)
    assert (await reading).text == "working, done"
    proxied.accepted("POST hi", "PUT ")
