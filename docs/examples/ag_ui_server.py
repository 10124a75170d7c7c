"""An endpoint for AG-UI front ends, CopilotKit among them.

Serve it with TOOLHOUSE_API_KEY and AGENT_ID in the environment, and point the front end's HttpAgent at /agent:

    pip install 'toolhouse-async[ag-ui]' starlette uvicorn
    uvicorn --factory ag_ui_server:from_environment
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ag_ui.core import RunAgentInput, UserMessage
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from toolhouse_async import AsyncToolhouse, ConfigurationError, SessionManager
from toolhouse_async.web import EVENT_STREAM_HEADERS, ag_ui

LONGEST = 4 << 20
"""Bytes of a request: a front end sends all that was said before, too."""
ID = re.compile(r"[!-~]{1,200}")
"""Names that a front end gives to threads and runs."""


def last_words(asked: RunAgentInput) -> str | None:
    """What the user says in this run, if anything: the worker has all that was said before in its own history.

    Raises:
        ValueError: It is more than text, or nothing. An empty message would go on with a conversation that has a job.
    """
    last = asked.messages[-1] if asked.messages else None
    if not isinstance(last, UserMessage):
        return None
    words = last.content
    if not isinstance(words, str):
        if any(part.type != "text" for part in words):
            raise ValueError("a worker takes text alone, and no images, sound or files")
        words = "".join(part.text for part in words if part.type == "text")
    if not words.strip():
        raise ValueError("the message is empty")
    return words


async def bounded_body(request: Request) -> bytes | None:
    """The body, or nothing where it is too long; no more than that is kept while it comes."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST:
            return None
    return bytes(body)


async def answer(request: Request) -> Response:
    """Answer one run of a front end."""
    # Asking for JSON keeps other sites out: a browser sends that for them only where the server allows it.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return JSONResponse({"message": "please send application/json"}, 415)
    body = await bounded_body(request)
    if body is None:
        return JSONResponse({"message": f"more than {LONGEST} bytes"}, 413)
    try:
        asked = RunAgentInput.model_validate_json(body)
    except ValidationError as error:
        return JSONResponse({"message": "not the input of a run", "errors": error.error_count()}, 422)
    if not (ID.fullmatch(asked.thread_id) and ID.fullmatch(asked.run_id)):
        return JSONResponse({"message": "an id is 1 to 200 letters, digits and signs, without spaces"}, 422)
    try:
        words = last_words(asked)
    except ValueError as error:
        return JSONResponse({"message": str(error)}, 400)
    if words is None:  # said before, and not to be said again
        return JSONResponse({"message": "the last message is none of the user's"}, 422)
    # The front end names its threads itself. Whoever knows a name can go on with the conversation: where users log in,
    # put the user's own id in front of it.
    turn = request.state.manager.stream(asked.thread_id, words)
    stream = ag_ui(turn, thread_id=asked.thread_id, run_id=asked.run_id)
    return StreamingResponse(stream, headers=EVENT_STREAM_HEADERS)


def create_app(make_client: Callable[[], AsyncToolhouse], agent_id: str) -> Starlette:
    """Make the application: one client for the process, one conversation for each thread of a front end."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, SessionManager]]:
        # Else a thread whose conversation is lost would fail for ever: a front end cannot have it forgotten.
        async with make_client() as toolhouse, SessionManager(toolhouse, agent_id, on_missing="restart") as manager:
            yield {"manager": manager}

    return Starlette(routes=[Route("/agent", answer, methods=["POST"])], lifespan=lifespan)


def from_environment() -> Starlette:
    """The application as the environment describes it.

    Raises:
        ConfigurationError: No worker is named.
    """
    agent_id = os.environ.get("AGENT_ID", "").strip()
    if not agent_id:
        raise ConfigurationError("AGENT_ID is not set; set it to the id of your worker")
    return create_app(AsyncToolhouse, agent_id)
