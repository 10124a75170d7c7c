"""``toolhouse-async demo --web``: the chat of the examples in a browser, on an embedded Workers API."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
from contextlib import nullcontext
from pathlib import Path
from secrets import compare_digest, token_urlsafe
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from .. import AsyncToolhouse
from ..testing import WorkersEmulator
from .chat_worker import SUGGESTIONS, chat_worker
from .stopping import stopped_by_signal
from .terminal import fail

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["demo_web"]

_WORKER = "penguin-analyst"
_TITLE = "Toolhouse chat"
_GRACE = 2
"""Seconds for which open pages are waited for at the end."""


async def demo_web(port: int, csv: Path) -> int:
    """Serve the chat on 127.0.0.1 until SIGINT or SIGTERM.

    Args:
        port: The TCP port; 0 takes a free one.
        csv: The file that the worker analyses.

    Returns:
        The exit status: 1 if the port cannot be listened on, 2 where the extra ``[chat]`` is not installed.
    """
    try:
        import uvicorn  # here, since only the extra installs it

        app = _example()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("itsdangerous", "starlette", "uvicorn"):
            raise
        fail(f"the chat needs {missing}, which the extra [chat] installs: pip install 'toolhouse-async[chat]'")
        return 2
    try:
        listening = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        fail(f"cannot listen on 127.0.0.1:{port}: {error.strerror or error}")
        return 1
    key = token_urlsafe()  # the worker reads any file for whoever has it
    emulator = WorkersEmulator(api_key=key)
    emulator.worker(_WORKER)(chat_worker)
    with listening:
        async with emulator.serve() as workers:
            application = app.create_app(
                lambda: AsyncToolhouse(key, base_url=workers.url),
                _WORKER,
                secret=token_urlsafe(),
                hosts=("127.0.0.1", "localhost"),
                https=False,
                title=_TITLE,
                suggestions=SUGGESTIONS,
                vars={"csv_path": str(csv)},
            )
            token = token_urlsafe()
            application.user_middleware.append(app.Middleware(_Guarded, token))  # behind the one that reads the cookie
            config = uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=_GRACE)
            server = uvicorn.Server(config)
            server.capture_signals = nullcontext  # type: ignore[method-assign, assignment] # they are ours
            stopped = stopped_by_signal()
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            print(f"{_WORKER}, served by the embedded Workers API on {workers.url}")
            address = f"http://127.0.0.1:{listening.getsockname()[1]}/?token={token}"
            print(f"Chat with it on {address} (Ctrl-C stops)", flush=True)
            await stopped.wait()
            await application.state.hub.aclose()  # so that no page is waited for
            server.should_exit = True
            await serving
    return 0


class _Guarded:
    """Lets in whoever has the address that was printed, and after that their cookie: others may be on this machine.

    The cookie is signed, and made for this one run.
    """

    def __init__(self, app: Any, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not self._admits(scope):
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b"Please open the address that the command printed.\n"})
            return
        await self._app(scope, receive, send)

    def _admits(self, scope: dict[str, Any]) -> bool:
        session: dict[str, Any] = scope["session"]
        given = parse_qs(scope["query_string"]).get(b"token", [b""])[-1]
        if scope["path"] == "/" and compare_digest(given, self._token):
            session["guest"] = True
        return "guest" in session


def _example() -> ModuleType:
    """The example of the documentation: in an installed package a part of it, else where it stands in the sources."""
    installed = Path(__file__).with_name("chat")
    folder = installed if installed.is_dir() else Path(__file__).parents[2] / "docs" / "examples" / "chat"
    spec: Any = importlib.util.spec_from_file_location("toolhouse_chat", folder / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
