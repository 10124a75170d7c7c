"""``toolhouse-async emulator``: a Workers API on this machine."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, cast

from attrs import evolve

from ..testing import WorkersEmulator
from ..testing.workers import echo
from .addresses import is_loopback
from .csv_analyst import csv_analyst, csv_analyst_midstream
from .stopping import stopped_by_signal
from .terminal import fail, warn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from ..testing import Worker, WorkerContext, WorkerEvent

__all__ = ["serve"]


async def serve(host: str, port: int, api_key: str | None) -> int:
    """Serve ``echo``, ``csv-analyst`` and ``csv-analyst-midstream`` until SIGINT or SIGTERM.

    The analysts read files of the current folder and those below it, since whoever reaches the address may ask them.

    Returns:
        The exit status: 0, or 1 if the address cannot be listened on.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    emulator = WorkersEmulator(api_key=api_key)
    emulator.worker("echo")(echo)
    folder = Path.cwd().resolve()
    emulator.worker("csv-analyst")(_within(folder, csv_analyst))
    emulator.worker("csv-analyst-midstream")(_within(folder, csv_analyst_midstream))
    if not is_loopback(host):
        who = "who has the key" if api_key else "without a key (--api-key asks for one)"
        warn(
            f"{host} is not this machine alone: everybody on its networks {who} can talk to the workers, "
            f"unencrypted, and have csv-analyst read files below {folder}"
        )
    stopped = stopped_by_signal()
    try:
        async with emulator.serve(host=host, port=port) as server:
            key = ["-H", f"Authorization: Bearer {api_key}"] if api_key else []
            body = ["--json", '{"message": "Hello"}']
            print(f"Workers echo, csv-analyst and csv-analyst-midstream on {server.url} (Ctrl-C stops)")
            print(shlex.join(["curl", "-N", "-i", *key, *body, f"{server.url}/echo"]), flush=True)
            await stopped.wait()
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror or error}")
        return 1
    return 0


def _within(folder: Path, analyst: Worker) -> Worker:
    """An analyst that is confined to a folder."""

    async def confined(context: WorkerContext) -> AsyncIterator[WorkerEvent]:
        if named := context.vars.get("csv_path"):
            path = await asyncio.to_thread(_resolved, str(named))
            if path is None or not path.is_relative_to(folder):
                yield context.text(f"I read files below {folder} only.")
                return
            # Resolved once, and no link is followed by who reads: what was checked is what is opened.
            context = evolve(context, body={**context.body, "vars": {**context.vars, "csv_path": str(path)}})
        async with aclosing(cast("AsyncGenerator[WorkerEvent]", analyst(context))) as events:
            async for event in events:
                yield event

    return confined


def _resolved(name: str) -> Path | None:
    """Where a path really leads; ``None`` for a circle of links, and for what is no path at all."""
    try:
        return Path(name).resolve()
    except (OSError, RuntimeError, ValueError):
        return None
