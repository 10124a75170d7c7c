"""Event loops that are stopped and dropped with something under way, and processes made by ``fork``."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from toolhouse_async import AsyncToolhouse

SCRIPT = """
import asyncio, gc, inspect, json, os, socket, sys
from toolhouse_async import AsyncToolhouse

factory, cases = sys.argv[1], json.loads(sys.argv[2])
if factory == "uvloop":
    import uvloop

gc.freeze()  # what all cases need is loaded once, and is no garbage of theirs
# Each case has a process of its own, so that what it writes is heard to the process's end.
for case in cases:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 2)
        break
    os.close(writing)
    with open(reading) as told:
        errors = told.read()
    print(json.dumps([case, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), errors]), flush=True)
else:
    sys.exit()

closes, step, first = case
if factory == "uvloop":
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

def under_way(task):
    # Its coroutines, each behind the one that awaits it.
    found, seen = [], [task.get_coro()]
    while seen:
        each = seen.pop()
        if inspect.iscoroutine(each):
            found.append(each)
            seen.append(each.cr_await)
        elif each is not None:  # what wraps another
            seen += filter(inspect.iscoroutine, gc.get_referents(each))
    return found

connections = []

asking = loop.create_task(ask())
loop.add_reader(listener, arrived)
loop.run_forever()
coroutines = [each for task in asyncio.all_tasks(loop) for each in under_way(task)]
if closes == "closes":
    loop.close()
if first == "inmost":
    coroutines.reverse()
while first != "any" and coroutines:
    coroutines.pop(0).close()  # as the collector does, in an order of its own
del loop, asking, coroutines
gc.collect()
"""


CASES = [*itertools.product(("closes", "leaves"), ("run", "history", "map"), ("any", "inmost", "outmost"))]


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("factory", ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])])
def test_no_error_of_ours_is_left(factory: str) -> None:
    arguments = [sys.executable, "-c", SCRIPT, factory, json.dumps(CASES)]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    ends = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [tuple(case) for case, _, _ in ends] == CASES
    signs = ("Traceback", "Exception ignored", "different Context")
    assert not [end for end in ends if end[1] != 0 or any(sign in end[2] for sign in signs)]


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
