"""What is sent, and what the answers' status and run id headers mean."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conversations.support import (
    AGENT,
    JOB,
    KEY,
    RUN,
    RUN_HEADER,
    Scripted,
    assert_accepted,
    assistant,
    connect,
    history,
    methods,
    said,
    streamed,
    user,
)
from tests.support.raw_server import ndjson, response
from toolhouse_async import AsyncToolhouse, ProtocolError, Session, TurnStarted
from toolhouse_async.testing import EmulatorServer, WorkersEmulator
from toolhouse_async.testing.workers import echo

OVER = history(user("hi"), assistant("wait"))
DONE = streamed(said("done"))
FIELDS: dict[str, Any] = {"toolhouse_id": "u-1", "vars": {"city": "Rome"}, "bundle": "tools"}


def bodies(server: Scripted) -> list[Any]:
    return [request.json() if request.body else None for request in server.requests if request.method != "GET"]


# Bodies


async def test_fields_go_with_the_users_messages_and_never_with_a_resume() -> None:
    async with (
        Scripted(post=[streamed(job=JOB)], get=[OVER, OVER], put=[DONE, streamed(job=JOB), DONE]) as server,
        connect(server) as toolhouse,
    ):
        session = toolhouse.session(AGENT, **FIELDS)
        await session.send("hi", extra_body={"model": "x"})
        await session.send("more", extra_body={"depth": 3})
    assert bodies(server) == [
        {"message": "hi", **FIELDS, "model": "x"},
        {"message": ""},
        {"message": "more", **FIELDS, "depth": 3},
        {"message": ""},
    ]
    assert_accepted(server, "POST hi", "PUT ", "PUT more", "PUT ")


async def test_no_message_is_left_out_of_a_post_and_empty_in_a_put() -> None:
    async with Scripted(post=[DONE], put=[DONE]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT, vars={"a": 1})
        await session.send()
        await session.send()
    assert bodies(server) == [{"vars": {"a": 1}}, {"message": "", "vars": {"a": 1}}]


async def test_a_post_with_nothing_to_say_has_no_body() -> None:
    async with Scripted(post=[DONE]) as server, connect(server) as toolhouse:
        await toolhouse.run(AGENT)
    (request,) = server.requests
    assert request.body == b""
    assert "content-type" not in request.headers
    assert "transfer-encoding" not in request.headers


async def test_an_empty_message_is_a_message() -> None:
    async with Scripted(post=[DONE]) as server, connect(server) as toolhouse:
        await toolhouse.run(AGENT, "")
    assert bodies(server) == [{"message": ""}]


async def test_any_unicode_arrives(emulator: WorkersEmulator, session: Session) -> None:
    emulator.worker(AGENT)(echo)
    message = "¿Qué? \u2028 \x00 \U0001f427 " + '"\\\n'
    assert (await session.send(message)).text == message
    assert (await session.send(message, format="text")).text == message


async def test_every_request_carries_the_key_alone() -> None:
    async with Scripted(post=[streamed(job=JOB)], get=[OVER], put=[DONE]) as server, connect(server) as toolhouse:
        await toolhouse.run(AGENT, "hi")
    assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"] * 3
    assert all("cookie" not in request.headers for request in server.requests)
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


async def test_a_public_worker_is_called_without_a_key() -> None:
    async with Scripted(post=[DONE]) as server, AsyncToolhouse("", base_url=server.url) as toolhouse:
        await toolhouse.run(AGENT, "hi")
    assert "authorization" not in server.requests[0].headers


# Success


@pytest.mark.parametrize("status", [200, 201, 202, 203, 206, 226])
async def test_any_2xx_is_success(status: int) -> None:
    async with (
        Scripted(post=[streamed(said("a"), status=status)], put=[streamed(said("b"), status=status)]) as server,
        connect(server) as toolhouse,
        toolhouse.session(AGENT) as session,
    ):
        assert (await session.send("hi")).text == "a"
        assert (await session.send("more")).text == "b"
    assert_accepted(server, "POST hi", "PUT more")


async def test_204_is_success_without_words() -> None:
    answer = f"HTTP/1.1 204 No Content\r\n{RUN_HEADER}: {RUN}\r\n\r\n".encode()
    async with Scripted(post=[answer], get=[history(user("hi"))]) as server, connect(server) as toolhouse:
        result = await toolhouse.run(AGENT, "hi")
    assert (result.text, result.run_id) == ("", RUN)
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/octet-stream", ""])
async def test_the_content_type_is_not_judged(kind: str) -> None:
    answer = response(200, {RUN_HEADER: RUN, "Content-Type": kind}, ndjson(said("words")))
    async with Scripted(post=[answer]) as server, connect(server) as toolhouse:
        assert (await toolhouse.run(AGENT, "hi")).text == "words"


@pytest.mark.parametrize("name", ["x-toolhouse-run-id", "X-TOOLHOUSE-RUN-ID", "X-Toolhouse-Run-Id"])
async def test_header_names_are_read_in_any_case(name: str) -> None:
    async with (
        Scripted(post=[streamed(said("a"), run=None, headers={name: RUN})]) as server,
        connect(server) as toolhouse,
    ):
        assert (await toolhouse.run(AGENT, "hi")).run_id == RUN


# Run ids


async def test_the_run_id_is_unknown_before_the_first_answer_and_known_from_its_headers_on(
    emulator: WorkersEmulator, session: Session
) -> None:
    emulator.worker(AGENT)(echo)
    assert session.run_id is None
    async with session.stream("hi") as turn:
        started = await anext(turn)
        assert isinstance(started, TurnStarted)
        assert started.run_id == turn.run_id == session.run_id
        assert session.run_id is not None


async def test_a_run_id_that_changes_on_a_put_is_followed(
    emulator: WorkersEmulator, server: EmulatorServer, session: Session
) -> None:
    emulator.worker(AGENT)(echo)
    emulator.rotate_run_id = True
    seen = [(await session.send(message)).run_id for message in ("a", "b", "c")]
    assert len(set(seen)) == 3
    assert session.run_id == seen[-1]
    assert_accepted(server, "POST a", "PUT b", "PUT c")


async def test_a_run_id_that_changes_on_a_resume_is_followed() -> None:
    async with (
        Scripted(
            post=[streamed(job=JOB, run="run-1")],
            get=[OVER, OVER],
            put=[streamed(job="job-2", run="run-2"), streamed(said("done"), run="run-3"), DONE],
        ) as server,
        connect(server) as toolhouse,
        toolhouse.session(AGENT) as session,
    ):
        assert (await session.send("hi")).run_id == "run-3"
        await session.send("more")
    assert [request.path.rpartition("/")[2] for request in server.requests] == [
        *[AGENT, "run-1", "run-1", "run-2", "run-2", "run-3"]
    ]


async def test_a_run_id_missing_on_a_put_keeps_the_old_one() -> None:
    nameless = streamed(said("b"), run=None)
    async with Scripted(post=[DONE], put=[nameless, nameless]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        await session.send("hi")
        for _ in range(2):
            assert (await session.send("more")).run_id == RUN
    assert session.run_id == RUN


async def test_a_run_id_missing_on_a_post_is_no_error_until_it_is_needed() -> None:
    async with Scripted(post=[streamed(said("a"), run=None)]) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        result = await session.send("hi")
        assert (result.text, result.run_id, session.run_id) == ("a", None, None)
        with pytest.raises(ProtocolError):
            await session.history()
        with pytest.raises(ProtocolError):
            await session.send("more")
    assert methods(server) == "POST"


async def test_a_run_id_missing_on_a_post_with_a_job_is_an_error_behind_its_events() -> None:
    async with Scripted(post=[streamed(said("a"), run=None, job=JOB)]) as server, connect(server) as toolhouse:
        turn = toolhouse.stream(AGENT, "hi")
        words = []
        with pytest.raises(ProtocolError):
            async for event in turn:
                words.append(getattr(event, "text", ""))
    assert "a" in words
    assert_accepted(server, "POST hi")


@pytest.mark.parametrize("run", ["../x", "a/b", "a b", "a?x", "%2e%2e", "", "é", "x" * 129, "a, b"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_malformed_run_id_is_a_protocol_error_and_is_never_sent(run: str, method: str) -> None:
    bad = streamed(said("a"), run=run)
    answers: Any = {"post": [bad]} if method == "POST" else {"post": [DONE], "put": [bad]}
    async with Scripted(**answers) as server, connect(server) as toolhouse:
        session = toolhouse.session(AGENT)
        if method == "PUT":
            await session.send("first")
        with pytest.raises(ProtocolError):
            await session.send("hi")
    assert methods(server) in ("POST", "POST PUT")


async def test_a_message_answered_with_a_malformed_run_id_was_accepted_so_it_must_not_be_sent_again() -> None:
    async with Scripted(post=[streamed(run="../x")]) as server, connect(server) as toolhouse:
        with pytest.raises(ProtocolError) as caught:
            await toolhouse.run(AGENT, "hi")
    assert caught.value.safe_to_retry is False
    assert_accepted(server, "POST hi")


async def test_two_run_ids_are_a_protocol_error() -> None:
    answer = streamed(said("a")).replace(b"\r\n", f"\r\n{RUN_HEADER}: run-2\r\n".encode(), 1)
    async with Scripted(post=[answer]) as server, connect(server) as toolhouse:
        with pytest.raises(ProtocolError):
            await toolhouse.run(AGENT, "hi")
    assert_accepted(server, "POST hi")
