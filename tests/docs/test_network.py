"""The page on network failures: each of its moments happens, ends as its table says and within its times."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from attrs import frozen

import toolhouse_async
from tests.support.proxy import Cut, Proxy
from toolhouse_async import (
    AsyncToolhouse,
    JobFinished,
    RetryPolicy,
    StreamRecovered,
    Timeouts,
    ToolhouseError,
    TurnResult,
)
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

from .setups import AGENT_ID, analyst
from .test_pages import DOCS, rows

PAGE = "explanation/network.md"
MOMENTS = dict(re.findall(r"^\| ([1-6]) (.+) \|$", (DOCS / PAGE).read_text("utf-8"), re.MULTILINE))
"""The rows of the table by their numbers."""
FOR_EVER: dict[str, Any] = {"times": None}
WITHIN = {"32 s": 32.0, "at once": 0.1, "10 minutes": 600.1, "2½ minutes": 150.1, "4 minutes": 240.0, "10 s": 10.1}
"""What the table says of times, in seconds."""


@frozen
class Failure:
    """A failure of one moment, the text of its row that names its time, and what the row says the program gets."""

    moment: str
    faults: tuple[dict[str, Any], ...]
    within: str
    gets: str
    job: float | None = None
    after: float = 0.0
    behind_the_job: tuple[dict[str, Any], ...] = ()


GONE = {"method": "GET", "status": 503, **FOR_EVER}
FAILURES = {
    "lost": Failure("3", ({"method": "POST", "cut": "fin", "accept": True},), "at once", "OutcomeUnknownError"),
    "no answer": Failure("3", ({"method": "POST", "cut": "silence"},), "10 minutes", "OutcomeUnknownError"),
    "cut": Failure("4", ({"method": "POST", "cut": "rst", "cut_after": 70},), "10 s", "StreamRecovered"),
    "silent": Failure(
        "4", ({"method": "POST", "cut": "silence", "cut_after": 70},), "10 s", "StreamRecovered", after=300
    ),
    "cut and no history": Failure(
        "4", ({"method": "POST", "cut": "rst", "cut_after": 70}, GONE), "2½ minutes", "StreamInterruptedError"
    ),
    "cut and silence": Failure(
        "4",
        ({"method": "POST", "cut": "rst", "cut_after": 70}, {"method": "GET", "cut": "silence", **FOR_EVER}),
        "2½ minutes",
        "StreamInterruptedError",
    ),
    "polls refused": Failure("5", ({**GONE, "skip": 1},), "4 minutes", "ContactLostError", job=600),
    "polls silent": Failure(
        "5",
        ({"method": "GET", "cut": "silence", **FOR_EVER, "skip": 1},),
        "4 minutes",
        "ContactLostError",
        job=600,
    ),
    "resume lost and no history": Failure(
        "6",
        ({"method": "PUT", "cut": "rst"},),
        "2½ minutes",
        "ResumeUncertainError",
        job=30,
        behind_the_job=(GONE,),
    ),
    "resume not sent": Failure(
        "6",
        ({"method": "PUT", "status": 429, "retry_after": 90, **FOR_EVER},),
        "4 minutes",
        "ContactLostError",
        job=30,
    ),
    "resume not answered": Failure(
        "6", ({"method": "PUT", "cut": "rst", "accept": True},), "10 s", "StreamRecovered", job=30
    ),
}


def test_every_moment_has_its_row() -> None:
    assert list(MOMENTS) == list("123456")
    assert {failure.moment for failure in FAILURES.values()} == set("3456")


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_ends_as_the_page_says(name: str) -> None:
    failure = FAILURES[name]
    row = MOMENTS[failure.moment]
    emulator = WorkersEmulator()
    emulator.worker(AGENT_ID)(echo if failure.job is None else analyst(failure.job))
    for fault in failure.faults:
        emulator.faults.add(**fault)
    got: object = None
    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        began = asyncio.get_running_loop().time()
        try:
            async for event in toolhouse.stream(AGENT_ID, "one two three four"):
                match event:
                    case StreamRecovered():
                        got = event
                    case JobFinished():
                        began = asyncio.get_running_loop().time()
                        for fault in failure.behind_the_job:
                            emulator.faults.add(**fault)
        except ToolhouseError as error:
            got = error
        took = asyncio.get_running_loop().time() - began
        messages = [(request.method, request.path) for request in server.accepted]
    assert isinstance(got, getattr(toolhouse_async, failure.gets))
    assert took - failure.after <= WITHIN[failure.within]
    assert f"`{failure.gets}`" in row
    assert failure.within in row
    assert len(messages) == len(set(messages))  # never twice


async def test_a_lost_resume_is_sent_again() -> None:
    emulator = WorkersEmulator()
    emulator.worker(AGENT_ID)(analyst(30))
    emulator.faults.add(method="PUT", cut="rst")
    async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        began = asyncio.get_running_loop().time()
        result = await toolhouse.run(AGENT_ID, "one two three four")
        assert asyncio.get_running_loop().time() - began - 30 <= WITHIN["2½ minutes"]
        assert "Done" in result.text
        assert [request.method for request in server.accepted] == ["POST", "PUT"]
    assert "a second resume and its answer" in MOMENTS["6"]
    assert "2½ minutes" in MOMENTS["6"]


async def test_a_message_cut_while_it_is_sent_is_not_sent_again() -> None:
    emulator = WorkersEmulator()
    emulator.worker(AGENT_ID)(echo)
    async with emulator.serve() as server, Proxy(server.url, cut=Cut(20, "rst", "up")) as proxy:
        async with AsyncToolhouse("", base_url=proxy.url) as toolhouse:
            with pytest.raises(toolhouse_async.OutcomeUnknownError):
                await toolhouse.run(AGENT_ID, "one")
        assert (proxy.connections, server.accepted) == (1, [])
    assert "`OutcomeUnknownError`" in MOMENTS["2"]


async def test_without_a_network_nothing_is_sent() -> None:
    async with WorkersEmulator().serve() as server:
        url = server.url  # nobody listens there afterwards
    began = asyncio.get_running_loop().time()
    async with AsyncToolhouse("", base_url=url) as toolhouse:
        with pytest.raises(toolhouse_async.NotSentError):
            await toolhouse.run(AGENT_ID, "one")
    pauses = RetryPolicy().initial + 2 * RetryPolicy().initial
    assert asyncio.get_running_loop().time() - began <= pauses + 0.1
    connect = Timeouts().connect
    assert connect is not None
    assert WITHIN["32 s"] - 1 < RetryPolicy().max_attempts * connect + pauses <= WITHIN["32 s"]
    assert "`NotSentError`" in MOMENTS["1"]
    assert "32 s" in MOMENTS["1"]


async def test_finding_out_takes_as_long_as_the_page_says() -> None:
    """A lost message that had arrived is told after the quiet time, and one that had not after that of absence."""
    for accept, at_least in ((True, 10), (False, 120)):
        emulator = WorkersEmulator()
        emulator.worker(AGENT_ID)(echo)
        emulator.faults.add(method="PUT", cut="fin", accept=accept)
        async with emulator.serve() as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
            session = toolhouse.session(AGENT_ID)
            await session.send("Hello")
            with pytest.raises(toolhouse_async.OutcomeUnknownError):
                await session.send("Book")
            began = asyncio.get_running_loop().time()
            answer = await session.reconcile()
            took = asyncio.get_running_loop().time() - began
        assert isinstance(answer, TurnResult) if accept else answer is None
        assert at_least - 0.1 <= took <= at_least + 2
        assert took <= WITHIN["2½ minutes"]
        assert "10 s to 2½ minutes" in MOMENTS["3"]


def test_the_settings_of_the_page_are_the_defaults() -> None:
    for (name,), (default,), _ in rows(PAGE, "setting"):
        policy, _, attribute = name.partition(".")
        assert repr(getattr(getattr(toolhouse_async, policy)(), attribute)) == default
