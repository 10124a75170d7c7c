"""One process of a chat that several serve: ``python -m tests.chat.process SETTINGS``, as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import uvicorn

from tests.chat.site import AGENT, EXAMPLE, QUICK
from tests.support.answers import KEY
from toolhouse_async import AsyncToolhouse
from toolhouse_async.stores import SQLiteSessionStore
from toolhouse_async.web import RedisTurnHub

LEASE = 1.0


def make(settings: dict[str, Any]) -> Any:
    """The application, whose answers say which process gave them."""
    app = EXAMPLE.create_app(
        lambda: AsyncToolhouse(KEY, base_url=settings["workers"], **QUICK),
        AGENT,
        secret="a secret of these tests",
        hosts=("127.0.0.1",),
        store=lambda: SQLiteSessionStore(settings["store"]),
        hub=lambda: RedisTurnHub(settings["redis"], lease=LEASE),
        https=False,
        lease=LEASE,
    )

    async def named(scope: Any, receive: Any, send: Any) -> None:
        async def send_named(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"process", str(os.getpid()).encode())]
            await send(message)

        await app(scope, receive, send_named)

    return named


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    uvicorn.Server(uvicorn.Config(make(told), fd=told["fd"], log_config=None, timeout_graceful_shutdown=1)).run()
