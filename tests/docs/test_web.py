"""The page on browsers begins with a server: it is started as the page says, and its page and its stream are there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.support import read_sse, words
from toolhouse_async import (
    AsyncToolhouse,
    ConflictError,
    NotFoundError,
    SessionManager,
    TextDelta,
    UncertainSessionError,
)
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.testing import RunningEmulator, WorkersEmulator
from toolhouse_async.testing.workers import echo
from toolhouse_async.web import TurnHub, failure

from .blocks import PAGES, ROOT, marked
from .setups import AGENT_ID, SETUPS, analyst, says, serving
from .test_examples import REAL_JOB_SECONDS, environment

(BLOCK,) = marked("page-server")


@pytest.fixture
def url(toolhouse_emulator: RunningEmulator, tmp_path: Path) -> Iterator[str]:
    """Where the page's program serves, in a process of its own."""
    toolhouse_emulator.worker(AGENT_ID)(analyst(REAL_JOB_SECONDS))
    assert BLOCK.code.count("port=8000") == 1
    (tmp_path / "app.py").write_text(BLOCK.code.replace("port=8000", "port=0"), "utf-8")
    process = subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "app.py"],
        cwd=tmp_path,
        env=environment(TOOLHOUSE_BASE_URL=toolhouse_emulator.url, TOOLHOUSE_API_KEY="key-of-the-example"),
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        yield next(found[0] for line in process.stdout if (found := re.search(r"http://[\d.:]+", line)))
        process.terminate()
        process.stdout.read()
    assert process.returncode == 0


async def test_the_tabs_of_one_user_wait_for_one_look_at_the_history() -> None:
    (block,) = [each for each in marked("example") if "async def rest(" in each.code]
    async with SETUPS["analyst"]() as names:
        exec(block.code.partition("async with SessionManager")[0], names)
        async with SessionManager(names["toolhouse"], AGENT_ID, store=names["store"]) as sessions:
            await sessions.send("ada", "Hello")
            leaving, *staying = (asyncio.ensure_future(names["rest"](sessions, "ada")) for _ in range(3))
            await asyncio.sleep(0.1)
            leaving.cancel()
            one, other = await asyncio.gather(*staying)
            assert one[0] == ["user", "Hello"]
            assert one is other
            assert await names["rest"](sessions, "ada") is not one


async def test_the_rest_of_a_conversation_that_is_gone_is_an_error_that_says_so() -> None:
    (block,) = [each for each in marked("example") if "async def rest(" in each.code]
    async with serving(echo) as names, serving(echo) as others:
        exec(block.code.partition("async with SessionManager")[0], names)
        async with SessionManager(names["toolhouse"], AGENT_ID, store=names["store"]) as sessions:
            await sessions.send("ada", "Hello")
        async with SessionManager(others["toolhouse"], AGENT_ID, store=names["store"]) as sessions:  # knows no such run
            with pytest.raises(NotFoundError) as caught:
                await names["rest"](sessions, "ada")
            assert caught.value.safe_to_retry is None
            assert "not there any more" in failure(caught.value)["message"]
            await sessions.forget("ada")
            assert await names["rest"](sessions, "ada") == []


async def test_what_another_process_refuses_after_a_stop_is_settled() -> None:
    (block,) = [each for each in marked("example") if "async def settle(" in each.code]
    async with serving(says("Prices will fall.", after=20)) as names:
        exec(block.code.partition("async with (")[0], names)
        store = MemorySessionStore()
        one, other = (SessionManager(names["toolhouse"], AGENT_ID, store=store) for _ in range(2))
        async with one, other, TurnHub() as hub:
            running = hub.start("ada", one.stream("ada", "Will tulips be dear?"))
            await asyncio.sleep(10)  # the worker thinks
            await running.stop()
            with pytest.raises(UncertainSessionError):
                await other.send("ada", "And roses?")
            await names["settle"](other, "ada")
            assert (await other.send("ada", "And roses?")).text == "Prices will fall."
            await names["settle"](other, "ada")  # nothing is open


@pytest.mark.parametrize("grows", [True, False])
async def test_a_worker_that_still_speaks_after_a_stop_is_waited_for_while_the_history_grows(*, grows: bool) -> None:
    emulator = WorkersEmulator(history_partial=grows, while_answering="conflict")
    emulator.worker(AGENT_ID)(says("one two three four five six", between=3))
    async with (
        emulator.serve() as service,
        AsyncToolhouse("", base_url=service.url) as toolhouse,
        toolhouse.session(AGENT_ID) as session,
    ):
        await session.send("Hello")
        async with session.stream("Tell me more") as turn:
            while not isinstance(await anext(turn), TextDelta):
                pass
        began = asyncio.get_running_loop().time()
        if grows:
            assert (await session.send("And roses?")).text == "one two three four five six"
            assert asyncio.get_running_loop().time() - began > 15  # behind the answer that was stopped
        else:
            with pytest.raises(ConflictError) as caught:
                await session.send("And roses?")
            assert caught.value.safe_to_retry is True
            assert asyncio.get_running_loop().time() - began == pytest.approx(7.5, abs=0.5)


def test_every_response_of_the_pages_that_sends_events_has_their_headers() -> None:
    """Else an nginx holds the words back."""
    files = [*PAGES, *(ROOT / "docs/examples").glob("**/*.py"), *(ROOT / "toolhouse_async/web").glob("*.py")]
    text = "\n".join(file.read_text("utf-8") for file in files)
    sent = re.findall(r"\w*(?:Response|Stream)\(sse\([^`]*", text)
    assert len(sent) > 10
    for response in sent:
        assert re.match(r".*\n?.*headers=EVENT_STREAM_HEADERS\)", response), response[:120]


def test_its_page_is_served(url: str) -> None:
    with urllib.request.urlopen(url, timeout=50) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert 'fetch("/turn", {method: "POST"' in answer.read().decode()


def test_an_empty_question_is_refused(url: str, toolhouse_emulator: RunningEmulator) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"{url}/turn", b"", timeout=50)
    assert toolhouse_emulator.requests == []


def test_a_question_is_answered(url: str) -> None:
    with urllib.request.urlopen(f"{url}/turn", b"Analyze this CSV", timeout=50) as answer:
        sent = read_sse(answer.read())
    assert words(sent) == "I will work through it.Done: 344 rows, 3 outliers."
    assert (sent[0].name, sent[-1].name) == ("TurnStarted", "TurnCompleted")
