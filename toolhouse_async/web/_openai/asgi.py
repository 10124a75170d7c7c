"""What the endpoint needs of ASGI: bodies, answers, and clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias

from ..._values.eventjson import json_text
from .._streams import EVENT_STREAM_HEADERS
from .refusals import Refusal, RefusedError

__all__ = [
    "Application",
    "Receive",
    "Scope",
    "Send",
    "header",
    "read_all",
    "route_of",
    "send_json",
    "send_stream",
    "serve_lifespan",
    "unless_they_leave",
]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes that a request may have."""


_LEFT: Final = Refusal(499, "The client has left.", code="client_left")
"""What is answered where nobody hears it: for logs, and for what stands around the application."""


def route_of(scope: Scope) -> str:
    """The path below the place where the application is mounted, and below ``/v1``."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if root and path.startswith(f"{root}/"):
        path = path[len(root) :]
    return path.removeprefix("/v1") if path.startswith("/v1/") else path


def header(scope: Scope, name: str) -> str | None:
    """A header's value; ``None`` where it is missing or empty."""
    for key, value in scope["headers"]:
        if key.lower() == name.encode():
            return bytes(value).decode("latin-1").strip() or None
    return None


async def read_all(scope: Scope, receive: Receive) -> bytes:
    """Read the body of a request.

    Raises:
        RefusedError: It is too long, or said to be; or the client has left.
    """
    length = header(scope, "content-length") or ""
    size = int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else 0
    pieces: list[bytes] = []
    has_more = True
    while has_more and size <= MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(_LEFT)
        pieces.append(message.get("body", b""))
        has_more = message.get("more_body", False)
        size = max(size, sum(map(len, pieces)))
    if size > MAX_BODY:
        raise RefusedError(Refusal(413, f"A request may have {MAX_BODY} bytes.", code="request_too_large"))
    return b"".join(pieces)


async def send_json(
    scope: Scope, send: Send, body: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with JSON; a HEAD gets the head of it."""
    written = json_text(body).encode()
    named = {
        "content-type": "application/json",
        "content-length": str(len(written)),
        "cache-control": "no-store",
        **(headers or {}),
    }
    await send({"type": "http.response.start", "status": status, "headers": _raw(named)})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else written})


async def send_stream(send: Send, first: bytes, rest: AsyncIterator[bytes]) -> None:
    """Answer with Server-Sent Events."""
    await send({"type": "http.response.start", "status": 200, "headers": _raw(EVENT_STREAM_HEADERS)})
    await send({"type": "http.response.body", "body": first, "more_body": True})
    async for piece in rest:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


async def serve_lifespan(receive: Receive, send: Send) -> None:
    """Say that all is ready, and in the end that nothing is left to do."""
    for stage in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{stage}.complete"})


async def unless_they_leave(work: Callable[[], Awaitable[None]], receive: Receive) -> None:
    """Do work for a client whose request is read, and cancel it when the client leaves.

    Raises whatever the work raises. Cancelling cancels the work.

    Raises:
        RefusedError: The client has left.
    """
    failed: list[Exception] = []

    async def kept() -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - raised below, where no group is made of it
            failed.append(error)

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async with asyncio.TaskGroup() as tasks:
        working, leaving = tasks.create_task(kept()), tasks.create_task(left())
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        working.cancel()
        leaving.cancel()
    for error in failed:
        raise error
    if working.cancelled():
        raise RefusedError(_LEFT)
