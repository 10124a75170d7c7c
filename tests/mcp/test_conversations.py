"""What is kept of conversations, and for how long."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from tests.support.answers import KEY
from toolhouse_async import AsyncToolhouse, ConfigurationError, TurnCompleted
from toolhouse_async._cli.mcp_server.conversations import REMEMBERED, Conversations
from toolhouse_async._cli.mcp_server.earlier import Earlier
from toolhouse_async.errors import (
    BadRequestError,
    NotFoundError,
    OutcomeUnknownError,
    ToolhouseError,
    UncertainSessionError,
    WorkerError,
)
from toolhouse_async.testing import WorkersEmulator

from .workers import AGENT, worker


@asynccontextmanager
async def scene(most: int = REMEMBERED, **switches: Any) -> AsyncIterator[tuple[Conversations, WorkersEmulator, Any]]:
    """Conversations of one client, the emulator, and the same while it serves."""
    emulator = WorkersEmulator(api_key=KEY, **switches)
    emulator.worker(AGENT)(worker)
    async with emulator.serve() as server, AsyncToolhouse(KEY, base_url=server.url) as toolhouse:
        yield Conversations(toolhouse, most), emulator, server


async def talk(
    conversations: Conversations, message: str, run_id: str | None = None
) -> tuple[str, Earlier | None, str]:
    """Make a call: the answer, what became of the message before, and the conversation."""
    earlier, answer = None, ""
    async with aclosing(conversations.talk(AGENT, message, run_id)) as events:
        async for event in events:
            if isinstance(event, Earlier):
                earlier = event
            elif isinstance(event, TurnCompleted):
                answer, run_id = event.result.text, event.result.run_id
    assert run_id is not None
    return answer, earlier, run_id


async def lose(conversations: Conversations, emulator: WorkersEmulator, run_id: str, *, accept: bool) -> None:
    """Send a message whose answer never comes."""
    emulator.faults.add(method="PUT", cut="fin", accept=accept)
    with pytest.raises(OutcomeUnknownError):
        await talk(conversations, "lost", run_id)


async def test_what_a_message_before_came_to_is_known_while_its_conversation_is_kept() -> None:
    async with scene(2) as (conversations, emulator, _):
        runs = [(await talk(conversations, "Hello"))[2] for _ in range(2)]
        await lose(conversations, emulator, runs[0], accept=True)
        assert (await talk(conversations, "Hello", runs[1]))[1] is None
        _, earlier, _ = await talk(conversations, "Next", runs[0])
        assert earlier is not None
        assert earlier.result is not None
        assert earlier.result.text == "lost"


async def test_what_was_not_used_for_longest_is_forgotten_and_can_be_continued() -> None:
    async with scene(2) as (conversations, emulator, server):
        runs = [(await talk(conversations, "Hello"))[2] for _ in range(2)]
        await lose(conversations, emulator, runs[0], accept=True)
        for run_id in (None, runs[1]):
            await talk(conversations, "Hello", run_id)
        gc.collect()  # the client knows of a run what somebody holds, and errors hold their frames
        reads = sum(request.method == "GET" for request in server.requests)
        answer, earlier, _ = await talk(conversations, "Next", runs[0])
        assert (answer, earlier) == ("Next", None)
        assert sum(request.method == "GET" for request in server.requests) == reads + 1


async def test_conversations_that_are_talking_are_kept() -> None:
    async with scene(1) as (conversations, _, _):
        _, _, run_id = await talk(conversations, "Hello")
        long = asyncio.create_task(talk(conversations, "slow 20", run_id))
        await asyncio.sleep(1)
        for _ in range(3):
            await talk(conversations, "Hello")
        assert (await talk(conversations, "Next", run_id))[0] == "Next"
        assert long.done()


async def test_a_conversation_of_another_process_is_read_before_the_first_message() -> None:
    async with scene() as (conversations, emulator, server):
        async with AsyncToolhouse(KEY, base_url=server.url) as other:
            before = await other.run(AGENT, "Hello")
        assert before.run_id is not None
        await lose(conversations, emulator, before.run_id, accept=True)
        assert [request.method for request in server.requests] == ["POST", "GET", "PUT"]
        _, earlier, _ = await talk(conversations, "", before.run_id)
        assert earlier is not None
        assert earlier.result is not None
        assert earlier.result.text == "lost"


@pytest.mark.parametrize("status", [404, 401, 502])
async def test_where_that_cannot_be_read_nothing_is_sent(status: int) -> None:
    async with scene() as (conversations, emulator, server):
        async with AsyncToolhouse(KEY, base_url=server.url) as other:
            before = await other.run(AGENT, "Hello")
        emulator.faults.add(method="GET", status=status, times=None)
        with pytest.raises(ToolhouseError) as caught:
            await talk(conversations, "Next", before.run_id)
        assert caught.value.safe_to_retry is True
        assert [request.method for request in server.accepted] == ["POST"]
        emulator.faults.clear()
        assert (await talk(conversations, "Next", before.run_id))[0] == "Next"


async def test_conversations_that_are_not_there_take_no_place() -> None:
    async with scene(2) as (conversations, emulator, _):
        runs = [(await talk(conversations, "Hello"))[2] for _ in range(2)]
        await lose(conversations, emulator, runs[1], accept=True)
        for number in range(3):
            with pytest.raises(NotFoundError):
                await talk(conversations, "Hello", f"unknown-{number}")
        _, earlier, _ = await talk(conversations, "Next", runs[1])
        assert earlier is not None


async def test_what_is_no_id_is_refused() -> None:
    async with scene() as (conversations, _, server):
        with pytest.raises(ConfigurationError, match="run id"):
            await talk(conversations, "Hello", "no/id")
        assert server.requests == []


async def test_a_message_that_the_caller_gave_up_bars_the_next_one_once() -> None:
    """As a session does it: what nobody can know is said, and does not end the conversation."""
    async with scene() as (conversations, emulator, server):
        _, _, run_id = await talk(conversations, "Hello")
        emulator.faults.add(method="PUT", cut="silence", accept=True)
        emulator.faults.add(method="GET", status=502, times=None)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await talk(conversations, "lost", run_id)
        with pytest.raises(UncertainSessionError, match="nobody can know yet"):
            await talk(conversations, "Next", run_id)
        assert (await talk(conversations, "Next", run_id))[:2] == ("Next", None)
        assert len(server.accepted) == 3
        emulator.faults.clear()


@pytest.mark.parametrize("rotates", [False, True])
async def test_a_conversation_is_known_by_each_of_its_ids(rotates: bool) -> None:
    async with scene(rotate_run_id=rotates) as (conversations, emulator, _):
        _, _, first = await talk(conversations, "Hello")
        _, _, second = await talk(conversations, "Hello", first)
        assert (first != second) == rotates
        await lose(conversations, emulator, second, accept=not rotates)
        _, earlier, _ = await talk(conversations, "Next", first)
        assert earlier is not None


async def begin(server: Any, *messages: str | None) -> str:
    """Let another process lead a conversation to its end; its id."""
    async with AsyncToolhouse(KEY, base_url=server.url) as other, other.session(AGENT) as session:
        for message in messages:
            await session.send(message)
        assert session.run_id is not None
        return session.run_id


@pytest.mark.parametrize("empty", ["", " \n"])
@pytest.mark.parametrize("messages", [["Hello"], ["Hello", "job 30"], [None]])
async def test_an_empty_message_brings_the_answer_of_another_process_and_is_not_sent(
    messages: list[str | None], empty: str
) -> None:
    async with scene() as (conversations, _, server):
        run_id = await begin(server, *messages)
        before = len(server.accepted)
        _, earlier, _ = await talk(conversations, empty, run_id)
        assert earlier is not None
        assert earlier.result is not None
        last = messages[-1]
        assert (
            earlier.result.text == {"Hello": "Hello", "job 30": "Computing. The job says 42.", None: "(silence)"}[last]
        )
        assert len(server.accepted) == before


async def test_an_empty_message_brings_the_latest_answer_as_often_as_it_is_asked_for() -> None:
    async with scene() as (conversations, _, server):
        run_id = (await talk(conversations, "Hello"))[2]
        run_id = (await talk(conversations, "tool", run_id))[2]
        for _ in range(3):
            answer, earlier, _ = await talk(conversations, "", run_id)
            assert answer == ""
            assert earlier is not None
            assert earlier.result is not None
            assert earlier.result.text == "I looked."
        assert len(server.accepted) == 2
        assert (await talk(conversations, "Next", run_id))[:2] == ("Next", None)


async def test_an_empty_message_behind_one_that_was_not_accepted_brings_the_answer_before_it() -> None:
    async with scene() as (conversations, emulator, server):
        _, _, run_id = await talk(conversations, "Hello")
        await lose(conversations, emulator, run_id, accept=False)
        assert (await talk(conversations, "", run_id))[1] == Earlier()
        _, earlier, _ = await talk(conversations, "", run_id)
        assert earlier is not None
        assert earlier.result is not None
        assert earlier.result.text == "Hello"
        emulator.faults.add(method="PUT", status=400)
        with pytest.raises(BadRequestError):
            await talk(conversations, "refused", run_id)
        _, earlier, _ = await talk(conversations, "", run_id)
        assert earlier is not None
        assert earlier.result is not None
        assert earlier.result.text == "Hello"
        assert len(server.accepted) == 1


async def test_an_empty_message_behind_a_failure_of_the_worker_says_so_again() -> None:
    async with scene() as (conversations, _, server):
        _, _, run_id = await talk(conversations, "Hello")
        with pytest.raises(WorkerError):
            await talk(conversations, "fail", run_id)
        for _ in range(2):
            _, earlier, _ = await talk(conversations, "", run_id)
            assert earlier is not None
            assert isinstance(earlier.error, WorkerError)
        assert len(server.accepted) == 2


async def test_an_empty_message_to_a_conversation_that_is_not_there_says_so() -> None:
    async with scene() as (conversations, _, server):
        with pytest.raises(NotFoundError) as caught:
            await talk(conversations, "", "unknown")
        assert caught.value.safe_to_retry is True
        assert server.accepted == []


async def test_an_empty_message_without_a_conversation_begins_one() -> None:
    async with scene() as (conversations, _, server):
        assert (await talk(conversations, ""))[0] == "(silence)"
        assert len(server.accepted) == 1
