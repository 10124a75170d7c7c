"""The server of the protocol: each worker is a tool."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from ... import __version__
from ... import events as ev
from ..._wire.ids import is_id
from ...errors import ToolhouseError
from .earlier import Earlier
from .wording import INPUT, INSTRUCTIONS, OUTPUT, Reply, answered, failed, news_of, refused, settled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ... import TurnResult
    from .conversations import Conversations
    from .workers import Worker

__all__ = ["HEARTBEAT", "make_server"]

HEARTBEAT: Final = 5.0
"""Seconds without a word to the client after which it is told that the call goes on."""


def make_server(conversations: Conversations, workers: Mapping[str, Worker]) -> Server[Any]:
    """Make a server that offers workers as tools.

    Args:
        conversations: Those that the calls lead.
        workers: The workers by the names of their tools.
    """
    tools = [
        Tool(name=worker.name, description=worker.description, input_schema=dict(INPUT), output_schema=dict(OUTPUT))
        for worker in workers.values()
    ]

    async def list_tools(_: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools)

    async def call_tool(context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        worker = workers.get(params.name)
        if worker is None:
            raise MCPError(INVALID_PARAMS, f"Unknown tool: {params.name:.200}")
        reply = await _call(conversations, worker, params.arguments or {}, context.session)
        return CallToolResult(
            content=[TextContent(type="text", text=text) for text in reply.texts],
            structured_content=reply.fields,
            is_error=reply.is_error,
        )

    return Server(
        "toolhouse",
        version=__version__,
        title="Toolhouse workers",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


class Client(Protocol):
    """Who is told how a call goes, if it asked for that."""

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell it; ``progress`` has to grow."""
        ...


async def _call(conversations: Conversations, worker: Worker, arguments: Mapping[str, Any], client: Client) -> Reply:
    """Send a message to a worker, and tell the client meanwhile that the call goes on.

    Cancelling ends the turn.
    """
    message, run_id = arguments.get("message"), arguments.get("conversation")
    unknown = sorted(arguments.keys() - INPUT["properties"].keys())
    if unknown:
        return refused(f"These arguments are unknown: {', '.join(unknown):.200}.")
    if not isinstance(message, str):
        return refused("`message` has to be a string.")
    if run_id == "":  # which is how some models leave an argument out
        run_id = None
    if run_id is not None and not is_id(run_id):
        return refused("`conversation` has to be the id of a conversation, as an answer gave it.")
    pulse, reply = _Pulse(client), None
    async with anyio.create_task_group() as group:
        group.start_soon(pulse.beat)
        reply = await _talk(conversations, worker, message, run_id, pulse)
        group.cancel_scope.cancel()
    assert reply is not None  # noqa: S101 - else it has raised
    return reply


async def _talk(conversations: Conversations, worker: Worker, message: str, run_id: str | None, pulse: _Pulse) -> Reply:
    earlier: Earlier | None = None
    result: TurnResult | None = None
    try:
        async with aclosing(conversations.talk(worker.agent_id, message, run_id)) as events:
            async for event in events:
                match event:
                    case Earlier():
                        earlier = event
                    case ev.TurnStarted(run_id=given):
                        run_id = given or run_id
                    case ev.TurnCompleted():
                        result = event.result
                    case _:
                        pass
                if (news := news_of(event)) is not None:
                    await pulse.say(news)
    except ToolhouseError as error:
        return failed(error, error.run_id or run_id, earlier)
    if result is not None:
        return answered(result, earlier)
    assert earlier is not None  # noqa: S101 - where no turn is made, it was asked about the one before
    return settled(earlier, run_id)


class _Pulse:
    """Tells a client that its call goes on: what is new at once, and after some silence that nothing is.

    Clients give up calls of which they hear nothing for long; the words of an answer do not reach them before its end.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._began = self._spoke = anyio.current_time()
        self._progress = 0.0
        self._latest = "Waiting for the worker"

    async def say(self, news: str) -> None:
        """Tell what is new."""
        self._latest = news
        await self._tell(news)

    async def beat(self) -> None:
        """Say so again and again that nothing is new, until cancelled."""
        while True:
            await anyio.sleep_until(self._spoke + HEARTBEAT)
            now = anyio.current_time()
            if now >= self._spoke + HEARTBEAT:
                await self._tell(f"{self._latest} ({now - self._began:.0f} s)")

    async def _tell(self, words: str) -> None:
        self._spoke = anyio.current_time()
        self._progress = max(self._spoke - self._began, self._progress + 0.001)  # it has to grow
        await self._client.report_progress(self._progress, message=words)
