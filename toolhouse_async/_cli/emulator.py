"""``toolhouse-async emulator``: a Workers API on this machine."""

from __future__ import annotations

import asyncio
import logging
import shlex
import signal
import sys

from ..testing import WorkersEmulator
from ..testing.workers import echo
from .csv_analyst import csv_analyst
from .terminal import fail

__all__ = ["serve"]


async def serve(host: str, port: int, api_key: str | None) -> int:
    """Serve ``echo`` and ``csv-analyst`` until SIGINT or SIGTERM.

    Returns:
        The exit status: 0, or 1 if the address cannot be listened on.
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    emulator = WorkersEmulator(api_key=api_key)
    emulator.worker("echo")(echo)
    emulator.worker("csv-analyst")(csv_analyst)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        except NotImplementedError:  # an event loop of Windows, where Ctrl-C cancels this task
            break
    try:
        async with emulator.serve(host=host, port=port) as server:
            key = ["-H", f"Authorization: Bearer {api_key}"] if api_key else []
            body = ["--json", '{"message": "Hello"}']
            print(f"Workers echo and csv-analyst on {server.url} (Ctrl-C stops)")
            print(shlex.join(["curl", "-N", "-i", *key, *body, f"{server.url}/echo"]), flush=True)
            await stopped.wait()
    except OSError as error:
        fail(f"cannot listen on {host}:{port}: {error.strerror or error}")
        return 1
    return 0
