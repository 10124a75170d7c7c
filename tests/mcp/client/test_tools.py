"""Calls of the tools, by a client of the protocol within this process."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from mcp import MCPError
from mcp.types import INVALID_PARAMS

from tests.support.answers import KEY
from toolhouse_async import __version__
from toolhouse_async._cli.mcp_server.tools import HEARTBEAT
from toolhouse_async._cli.mcp_server.wording import INSTRUCTIONS

from .support import MODES, TOOL, Told, conversation, desk, fields, texts

each_mode = pytest.mark.parametrize("mode", MODES)


@each_mode
async def test_each_worker_is_a_tool(mode: str) -> None:
    async with desk(mode) as it:
        listed = await it.client.list_tools()
        assert [(tool.name, tool.description) for tool in listed.tools] == [
            (TOOL, "Does what it is told."),
            ("nobody", "Is not there."),
        ]
        tool = listed.tools[0]
        assert tool.input_schema["required"] == ["message"]
        assert tool.input_schema["properties"].keys() == {"message", "conversation"}
        assert tool.output_schema is not None
        assert it.client.server_info.name == "toolhouse"
        assert it.client.server_info.version == __version__
        assert it.client.instructions == INSTRUCTIONS
        assert it.client.server_capabilities.tools is not None
        assert it.client.server_capabilities.prompts is None


@each_mode
async def test_an_answer_names_its_conversation_which_can_be_continued(mode: str) -> None:
    async with desk(mode) as it:
        first = await it.call("Hello")
        assert not first.is_error
        assert texts(first)[0] == "Hello"
        assert fields(first) == {"answer": "Hello", "conversation": conversation(first)}
        second = await it.call("And again", conversation(first))
        assert fields(second)["answer"] == "And again"
        assert conversation(second) == conversation(first)
        assert conversation(await it.call("Hello")) != conversation(first)
        assert it.sent == [("POST", "Hello"), ("PUT", "And again"), ("POST", "Hello")]


@pytest.mark.parametrize("empty", ["", None])
async def test_an_empty_conversation_is_none(empty: str | None) -> None:
    async with desk() as it:
        result = await it.client.call_tool(TOOL, {"message": "Hello", "conversation": empty})
        assert not result.is_error
        assert it.sent == [("POST", "Hello")]


async def test_an_answer_without_words_says_so() -> None:
    async with desk() as it:
        result = await it.call("nothing")
        assert texts(result)[0] == "The worker has answered without words."
        assert fields(result)["answer"] == ""


@each_mode
async def test_a_background_job_is_waited_for_and_told_of(mode: str) -> None:
    async with desk(mode) as it:
        told = Told()
        result = await it.call("job 30", told=told)
        assert fields(result)["answer"] == "Computing. The job says 42."
        assert told.words[0] == f"The worker has the message; conversation {conversation(result)}"
        assert told.words[1] == "A background job runs"
        assert told.words[2].startswith("The background job has run for ")
        assert told.words[-2].startswith("The background job is over after 3")
        assert told.words[-1] == "The worker goes on"
        assert all(before < after for before, after in zip(told.progress, told.progress[1:], strict=False))
        assert it.sent == [("POST", "job 30"), ("PUT", "")]


async def test_a_tool_of_the_workers_is_told_of() -> None:
    async with desk() as it:
        told = Told()
        await it.call("tool", told=told)
        assert told.words[1:] == ["The worker uses look"]


@each_mode
async def test_a_worker_that_is_silent_is_told_of_by_a_timer(mode: str) -> None:
    async with desk(mode) as it:
        told = Told()
        result = await it.call("slow 22", told=told)
        assert fields(result)["answer"] == "At last."
        begun = f"The worker has the message; conversation {conversation(result)}"
        assert told.words == [begun, *(f"{begun} ({seconds} s)" for seconds in (5, 10, 15, 20))]
        assert [round(each) for each in told.progress] == [0, 5, 10, 15, 20]
        assert HEARTBEAT == 5


@each_mode
async def test_a_client_that_asks_for_no_progress_gets_none(mode: str) -> None:
    async with desk(mode) as it:
        assert fields(await it.call("slow 22"))["answer"] == "At last."


@each_mode
async def test_a_call_that_is_cancelled_ends_its_turn_and_the_next_one_brings_its_answer(mode: str) -> None:
    async with desk(mode) as it:
        known = conversation(await it.call("Hello"))
        with anyio.move_on_after(5) as scope:
            await it.call("slow 60", known)
        assert scope.cancelled_caught
        await asyncio.sleep(0.1)
        result = await it.call("Are you there?", known)
        assert not result.is_error
        assert texts(result)[:2] == [
            "The answer to the earlier message, which had not been brought:\n\nAt last.",
            "Are you there?",
        ]
        assert fields(result)["earlier"] == "At last."
        assert [message for _, message in it.sent] == ["Hello", "slow 60", "Are you there?"]
        assert "earlier" not in fields(await it.call("Good", known))


async def test_a_call_that_is_cancelled_before_the_message_was_taken() -> None:
    async with desk() as it:
        known = conversation(await it.call("Hello"))
        it.emulator.faults.add(method="PUT", cut="silence", status=None, accept=False)
        with anyio.move_on_after(5):
            await it.call("lost", known)
        result = await it.call("Are you there?", known)
        assert texts(result)[:2] == ["The earlier message was not accepted.", "Are you there?"]
        assert "earlier" not in fields(result)
        assert [message for _, message in it.sent] == ["Hello", "Are you there?"]


async def test_the_answer_to_a_call_that_was_cancelled_can_be_asked_for() -> None:
    async with desk() as it:
        known = conversation(await it.call("Hello"))
        with anyio.move_on_after(5):
            await it.call("job 60", known)
        told = Told()
        result = await it.call("", known, told)
        assert fields(result) == {"answer": "Computing. The job says 42.", "conversation": known}
        looking = "Finding out what became of the earlier message"
        assert told.words[:2] == [looking, f"{looking} (5 s)"]
        assert it.sent == [("POST", "Hello"), ("PUT", "job 60"), ("PUT", "")]


async def test_a_conversation_is_known_by_the_progress_of_a_call_that_was_cancelled() -> None:
    async with desk() as it:
        told = Told()
        with anyio.move_on_after(5):
            await it.call("slow 60", told=told)
        known = told.words[0].rpartition(" ")[2]
        assert fields(await it.call("", known))["answer"] == "At last."


async def test_an_answer_that_is_cut_is_completed_from_the_history() -> None:
    async with desk() as it:
        it.emulator.faults.add(method="POST", cut="rst", cut_after=20)
        told = Told()
        result = await it.call("slow 1", told=told)
        assert fields(result)["answer"] == "At last."
        assert told.words[-1] == "The answer was cut, and was completed from the conversation's history"


async def test_an_answer_that_cannot_be_completed_is_a_failure_that_says_so() -> None:
    async with desk() as it:
        it.emulator.faults.add(method="POST", cut="rst", cut_after=50)
        it.emulator.faults.add(method="GET", status=502, times=None)
        failed = await it.call("slow 1")
        known = conversation(failed)
        assert failed.is_error
        assert fields(failed)["error"] == "StreamInterruptedError"
        assert fields(failed)["safe_to_retry"] is False
        assert f"do not send it again. To get its answer, call this tool with conversation {known}" in texts(failed)[0]
        assert texts(failed)[1] == "What had come of its answer:\n\nAt last"
        assert fields(failed)["answer"] == "At last"
        still = await it.call("", known)
        assert fields(still)["safe_to_retry"] is False
        it.emulator.faults.clear()
        assert fields(await it.call("Go on", known))["answer"] == "Go on"
        assert [message for _, message in it.sent] == ["slow 1", "Go on"]


@pytest.mark.parametrize("accept", [True, False])
async def test_a_message_of_unknown_fate_is_looked_for_and_not_sent_again(accept: bool) -> None:
    async with desk() as it:
        known = conversation(await it.call("Hello"))
        it.emulator.faults.add(method="PUT", cut="fin", accept=accept)
        failed = await it.call("Book a table", known)
        assert failed.is_error
        assert fields(failed)["safe_to_retry"] is None
        assert "Nobody knows whether this message was accepted" in texts(failed)[0]
        assert f"call this tool with conversation {known} and an empty message" in texts(failed)[0]
        found = await it.call("", known)
        assert conversation(found) == known
        if accept:
            assert fields(found)["answer"] == "Book a table"
            assert not found.is_error
        else:
            assert texts(found)[0].startswith("The earlier message was not accepted, and nothing was sent.")
            assert fields(found)["safe_to_retry"] is True
            assert found.is_error
        assert [message for _, message in it.sent] == ["Hello", *["Book a table"] * accept]
        assert fields(await it.call("Next", known))["answer"] == "Next"


async def test_a_message_of_unknown_fate_is_found_before_the_next_one_is_sent() -> None:
    async with desk() as it:
        known = conversation(await it.call("Hello"))
        it.emulator.faults.add(method="PUT", cut="fin", accept=True)
        await it.call("Book a table", known)
        result = await it.call("For two", known)
        assert fields(result) == {"answer": "For two", "conversation": known, "earlier": "Book a table"}
        assert [message for _, message in it.sent] == ["Hello", "Book a table", "For two"]


async def test_while_nobody_can_know_nothing_is_sent() -> None:
    async with desk() as it:
        known = conversation(await it.call("Hello"))
        it.emulator.faults.add(method="PUT", cut="fin", accept=True)
        it.emulator.faults.add(method="GET", status=502, times=None)
        await it.call("Book a table", known)
        for _ in range(3):
            refused = await it.call("For two", known)
            assert fields(refused)["error"] == "UncertainSessionError"
            assert fields(refused)["safe_to_retry"] is True
            assert "This message was not sent" in texts(refused)[0]
            assert "reconcile" not in texts(refused)[0]
        it.emulator.faults.clear()
        result = await it.call("For two", known)
        assert fields(result) == {"answer": "For two", "conversation": known, "earlier": "Book a table"}


async def test_a_first_message_of_unknown_fate_cannot_be_looked_for() -> None:
    async with desk() as it:
        it.emulator.faults.add(method="POST", cut="fin", accept=True)
        failed = await it.call("Book a table")
        assert fields(failed)["conversation"] is None
        assert fields(failed)["safe_to_retry"] is None
        assert texts(failed)[-1].endswith("nobody can look. Ask before you send it again.")


async def test_an_error_of_the_worker_ends_the_call_not_the_conversation() -> None:
    async with desk() as it:
        failed = await it.call("fail")
        assert failed.is_error
        assert fields(failed)["error"] == "WorkerError"
        assert texts(failed)[0].startswith("WorkerError: the worker reported an error")
        assert texts(failed)[1] == "What had come of its answer:\n\nhalf "
        again = await it.call("Hello", conversation(failed))
        assert fields(again) == {"answer": "Hello", "conversation": conversation(failed)}


async def test_too_many_requests_say_when_to_come_again() -> None:
    async with desk() as it:
        it.emulator.faults.add(status=429, retry_after=300, times=None)
        failed = await it.call("Hello")
        assert (fields(failed)["safe_to_retry"], fields(failed)["retry_after"]) == (True, 300)
        assert "It may be sent again in 5 minutes." in texts(failed)[0]


async def test_a_wrong_key_is_said_and_not_shown() -> None:
    async with desk(key=f"{KEY}-wrong") as it:
        failed = await it.call("Hello")
        assert fields(failed)["error"] == "AuthenticationError"
        assert "whoever runs this server has to see to it" in texts(failed)[0]
        assert KEY not in repr(failed)


async def test_a_worker_that_is_not_there() -> None:
    async with desk() as it:
        failed = await it.call("Hello", tool="nobody")
        assert fields(failed)["error"] == "NotFoundError"
        assert "There is no such worker." in texts(failed)[0]


async def test_a_conversation_that_is_not_there() -> None:
    async with desk() as it:
        failed = await it.call("Hello", "unknown")
        assert fields(failed) == {
            "answer": "",
            "conversation": None,
            "error": "NotFoundError",
            "safe_to_retry": True,
            "retry_after": None,
        }
        assert "Leave `conversation` out to begin one." in texts(failed)[0]
        assert it.sent == []


@each_mode
async def test_a_tool_that_is_not_there_is_an_error_of_the_protocol(mode: str) -> None:
    async with desk(mode) as it:
        with pytest.raises(MCPError, match="Unknown tool: other") as caught:
            await it.client.call_tool("other", {"message": "Hello"})
        assert caught.value.code == INVALID_PARAMS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "`message` has to be a string"),
        ({"message": 1}, "`message` has to be a string"),
        ({"message": "Hello", "conversation": "no/id"}, "`conversation` has to be the id of a conversation"),
        ({"message": "Hello", "conversation": 0}, "`conversation` has to be the id of a conversation"),
        ({"message": "Hello", "vars": {}, "agent": 1}, "These arguments are unknown: agent, vars."),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(arguments: dict[str, object], said: str) -> None:
    async with desk() as it:
        failed = await it.client.call_tool(TOOL, arguments)
        assert failed.is_error
        assert said in texts(failed)[0]
        assert texts(failed)[0].endswith("Nothing was sent.")
        assert it.workers.requests == []


async def test_calls_on_one_conversation_are_served_one_after_the_other() -> None:
    async with desk() as it:
        known = conversation(await it.call("Hello"))
        first, second, other = await asyncio.gather(it.call("slow 20", known), it.call("two", known), it.call("slow 1"))
        assert [fields(each)["answer"] for each in (first, second, other)] == ["At last.", "two", "At last."]
        assert {conversation(first), conversation(second)} == {known}
        assert [message for _, message in it.sent] == ["Hello", "slow 20", "slow 1", "two"]


async def test_a_call_that_waits_for_another_is_told_of_and_can_be_cancelled() -> None:
    async with desk() as it:
        known = conversation(await it.call("Hello"))
        told = Told()
        first = asyncio.create_task(it.call("slow 20", known))
        await asyncio.sleep(1)
        with anyio.move_on_after(12):
            await it.call("two", known, told)
        assert told.words == ["Waiting for the worker (5 s)", "Waiting for the worker (10 s)"]
        assert fields(await first)["answer"] == "At last."
        assert fields(await it.call("three", known)) == {"answer": "three", "conversation": known}
        assert [message for _, message in it.sent] == ["Hello", "slow 20", "three"]


@each_mode
async def test_a_client_that_leaves_ends_its_calls(mode: str) -> None:
    async with desk(mode) as it:
        calling = asyncio.create_task(it.call("slow 1000"))
        await asyncio.sleep(10)
        assert it.workers.connections == 1
        calling.cancel()
        await asyncio.wait({calling})
        await asyncio.sleep(0.1)
        assert it.workers.connections == 0
