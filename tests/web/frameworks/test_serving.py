"""The files served as the page says, by a process of their own; how they start and how they stop."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.blocks import marked
from tests.docs.setups import AGENT_ID
from tests.docs.test_examples import environment
from tests.support.answers import KEY
from tests.web.support import read_sse, words
from toolhouse_async.testing import RunningEmulator

from .support import BLOCKS, FRAMEWORKS, TEXT, Worker, each_framework, module, site, soon

COMMANDS = dict(zip([*FRAMEWORKS, "hub"], [block.code.split() for block in marked("served")], strict=True))
GRACE = 30.0


def now() -> float:
    return asyncio.get_running_loop().time()


# In a process of its own


@contextmanager
def process(name: str, folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Serve a file as the page says, but on a free port, with every warning an error."""
    code, (program, *arguments) = BLOCKS[name].code, COMMANDS[name]
    if program == "python":
        assert code.count("port=8000") == 1
        code, command = code.replace("port=8000", "port=0"), arguments
    else:
        command = ["-m", program, *arguments, "--port", "0"]
    (folder / "app.py").write_text(code, "utf-8")
    started = subprocess.Popen(
        [sys.executable, "-W", "error", *command],
        cwd=folder,
        env=environment(PYTHONUNBUFFERED="1", **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with started:
        yield started
        if started.poll() is None:
            started.terminate()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 50
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def post(url: str, question: str) -> urllib.request.Request:
    return urllib.request.Request(
        url, json.dumps({"question": question}).encode(), {"Content-Type": "application/json"}
    )


@each_framework
def test_a_file_is_served_as_the_page_says(name: str, toolhouse_emulator: RunningEmulator, tmp_path: Path) -> None:
    """It answers, a client leaves, and it stops in order: nothing is written that looks like trouble."""
    worker = Worker()

    @toolhouse_emulator.worker(AGENT_ID)
    async def function(ctx):  # type: ignore[no-untyped-def]
        async for event in worker(ctx):
            yield event

    toolhouse_emulator.on_disconnect = "stop"
    variables = {"TOOLHOUSE_BASE_URL": toolhouse_emulator.url, "TOOLHOUSE_API_KEY": KEY}
    with process(name, tmp_path, **variables) as served:
        assert served.stdout is not None
        url = next(found[0] for line in served.stdout if (found := re.search(r"http://[\d.]+:\d+", line)))
        with urllib.request.urlopen(post(f"{url}/answer", "one two"), timeout=50) as answer:
            assert json.load(answer) == {"answer": "one two"}
        with urllib.request.urlopen(post(f"{url}/stream", "one two"), timeout=50) as answer:
            assert words(read_sse(answer.read())) == "one two"
        worker.ended = ""
        with urllib.request.urlopen(post(f"{url}/stream", "silent"), timeout=50) as answer:
            while b"first" not in answer.readline():
                pass
        until(lambda: worker.ended == "stopped")  # long before the next heartbeat
        served.terminate()
        written = served.stdout.read()
    assert [word for word in ("Traceback", "Warning", "rror", KEY) if word in written] == []
    until(lambda: toolhouse_emulator.server.connections == 0)


@each_framework
def test_without_a_key_it_does_not_start(name: str, tmp_path: Path) -> None:
    with process(name, tmp_path) as served:
        written, _ = served.communicate(timeout=50)
    assert served.returncode != 0
    assert "TOOLHOUSE_API_KEY" in written
    assert "Without a key the server does not start" in " ".join(TEXT.split())


WITHOUT_LIFESPAN = """
import asyncio
import pytest
from django.test import AsyncClient
import app

def test_without_lifespan():
    with pytest.raises(KeyError, match="state"):
        asyncio.run(AsyncClient().post("/answer", {"question": "x"}, content_type="application/json"))
"""


def test_the_test_for_django_passes(pytester: pytest.Pytester) -> None:
    """And Django's own client fails as the page says, in a process of its own: it leaves a thread."""
    (block,) = marked("django-test")
    assert "KeyError: 'state'" in TEXT
    pytester.makepyfile(app=BLOCKS["django"].code, test_app=block.code, test_alone=WITHOUT_LIFESPAN)
    pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", timeout=50).assert_outcomes(passed=2)


# How it stops


def grace(name: str) -> dict[str, float]:
    """The page's patience with what is under way when the server is told to stop, as an option of the server."""
    if name == "aiohttp":
        assert f"shutdown_timeout={GRACE / 2:.0f}" in BLOCKS[name].code
        return {"shutdown_timeout": GRACE / 2}  # which it waits for twice
    assert f"--timeout-graceful-shutdown {GRACE:.0f}" in " ".join(COMMANDS[name])
    return {"timeout_graceful_shutdown": int(GRACE)}


@each_framework
async def test_a_server_that_stops_lets_streams_come_to_their_end(name: str) -> None:
    async with site(name, **grace(name)) as it:
        reading = await it.read("steps")
        for _ in range(2):
            event = await reading.event()
        stopped = it.stop()
        await asyncio.sleep(GRACE / 2)
        assert not stopped.done()
        heard = [event]
        while heard[-1].name == "TextDelta":
            it.worker.go_on.set()
            heard.append(await reading.event())
        assert words(heard) == "word0 word1 word2 word3 word4 "
        assert heard[-1].name == "TurnCompleted"
        await stopped
        assert it.service.connections == 0


@each_framework
async def test_a_server_that_stops_waits_no_longer_than_it_is_told(name: str) -> None:
    """Then the turn is closed, and the client after it."""
    async with site(name, **grace(name)) as it:
        await it.read("words")
        await it.accepted()
        began = now()
        await it.stop()
        assert GRACE - 1 < now() - began < GRACE + 5
        await soon(lambda: it.worker.ended == "stopped")
        assert it.service.connections == 0
        # Uvicorn does not wait for the request that it has cancelled.
        await soon(lambda: not any("run_asgi" in repr(task) for task in asyncio.all_tasks()))


async def test_django_itself_has_no_lifespan() -> None:
    """What the page says is the reason for what stands in front of it."""
    with pytest.raises(ValueError, match="Django can only handle ASGI/HTTP"):
        await module("django").django({"type": "lifespan"}, None, None)
    assert "Django has no place for what lives as long as the process" in TEXT
