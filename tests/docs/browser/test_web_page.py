"""The page that the program of the page on browsers serves shows an answer, and no HTML of a worker's."""

from __future__ import annotations

from collections.abc import AsyncIterator

from playwright.sync_api import Browser, expect

from tests.chat.browser.conftest import chromium  # noqa: F401 - a fixture
from tests.docs.setups import AGENT_ID
from tests.docs.test_web import url  # noqa: F401 - a fixture
from toolhouse_async import ErrorEvent
from toolhouse_async.testing import RunningEmulator, WorkerContext, WorkerEvent


async def moody(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """A worker that says back what it is told, and fails at nothing."""
    yield ctx.text(ctx.message) if ctx.message else ErrorEvent("hunter2")


def test_an_answer_is_shown(
    chromium: Browser,  # noqa: F811
    url: str,  # noqa: F811
    toolhouse_emulator: RunningEmulator,
) -> None:
    page = chromium.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    answer = page.locator("#answer")
    page.locator("button").click()
    expect(answer).to_have_text("I will work through it.Done: 344 rows, 3 outliers.", timeout=30_000)
    toolhouse_emulator.worker(AGENT_ID)(moody)
    page.locator("input").fill("<b>über</b>")
    page.locator("button").click()
    expect(answer).to_have_text("<b>über</b>", timeout=30_000)
    page.locator("input").fill("")
    page.locator("button").click()
    expect(answer).to_contain_text("worker", timeout=30_000)  # what may be shown of its error, and no more
    expect(answer).not_to_contain_text("hunter2")
    assert problems == []
    page.close()
