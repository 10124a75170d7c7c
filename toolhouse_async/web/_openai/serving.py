"""The ASGI application: routes, the key, and a turn for each request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from hashlib import sha256
from hmac import compare_digest
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from ..._log import in_own_words, log
from ..._values.nested import half_made
from ...errors import ToolhouseError
from .._streams import HEARTBEAT, ByteStream
from .asgi import (
    Receive,
    Scope,
    Send,
    header,
    read_all,
    route_of,
    send_json,
    send_stream,
    serve_lifespan,
    unless_they_leave,
)
from .attempts import Attempts
from .chat import ChatForm
from .refusals import DOUBTFUL, Refusal, RefusedError, refusal_of
from .requests import HEADER, Asked, read_body, read_chat, read_model, read_response
from .responses import ResponseForm

if TYPE_CHECKING:
    from ..._client import AsyncToolhouse
    from ..._held import Turn
    from ...manager import SessionManager

__all__ = ["Gateway"]

_REPETITION: Final = "x-stainless-retry-count"
"""How often OpenAI's package has sent the request before."""
_BROKEN_OFF: Final = (
    "An earlier attempt broke off. Nobody knows whether it arrived; please check before you send it again."
)


_ENDPOINTS: Final[Mapping[str, tuple[Callable[..., Asked], type[ChatForm | ResponseForm]]]] = {
    "/chat/completions": (read_chat, ChatForm),
    "/responses": (read_response, ResponseForm),
}
"""How each reads its requests, and writes its answers."""


class _LeftError(Exception):
    """Nothing more can be sent."""


class Gateway:
    """The ASGI application; see :func:`openai_gateway`.

    Args:
        toolhouse: The client.
        models: The id of a worker for each name of a model.
        managers: What keeps conversations, for each model that has it.
        api_key: What clients must send; ``None`` for nothing.
    """

    def __init__(
        self,
        toolhouse: AsyncToolhouse,
        models: Mapping[str, str],
        managers: Mapping[str, SessionManager],
        api_key: str | None,
    ) -> None:
        self._toolhouse = toolhouse
        self._models = models
        self._managers = managers
        self._key = None if api_key is None else _digest(api_key)  # the key itself is not held
        self._created = int(time.time())
        self._attempts = Attempts()

    @half_made
    def __repr__(self) -> str:
        return f"<OpenAI gateway to {', '.join(self._models):.200}>"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request.

        Cancelling ends its turn.
        """
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await serve_lifespan(receive, send)
        else:  # a websocket: refused before it is open
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_on(message: Any) -> None:
            nonlocal has_begun
            has_begun = True
            try:
                await send(message)
            except OSError:  # as servers say that the client has left
                raise _LeftError from None

        with suppress(_LeftError):
            try:
                await self._answer(scope, receive, send_on)
            except RefusedError as error:
                refusal, cause = error.refusal, error.__cause__
                if not has_begun:  # else the client has left its stream
                    await send_json(scope, send_on, {"error": refusal.object()}, refusal.status, refusal.headers())
                if cause is not None and not isinstance(cause, ToolhouseError):
                    raise cause from cause.__cause__  # a defect: the server is to see it

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_key(scope)
        route = route_of(scope)
        if route in _ENDPOINTS:
            _check_method(scope, "POST")
            await self._ask(route, scope, receive, send)
        elif route == "/models":
            _check_method(scope, "GET", "HEAD")
            await send_json(scope, send, {"object": "list", "data": [self._model(name) for name in self._models]})
        elif route.startswith("/models/"):
            _check_method(scope, "GET", "HEAD")
            await send_json(scope, send, self._model(route.removeprefix("/models/")))
        else:
            raise RefusedError(Refusal(404, "There is nothing at this path.", code="not_found"))

    def _check_key(self, scope: Scope) -> None:
        if self._key is None:
            return
        scheme, _, given = (header(scope, "authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not compare_digest(_digest(given.strip(), "latin-1"), self._key):
            headers = {"www-authenticate": "Bearer"}
            raise RefusedError(Refusal(401, "The key is missing or wrong.", code="invalid_api_key", more=headers))

    def _agent(self, model: str) -> str:
        if model not in self._models:
            raise RefusedError(Refusal(404, "There is no such model.", code="model_not_found", param="model"))
        return self._models[model]

    def _model(self, name: str) -> dict[str, Any]:
        self._agent(name)
        return {"id": name, "object": "model", "created": self._created, "owned_by": "toolhouse"}

    async def _ask(self, route: str, scope: Scope, receive: Receive, send: Send) -> None:
        if (header(scope, "content-type") or "").partition(";")[0].strip().lower() != "application/json":
            raise RefusedError(Refusal(415, "A request must be application/json.", code="unsupported_media_type"))
        raw = await read_all(scope, receive)
        body = read_body(raw)
        model = read_model(body)
        agent_id, manager, key = self._agent(model), self._managers.get(model), header(scope, HEADER)
        read, form = _ENDPOINTS[route]
        asked = read(body, key, managed=manager is not None)
        attempt = Attempts.name(route.encode(), (key or "").encode(), raw)
        if not self._attempts.admits(attempt, header(scope, _REPETITION)):
            raise RefusedError(Refusal(DOUBTFUL, _BROKEN_OFF, "server_error", "outcome_unknown"))
        written = form(asked, model, token_hex(8), int(time.time()))
        try:
            turn = self._turn(agent_id, manager, asked)
            await unless_they_leave(partial(_told, turn, written, scope, send), receive)
        except RefusedError as error:
            if error.refusal.retry_after is not None:
                self._attempts.refused(attempt)
            raise

    def _turn(self, agent_id: str, manager: SessionManager | None, asked: Asked) -> Turn:
        try:
            if manager is not None and asked.key is not None:
                return manager.stream(asked.key, asked.message)
            return self._toolhouse.session(agent_id, run_id=asked.run_id).stream(asked.message)
        except ToolhouseError as error:  # closed, say: nothing was sent
            error.safe_to_retry = True
            raise RefusedError(refusal_of(error)) from error


async def _told(turn: Turn, form: ChatForm | ResponseForm, scope: Scope, send: Send) -> None:
    """Answer with what the worker says.

    Raises:
        RefusedError: The turn failed before anything was sent.
    """
    asked = form.asked
    if asked.stream:
        async with aclosing(ByteStream(turn, form, HEARTBEAT)) as stream:
            first = await anext(stream)
            if form.error is not None:
                raise RefusedError(refusal_of(form.error, param=asked.named_run)) from form.error
            await send_stream(send, first, stream)
        return
    try:
        result = await turn.result()
    except Exception as error:
        log.warning("a client was told that a turn failed: %s", in_own_words(error))
        raise RefusedError(refusal_of(error, param=asked.named_run)) from error
    await send_json(scope, send, form.whole(result))


def _check_method(scope: Scope, *methods: str) -> None:
    if scope["method"] not in methods:
        headers = {"allow": ", ".join(methods)}
        raise RefusedError(Refusal(405, "This path has no such method.", code="method_not_allowed", more=headers))


def _digest(text: str, encoding: str = "utf-8") -> bytes:
    return sha256(text.encode(encoding)).digest()
