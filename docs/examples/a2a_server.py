"""A worker as an agent that others find and call by the Agent2Agent protocol (A2A).

    pip install 'toolhouse-async[sqlite]' 'a2a-sdk[http-server]' uvicorn
    TOOLHOUSE_API_KEY=… AGENT_ID=… python a2a_server.py

Its card stands at http://127.0.0.1:9000/.well-known/agent-card.json.
"""

import asyncio
import json
import logging
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from a2a.helpers import new_task, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Message, TaskState
from starlette.applications import Starlette

from toolhouse_async import AsyncToolhouse, JobStarted, SessionManager, TextDelta, ToolhouseError, TurnCompleted
from toolhouse_async.stores import SQLiteSessionStore
from toolhouse_async.web import failure

log = logging.getLogger("agent")

URL = "http://127.0.0.1:9000/"


class WorkerExecutor(AgentExecutor):
    """Lets a worker do tasks: a context of A2A is a conversation, and a task is a turn of it."""

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Do a task: words become its artifact, a background job its status, an error its end."""
        task_id, context_id = context.task_id or "", context.context_id or ""
        history = [context.message] if context.message else []
        await event_queue.enqueue_event(new_task(task_id, context_id, TaskState.TASK_STATE_SUBMITTED, history=history))
        task = TaskUpdater(event_queue, task_id, context_id)

        def say(text: str) -> Message:
            return task.new_agent_message([new_text_part(text)])

        message = context.get_user_input()
        if not message.strip():
            await task.reject(say("Please send words: this agent takes nothing else."))
            return
        await task.start_work()
        # With the user whom your own middleware has found: so nobody goes on with another's conversation.
        key = json.dumps([context.call_context.user.user_name, context_id])
        answer, said = str(uuid.uuid4()), ""
        try:
            async with self._manager.stream(key, message) as turn:
                async for event in turn:
                    match event:
                        case TextDelta(text=text):
                            await task.add_artifact([new_text_part(text)], answer, "answer", append=bool(said))
                            said += text
                        case JobStarted():
                            await task.start_work(say("A background job is running."))
                        case TurnCompleted(result=result) if result.text != said:  # it was cut, and is another one now
                            await task.add_artifact([new_text_part(result.text)], answer, "answer")
        except ToolhouseError as error:
            log.warning("task %s: %s: %s", task_id, type(error).__name__, error)
            told = failure(error)
            await task.update_status(TaskState.TASK_STATE_FAILED, say(told["message"]), metadata=told)
        else:
            await task.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """End a task; its turn is cancelled behind this."""
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


CARD = AgentCard(
    name="Analyst",
    description="Analyses tables, and runs code for it.",
    version="1.0.0",
    supported_interfaces=[AgentInterface(url=URL, protocol_binding="JSONRPC", protocol_version="1.0")],
    capabilities=AgentCapabilities(streaming=True),
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    skills=[
        AgentSkill(
            id="analyse",
            name="Analyse a table",
            description="Says what is in a table, with figures, outliers and plots.",
            tags=["data"],
            examples=["Which of these are outliers? …"],
        )
    ],
)


def make_app(manager: SessionManager, card: AgentCard = CARD) -> Starlette:
    """Make the application; ``manager`` must outlive it."""
    handler = DefaultRequestHandler(WorkerExecutor(manager), InMemoryTaskStore(), card, validate_input_modes=True)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await handler.aclose()

    return Starlette(routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/")], lifespan=lifespan)


async def main() -> None:
    """Serve the worker until Ctrl-C."""
    agent_id = os.environ["AGENT_ID"]
    async with (
        AsyncToolhouse() as toolhouse,
        SQLiteSessionStore("conversations.db") as store,
        # Else a context whose conversation is lost would fail for ever: a caller cannot have it forgotten.
        SessionManager(toolhouse, agent_id, store=store, on_missing="restart") as manager,
    ):
        config = uvicorn.Config(make_app(manager), port=9000, timeout_graceful_shutdown=30)
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
