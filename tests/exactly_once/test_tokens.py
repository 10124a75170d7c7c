"""Tokens: where they come from, what they do, and what a hostile one does not."""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from itertools import repeat
from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    KEY,
    RUN,
    Scripted,
    assert_accepted,
    assistant,
    connect,
    history,
    kinds,
    methods,
    refused,
    user,
)
from tests.exactly_once.support import answer, over_time
from toolhouse_async import (
    ConfigurationError,
    ContactLostError,
    JobToken,
    JobWaitTimeoutError,
    PollingPolicy,
    TurnTimeoutError,
)

RUNNING = history(user("go"), job=JOB)
OVER = history(user("go"), assistant("Wait. "))


def started(family: str = "ndjson") -> bytes:
    return answer(family, "Wait. ", job=JOB)


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_detached_here_and_resumed_there(family: str) -> None:
    """The token keeps the endpoint family."""
    async with Scripted(
        post=[started(family)], get=over_time((0, RUNNING), (20, OVER)), put=[answer(family, "Done")]
    ) as server:
        async with connect(server) as toolhouse:
            detached = await toolhouse.run(AGENT, "go", background="detach", format=family)
        assert (detached.status, detached.text) == ("background", "Wait. ")
        written = detached.token.to_json()
        assert KEY not in written
        async with connect(server) as other:
            result = await other.wait_for_job(JobToken.from_json(written))
        assert (result.text, result.status, result.run_id) == ("Done", "completed", RUN)
        assert server.requests[-1].path == ("/ndjson" if family == "ndjson" else "") + f"/{AGENT}/{RUN}"
    assert_accepted(server, "POST go", "PUT ")


async def test_the_same_as_events() -> None:
    async with (
        Scripted(post=[started()], get=over_time((0, RUNNING), (20, OVER)), put=[answer("ndjson", "Done")]) as server,
        connect(server) as toolhouse,
    ):
        token = (await toolhouse.run(AGENT, "go", background="detach")).token
        events = [event async for event in toolhouse.wait_for_job(token)]
    assert kinds(events) == ["JobStarted", "JobProgress", "JobFinished", "TurnResumed", "TextDelta", "TurnCompleted"]
    assert_accepted(server, "POST go", "PUT ")


async def test_only_waiting_sends_nothing() -> None:
    async with (
        Scripted(post=[started()], get=over_time((0, RUNNING), (20, OVER))) as server,
        connect(server) as toolhouse,
    ):
        token = (await toolhouse.run(AGENT, "go", background="detach")).token
        status = await toolhouse.wait_for_job(token).wait()
    assert (status.job_id, status.running) == (None, False)
    assert_accepted(server, "POST go")


async def test_a_turn_that_runs_out_of_time_leaves_a_token() -> None:
    get = over_time((0, RUNNING), (40, OVER))
    async with (
        Scripted(post=[started()], get=get, put=[answer("ndjson", "Done")]) as server,
        connect(server) as toolhouse,
    ):
        with pytest.raises(TurnTimeoutError) as caught:
            await toolhouse.run(AGENT, "go", timeout=20)
        error = pickle.loads(pickle.dumps(caught.value))
        assert (error.partial.text, error.token.job_id, error.safe_to_retry) == ("Wait. ", JOB, False)
        assert (await toolhouse.wait_for_job(error.token)).text == "Done"
    assert_accepted(server, "POST go", "PUT ")


async def test_a_wait_that_runs_out_of_time_leaves_a_token() -> None:
    get = over_time((0, RUNNING), (40, OVER))
    async with (
        Scripted(post=[started()], get=get, put=[answer("ndjson", "Done")]) as server,
        connect(server) as toolhouse,
    ):
        token = (await toolhouse.run(AGENT, "go", background="detach")).token
        with pytest.raises(JobWaitTimeoutError) as caught:
            await toolhouse.wait_for_job(token, polling=PollingPolicy(deadline=20))
        assert caught.value.safe_to_retry is not True
        assert (await toolhouse.wait_for_job(caught.value.token)).text == "Done"
    assert_accepted(server, "POST go", "PUT ")


async def test_lost_contact_leaves_a_token() -> None:
    get = over_time((0, refused(500)), (200, OVER))
    async with (
        Scripted(post=[started()], get=get, put=[answer("ndjson", "Done")]) as server,
        connect(server) as toolhouse,
    ):
        with pytest.raises(ContactLostError) as caught:
            await toolhouse.run(AGENT, "go")
        await asyncio.sleep(200)
        assert (await toolhouse.wait_for_job(caught.value.token)).text == "Done"
    assert_accepted(server, "POST go", "PUT ")


async def test_a_token_keeps_the_start_of_its_job() -> None:
    """The deadline counts from the job's start, not from the waiter's: one last poll, and it is over."""
    token = JobToken(AGENT, RUN, JOB, time.time() - 10_000)
    async with Scripted(get=repeat(RUNNING)) as server, connect(server) as toolhouse:
        with pytest.raises(JobWaitTimeoutError) as caught:
            await toolhouse.wait_for_job(token)
    assert caught.value.token.started == pytest.approx(token.started, abs=1)
    assert 1 <= methods(server).count("GET") <= 2


async def test_a_token_whose_start_is_yet_to_come() -> None:
    """Clocks differ: it counts as just started."""
    token = JobToken(AGENT, RUN, JOB, time.time() + 10_000)
    async with (
        Scripted(get=over_time((0, RUNNING), (30, OVER)), put=[answer("ndjson", "Done")]) as server,
        connect(server) as toolhouse,
    ):
        assert (await toolhouse.wait_for_job(token)).text == "Done"
    assert_accepted(server, "PUT ")


GOOD = json.loads(JobToken(AGENT, RUN, JOB, 1_700_000_000.0).to_json())
HOSTILE: dict[str, Any] = {
    "not JSON": "{",
    "empty": "",
    "an array": "[]",
    "a string": '"token"',
    "null": "null",
    "deep": "[" * 4000,
    "huge": json.dumps(GOOD | {"job_id": "x" * 1_000_000}),
    "more fields": json.dumps(GOOD | {"base_url": "https://evil.example"}),
    "a key": json.dumps(GOOD | {"api_key": "x"}),
    **{f"no {name}": json.dumps({k: v for k, v in GOOD.items() if k != name}) for name in list(GOOD)[:4]},
    **{
        f"{name}={value!r:.20}": json.dumps(GOOD | {name: value})
        for name, value in [
            *[("run_id", bad) for bad in ("..", "a/b", "a?x", "%2e%2e", "", "x" * 129, "a\r\nb", None, 1, ["a"], "é")],
            *[("agent_id", bad) for bad in ("..", "https://evil.example/worker", "a/b", "", None, {"a": 1})],
            *[("job_id", bad) for bad in ("", "a\r\nb", "\x00", None, 7, ["j"])],
            *[("started", bad) for bad in (-1, "now", None, True, 1e300, [1])],
            *[("format", bad) for bad in ("xml", "", None, 1, ["ndjson"])],
            *[("round", bad) for bad in (-1, 1.5, "1", None, True, 10**30)],
        ]
    },
    "started NaN": json.dumps(GOOD).replace("1700000000.0", "NaN"),
    "started Infinity": json.dumps(GOOD).replace("1700000000.0", "Infinity"),
    "bytes": json.dumps(GOOD).encode(),
    "None": None,
    "a lone surrogate": '{"agent_id":"\ud800"}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_token_is_refused_before_any_io(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JobToken.from_json(HOSTILE[name])
    assert len(str(caught.value)) < 400


def test_a_good_token_survives_its_journey() -> None:
    token = JobToken.from_json(json.dumps(GOOD))
    assert JobToken.from_json(token.to_json()) == token
    assert pickle.loads(pickle.dumps(token)) == token


async def test_something_else_than_a_token() -> None:
    async with Scripted() as server, connect(server) as toolhouse:
        for wrong in (None, "token", JobToken(AGENT, RUN, JOB, 0.0).to_json(), 7, toolhouse.session(AGENT)):
            with pytest.raises(ConfigurationError):
                await toolhouse.wait_for_job(wrong)
    assert server.requests == []
