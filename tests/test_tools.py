"""Workers as functions that agent frameworks take as tools."""

from __future__ import annotations

import asyncio
import inspect
import logging
import subprocess
import sys
import typing
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.answers import KEY
from tests.web.support import AGENT, World, world_and_client
from toolhouse_async import (
    AsyncToolhouse,
    AuthenticationError,
    ClosedError,
    ConfigurationError,
    NotFoundError,
    SessionBusyError,
    SessionManager,
    StoreError,
)
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.tools import as_tool

ABOUT: dict[str, Any] = {"name": "ask_analyst", "description": "Analyses tables.\n\n    Ask it about numbers."}


@asynccontextmanager
async def tool_of(keyed: bool, **options: Any) -> AsyncIterator[tuple[World, Any]]:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        yield world, as_tool(manager if keyed else client, AGENT, **{**ABOUT, **options})


def split(answer: str) -> tuple[str, str]:
    first, _, rest = answer.partition("\n")
    assert first.startswith("conversation: ")
    return first.removeprefix("conversation: "), rest


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("conversation", [False, True])
async def test_it_is_a_plain_documented_function(keyed: bool, conversation: bool) -> None:
    async with tool_of(keyed, conversation=conversation) as (_, tool):
        assert inspect.isfunction(tool)
        assert inspect.iscoroutinefunction(tool)
        assert (tool.__name__, tool.__qualname__, tool.__module__) == (
            "ask_analyst",
            "ask_analyst",
            "toolhouse_async.tools",
        )
        further = {"conversation": str | None} if conversation else {}
        expected = {"message": str, **further, "return": str}
        assert tool.__annotations__ == expected
        assert typing.get_type_hints(tool) == expected
        shown = "(message: str, conversation: str | None = None) -> str" if conversation else "(message: str) -> str"
        assert str(inspect.signature(tool)) == shown
        doc = tool.__doc__
        assert doc.startswith("Analyses tables.\n\nAsk it about numbers.\n\nArgs:\n    message: ")
        assert ("\n    conversation: " in doc) is conversation


@pytest.mark.parametrize("keyed", [False, True])
async def test_each_call_is_a_conversation_of_its_own(keyed: bool) -> None:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        tool = as_tool(manager if keyed else client, AGENT, **ABOUT)
        assert await asyncio.gather(tool("one"), tool("two")) == ["one", "two"]
        assert [request.method for request in world.server.accepted] == ["POST", "POST"]
        assert [info.key async for info in manager.sessions()] == []


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_conversation_goes_on(keyed: bool) -> None:
    async with tool_of(keyed, conversation=True) as (world, tool):
        named, text = split(await tool("one"))
        assert text == "one"
        assert await tool("two", named) == f"conversation: {named}\ntwo"
        assert await tool(message="three", conversation=named) == f"conversation: {named}\nthree"
        assert [request.method for request in world.server.accepted] == ["POST", "PUT", "PUT"]
        for nothing in (None, "", " None ", "null"):
            assert split(await tool("again", nothing))[0] != named


async def test_a_managers_keys_are_its_users() -> None:
    async with tool_of(True, conversation=True) as (world, tool):
        assert await tool("one", "ticket 7") == "conversation: ticket 7\none"
        assert await tool("two", "ticket 7") == "conversation: ticket 7\ntwo"
        assert [request.method for request in world.server.accepted] == ["POST", "PUT"]


@pytest.mark.parametrize("keyed", [False, True])
async def test_nothing_is_said_to_no_conversation(keyed: bool) -> None:
    """An empty message would resume it."""
    async with tool_of(keyed, conversation=True) as (world, tool):
        named, _ = split(await tool("one"))
        for nothing in ("", " \n", None):
            assert await tool(nothing, named) == (
                "Error: nothing was sent. Say in `message` what the worker is to do: it must not be empty."
            )
        assert (await tool(None)).startswith("Error: nothing was sent. ")
        assert [request.method for request in world.server.accepted] == ["POST"]


@pytest.mark.parametrize("keyed", [False, True])
async def test_an_empty_message_begins_a_conversation(keyed: bool) -> None:
    async with tool_of(keyed, conversation=True) as (world, tool):
        await tool("")
        assert [request.method for request in world.server.accepted] == ["POST"]


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("wrong", ["a\nb", "x" * 300, 5])
async def test_a_conversation_that_is_none(keyed: bool, wrong: Any) -> None:
    async with tool_of(keyed, conversation=True) as (world, tool):
        answer = await tool("one", wrong)
        assert "nothing was sent" in answer
        assert "leave `conversation` out" in answer
        assert world.server.requests == []


async def test_a_conversation_that_the_service_does_not_know() -> None:
    async with tool_of(False, conversation=True) as (world, tool):
        answer = await tool("one", "never-seen")
        assert "There is no such conversation" in answer
        assert world.accepted == []


@pytest.mark.parametrize("keyed", [False, True])
async def test_an_unknown_outcome_is_told(keyed: bool) -> None:
    async with tool_of(keyed) as (world, tool):
        world.emulator.faults.add(method="POST", status=502, accept=True)
        answer = await tool("Book a table")
        assert "may have reached the worker. Do not send it again" in answer
        assert "ServerError, HTTP status 502" in answer
        assert world.accepted == ["Book a table"]


@pytest.mark.parametrize("keyed", [False, True])
async def test_the_workers_own_failure_is_told_with_what_it_had_said(keyed: bool) -> None:
    async with tool_of(keyed, conversation=True) as (_, tool):
        named, text = split(await tool("fail"))
        assert "has reached the worker. Do not send it again" in text
        assert "\nThe worker had said so far:\nhalf " in text
        assert f"The run is {named}." in text or keyed
        assert "The worker reported: " in text
        assert KEY not in text


@pytest.mark.parametrize("keyed", [False, True])
async def test_a_job_that_outlasts_the_time_is_told(keyed: bool) -> None:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        tool = as_tool(manager if keyed else client, AGENT, timeout=30, **ABOUT)
        answer = await tool("job")
        assert "TurnTimeoutError" in answer
        assert "A background job of it is still running" in answer
        assert '"job_id":' in answer
        assert "Computing. " in answer
        assert [info.pending async for info in manager.sessions()] == ([True] if keyed else [])
        world.go_on.set()
        taken = await manager.resume_pending()
        assert [each.result.text for each in taken if each.result] == (["The job says 42."] if keyed else [])


async def test_a_failure_that_may_pass_is_told() -> None:
    async with tool_of(False) as (world, tool):
        world.emulator.faults.add(method="POST", status=429, headers={"Retry-After": "3600"})
        answer = await tool("one")
        assert "RateLimitError, HTTP status 429" in answer
        assert "It may be sent again in 60 minutes." in answer
        assert await tool("one") == "one"
        world.emulator.faults.add(method="POST", status=425)
        assert (await tool("two")).endswith("It may be sent again: once more now, or else later.")


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_message_that_is_refused_as_it_is_is_not_to_be_repeated(status: int) -> None:
    async with tool_of(False, conversation=True) as (world, tool):
        named, _ = split(await tool("one"))
        world.emulator.faults.add(method="PUT", status=status, body="why")
        again, text = split(await tool("two", named))
        assert again == named
        assert text.startswith("Error: the worker has refused this message as it is (")
        assert f"HTTP status {status})" in text
        assert text.endswith("Another message may be taken; the same one will be refused again.")
        assert "why" not in text
        assert await tool("three", named) == f"conversation: {named}\nthree"


@pytest.mark.parametrize("keyed", [False, True])
async def test_what_an_operator_must_mend_is_raised(keyed: bool) -> None:
    async with tool_of(keyed, conversation=True) as (world, tool):
        for status, kind in ((401, AuthenticationError), (404, NotFoundError)):
            world.emulator.faults.add(method="POST", status=status)
            with pytest.raises(kind):
                await tool("one")


async def test_a_store_that_fails_is_told_and_one_that_fails_for_good_raised() -> None:
    class Failing(MemorySessionStore):
        is_lasting = False

        async def read(self, name: str) -> Any:
            error = StoreError("no", safe_to_retry=True)
            error.is_lasting = self.is_lasting
            raise error

    async with world_and_client() as (_, client), SessionManager(client, AGENT, store=Failing()) as manager:
        tool = as_tool(manager, AGENT, **ABOUT)
        assert "the worker does not have the message (StoreError)" in await tool("one")
        Failing.is_lasting = True
        with pytest.raises(StoreError):
            await tool("one")


async def test_an_answer_is_not_lost_to_a_key_that_cannot_be_forgotten(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemorySessionStore()
    async with world_and_client() as (world, client), SessionManager(client, AGENT, store=store) as manager:
        tool = as_tool(manager, AGENT, **ABOUT)
        waiting = asyncio.create_task(tool("wait"))
        while not world.accepted:
            await asyncio.sleep(0.01)
        await manager_turned_off(monkeypatch, manager)
        world.go_on.set()
        assert await waiting == "first second"
    assert "could not be forgotten" in caplog.text


async def manager_turned_off(monkeypatch: pytest.MonkeyPatch, manager: SessionManager) -> None:
    """From now on it begins nothing, as one that is being closed."""
    monkeypatch.setattr(manager._house, "is_closed", True)


@pytest.mark.parametrize("keyed", [False, True])
async def test_what_was_closed_is_raised(keyed: bool) -> None:
    """Nothing was sent, so nothing may say that the message has perhaps arrived."""
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        tool = as_tool(manager if keyed else client, AGENT, **ABOUT)
        await client.aclose()
        with pytest.raises(ClosedError):
            await tool("one")
        assert world.accepted == []


async def test_a_call_that_would_wait_for_itself_is_raised() -> None:
    async with world_and_client() as (world, client), SessionManager(client, AGENT) as manager:
        tool = as_tool(manager, AGENT, conversation=True, **ABOUT)
        async with manager.checkout("k"):
            with pytest.raises(SessionBusyError):
                await tool("one", "k")
        assert world.accepted == []


async def test_what_had_been_said_is_told_up_to_a_bound() -> None:
    from tests.support.answers import client_of
    from tests.support.raw_server import RawServer, ndjson, response

    body = ndjson("x" * 30_000, {"type": "error", "error": "y" * 2_000})
    failed = response(headers={"X-Toolhouse-Run-ID": "r1"}, body=body)
    async with RawServer([failed]) as server, client_of(server) as client:
        answer = await as_tool(client, "a", **ABOUT)("one")
    assert "(the rest is left out):\nxxx" in answer
    assert 20_000 < len(answer) < 21_000


async def test_a_warning_tells_the_operator_of_what_became_a_text(caplog: pytest.LogCaptureFixture) -> None:
    async with tool_of(False) as (world, tool):
        world.emulator.faults.add(method="POST", status=429, retry_after=3600)
        with caplog.at_level(logging.WARNING, "toolhouse_async"):
            await tool("one")
        warned = [each.getMessage() for each in caplog.records if each.name == "toolhouse_async"]
        assert warned == [f"a tool of the worker {AGENT} returns a text in place of RateLimitError"]


async def test_a_message_behind_one_of_unknown_fate_is_not_sent() -> None:
    async with tool_of(True, conversation=True) as (world, tool):
        world.emulator.faults.add(method="POST", cut="fin", accept=True)
        named, text = split(await tool("one"))
        assert "may have reached" in text
        again, text = split(await tool("two", named))
        assert again == named
        assert "this message was not sent" in text
        assert "Leave `conversation` out" in text
        assert world.accepted in ([], ["one"])


async def test_a_run_without_an_id_cannot_be_continued() -> None:
    from tests.support.answers import client_of, said
    from tests.support.raw_server import RawServer

    async with RawServer([said("x", run=None)]) as server, client_of(server) as client:
        tool = as_tool(client, "a", conversation=True, **ABOUT)
        assert await tool("one") == "conversation: (not known; it cannot be continued)\nx"


async def test_a_message_that_cannot_be_sent() -> None:
    async with tool_of(False) as (world, tool):
        for wrong in ("\ud800", 5):
            assert (await tool(wrong)).startswith("Error: nothing was sent. ")
        assert world.server.requests == []


@pytest.mark.parametrize("keyed", [False, True])
async def test_cancelling_passes_on(keyed: bool) -> None:
    async with tool_of(keyed) as (world, tool):
        task = asyncio.create_task(tool("wait"))
        while not world.accepted:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "no name"}, "identifier"),
        ({"name": "class"}, "identifier"),
        ({"name": "größe"}, "identifier"),
        ({"name": "n" * 65}, "identifier"),
        ({"name": None}, "identifier"),
        ({"description": " "}, "description"),
        ({"description": None}, "description"),
        ({"timeout": "5"}, "timeout"),
        ({"conversation": 1}, "conversation"),
        ({"agent_id": "no id"}, "agent id"),
        ({"source": "client"}, "source"),
    ],
)
async def test_wrong_arguments(changes: dict[str, Any], said: str) -> None:
    async with AsyncToolhouse("") as client:
        with pytest.raises(ConfigurationError, match=said):
            as_tool(**{"source": client, "agent_id": "a", **ABOUT, **changes})


async def test_a_manager_of_another_worker() -> None:
    async with AsyncToolhouse("") as client, SessionManager(client, "a") as manager:
        as_tool(manager, "https://agents.toolhouse.ai/a", **ABOUT)
        with pytest.raises(ConfigurationError, match="of the worker a, not of b"):
            as_tool(manager, "b", **ABOUT)


def test_the_package_does_not_import_it() -> None:
    code = "import sys, toolhouse_async; print('toolhouse_async.tools' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
