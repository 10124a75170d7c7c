"""nginx is reloaded, crashes, or is killed and started again, in the middle of things."""

from __future__ import annotations

import asyncio

import pytest

from tests.conversations.support import AGENT
from tests.faults.support import eventually
from toolhouse_async import (
    ContactLostError,
    JobStarted,
    NotSentError,
    OutcomeUnknownError,
    PollingPolicy,
    RetryPolicy,
    StreamRecovered,
    Turn,
)

from .nginx import Site
from .support import DEFAULTS, PASS, WHOLE, Job, Proxied


async def first_half(proxied: Proxied, turn: Turn) -> None:
    """Read a turn up to the pause."""
    await proxied.read_until(turn, lambda: proxied.words == "one two")


async def job_started(proxied: Proxied, turn: Turn) -> None:
    """Read a turn up to its job."""
    await proxied.read_until(turn, lambda: proxied.events and isinstance(proxied.events[-1], JobStarted))


async def test_a_reload_lets_answers_end_and_conversations_go_on(proxied: Proxied) -> None:
    """``nginx -s reload``: the old process serves on what it has begun, the new one takes what comes."""
    may_go_on = asyncio.Event()
    proxied.pausing(may_go_on.is_set)
    nginx = await proxied.nginx()
    toolhouse = await proxied.client(nginx)
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        turn = session.stream(WHOLE)
        await first_half(proxied, turn)
        (old,) = nginx.workers
        await nginx.reload(Site(f"{PASS} add_header X-Generation 2;"))
        may_go_on.set()
        result = await proxied.read(turn)
        assert (result.text, result.recovered) == (WHOLE, False)
        await eventually(lambda: old not in nginx.workers and not nginx.connections)
        async with session.stream("thanks") as turn:
            assert (await turn.result()).text == "thanks"
        assert turn.headers["X-Generation"] == "2"
    proxied.accepted("POST hello", f"PUT {WHOLE}", "PUT thanks")


async def test_a_reload_that_does_not_wait_for_answers_cuts_them_and_they_are_healed(proxied: Proxied) -> None:
    proxied.pausing()
    nginx = await proxied.nginx()
    await nginx.reload(Site(PASS, main="worker_shutdown_timeout 100ms;"))
    toolhouse = await proxied.client(nginx)
    turn = toolhouse.stream(AGENT, WHOLE)
    await first_half(proxied, turn)
    await nginx.reload()
    result = await proxied.read(turn)
    assert (result.text, result.recovered) == (WHOLE, True)
    proxied.accepted(f"POST {WHOLE}")


async def test_a_crash_of_the_serving_process_is_healed(proxied: Proxied) -> None:
    proxied.pausing()
    nginx = await proxied.nginx()
    toolhouse = await proxied.client(nginx)
    async with toolhouse.session(AGENT) as session:
        turn = session.stream(WHOLE)
        await first_half(proxied, turn)
        await nginx.crash()
        result = await proxied.read(turn)
        assert (result.text, result.recovered) == (WHOLE, True)
        assert StreamRecovered(WHOLE, " three four") in proxied.events
        assert (await session.send("thanks")).text == "thanks"
    proxied.accepted(f"POST {WHOLE}", "PUT thanks")


async def test_a_hard_restart_is_healed(proxied: Proxied) -> None:
    """While nginx is down connections are refused; the reads that heal are repeated until it is back."""
    proxied.pausing()
    nginx = await proxied.nginx()
    toolhouse = await proxied.client(nginx)
    turn = toolhouse.stream(AGENT, WHOLE)
    await first_half(proxied, turn)
    await nginx.kill()
    reading = asyncio.create_task(proxied.read(turn))
    await asyncio.wait([reading], timeout=0.3)  # it tries in vain
    assert not reading.done()
    await nginx.start()
    result = await reading
    assert (result.text, result.recovered) == (WHOLE, True)
    proxied.accepted(f"POST {WHOLE}")


async def test_what_a_killed_nginx_had_buffered_is_lost_and_the_run_id_with_it(proxied: Proxied) -> None:
    """By default a short answer is held back to its end, and its headers too: nobody can look it up then."""
    proxied.pausing(lambda: False)
    nginx = await proxied.nginx(DEFAULTS)
    toolhouse = await proxied.client(nginx)
    turn = toolhouse.stream(AGENT, WHOLE)
    reading = asyncio.create_task(turn.result())
    await eventually(lambda: proxied.server.accepted)
    await asyncio.wait([reading], timeout=0.2)
    await nginx.kill()
    with pytest.raises(OutcomeUnknownError) as caught:
        await reading
    assert (caught.value.safe_to_retry, turn.run_id) == (None, None)
    proxied.accepted(f"POST {WHOLE}")


async def test_a_message_waits_for_an_nginx_that_is_being_started(proxied: Proxied) -> None:
    nginx = await proxied.nginx()
    patient = RetryPolicy(max_attempts=200, initial=0.05, maximum=0.05)
    toolhouse = await proxied.client(nginx, retries=patient)
    await nginx.kill()
    with pytest.raises(NotSentError) as caught:
        await (await proxied.client(nginx)).run(AGENT, "hi")
    assert caught.value.safe_to_retry is True
    running = asyncio.create_task(toolhouse.run(AGENT, "hi"))
    await asyncio.wait([running], timeout=0.2)
    await nginx.start()
    assert (await running).text == "hi"
    proxied.accepted("POST hi")


async def test_a_job_is_waited_for_over_a_hard_restart(proxied: Proxied) -> None:
    job = Job(proxied)
    nginx = await proxied.nginx()
    toolhouse = await proxied.client(nginx)
    turn = toolhouse.stream(AGENT, "hi")
    await job_started(proxied, turn)
    await nginx.kill()
    reading = asyncio.create_task(proxied.read(turn))
    await asyncio.wait([reading], timeout=0.3)
    job.may_end.set()
    await nginx.start()
    assert (await reading).text == "working, done"
    proxied.accepted("POST hi", "PUT ")


async def test_an_nginx_that_stays_away_ends_the_wait_with_a_token_that_waits_on(proxied: Proxied) -> None:
    job = Job(proxied)
    nginx = await proxied.nginx()
    impatient = PollingPolicy(min_interval=0.02, max_interval=0.05, failure_budget=2, failure_window=0.2)
    toolhouse = await proxied.client(nginx, polling=impatient)
    turn = toolhouse.stream(AGENT, "hi")
    await job_started(proxied, turn)
    await nginx.kill()
    with pytest.raises(ContactLostError) as caught:
        await turn.result()
    await nginx.start()
    job.may_end.set()
    assert (await toolhouse.wait_for_job(caught.value.token)).text == "done"
    proxied.accepted("POST hi", "PUT ")
