"""A chat with a worker, in any number of tabs: one page, one process, one conversation for each browser.

Serve it behind HTTPS with TOOLHOUSE_API_KEY, AGENT_ID, CHAT_SECRET and CHAT_HOSTS in the environment:

    pip install 'toolhouse-async[chat]'
    uvicorn --factory app:from_environment --timeout-graceful-shutdown 5
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from toolhouse_async import (
    AsyncToolhouse,
    ConfigurationError,
    Message,
    NotFoundError,
    OutcomeUnknownError,
    SessionBusyError,
    SessionManager,
    ToolhouseError,
)
from toolhouse_async.stores import SessionStore, SQLiteSessionStore
from toolhouse_async.web import EVENT_STREAM_HEADERS, HubTurn, TurnHub, failure, sse

PAGE = Path(__file__).with_name("index.html")
LONGEST = 20_000
"""Characters that a message may have."""
MONTH = 30 * 24 * 3600
RUNNING_EACH = 20
"""Answers that may be under way at once for one address, so that nobody takes the places of all others."""
WORN = "Too many people are asking at the moment. Please try again in a minute."
NO_COOKIE = (
    "Your browser has not kept this page's cookie, so nothing that you say can be sent. "
    "Please allow cookies for this page, and open it by https."
)
"""Whoever serves it by plain HTTP on purpose makes the application with ``https=False``."""
STATUS = {"SessionBusyError": 409, "RateLimitError": 429}
"""The status of an answer that tells of an error; 503 for all others."""


class Chat:
    """Conversations by the names of their browsers, and the turns that are running in them.

    Args:
        toolhouse: The client.
        manager: What keeps the conversations.
        hub: What keeps turns running while nobody looks.
        agent_id: The worker.
    """

    def __init__(self, toolhouse: AsyncToolhouse, manager: SessionManager, hub: TurnHub, agent_id: str) -> None:
        self._toolhouse = toolhouse
        self._manager = manager
        self._hub = hub
        self._agent_id = agent_id
        self._said: WeakKeyDictionary[HubTurn, str] = WeakKeyDictionary()
        self._left: set[str] = set()
        self._running: dict[str, list[HubTurn]] = {}

    async def look(self) -> None:
        """Find out in which conversations a process that was stopped has left a job; forget those of last month."""
        await self._manager.forget_idle(MONTH)
        self._left = {info.key async for info in self._manager.sessions() if info.pending}

    def turn(self, key: str) -> HubTurn | None:
        """The conversation's turn, running or over for a short while."""
        return self._hub.get(key)

    def say(self, key: str, text: str, visitor: str | None = None) -> HubTurn:
        """Begin a turn; for somebody at an address, of whom only so many are under way at once."""
        before = self._hub.get(key)
        if visitor is not None and (before is None or before.is_over):
            self._make_room_for(visitor)
        try:
            turn = self._hub.start(key, self._manager.stream(key, text))
        except SessionBusyError:
            if before is not None and not before.is_over:
                raise
            raise RefusedError(503, WORN) from None  # it is not this conversation that is busy
        self._left.discard(key)  # a message waits for the job itself, and resumes the run
        self._said[turn] = text
        if visitor is not None:
            self._running.setdefault(visitor, []).append(turn)
        return turn

    def _make_room_for(self, visitor: str) -> None:
        self._running = {
            each: running
            for each, turns in self._running.items()
            if (running := [turn for turn in turns if not turn.is_over])
        }
        if len(self._running.get(visitor, ())) >= RUNNING_EACH:
            raise RefusedError(429, "So many answers are being written for your network that this one has to wait.")

    async def conversation(self, key: str) -> dict[str, Any]:
        """What a page needs that has just been opened: what was said, and the turn to attach to."""
        history: list[Message] | None = None
        if key in self._left:  # the job of a process that was stopped: to say nothing resumes the run after it
            history = await self._history(key)
            if key in self._left:  # still, and not by another tab meanwhile
                self.say(key, "")
        turn = self._hub.get(key)
        said = "" if turn is None else self._said[turn]
        if turn is None or (turn.is_over and not said):
            return {"messages": _shown(await self._history(key)), "turn": None}
        if history is None:
            history = await self._history(key, turn)
        if not (isinstance(turn.error, ToolhouseError) and turn.error.safe_to_retry):  # else it did not arrive
            history = _before(history, said)
        shown = {"id": turn.id, "message": said or None, "running": not turn.is_over}
        return {"messages": _shown(history), "turn": shown}

    async def _history(self, key: str, turn: HubTurn | None = None) -> list[Message]:
        """The conversation so far; while a turn has the key, by the turn's own run id. Empty where it is gone."""
        try:
            if turn is None or turn.is_over:
                async with self._manager.checkout(key) as session:
                    return await session.history()
            for _ in range(100):  # it has the conversation's as soon as it has the key; a new one has none for a while
                if turn.turn.run_id is not None or turn.is_over:
                    break
                await asyncio.sleep(0.01)
            run_id = turn.turn.run_id
            return [] if run_id is None else await self._toolhouse.history(self._agent_id, run_id)
        except NotFoundError:
            return []  # the next message begins anew

    async def check(self, key: str) -> bool | None:
        """Find out what became of a message of unknown fate, or of the rest of its answer.

        Returns:
            Whether the message arrived, and the history has its answer; ``None`` if nobody can ever know, since it was
            to begin the conversation: a new one begins then.
        """
        async with self._manager.checkout(key) as session:
            try:
                arrived = await session.reconcile() is not None
            except OutcomeUnknownError:
                if session.run_id is not None:
                    raise  # it can be known later
                arrived = None
        self._hub.forget(key)
        if arrived is None:
            await self._manager.forget(key)
        return arrived

    async def begin_anew(self, key: str) -> None:
        """Leave the conversation for a new one."""
        self._hub.forget(key)
        self._left.discard(key)
        await self._manager.forget(key)


def _before(history: list[Message], said: str) -> list[Message]:
    """The history without the turn that said this, which the page gets as events."""
    for index in reversed(range(len(history))):
        if said and history[index].role == "user" and history[index].text == said:
            return history[:index]
    return history


def _shown(history: list[Message]) -> list[dict[str, str]]:
    """What people see of a history: not the empty messages that resume a run, and nothing but words."""
    return [
        {"role": entry.role, "text": entry.text}
        for entry in history
        if entry.role in ("user", "assistant") and entry.text
    ]


# The requests of the page


def _key(request: Request) -> str:
    """The conversation of this browser: by its cookie alone, which is signed."""
    key: str = request.session.setdefault("chat", secrets.token_urlsafe(24))
    return key


async def _page(request: Request) -> Response:
    _key(request)
    page, headers = request.app.state.page
    return HTMLResponse(page, headers=headers)


async def _conversation(request: Request) -> Response:
    if "chat" not in request.session:
        # Nobody who has not opened the page has said anything; and a page that was opened has a cookie.
        return _json({"messages": [], "turn": None}, **{"Chat-Cookie": "missing"})
    return _json(await _chat(request).conversation(_key(request)))


async def _say(request: Request) -> Response:
    text = (await _body(request)).get("text")
    if "chat" not in request.session:
        return _json({"message": NO_COOKIE}, 403)  # the answer would belong to a conversation of nobody
    if not isinstance(text, str) or not text.strip():
        return _json({"message": "Please write something first."}, 422)
    if len(text) > LONGEST:
        return _json({"message": f"Please write less: {LONGEST:,} characters at most."}, 413)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _json({"message": "Please write this again: half of a character is missing."}, 422)
    return _json({"id": _chat(request).say(_key(request), text, _visitor(request)).id}, 202)


def _visitor(request: Request) -> str:
    """The address of whoever asks; of IPv6 the part that one household has."""
    address = "" if request.client is None else request.client.host
    return ":".join(address.split(":")[:4])


async def _turn(request: Request) -> Response:
    turn = _chat(request).turn(_key(request))
    if turn is None:
        return Response(status_code=204)
    after = request.headers.get("last-event-id") or request.query_params.get("after")
    return StreamingResponse(sse(turn.follow(after)), headers=EVENT_STREAM_HEADERS)


async def _stop(request: Request) -> Response:
    await _body(request)
    turn = _chat(request).turn(_key(request))
    if turn is not None:
        await turn.stop()
    return Response(status_code=204)


async def _check(request: Request) -> Response:
    await _body(request)
    return _json({"arrived": await _chat(request).check(_key(request))})


async def _new(request: Request) -> Response:
    await _body(request)
    await _chat(request).begin_anew(_key(request))
    return Response(status_code=204)


def _json(data: Any, status: int = 200, **headers: str) -> Response:
    """An answer for one browser, and for no cache between."""
    return JSONResponse(data, status, headers={"Cache-Control": "no-store", **headers})


def _chat(request: Request) -> Chat:
    chat: Chat = request.state.chat
    return chat


async def _body(request: Request) -> dict[str, Any]:
    """The body of a request that changes something.

    Asking for JSON keeps other sites out: a browser sends that for them only where the server allows it.
    """
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise RefusedError(415, "Please send JSON.")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > LONGEST * 12:
            raise RefusedError(413, "This is too long.")
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise RefusedError(400, "Please send a JSON object.")
    return body


class RefusedError(Exception):
    """A request that no page of ours makes."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def _refused(request: Request, error: Exception) -> Response:
    return _json({"message": str(error)}, error.status if isinstance(error, RefusedError) else 500)


async def _failed(request: Request, error: Exception) -> Response:
    told = failure(error)
    return _json(told, STATUS.get(told["error"], 503))


# The application


def create_app(
    make_client: Callable[[], AsyncToolhouse],
    agent_id: str,
    *,
    secret: str,
    hosts: Sequence[str],
    store: Callable[[], SessionStore] | None = None,
    https: bool = True,
    suggestions: Sequence[str] | None = None,
    **session_options: Any,
) -> Starlette:
    """Make the application.

    Args:
        make_client: Makes the client, once, when the application starts.
        agent_id: The worker.
        secret: What signs the cookies; the same after a restart, so that browsers keep their conversations.
        hosts: Names by which the application is reached; others are refused.
        store: Makes the store of the conversations; default in memory.
        https: Whether browsers reach it by HTTPS, as they should: the cookie goes nowhere else then.
        suggestions: What the page proposes to say first.
        **session_options: For every conversation: ``vars``, ``bundle``.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Chat]]:
        kept = None if store is None else store()
        try:
            async with (
                make_client() as toolhouse,
                SessionManager(toolhouse, agent_id, store=kept, on_missing="restart", **session_options) as manager,
                TurnHub() as hub,
            ):
                chat = Chat(toolhouse, manager, hub, agent_id)
                await chat.look()
                app.state.hub = hub  # for whoever stops the application and does not want to wait for open pages
                yield {"chat": chat}
        finally:
            if kept is not None:
                await kept.aclose()

    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/api/conversation", _conversation),
            Route("/api/turn", _turn),
            Route("/api/messages", _say, methods=["POST"]),
            Route("/api/stop", _stop, methods=["POST"]),
            Route("/api/check", _check, methods=["POST"]),
            Route("/api/new", _new, methods=["POST"]),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts)),
            Middleware(
                SessionMiddleware,
                secret_key=secret,
                max_age=MONTH,
                same_site="lax",
                https_only=https,
                session_cookie="chat",
            ),
        ],
        exception_handlers={RefusedError: _refused, ToolhouseError: _failed},
        lifespan=lifespan,
    )
    app.state.page = _make_page(agent_id, suggestions)
    app.state.https = https
    return app


def _make_page(agent_id: str, suggestions: Sequence[str] | None) -> tuple[str, dict[str, str]]:
    """The page, and a policy that lets it run its own script and load nothing from elsewhere."""
    page = _with_meta(PAGE.read_text("utf-8"), "worker", agent_id)
    if suggestions is not None:
        page = _with_meta(page, "suggestions", json.dumps(suggestions))
    script, style = (_hash(page, name) for name in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return page, headers


def _with_meta(page: str, name: str, content: str) -> str:
    """The page with another content of its ``<meta name=…>``."""
    written = f'<meta name="{name}" content="{html.escape(content)}">'
    page, count = re.subn(rf'<meta name="{name}"[^>]*>', lambda _: written, page)
    assert count == 1, name
    return page


def _hash(page: str, element: str) -> str:
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def from_environment() -> Starlette:
    """The application as the environment describes it; see the top of this file. CHAT_STORE may name a database.

    Raises:
        ConfigurationError: A setting is missing, or would be no protection.
    """
    agent_id = _setting("AGENT_ID", "the id of your worker")
    secret = _setting("CHAT_SECRET", SECRET)
    if len(secret) < 32 or len(set(secret)) < 10:
        raise ConfigurationError(f"CHAT_SECRET can be guessed; set it to {SECRET}")
    hosts = [each.strip() for each in _setting("CHAT_HOSTS", HOSTS).split(",")]
    if not all(re.fullmatch(r"(\*\.)?[\w-]+(\.[\w-]+)*", each) for each in hosts):
        raise ConfigurationError(f"CHAT_HOSTS holds what is no name of a host; set it to {HOSTS}")
    database = os.environ.get("CHAT_STORE")
    return create_app(
        AsyncToolhouse,
        agent_id,
        secret=secret,
        hosts=hosts,
        store=None if database is None else lambda: SQLiteSessionStore(database),
    )


SECRET = "a long random text that stays the same: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
HOSTS = "the names by which browsers reach the chat, without port: chat.example.org, or several with commas"


def _setting(name: str, what: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"{name} is not set; set it to {what}")
    return value
