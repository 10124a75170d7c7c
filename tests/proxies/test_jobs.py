"""Background jobs through nginx: their headers, 409, and pages of nginx's own in place of the service's answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conversations.support import AGENT, JOB_HEADER, kinds
from toolhouse_async import ConflictError, JobStarted, JobToken, ServerError, UnexpectedContentError

from .support import DEFAULTS, PASS, SHORT, Job, Proxied

PAGES = """
    error_page 500 502 503 504 /sorry.html;
    location = /sorry.html { internal; default_type text/html; return 200 "<h1>We will be back</h1>"; }
"""
GOOD_PAGES = PAGES.replace(" /sorry", " =200 /sorry", 1)
"""The same, but with a status that claims success."""


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize("location", [PASS, DEFAULTS], ids=["streaming", "defaults"])
async def test_a_turn_with_a_job(proxied: Proxied, location: str, family: Any) -> None:
    Job(proxied, polls=3)
    toolhouse = await proxied.client(await proxied.nginx(location))
    result = await proxied.read(toolhouse.stream(AGENT, "hi", format=family))
    assert (result.text, len(result.jobs), result.recovered) == ("working, done", 1, False)
    assert kinds(proxied.events) == [
        *["TurnStarted", "TextDelta", "JobStarted", "JobProgress", "JobFinished"],
        *["TurnResumed", "TextDelta", "TurnCompleted"],
    ]
    proxied.accepted("POST hi", "PUT ")


async def test_the_job_header_comes_with_answers_reads_and_refusals(proxied: Proxied) -> None:
    job = Job(proxied)
    toolhouse = await proxied.client(await proxied.nginx())
    async with toolhouse.session(AGENT) as session:
        async with session.stream("hi", background="detach") as turn:
            job_id = (await turn.result()).token.job_id
        assert turn.headers[JOB_HEADER] == job_id
        assert (await session.job_status()).job_id == job_id
        with pytest.raises(ConflictError) as caught:
            await session.send("more", on_conflict="raise")
        assert caught.value.headers[JOB_HEADER] == job_id
        waiting = asyncio.create_task(session.send("more"))
        await asyncio.wait([waiting], timeout=0.1)
        job.may_end.set()
        assert (await waiting).text == "more"
    proxied.accepted("POST hi", "PUT more")


async def test_a_409_that_nginx_makes_a_page_of_is_still_waited_for(proxied: Proxied) -> None:
    """Its header is lost with the service's answer, and found by a read."""
    job = Job(proxied)
    pages = PAGES.replace("error_page 500", "error_page 409 500")
    toolhouse = await proxied.client(await proxied.nginx(f"{PASS} proxy_intercept_errors on;", server=pages))
    async with toolhouse.session(AGENT) as session:
        await session.send("hi", background="detach")
        async with session.stream("more") as turn:
            async for event in turn:
                if isinstance(event, JobStarted):
                    job.may_end.set()
            assert (await turn.result()).text == "more"
    proxied.accepted("POST hi", "PUT more")


@pytest.mark.parametrize("pages", [PAGES, GOOD_PAGES], ids=["as they are", "as successes"])
async def test_pages_in_place_of_polls_are_no_news(proxied: Proxied, pages: str) -> None:
    Job(proxied, polls=6)
    proxied.emulator.faults.add(method="GET", cut="fin", times=2)
    proxied.emulator.faults.add(method="GET", status=503, times=2)
    nginx = await proxied.nginx(f"{PASS} {SHORT} proxy_intercept_errors on;", server=pages)
    toolhouse = await proxied.client(nginx)
    assert (await toolhouse.run(AGENT, "hi")).text == "working, done"
    assert proxied.count("GET") >= 6
    proxied.accepted("POST hi", "PUT ")


async def test_a_page_of_its_own_for_a_failed_message_has_no_run_id(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(server=PAGES))
    proxied.emulator.faults.add(method="POST", cut="fin", accept=True)
    with pytest.raises(ServerError) as caught:
        await toolhouse.run(AGENT, "hi")
    assert (caught.value.status, caught.value.run_id, caught.value.safe_to_retry) == (502, None, None)
    assert "We will be back" in caught.value.body
    proxied.accepted("POST hi")


async def test_a_page_that_claims_success_is_not_taken_for_an_answer(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(server=GOOD_PAGES))
    async with toolhouse.session(AGENT) as session:
        await session.send("hello")
        proxied.emulator.faults.add(method="PUT", cut="fin", accept=True)
        with pytest.raises(UnexpectedContentError) as caught:
            await session.send("hi")
        assert caught.value.safe_to_retry is None
        result = await session.reconcile()
        assert result is not None
        assert result.text == "hi"
    proxied.accepted("POST hello", "PUT hi")


async def test_a_token_leads_another_client_through_another_nginx(proxied: Proxied) -> None:
    Job(proxied, polls=3)
    first = await proxied.client(await proxied.nginx())
    result = await first.run(AGENT, "hi", background="detach")
    assert result.token is not None
    second = await proxied.client(await proxied.nginx(DEFAULTS))
    assert (await second.wait_for_job(JobToken.from_json(result.token.to_json()))).text == "done"
    proxied.accepted("POST hi", "PUT ")


async def test_the_resume_that_nginx_answers_with_502_is_found_in_the_history(proxied: Proxied) -> None:
    """The resume is accepted and its answer lost: it is looked up, and not sent again."""
    Job(proxied, polls=1)
    proxied.emulator.faults.add(method="PUT", cut="fin", accept=True)
    nginx = await proxied.nginx()
    toolhouse = await proxied.client(nginx)
    result = await toolhouse.run(AGENT, "hi")
    assert (result.text, result.recovered) == ("working, done", True)
    assert "prematurely closed" in nginx.log
    proxied.accepted("POST hi", "PUT ")
