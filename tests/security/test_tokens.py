"""Tokens, ids and URLs that somebody else hands to the program."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.answers import KEY, client_of, history, said
from tests.support.raw_server import RawServer
from toolhouse_async import AsyncToolhouse, ConfigurationError, JobToken, PollingPolicy

GOOD: dict[str, Any] = {"agent_id": "a", "run_id": "r1", "job_id": "j1", "started": 5}

HOSTILE: dict[str, Any] = {
    "deep": '{"agent_id":' + "[" * 4000,
    "deep and closed": '{"agent_id":' + "[" * 500 + "]" * 500 + "}",
    "huge": json.dumps(GOOD | {"job_id": "j" * 10_000_000}),
    "huge integer": json.dumps(GOOD).replace("5", "9" * 4000),
    "huge exponent": json.dumps(GOOD).replace("5", "1e" + "9" * 4000),
    "negative zero round": json.dumps(GOOD | {"round": -0.0}),
    "another service": json.dumps(GOOD | {"base_url": "https://evil.example"}),
    "another key": json.dumps(GOOD | {"api_key": "k"}),
    "an attribute": json.dumps(GOOD | {"__class__": "x"}),
    "a worker's URL": json.dumps(GOOD | {"agent_id": "https://agents.toolhouse.ai/a"}),
    "an encoded slash": json.dumps(GOOD | {"run_id": "r1%2F..%2Fadmin"}),
    "a slash": json.dumps(GOOD | {"run_id": "r1/../admin"}),
    "a full-width slash": json.dumps(GOOD | {"run_id": "r1\uff0fadmin"}),
    "a backslash": json.dumps(GOOD | {"agent_id": "a\\b"}),
    "a colon": json.dumps(GOOD | {"agent_id": "evil:443"}),
    "user info": json.dumps(GOOD | {"agent_id": "a@evil.example"}),
    "a line break": json.dumps(GOOD | {"run_id": "r1\r\nX-Evil: 1"}),
    "a terminal's escape": json.dumps(GOOD | {"job_id": "\x1b[2J"}),
    "text that runs backwards": json.dumps(GOOD | {"job_id": "\u202ej"}),
    "a pickle": "\x80\x04\x95",
    "a pickle in text": "cos\nsystem\n(S'true'\ntR.",
    "bytes": json.dumps(GOOD).encode(),
    "a list of a token": json.dumps([GOOD]),
    "a token in a token": json.dumps(json.dumps(GOOD)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_token_that_is_none_is_refused_at_once_and_not_repeated(name: str) -> None:
    began = time.process_time()
    with pytest.raises(ConfigurationError) as caught:
        JobToken.from_json(HOSTILE[name])
    assert time.process_time() - began < 5
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@given(
    st.dictionaries(st.sampled_from([*GOOD, "format", "round"]), st.text() | st.integers() | st.floats() | st.none())
)
def test_every_token_that_is_taken_leads_to_a_run_of_its_worker(change: dict[str, Any]) -> None:
    try:
        token = JobToken.from_json(json.dumps(GOOD | change))
    except ConfigurationError:
        return
    path = f"/{token.agent_id}/{token.run_id}"
    assert path.isascii()
    assert path.count("/") == 2
    assert not set(path) & set("?#%@:\\ .")


async def test_a_token_goes_to_the_clients_own_service_with_the_clients_own_key() -> None:
    """It says neither where to nor as whom; all that it chooses is which conversation of that key's is resumed."""
    assert json.loads(JobToken("a", "r1", "j1", 5).to_json()).keys() == {*GOOD, "format", "round"}
    async with RawServer([history(), said("x")]) as server, client_of(server) as toolhouse:
        token = JobToken.from_json(json.dumps(GOOD | {"run_id": "someone-elses"}))
        await toolhouse.wait_for_job(token, polling=PollingPolicy(deadline=None))
    assert [request.path for request in server.requests] == ["/a/someone-elses", "/ndjson/a/someone-elses"]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {KEY}"}


async def test_a_token_from_the_future_is_not_waited_for_longer() -> None:
    """A start far ahead would make the deadline of its job a date of the next millennium."""
    token = JobToken.from_json(json.dumps(GOOD | {"started": 9e10}))
    answers = [history(job="j1")] * 100
    async with RawServer(answers) as server, client_of(server) as toolhouse:
        with pytest.raises(TimeoutError):
            await toolhouse.wait_for_job(token, polling=PollingPolicy(deadline=60)).wait()
    assert len(server.requests) < 60


URLS = [
    "https://agents.toolhouse.ai@evil.example/a",
    "https://evil.example\\@agents.toolhouse.ai/a",
    "https://agents.toolhouse.ai\\.evil.example/a",
    "https://agents.toolhouse.ai%2eevil.example/a",
    "https://agents.toolhouse.ai:443@evil.example/a",
    "https://agents.toolhouse.ai:0443@evil.example/a",
    "https://agents.toolhouse.ai.:443/a",
    "https://agents。toolhouse。ai/a",
    "https://ａgents.toolhouse.ai/a",
    "https://agents.toolhouse.ai\t.evil.example/a",
    "\x00https://agents.toolhouse.ai/a",
    "https:///agents.toolhouse.ai/a",
    "https:agents.toolhouse.ai/a",
    "//agents.toolhouse.ai/a",
    "https://agents.toolhouse.ai//a",
    "https://agents.toolhouse.ai/./a",
    "https://agents.toolhouse.ai/x/../a",
    "https://agents.toolhouse.ai/%2e%2e/a",
    "https://agents.toolhouse.ai/a%2f..",
    "https://agents.toolhouse.ai/a;x",
    "https://agents.toolhouse.ai/a\\b",
    "https://agents.toolhouse.ai/a%00",
    "javascript://agents.toolhouse.ai/a",
    "file://agents.toolhouse.ai/a",
    "ws://agents.toolhouse.ai/a",
]


@pytest.mark.parametrize("url", URLS, ids=ascii)
async def test_a_workers_url_that_is_anothers_or_no_plain_one_is_refused(url: str) -> None:
    async with AsyncToolhouse(KEY) as toolhouse:
        with pytest.raises(ConfigurationError) as caught:
            toolhouse.session(url)
    assert str(caught.value).isprintable()
