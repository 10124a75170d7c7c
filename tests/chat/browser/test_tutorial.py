"""The tutorial's chat in the browser, step by step as a reader builds it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import expect

from tests.docs.blocks import ROOT, marked, read_blocks
from toolhouse_async._cli.csv_analyst import csv_analyst
from toolhouse_async.testing import WorkersEmulator
from toolhouse_async.testing.workers import echo

PAGE = ROOT / "docs" / "tutorial" / "web.md"
BLOCKS = read_blocks(PAGE.read_text("utf-8"), "web.md")
WRITTEN_URL = "http://127.0.0.1:8000"


def codes(kind: str, step: int) -> list[str]:
    return [block.code for block in BLOCKS if (block.kind, block.argument) == (kind, str(step))]


def program(step: int) -> str:
    """``app.py`` at a step: what a step defines anew stands behind what was there, and takes its place."""
    return "\n".join(code for each in range(1, step + 1) for code in codes("web", each) + codes("web-change", each))


def page(step: int) -> str:
    """``page.html`` at a step."""
    (text,) = codes("page", 1)
    for change in codes("page-change", step):
        text, count = re.subn(r"function follow\(\) \{.*?\n  \}\n", lambda _, new=change: new, text, flags=re.DOTALL)
        assert count == 1
    return text


@contextmanager
def running(step: int, folder: Path, monkeypatch: pytest.MonkeyPatch, *, slow: bool = False) -> Iterator[str]:
    """The chat at a step, and the emulator of the reader's second terminal."""
    monkeypatch.chdir(folder)
    (folder / "page.html").write_text(page(step))
    emulator = WorkersEmulator()
    emulator.worker("echo")(endless if slow else echo)
    emulator.worker("csv-analyst")(endless if slow else csv_analyst)
    with (
        start_blocking_portal(name="tutorial") as portal,
        portal.wrap_async_context_manager(emulator.serve()) as workers,
    ):
        names: dict[str, Any] = {}
        code = program(step)
        assert WRITTEN_URL in code
        exec(compile(code.replace(WRITTEN_URL, workers.url), "app.py", "exec"), names)
        server = uvicorn.Server(uvicorn.Config(names["app"], port=0, log_config=None, timeout_graceful_shutdown=1))
        server.capture_signals = nullcontext  # type: ignore[method-assign, assignment] # they belong to the tests
        serving = portal.start_task_soon(server.serve)
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            serving.result()


async def endless(ctx: Any) -> AsyncIterator[Any]:
    yield ctx.text("first")
    await asyncio.Event().wait()


def say(page: Any, text: str) -> None:
    page.locator("#input").fill(text)
    page.locator("#input").press("Enter")


def test_words_on_a_page(context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(1, tmp_path, monkeypatch) as url:
        page = context.new_page()
        page.goto(url)
        for text in ("Hello there", "<b>And more</b>"):
            say(page, text)
            expect(page.locator("#log p").last).to_have_text(text)
        say(page, "")  # nothing is sent
        expect(page.locator("#log p")).to_have_count(4)
        assert page.locator("b").count() == 0
        page.goto("about:blank")


@pytest.mark.parametrize("step", [1, 2])
def test_an_empty_message_is_refused(context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    with running(step, tmp_path, monkeypatch) as url:
        answer = context.request.post(f"{url}/say", data={"text": ""})
        assert (answer.status, answer.json()) == (422, {"message": "Please write something first."})
        assert context.request.get(f"{url}/turn").status == 204  # no turn has begun


@pytest.mark.parametrize("step", [1, 2])
def test_a_message_while_an_answer_runs_is_told(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with running(step, tmp_path, monkeypatch, slow=True) as url:
        page = context.new_page()
        page.goto(url)
        say(page, "One")
        expect(page.locator("#log")).to_contain_text("first")
        say(page, "Two")
        expect(page.locator("#log p").last).to_contain_text("still being answered")
        page.goto("about:blank")


def test_a_conversation_for_each_browser_with_jobs(
    context: Any, chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(3, tmp_path, monkeypatch) as url:
        page, other = context.new_page(), chromium.new_context()
        page.goto(url)
        expect(page.locator("#input")).to_be_enabled()  # there is no turn to follow yet
        say(page, "Analyze this CSV")
        expect(page.get_by_text("Computing").first).to_be_visible()
        expect(page.locator("#input")).to_be_disabled()
        page.reload()
        expect(page.locator("#log")).to_contain_text("read_file")
        elsewhere = other.new_page()
        elsewhere.goto(url)
        expect(elsewhere.locator("#input")).to_be_enabled()
        assert "read_file" not in elsewhere.locator("#log").inner_text()
        expect(page.locator("#input")).to_be_enabled(timeout=30_000)
        expect(page.locator("#log")).to_contain_text("lies between")
        other.close()
        page.goto("about:blank")


def test_every_step_is_there() -> None:
    assert [len(codes("web", step)) + len(codes("web-change", step)) for step in (1, 2, 3)] == [1, 3, 0]
    assert [len(codes("page", step)) + len(codes("page-change", step)) for step in (1, 2, 3)] == [1, 0, 1]


def test_the_commands_are_those_of_the_program() -> None:
    (served,) = marked("web-serve")
    assert "app:from_environment" in served.code
    application = (ROOT / "docs/examples/chat/app.py").read_text("utf-8")
    for name in re.findall(r"\b([A-Z_]+)=", served.code):
        assert f'"{name}"' in application
    (started,) = marked("web-server")
    assert WRITTEN_URL.rpartition(":")[2] in started.code
