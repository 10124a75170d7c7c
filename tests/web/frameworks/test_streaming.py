"""Streams and answers of every framework: what they hold, when it comes, and what is said of errors."""

from __future__ import annotations

import asyncio
import re
from itertools import product

import pytest

from tests.support.answers import KEY
from tests.web.support import words
from toolhouse_async.web import EVENT_STREAM_HEADERS

from .support import HEARTBEAT, LONG, SECRET, TEXT, Site, each_framework, site

AUTHORIZATION = "Bearer another-key"


def now() -> float:
    return asyncio.get_running_loop().time()


@each_framework
async def test_words_come_one_by_one_with_ids_and_headers(name: str) -> None:
    """The worker says the next word only when the one before has been heard: nothing may hold one back."""
    async with site(name) as it:
        reading = await it.read("steps")
        headers = reading.answer.headers
        assert {header: headers.getall(header) for header in EVENT_STREAM_HEADERS} == {
            header: [value] for header, value in EVENT_STREAM_HEADERS.items()
        }
        assert "Content-Length" not in headers
        assert "Content-Encoding" not in headers
        assert (await reading.event()).name == "TurnStarted"
        for number in range(5):
            event = await reading.event()
            assert (event.id, event.name, event.data["text"]) == (str(number + 2), "TextDelta", f"word{number} ")
            it.worker.go_on.set()
        (last,) = await reading.rest()
        assert (last.id, last.name) == ("7", "TurnCompleted")
        assert len(it.service.accepted) == 1


@each_framework
async def test_all_requests_share_one_client(name: str) -> None:
    async with site(name) as it:
        for number in range(3):
            events = await (await it.read(f"hello {number}")).rest()
            assert words(events) == f"hello {number}"
            async with it.client.post(f"{it.url}/answer", json={"question": "hello"}) as answer:
                assert (answer.status, await answer.json()) == (200, {"answer": "hello"})
        assert len(it.service.accepted) == 6
        assert it.service.connections == 1  # which was used again each time


@each_framework
async def test_many_streams_at_once_keep_their_words_apart(name: str) -> None:
    async with site(name) as it:
        readings = await asyncio.gather(*(it.read(f"hello {number}") for number in range(20)))
        said = [words(await reading.rest()) for reading in readings]
        assert said == [f"hello {number}" for number in range(20)]


@each_framework
async def test_a_silent_worker_is_covered_by_heartbeats(name: str) -> None:
    async with site(name) as it:
        began = now()
        reading = await it.read("mute")
        assert now() - began < 16
        beats = [await reading.piece() for _ in range(4)]
        assert beats == [HEARTBEAT] * 4
        assert 60 <= now() - began < 62
        assert words(await reading.rest()) == "late"
        assert LONG <= now() - began < LONG + 2


@each_framework
async def test_a_background_job_is_waited_for(name: str) -> None:
    async with site(name) as it:
        reading = await it.read("job")
        for _ in range(3):
            while (await reading.event()).name != "JobProgress":
                pass
        it.worker.go_on.set()
        events = await reading.rest()
        assert [event.name for event in events if event.name in ("JobFinished", "TurnResumed", "TurnCompleted")] == [
            "JobFinished",
            "TurnResumed",
            "TurnCompleted",
        ]
        assert words(events) == "The job is over."


# Errors


async def refusals(it: Site, kind: str) -> str:
    """Let the message fail in a way; return the message that does."""
    if kind == "key":
        it.emulator.api_key = "another-key"
        return "hello"
    return kind


@each_framework
@pytest.mark.parametrize(
    ("kind", "error", "safe_to_retry"),
    [("refuse", "ServerError", None), ("fail", "WorkerError", False), ("key", "AuthenticationError", True)],
)
async def test_an_error_is_told_in_safe_words(name: str, kind: str, error: str, safe_to_retry: bool | None) -> None:
    async with site(name) as it:
        question = await refusals(it, kind)
        reading = await it.read(question)
        body = (await reading.answer.read()).decode()
        assert f'"error":"{error}"' in body
        assert body.count("event: TurnFailed") == 1
        async with it.client.post(f"{it.url}/answer", json={"question": question}) as answer:
            told = await answer.json()
            assert answer.status == 502
            assert (told["error"], told["safe_to_retry"]) == (error, safe_to_retry)
            body += await answer.text()
        for headers in (reading.answer.headers, answer.headers):
            body += repr(headers)
        assert [secret for secret in (KEY, KEY[-6:], SECRET, it.service.url, "Traceback") if secret in body] == []


@each_framework
async def test_what_is_no_question_is_refused_and_sent_nowhere(name: str) -> None:
    headers = {"Content-Type": "application/json"}
    bodies = [b"", b"nonsense", b"[]", b"{}", b"\xff", b'"question"', b"null", b'{"question": "\\ud800"}']
    bodies += [b'{"other": "\\ud800"}', b'{"question": ""}', b'{"question": null}', b'{"question": 5}']
    async with site(name) as it:
        for path, body in product(("/stream", "/answer"), bodies):
            async with it.client.post(f"{it.url}{path}", data=body, headers=headers) as answer:
                assert answer.status in (400, 422), (path, body)
                assert "Traceback" not in await answer.text()
        assert it.service.requests == []


def test_the_heartbeat_is_that_of_the_page() -> None:
    assert re.search(r"`sse` sends a heartbeat\s+every 15 seconds", TEXT)
