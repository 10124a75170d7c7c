"""A chat with a worker, in any number of tabs: one page, and for each browser its own conversations.

Serve it behind HTTPS with TOOLHOUSE_API_KEY, AGENT_ID, CHAT_SECRET and CHAT_HOSTS in the environment:

    pip install 'toolhouse-async[chat]'
    uvicorn --factory app:from_environment --timeout-graceful-shutdown 5

In one process; in several with CHAT_HUB and CHAT_STORE.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import html
import inspect
import json
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

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
    ServerError,
    SessionBusyError,
    SessionManager,
    StoreError,
    ToolhouseError,
    TransportError,
    stores,
    web,
)
from toolhouse_async.stores import MemorySessionStore, SessionStore
from toolhouse_async.web import EVENT_STREAM_HEADERS, HubTurn, TurnHub, failure, sse

PAGE = Path(__file__).with_name("index.html")
LONGEST = 20_000
"""Characters that a message may have."""
MONTH = 30 * 24 * 3600
CHATS_EACH = 20
"""Conversations that one browser has in its list; the one that was used least of late makes room."""
TITLE = 60
"""Characters of a conversation's title, which is how it begins."""
PATIENCE = 10
"""Seconds that the service has for a history: a page that is opened waits for it."""
SHORT_PATIENCE = 2
"""Seconds that it has before a message is sent."""
RUNNING_EACH = 20
"""Answers that may be under way at once for one address, so that nobody takes the places of all others."""
WORN = "Too many people are asking at the moment. Please try again in a minute."
NO_COOKIE = (
    "Your browser has not kept this page's cookie, so nothing that you say can be sent. "
    "Please allow cookies for this page, and open it by https."
)
"""Whoever serves it by plain HTTP on purpose makes the application with ``https=False``."""
AWAY = "The worker cannot be reached at the moment."
NOT_LOADED = "The conversation cannot be loaded at the moment. Please try again later."
NO_CHAT = "This conversation is not there any more."
STATUS = {"SessionBusyError": 409, "RateLimitError": 429}
"""The status of an answer that tells of an error; 503 for all others."""


class Visitors:
    """Which conversations each browser has, and which of them it has open.

    They stand in the store beside the conversations themselves: as JSON, one entry for each browser that has said
    something, of bounded size.

    Args:
        store: The store.
        agent_id: The worker: several may share a store.
    """

    def __init__(self, store: SessionStore, agent_id: str) -> None:
        self._store = store
        self._prefix = f"visitor:{agent_id}/"  # no id of a worker has a colon, so nothing else is called that

    async def read(self, visitor: str) -> dict[str, Any]:
        """``open``, the id of the open conversation; ``chats``: ``id``, ``title`` and ``time``, the latest first."""
        return self._of(visitor, (await self._store.read(self._prefix + visitor)).value)

    def _of(self, visitor: str, entry: bytes | None) -> dict[str, Any]:
        if entry is None:
            # One that is no other visitor's: browsers remember conversations by their ids.
            return {"open": hashlib.sha256(visitor.encode()).hexdigest()[:12], "chats": []}
        known: dict[str, Any] = json.loads(entry)
        return known

    async def change(self, visitor: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change what :meth:`read` returns, in one step for all who do."""
        for _ in range(100):
            standing = (await self._store.read(self._prefix + visitor)).value
            entry = self._of(visitor, standing)
            change(entry)
            if await self._store.swap(self._prefix + visitor, standing, json.dumps(entry).encode()):
                return
        raise StoreError("too many requests of one visitor change the list of conversations", safe_to_retry=True)

    async def forget_idle(self, seconds: float) -> None:
        """Forget conversations in which nothing was said for so long, and who has no others."""
        async for name, value in self._store.entries(self._prefix):
            entry = json.loads(value)
            chats = [chat for chat in entry["chats"] if time.time() - chat["time"] < seconds]
            if len(chats) < len(entry["chats"]):
                left = json.dumps({**entry, "chats": chats}).encode() if chats else None
                await self._store.swap(name, value, left)


class Chat:
    """Conversations by the names of their browsers and their own, and the turns that are running in them.

    Args:
        toolhouse: The client.
        manager: What keeps the conversations.
        hub: What keeps turns running while nobody looks: a ``TurnHub``, or a ``RedisTurnHub`` for several processes.
        visitors: What keeps the list of each browser.
        agent_id: The worker.
    """

    def __init__(
        self, toolhouse: AsyncToolhouse, manager: SessionManager, hub: Any, visitors: Visitors, agent_id: str
    ) -> None:
        self.visitors = visitors
        self._toolhouse = toolhouse
        self._manager = manager
        self._hub = hub
        self._agent_id = agent_id
        self._left: set[str] = set()
        self._running: dict[str, list[HubTurn]] = {}

    async def look(self) -> None:
        """Find out in which conversations a process that was stopped has left a job; forget those of last month."""
        await self._manager.forget_idle(MONTH)
        await self.visitors.forget_idle(MONTH)
        self._left = {info.key async for info in self._manager.sessions() if info.pending}

    async def turn(self, key: str) -> Any:
        """The conversation's turn, running or over for a short while, in any process; ``None`` if there is none."""
        return await _settled(self._hub.get(key))

    async def is_running(self, key: str) -> bool:
        """Whether an answer is under way in a conversation."""
        turn = await self.turn(key)
        return turn is not None and not turn.is_over

    async def running(self, visitor: str, chats: Sequence[Mapping[str, Any]]) -> set[str]:
        """Those of a browser's conversations in which an answer is under way."""
        keys = [f"{visitor}/{each['id']}" for each in chats]
        running = await asyncio.gather(*map(self.is_running, keys))
        return {each["id"] for each, is_running in zip(chats, running, strict=True) if is_running}

    async def say_in(self, visitor: str, chat: str, text: str, address: str) -> HubTurn:
        """Say something in one of a browser's conversations, which comes first in its list, and begins if it is new."""
        turn = await self.say(f"{visitor}/{chat}", text, address)
        with suppress(StoreError, SessionBusyError):  # the message is sent: it is listed with the next one then
            await self._list(visitor, chat, text)
        return turn

    async def _list(self, visitor: str, chat: str, text: str) -> None:
        dropped: list[str] = []
        chats = (await self.visitors.read(visitor))["chats"]
        running = await self.running(visitor, chats) if len(chats) >= CHATS_EACH else set()

        def list_it(entry: dict[str, Any]) -> None:
            dropped.clear()
            known = [each for each in entry["chats"] if each["id"] == chat]
            others = [each for each in entry["chats"] if each["id"] != chat]
            for each in reversed(others):
                if len(others) >= CHATS_EACH and each["id"] not in running:
                    others.remove(each)
                    dropped.append(each["id"])
            title = known[0]["title"] if known else " ".join(text.split())[:TITLE]
            entry["open"] = chat
            entry["chats"] = [{"id": chat, "title": title, "time": time.time()}, *others]

        await self.visitors.change(visitor, list_it)
        for each in dropped:
            await self._forget(f"{visitor}/{each}")

    async def say(self, key: str, text: str, address: str | None = None) -> HubTurn:
        """Begin a turn; for somebody at an address, of whom only so many are under way at once."""
        earlier = await self.turn(key)
        is_busy = earlier is not None and not earlier.is_over
        if address is not None and not is_busy:
            self._make_room_for(address)
        note = _note("" if is_busy else await self._said_before(key, earlier), text)
        try:
            turn: HubTurn = await _settled(self._hub.start(key, self._manager.stream(key, text), note=note))
        except SessionBusyError:
            if is_busy or await self.is_running(key):
                raise
            raise RefusedError(503, WORN) from None  # it is not this conversation that is busy
        self._left.discard(key)  # a message waits for the job itself, and resumes the run
        if address is not None:
            self._running.setdefault(address, []).append(turn)
        return turn

    async def _said_before(self, key: str, earlier: Any) -> int | str:
        """How many messages the conversation has; empty if that cannot be known.

        The turn before says it, or the history where that turn is forgotten or of unknown fate.
        """
        if earlier is not None:
            number, text = _noted(earlier)
            if number.isdecimal() and (earlier.error is None or _did_not_arrive(earlier)):
                return int(number) + (bool(text) and earlier.error is None)
        try:
            async with asyncio.timeout(SHORT_PATIENCE):
                info = await self._manager.info(key)
                if info is None or info.run_id is None:
                    return 0
                return len(_messages(await self._toolhouse.history(self._agent_id, info.run_id)))
        except (ToolhouseError, TimeoutError):
            return ""

    def _make_room_for(self, address: str) -> None:
        self._running = {
            each: running
            for each, turns in self._running.items()
            if (running := [turn for turn in turns if not turn.is_over])
        }
        if len(self._running.get(address, ())) >= RUNNING_EACH:
            raise RefusedError(429, "So many answers are being written for your network that this one has to wait.")

    async def conversation(self, key: str) -> dict[str, Any]:
        """What a page needs that has just been opened: what was said, and the turn to attach to."""
        history: list[Message] | None = None
        if key in self._left:  # the job of a process that was stopped: to say nothing resumes the run after it
            history = await self._history(key, await self.turn(key))
            if key in self._left and not await self.is_running(key):  # still, and not by another tab meanwhile
                await self.say(key, "")
        turn = await self.turn(key)
        shown = self.attachable(turn)
        if turn is None or shown is None:
            return {"messages": _shown(await self._history(key)), "turn": None}
        if history is None:
            history = await self._history(key, turn)
        if not _did_not_arrive(turn):
            history = _before(history, *_noted(turn))
        shown["running"] = not turn.is_over
        return {"messages": _shown(history), "turn": shown}

    def attachable(self, turn: Any) -> dict[str, Any] | None:
        """The turn that a page can attach to, if there is one."""
        if turn is None:
            return None
        _, text = _noted(turn)
        if turn.is_over and not text:
            return None
        return {"id": turn.id, "message": text or None, "running": not turn.is_over}

    async def _history(self, key: str, turn: Any = None) -> list[Message]:
        """The conversation so far; while a turn has the key, by the turn's own run id. Empty where it is gone."""
        try:
            if turn is None or turn.is_over:
                async with self._manager.checkout(key) as session:
                    return await session.history()
            for _ in range(100):  # it has the conversation's as soon as it has the key; a new one has none for a while
                if turn.run_id is not None or turn.is_over:
                    break
                await asyncio.sleep(0.01)
                turn = await self.turn(key) or turn
            run_id = turn.run_id
            return [] if run_id is None else await self._toolhouse.history(self._agent_id, run_id)
        except NotFoundError:
            return []  # the next message begins anew

    async def check(self, key: str, text: str = "") -> bool | None:
        """Find out what became of a message of unknown fate, ``text``, or of the rest of its answer.

        Returns:
            Whether the message arrived, and the history has its answer; ``None`` if nobody can ever know, since it was
            to begin the conversation: a new one begins then.
        """
        turn = await self.turn(key)
        number, text = ("", text) if turn is None else _noted(turn)
        async with self._manager.checkout(key) as session:
            try:
                arrived = await session.reconcile() is not None
                if not arrived and text:  # another tab may have had the answer before, and it is brought once
                    history = await session.history()
                    arrived = _before(history, number, text) is not history
            except OutcomeUnknownError:
                if session.run_id is not None:
                    raise  # it can be known later
                arrived = None
        await _settled(self._hub.forget(key))
        if arrived is None:
            await self._manager.forget(key)
        return arrived

    async def begin_anew(self, visitor: str) -> None:
        """Leave the open conversation for a new one; it stays in the list, and goes on where it is being answered."""
        entry = await self.visitors.read(visitor)
        if any(each["id"] == entry["open"] for each in entry["chats"]):  # else there is nothing to leave
            await self.visitors.change(visitor, lambda entry: entry.update(open=secrets.token_urlsafe(6)))

    async def open(self, visitor: str, chat: str) -> None:
        """Go back to a conversation of the list."""
        await self.find(visitor, chat)
        await self.visitors.change(visitor, lambda entry: entry.update(open=chat))

    async def remove(self, visitor: str, chat: str) -> None:
        """Take a conversation from the list, and forget it; not while it is being answered. The service keeps it."""
        await self.find(visitor, chat)
        await self._forget(f"{visitor}/{chat}")

        def unlist(entry: dict[str, Any]) -> None:
            entry["chats"] = [each for each in entry["chats"] if each["id"] != chat]
            if entry["open"] == chat:
                entry["open"] = secrets.token_urlsafe(6)

        await self.visitors.change(visitor, unlist)

    async def find(self, visitor: str, chat: str) -> None:
        """Refuse what is not in the list."""
        if all(each["id"] != chat for each in (await self.visitors.read(visitor))["chats"]):
            raise RefusedError(404, NO_CHAT)

    async def _forget(self, key: str) -> None:
        await _settled(self._hub.forget(key))
        self._left.discard(key)
        await self._manager.forget(key)


async def _settled(value: Any) -> Any:
    """What a hub's method returns; one that is on a server is to be awaited."""
    return await value if inspect.isawaitable(value) else value


def _note(number: int | str, text: str) -> str:
    """What a turn's note says: how many messages the conversation had before, and this one."""
    return f"{number} {text}"


def _noted(turn: Any) -> tuple[str, str]:
    number, _, text = turn.note.partition(" ")
    return number, text


def _did_not_arrive(turn: Any) -> bool:
    return isinstance(turn.error, ToolhouseError) and bool(turn.error.safe_to_retry)


def _messages(history: list[Message]) -> list[int]:
    """Where a history has the user's messages; the empty ones that resume a run are none."""
    return [index for index, entry in enumerate(history) if entry.role == "user" and entry.text]


def _before(history: list[Message], number: str, said: str) -> list[Message]:
    """The history without the turn that said this, which the page gets as events.

    The turn's message is the last one, if it is there: it may not have arrived, or be shown only with its answer. Where
    the last one says the same, the number of messages before the turn tells whether it is an earlier one.
    """
    messages = _messages(history)
    if messages and history[messages[-1]].text == said and str(len(messages)) != number:
        return history[: messages[-1]]
    return history


def _shown(history: list[Message]) -> list[dict[str, str]]:
    """What people see of a history: not the empty messages that resume a run, and nothing but words."""
    return [
        {"role": entry.role, "text": entry.text}
        for entry in history
        if entry.role in ("user", "assistant") and entry.text
    ]


# The requests of the page


def _visitor(request: Request) -> str:
    """Who asks: a browser, by its cookie alone, which is signed."""
    visitor: str = request.session.setdefault("chat", secrets.token_urlsafe(24))
    return visitor


async def _page(request: Request) -> Response:
    _chat(request)  # a page that could load nothing is not shown
    _visitor(request)
    page, headers = request.app.state.page
    return HTMLResponse(page, headers=headers)


async def _conversation(request: Request) -> Response:
    if "chat" not in request.session:
        # Nobody who has not opened the page has said anything; and a page that was opened has a cookie.
        return _json({"messages": [], "turn": None}, 200, {"Chat-Cookie": "missing"})
    chat, visitor = _chat(request), _visitor(request)
    try:
        entry = await chat.visitors.read(visitor)
    except StoreError as error:
        return _json(_not_loaded(error), 503)
    named = {"Chat-Id": entry["open"]}
    key = f"{visitor}/{entry['open']}"
    turn = None
    with suppress(StoreError):  # which the rest of it says
        turn = await chat.turn(key)
    if turn is None and all(each["id"] != entry["open"] for each in entry["chats"]):
        return _json({"messages": [], "turn": None}, 200, named)  # nothing was said: nothing is kept of it
    try:
        async with asyncio.timeout(PATIENCE):
            return _json(await chat.conversation(key), 200, named)
    except (ToolhouseError, TimeoutError) as error:
        # What the page remembers of it can be shown all the same, and a running answer be followed.
        return _json({**_not_loaded(error), "turn": chat.attachable(turn)}, 503, named)


def _not_loaded(error: ToolhouseError | TimeoutError) -> dict[str, Any]:
    """What is said where a conversation cannot be loaded: no message is concerned."""
    told = failure(error)
    if isinstance(error, TransportError | ServerError | TimeoutError):
        told["message"] = AWAY
    elif isinstance(error, StoreError | SessionBusyError):
        told["message"] = NOT_LOADED
    return told


async def _conversations(request: Request) -> Response:
    if "chat" not in request.session:
        return _json({"conversations": []})
    visitor = _visitor(request)
    entry = await _chat(request).visitors.read(visitor)
    running = await _chat(request).running(visitor, entry["chats"])
    listed = [{**each, "time": round(each["time"] * 1000), "running": each["id"] in running} for each in entry["chats"]]
    return _json({"conversations": listed})


async def _say(request: Request) -> Response:
    body = await _body(request)
    text = body.get("text")
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
    chat = await _named(request, body.get("chat"))
    turn = await _chat(request).say_in(_visitor(request), chat, text, _address(request))
    return _json({"id": turn.id}, 202)


async def _named(request: Request, chat: object) -> str:
    """The conversation that a page names, in its browser's own list or new; else the open one."""
    if chat is None:
        opened: str = (await _chat(request).visitors.read(_visitor(request)))["open"]
        return opened
    if not isinstance(chat, str) or not re.fullmatch(r"[\w-]{1,32}", chat, re.ASCII):
        raise RefusedError(404, NO_CHAT)
    return chat


def _address(request: Request) -> str:
    """The address of whoever asks; of IPv6 the part that one household has."""
    address = "" if request.client is None else request.client.host
    return ":".join(address.split(":")[:4])


async def _turn(request: Request) -> Response:
    chat = await _named(request, request.query_params.get("chat"))
    turn = await _chat(request).turn(f"{_visitor(request)}/{chat}")
    if turn is None:
        return Response(status_code=204)
    after = request.headers.get("last-event-id") or request.query_params.get("after")
    return StreamingResponse(sse(turn.follow(after)), headers=EVENT_STREAM_HEADERS)


async def _stop(request: Request) -> Response:
    chat = await _named(request, (await _body(request)).get("chat"))
    turn = await _chat(request).turn(f"{_visitor(request)}/{chat}")
    if turn is not None:
        await turn.stop()
    return Response(status_code=204)


async def _check(request: Request) -> Response:
    body = await _body(request)
    chat, text = await _named(request, body.get("chat")), body.get("text")
    await _chat(request).find(_visitor(request), chat)
    said = text if isinstance(text, str) else ""
    return _json({"arrived": await _chat(request).check(f"{_visitor(request)}/{chat}", said)})


async def _new(request: Request) -> Response:
    await _body(request)
    await _chat(request).begin_anew(_visitor(request))
    return Response(status_code=204)


async def _open(request: Request) -> Response:
    chat = await _named(request, (await _body(request)).get("chat"))
    await _chat(request).open(_visitor(request), chat)
    return Response(status_code=204)


async def _remove(request: Request) -> Response:
    chat = await _named(request, (await _body(request)).get("chat"))
    await _chat(request).remove(_visitor(request), chat)
    return Response(status_code=204)


def _for_script(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for the page's script alone: a picture that a worker links must not take its streams."""

    async def guarded(request: Request) -> Response:
        if request.headers.get("sec-fetch-dest", "empty") != "empty":
            raise RefusedError(403, "This is no picture, and no page.")
        return await answer(request)

    return guarded


def _json(data: Any, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    """An answer for one browser, and for no cache between."""
    return JSONResponse(data, status, headers={"Cache-Control": "no-store", **headers})


def _chat(request: Request) -> Chat:
    chat: Chat | None = getattr(request.state, "chat", None)
    if chat is None:
        raise RuntimeError(
            "the chat was not started: serve what create_app() returns by itself, with its lifespan, at the root of a "
            "host name; mounted in another application it does not start"
        )
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
    hub: Callable[[], Any] | None = None,
    https: bool = True,
    title: str | None = None,
    suggestions: Sequence[str] | None = None,
    image_hosts: Sequence[str] = (),
    **session_options: Any,
) -> Starlette:
    """Make the application.

    Args:
        make_client: Makes the client, once, when the application starts.
        agent_id: The worker.
        secret: What signs the cookies; the same after a restart, so that browsers keep their conversations.
        hosts: Names by which the application is reached; others are refused.
        store: Makes the store of the conversations; default in memory.
        hub: Makes what keeps turns running; default a ``TurnHub``. Several processes take a ``RedisTurnHub``, and a
            store that all of them have.
        https: Whether browsers reach it by HTTPS, as they should: the cookie goes nowhere else then.
        title: What the page is called; default "Chat".
        suggestions: What the page proposes to say first; default nothing.
        image_hosts: Hosts (``pictures.example.org``, ``*.example.org``, ``example.org:8443``) from which pictures that
            a worker links are shown, by HTTPS, beside those of the application's own origin; all others stay links.
            A host learns of each picture what its address says, and when somebody looks.
        **session_options: For the messages of every conversation: ``vars``, ``bundle``.

    Raises:
        ConfigurationError: ``image_hosts`` has what is no name of a host.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Chat]]:
        kept = MemorySessionStore() if store is None else store()
        try:
            async with (
                make_client() as toolhouse,
                SessionManager(toolhouse, agent_id, store=kept, on_missing="restart", **session_options) as manager,
                (TurnHub if hub is None else hub)() as turns,
            ):
                chat = Chat(toolhouse, manager, turns, Visitors(kept, agent_id), agent_id)
                await chat.look()
                app.state.hub = turns  # for whoever stops the application and does not want to wait for open pages
                yield {"chat": chat}
        finally:
            await kept.aclose()

    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/api/conversation", _for_script(_conversation)),
            Route("/api/conversations", _for_script(_conversations)),
            Route("/api/turn", _for_script(_turn)),
            Route("/api/messages", _for_script(_say), methods=["POST"]),
            Route("/api/stop", _for_script(_stop), methods=["POST"]),
            Route("/api/check", _for_script(_check), methods=["POST"]),
            Route("/api/new", _for_script(_new), methods=["POST"]),
            Route("/api/open", _for_script(_open), methods=["POST"]),
            Route("/api/remove", _for_script(_remove), methods=["POST"]),
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
    app.state.page = _make_page(agent_id, title or "Chat", suggestions or (), image_hosts)
    app.state.https = https
    return app


def _make_page(
    agent_id: str, title: str, suggestions: Sequence[str], image_hosts: Sequence[str]
) -> tuple[str, dict[str, str]]:
    """The page, and a policy that lets it run its own script and load nothing but pictures that are allowed."""
    _check_hosts(image_hosts, "image_hosts", IMAGE_HOSTS, PORT)
    page = PAGE.read_text("utf-8")
    page, count = re.subn(r"(?<=<title>).*?(?=</title>)|(?<=<h1>).*?(?=</h1>)", lambda _: html.escape(title), page)
    assert count == 2
    page = _with_meta(page, "worker", agent_id)
    page = _with_meta(page, "suggestions", json.dumps(list(suggestions)))
    page = _with_meta(page, "image-hosts", json.dumps(list(image_hosts)))
    script, style = (_hash(page, name) for name in ("script", "style"))
    pictures = "".join(f" https://{host}" for host in image_hosts)
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; "
        f"img-src 'self' data:{pictures}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
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
    """The application as the environment describes it; see the top of this file.

    CHAT_STORE may name a database or a Redis server (its URL), CHAT_HUB a Redis server, for several processes;
    CHAT_TITLE names the page; CHAT_SUGGESTIONS are divided by ``|``, CHAT_IMAGE_HOSTS by commas. See
    :func:`create_app`.

    Raises:
        ConfigurationError: A setting is missing, or would be no protection.
    """
    agent_id = _setting("AGENT_ID", "the id of your worker")
    secret = _setting("CHAT_SECRET", SECRET)
    if len(secret) < 32 or len(set(secret)) < 10:
        raise ConfigurationError(f"CHAT_SECRET can be guessed; set it to {SECRET}")
    hosts = _listed(_setting("CHAT_HOSTS", HOSTS), ",")
    _check_hosts(hosts, "CHAT_HOSTS", HOSTS)
    image_hosts = _listed(os.environ.get("CHAT_IMAGE_HOSTS", ""), ",")
    _check_hosts(image_hosts, "CHAT_IMAGE_HOSTS", IMAGE_HOSTS, PORT)
    hub = os.environ.get("CHAT_HUB")
    return create_app(
        AsyncToolhouse,
        agent_id,
        secret=secret,
        hosts=hosts,
        store=_store(os.environ.get("CHAT_STORE")),
        hub=None if hub is None else lambda: web.RedisTurnHub(hub),
        title=os.environ.get("CHAT_TITLE", "").strip(),
        suggestions=_listed(os.environ.get("CHAT_SUGGESTIONS", ""), "|"),
        image_hosts=image_hosts,
    )


def _store(where: str | None) -> Callable[[], SessionStore] | None:
    if where is None:
        return None
    if "://" in where:
        return lambda: stores.RedisSessionStore(where)
    return lambda: stores.SQLiteSessionStore(where)


def _listed(value: str, separator: str) -> list[str]:
    return [each.strip() for each in value.split(separator)] if value.strip() else []


def _check_hosts(hosts: Sequence[str], setting: str, what: str, port: str = "") -> None:
    if not all(re.fullmatch(rf"(\*\.)?[\w-]+(\.[\w-]+)*{port}", each, re.ASCII) for each in hosts):
        raise ConfigurationError(f"{setting} holds what is no name of a host; set it to {what}")


SECRET = "a long random text that stays the same: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
HOSTS = "the names by which browsers reach the chat, without port: chat.example.org, or several with commas"
IMAGE_HOSTS = "the names of the hosts whose pictures are shown: pictures.example.org or *.example.org, or several"
PORT = r"(:[0-9]{1,5})?"


def _setting(name: str, what: str) -> str:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigurationError(f"{name} is not set; set it to {what}")
    return value
