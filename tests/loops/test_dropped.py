"""Event loops that are stopped and dropped with something under way, and processes made by ``fork``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest

from toolhouse_async import AsyncToolhouse

SCRIPT = """
import asyncio, gc, socket, sys
from toolhouse_async import AsyncToolhouse

factory, closes, step = sys.argv[1:]
if factory == "uvloop":
    import uvloop
    loop = uvloop.new_event_loop()
else:
    loop = asyncio.new_event_loop()
listener = socket.create_server(("127.0.0.1", 0))
url = "http://127.0.0.1:%d" % listener.getsockname()[1]

async def ask():
    client = AsyncToolhouse("key", base_url=url)
    if step == "run":
        await client.run("a", "x")
    elif step == "history":
        await client.history("a", "r1")
    else:
        async for _ in client.map("a", ["x"]):
            pass

def arrived():
    connection, _ = listener.accept()
    connections.append(connection)
    loop.remove_reader(listener)
    loop.add_reader(connection, loop.stop)

connections = []

asking = loop.create_task(ask())
loop.add_reader(listener, arrived)
loop.run_forever()
if closes == "closes":
    loop.close()
del loop, asking
gc.collect()
"""

AIOHTTPS_OWN = r"(?s)Exception ignored in: <coroutine object ClientSession\..*?RuntimeError: Event loop is closed\n"


@pytest.mark.parametrize("step", ["run", "history", "map"])
@pytest.mark.parametrize("closes", ["closes", "leaves"])
@pytest.mark.parametrize("factory", ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])])
def test_no_error_of_ours_is_left(factory: str, closes: str, step: str) -> None:
    arguments = [sys.executable, "-c", SCRIPT, factory, closes, step]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    # A coroutine of aiohttp's that is collected behind its closed loop complains; the collector's order decides that.
    said = re.sub(AIOHTTPS_OWN, "", ran.stderr)
    for sign in ("Traceback", "Exception ignored", "different Context"):
        assert sign not in said, ran.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_draw_numbers_of_their_own() -> None:
    client = AsyncToolhouse("key")
    drawn = set[bytes]()
    for _ in range(4):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, str(client._core.service.randomness.random()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        drawn.add(os.read(reading, 100))
        os.close(reading)
        os.close(writing)
    assert len(drawn) == 4
