"""A worker as an agent of A2A, called by the client of its own SDK; it needs ``pip install 'a2a-sdk[http-server]'``."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import logging
import socket
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.docs.blocks import marked
from tests.docs.setups import AGENT_ID, JOB_SECONDS, analyst, serving
from tests.docs.test_examples import check_output
from tests.support.answers import KEY
from tests.web.support import AGENT, World, world_and_client
from toolhouse_async import SessionManager
from toolhouse_async.web import failure

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own

if importlib.util.find_spec("a2a") is None:
    pytest.skip("needs a2a-sdk", allow_module_level=True)

with warnings.catch_warnings(action="ignore"):
    import httpx
    from a2a.client import ClientConfig, ClientFactory
    from a2a.helpers import get_artifact_text, get_message_text, new_text_message
    from a2a.types import (
        AgentCard,
        CancelTaskRequest,
        GetTaskRequest,
        Part,
        Role,
        SendMessageRequest,
        SubscribeToTaskRequest,
        Task,
        TaskState,
    )
    from a2a.utils.errors import ContentTypeNotSupportedError
    from sse_starlette.sse import AppStatus
    from starlette.authentication import SimpleUser

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "a2a_server.py"
COMPLETED, FAILED = TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_FAILED
CANCELED, REJECTED, WORKING = TaskState.TASK_STATE_CANCELED, TaskState.TASK_STATE_REJECTED, TaskState.TASK_STATE_WORKING
BOOKING = "Book a table"


@pytest.fixture(scope="module")
def example() -> Any:
    spec: Any = importlib.util.spec_from_file_location("a2a_server", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings(action="ignore"):
        spec.loader.exec_module(module)
    return module


class Agent:
    """The agent as others see it.

    Attributes:
        world: The worker behind it.
        client: The SDK's client of it.
        http: What that client sends by.
        url: The agent's address.
    """

    def __init__(self, world: World, client: Any, http: httpx.AsyncClient, url: str) -> None:
        self.world = world
        self.client = client
        self.http = http
        self.url = url

    async def stream(self, text: str, context_id: str | None = None) -> AsyncIterator[Any]:
        message = new_text_message(text, context_id=context_id, role=Role.ROLE_USER)
        async for response in self.client.send_message(SendMessageRequest(message=message)):
            yield getattr(response, response.WhichOneof("payload"))

    async def ask(self, text: str, context_id: str | None = None) -> Task:
        """Send a message, and give the task as it stands in the end."""
        task_id = ""
        async for event in self.stream(text, context_id):
            task_id = getattr(event, "task_id", "") or event.id
        return await self.task(task_id)

    async def task(self, task_id: str) -> Task:
        return await self.client.get_task(GetTaskRequest(id=task_id))


def answer_of(task: Task) -> str:
    """All words of a task's artifact."""
    return "".join(get_artifact_text(artifact, "") for artifact in task.artifacts)


@asynccontextmanager
async def served(example: Any, manager: SessionManager, around: Any = lambda app: app) -> AsyncIterator[str]:
    """Serve the example on a free port of this machine, with something put ``around`` it; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        card = AgentCard()
        card.CopyFrom(example.CARD)
        card.supported_interfaces[0].url = url
        # The server looks around every tenth of a second, so virtual time runs: that is not to end idle connections.
        options: Any = {"timeout_keep_alive": 10**6, "timeout_graceful_shutdown": 5, "lifespan": "on", "ws": "none"}
        app = around(example.make_app(manager, card))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, **options))
        serving = asyncio.create_task(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        try:
            yield url
        finally:
            server.should_exit = True
            await serving
            with pytest.MonkeyPatch.context() as patch:  # the SDK's streams have a watcher that else lives on
                patch.setattr(AppStatus, "should_exit", True)
                await asyncio.sleep(1)


@asynccontextmanager
async def agent_of(example: Any, around: Any = lambda app: app) -> AsyncIterator[Agent]:
    """Serve the example with the worker of a world."""
    async with (
        world_and_client() as (world, toolhouse),
        SessionManager(toolhouse, AGENT, on_missing="restart") as manager,
        served(example, manager, around) as url,
        httpx.AsyncClient(timeout=None) as http,
    ):
        yield Agent(world, await ClientFactory(ClientConfig(httpx_client=http)).create_from_url(url), http, url)


async def test_the_pages_client_gets_the_answer(example: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = (block for block in marked("recipe") if block.argument == "a2a")
    code = compile(block.code, block.place, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    async with (
        serving(analyst(JOB_SECONDS)) as names,
        SessionManager(names["toolhouse"], AGENT_ID) as manager,
        served(example, manager) as url,
    ):
        capsys.readouterr()
        await eval(code, {"URL": url})
    check_output(block, capsys.readouterr().out)


async def test_words_become_the_artifact_as_they_come(example: Any) -> None:
    async with agent_of(example) as agent:
        words: list[str] = []
        states: list[int] = []
        async for event in agent.stream("wait"):
            if hasattr(event, "artifact"):
                words.append(get_artifact_text(event.artifact, ""))
                agent.world.go_on.set()  # the worker goes on once its first word is here
            else:
                states.append(event.status.state)
        assert words == ["first ", "second"]
        assert states == [TaskState.TASK_STATE_SUBMITTED, WORKING, COMPLETED]
        assert answer_of(await agent.task(event.task_id)) == "first second"


async def test_a_context_is_a_conversation(example: Any) -> None:
    async with agent_of(example) as agent:
        first = await agent.ask("one")
        assert (first.status.state, answer_of(first)) == (COMPLETED, "one")
        second = await agent.ask("two", first.context_id)
        assert second.context_id == first.context_id
        assert second.id != first.id
        await agent.ask("three")
        assert [request.method for request in agent.world.server.accepted] == ["POST", "PUT", "POST"]


async def test_a_job_is_told_as_work_and_waited_for(example: Any) -> None:
    async with agent_of(example) as agent:
        told: list[str] = []
        async for event in agent.stream("job"):
            if not hasattr(event, "artifact") and event.status.state == WORKING and event.status.HasField("message"):
                told.append(get_message_text(event.status.message))
                assert (await agent.task(event.task_id)).status.state == WORKING
                agent.world.go_on.set()
        assert told == ["A background job is running."]
        task = await agent.task(event.task_id)
        assert (task.status.state, answer_of(task)) == (COMPLETED, "Computing. The job says 42.")
        assert agent.world.accepted == ["job", ""]


async def test_a_client_that_leaves_finds_the_task_again(example: Any) -> None:
    async with agent_of(example) as agent:
        stream = agent.stream("wait")
        async for event in stream:
            if hasattr(event, "artifact"):
                break
        await stream.aclose()
        await asyncio.sleep(5)
        assert (await agent.task(event.task_id)).status.state == WORKING
        following = agent.client.subscribe(SubscribeToTaskRequest(id=event.task_id))
        async for _ in following:
            agent.world.go_on.set()
        task = await agent.task(event.task_id)
        assert (task.status.state, answer_of(task)) == (COMPLETED, "first second")
        assert agent.world.accepted == ["wait"]


@pytest.mark.parametrize("message", ["wait", "job"])
async def test_a_task_that_is_cancelled_ends_its_turn(example: Any, message: str) -> None:
    async with agent_of(example) as agent:
        async for event in agent.stream(message):
            if hasattr(event, "artifact"):
                await agent.client.cancel_task(CancelTaskRequest(id=event.task_id))
        assert (await agent.task(event.task_id)).status.state == CANCELED
        seen = len(agent.world.server.requests)
        agent.world.go_on.set()
        await asyncio.sleep(60)
        assert len(agent.world.server.requests) == seen
        assert agent.world.accepted == [message]


async def test_a_failure_is_told_in_words_that_are_safe(example: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with agent_of(example) as agent:
        with caplog.at_level(logging.WARNING, "agent"):
            task = await agent.ask("fail")
        assert task.status.state == FAILED
        told = get_message_text(task.status.message)
        assert told == "The worker could not finish this. You can ask again, perhaps in other words."
        assert "hunter2" not in str(task)
        assert KEY not in str(task)
        assert any(each.name == "agent" and "WorkerError" in each.getMessage() for each in caplog.records)


async def test_what_may_have_been_accepted_is_said_and_sent_once(example: Any) -> None:
    async with agent_of(example) as agent:
        agent.world.emulator.faults.add(method="POST", status=502, accept=True)
        updates = [event async for event in agent.stream(BOOKING)]
        assert updates[-1].status.state == FAILED
        assert "nobody knows whether your message arrived" in get_message_text(updates[-1].status.message)
        metadata = dict(updates[-1].metadata)
        assert set(metadata) == set(failure(ValueError()))
        assert (metadata["error"], metadata["safe_to_retry"]) == ("ServerError", None)
        assert agent.world.accepted == [BOOKING]


async def test_an_answer_that_was_cut_is_whole_in_the_artifact(example: Any) -> None:
    async with agent_of(example) as agent:
        agent.world.emulator.faults.add(method="POST", cut="rst", cut_after=150)
        task = await agent.ask("words 20")
        assert task.status.state == COMPLETED
        assert answer_of(task) == "".join(f"word{number} " for number in range(20))
        assert agent.world.accepted == ["words 20"]


async def test_what_has_no_words_is_rejected(example: Any) -> None:
    async with agent_of(example) as agent:
        task = await agent.ask("  ")
        assert task.status.state == REJECTED
        assert agent.world.accepted == []


async def test_what_is_no_text_is_refused(example: Any) -> None:
    async with agent_of(example) as agent:
        message = new_text_message("What is this?", role=Role.ROLE_USER)
        message.parts.append(Part(raw=b"GIF89a", media_type="image/gif"))
        with pytest.raises(ContentTypeNotSupportedError):
            async for _ in agent.client.send_message(SendMessageRequest(message=message)):
                pass
        assert agent.world.accepted == []


async def test_messages_of_a_context_wait_for_one_another(example: Any) -> None:
    async with agent_of(example) as agent:
        first = asyncio.create_task(agent.ask("wait", "c"))
        await asyncio.sleep(2)
        second = asyncio.create_task(agent.ask("two", "c"))
        await asyncio.sleep(2)
        assert agent.world.accepted == ["wait"]
        agent.world.go_on.set()
        assert [answer_of(await each) for each in (first, second)] == ["first second", "two"]
        assert [request.method for request in agent.world.server.accepted] == ["POST", "PUT"]


def with_users(app: Any) -> Any:
    """Let a header say who asks, as a middleware of the reader's own does."""

    async def served(scope: Any, receive: Any, send: Any) -> None:
        named = dict(scope.get("headers", ())).get(b"x-user")
        await app({**scope, "user": SimpleUser(named.decode())} if named else scope, receive, send)

    return served


async def test_users_do_not_share_a_conversation(example: Any) -> None:
    """Nor do a user's name and context run into another's."""
    async with agent_of(example, with_users) as agent:
        for user, context_id in (("ada", "c"), ("bob", "c"), ('ada", "', "c"), ("ada", '", "c'), ("ada", "c")):
            agent.http.headers["x-user"] = user
            task = await agent.ask(BOOKING, context_id)
            assert (task.status.state, task.context_id) == (COMPLETED, context_id)
        assert [request.method for request in agent.world.server.accepted] == ["POST"] * 4 + ["PUT"]


async def test_another_site_cannot_make_a_browser_say_anything(example: Any) -> None:
    """A browser sends the header of A2A's version to another site only where the server allows it."""
    async with agent_of(example) as agent:
        message = {"role": "ROLE_USER", "messageId": "1", "parts": [{"text": BOOKING}]}
        for method in ("SendMessage", "SendStreamingMessage"):
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": message}}
            async with httpx.AsyncClient(timeout=None) as browser:
                answer = await browser.post(agent.url, json=body, headers={"content-type": "text/plain"})
                assert "error" in answer.text
                asked = await browser.options(agent.url, headers={"origin": "https://example.com"})
                assert "access-control-allow-origin" not in asked.headers
        assert agent.world.accepted == []
