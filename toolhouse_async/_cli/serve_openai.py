"""``toolhouse-async serve-openai``: workers as the models of OpenAI's APIs."""

from __future__ import annotations

import asyncio
import socket
from contextlib import nullcontext
from typing import TYPE_CHECKING

import attrs

from .. import AsyncToolhouse
from ..web import openai_gateway
from .addresses import is_loopback
from .stopping import stopped_by_signal
from .terminal import fail, one_line, warn

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Service", "serve_openai"]

_GRACE = 2
"""Seconds for which open connections are waited for at the end."""
_KEEP_ALIVE = 75
"""Seconds for which a connection may idle: longer than clients keep theirs, so that none is used as it is closed."""


@attrs.frozen(kw_only=True)
class Service:
    """What the command line asks for."""

    models: Mapping[str, str]
    host: str
    port: int
    api_key: str | None
    base_url: str | None
    allow_insecure: bool
    client_key: str | None


async def serve_openai(service: Service) -> int:
    """Serve the models until SIGINT or SIGTERM.

    Returns:
        The exit status: 1 if the address cannot be listened on, 2 where the extra ``[serve]`` is not installed.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    try:
        import uvicorn  # here, since only the extra installs it
    except ModuleNotFoundError as error:
        if error.name != "uvicorn":
            raise
        fail("serve-openai needs uvicorn, which the extra [serve] installs: pip install 'toolhouse-async[serve]'")
        return 2
    async with AsyncToolhouse(
        service.api_key, base_url=service.base_url, allow_insecure=service.allow_insecure
    ) as toolhouse:
        app = openai_gateway(toolhouse, models=service.models, api_key=service.client_key)
        family = socket.AF_INET6 if ":" in service.host else socket.AF_INET
        try:
            listening = socket.create_server((service.host, service.port), family=family)
        except OSError as error:
            fail(f"cannot listen on {service.host}:{service.port}: {error.strerror or error}")
            return 1
        with listening:
            if not is_loopback(service.host):
                who = "who has the key" if service.client_key else "without a key (--client-key asks for one)"
                warn(
                    f"{service.host} is not this machine alone: everybody on its networks {who} can talk to the "
                    "workers, unencrypted and at your cost"
                )
            config = uvicorn.Config(
                app,
                log_level="warning",
                lifespan="off",
                ws="none",
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_GRACE,
            )
            server = uvicorn.Server(config)
            server.capture_signals = nullcontext  # type: ignore[method-assign, assignment] # they are ours
            stopped = stopped_by_signal()
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            host = f"[{service.host}]" if family is socket.AF_INET6 else service.host
            address = f"http://{host}:{listening.getsockname()[1]}/v1"
            print(f"Models {one_line(', '.join(service.models), 200)} on {address} (Ctrl-C stops)", flush=True)
            await stopped.wait()
            await toolhouse.aclose()  # so that no answer is waited for
            server.should_exit = True
            await serving
    return 0
