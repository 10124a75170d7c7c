"""``toolhouse-async mcp``: the protocol's server on stdin and stdout, or on a port."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from contextlib import nullcontext
from secrets import compare_digest
from typing import TYPE_CHECKING, Any

import anyio
from attrs import frozen
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings

from ... import AsyncToolhouse
from ..addresses import is_loopback
from ..stopping import stopped_by_signal
from ..streams import OutputError
from ..terminal import fail, warn
from .conversations import Conversations
from .descriptors import Pipes, standard_pipes
from .tools import make_server

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.server import Server

    from .workers import Worker

__all__ = ["Service", "serve"]

_GRACE = 2
"""Seconds for which open requests are waited for at the end."""


@frozen(kw_only=True)
class Service:
    """What the command line asks for."""

    workers: Mapping[str, Worker]
    base_url: str | None
    api_key: str | None
    allow_insecure: bool
    http: bool
    host: str
    port: int
    token: str | None


async def serve(service: Service) -> int:
    """Offer workers as tools until stdin ends, or SIGINT or SIGTERM comes.

    Returns:
        The exit status: 0, or 1 if the address cannot be listened on.

    Raises:
        ConfigurationError: A setting is wrong.
        OutputError: Stdout cannot be written to.
    """
    async with AsyncToolhouse(
        service.api_key, base_url=service.base_url, allow_insecure=service.allow_insecure
    ) as toolhouse:
        for worker in service.workers.values():
            toolhouse.session(worker.agent_id)  # an id that is none is an error now, not at the first call
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")
        server = make_server(Conversations(toolhouse), service.workers)
        if service.http:
            return await _serve_http(server, service, toolhouse)
        await _serve_stdio(server)
    return 0


async def _serve_stdio(server: Server[Any]) -> None:
    stopped = stopped_by_signal()

    async def stop(pipes: Pipes) -> None:
        await stopped.wait()
        pipes.stop()

    if sys.stdin is not None and sys.stdin.isatty():
        print("Waiting for an MCP client on stdin (Ctrl-C stops)", file=sys.stderr, flush=True)
    with standard_pipes() as pipes:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(stop, pipes)
                async with stdio_server(anyio.wrap_file(pipes.stdin), anyio.wrap_file(pipes.stdout)) as (read, write):
                    await server.run(read, write, server.create_initialization_options())
                group.cancel_scope.cancel()
        except BaseExceptionGroup as errors:
            error = _first(errors)
            if not isinstance(error, OSError):
                raise
            message = f"cannot write to stdout: {error.strerror or error}"
            raise OutputError(message, reader_left=isinstance(error, BrokenPipeError)) from None


def _first(errors: BaseException) -> BaseException:
    return _first(errors.exceptions[0]) if isinstance(errors, BaseExceptionGroup) else errors


async def _serve_http(server: Server[Any], service: Service, toolhouse: AsyncToolhouse) -> int:
    import uvicorn  # here, since it takes a while to load

    host, port = service.host, service.port
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror or error}")
        return 1
    is_private = is_loopback(host)
    if not is_private:
        who = "who has the token" if service.token else "without a token (--token asks for one)"
        warn(
            f"{host} is not this machine alone: everybody on its networks {who} can talk to the workers by your key, "
            "unencrypted"
        )
    app = server.streamable_http_app(transport_security=_own_pages_alone(host) if is_private else None, host=host)
    guarded = app if service.token is None else _Guarded(app, service.token)
    web = uvicorn.Server(uvicorn.Config(guarded, log_level="warning", timeout_graceful_shutdown=_GRACE))
    web.capture_signals = nullcontext  # type: ignore[method-assign, assignment] # they are ours
    with listening:
        stopped = stopped_by_signal()
        serving = asyncio.create_task(web.serve(sockets=[listening]))
        address = f"[{host}]" if ":" in host else host
        names = ", ".join(service.workers)
        print(f"MCP server of {names} on http://{address}:{listening.getsockname()[1]}/mcp (Ctrl-C stops)", flush=True)
        await stopped.wait()
        await toolhouse.aclose()  # so that calls end, and are told why
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # of streams that clients keep open
        web.should_exit = True
        await serving
    return 0


class _Guarded:
    """Lets in whoever has the token."""

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not compare_digest(given, self._expected):
                headers = [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain; charset=utf-8")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": b"The token is missing or wrong.\n"})
                return
        await self._app(scope, receive, send)


def _own_pages_alone(host: str) -> TransportSecuritySettings:
    """Let no page of another site in, whatever name it has for this machine."""
    hosts = {host if ":" not in host else f"[{host}]", "127.0.0.1", "localhost", "[::1]"}
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[f"{each}:*" for each in sorted(hosts)],
        allowed_origins=[f"http://{each}:*" for each in sorted(hosts)],
    )
