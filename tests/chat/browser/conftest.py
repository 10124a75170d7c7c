"""Browsers to look at the chat with."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.chat.site import Site

ARGUMENTS = (
    "--no-sandbox",  # the tests may run as root, for whom it does not work
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The same browser: without its windows, which takes half of the processor time, or with them."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Chromium as the system has it; none is downloaded."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    # For one module and not for all tests: it leaves its event loop running in this thread.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Tab:
    """A tab with the chat in it.

    Attributes:
        page: The page, by Playwright.
        problems: What the page wrote to its console as an error, and exceptions that nobody caught.
    """

    def __init__(self, page: Page, site: Site) -> None:
        self.page = page
        self.site = site
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        # What the browser itself says of requests that fail is no problem of the page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def open(self) -> Tab:
        """Open the chat."""
        self.page.goto(self.site.url)
        self.wait_until_not("loading")
        return self

    @property
    def state(self) -> str:
        return str(self.page.evaluate("document.body.dataset.state"))

    def wait_for(self, state: str) -> Tab:
        """Wait until the page is in a state."""
        self.page.wait_for_function("state => document.body.dataset.state === state", arg=state)
        return self

    def wait_until_not(self, state: str) -> None:
        self.page.wait_for_function("state => document.body.dataset.state !== state", arg=state)

    def say(self, text: str) -> Tab:
        """Type a message and send it."""
        self.page.locator("#input").fill(text)
        self.page.locator("#send").click()
        return self

    def ask(self, text: str) -> str:
        """Say something, wait for the end of the answer, and return its text."""
        before = self.messages("assistant").count()
        self.say(text)
        self.page.wait_for_function(
            "n => document.querySelectorAll('article.message.assistant').length > n && "
            "document.body.dataset.state === 'idle'",
            arg=before,
        )
        return self.answer()

    def go_back_to(self, title: str) -> Tab:
        """Open another conversation of the list."""
        self.page.locator("#list").click()
        self.page.locator(".chat").filter(has_text=title).click()
        return self

    def messages(self, who: str) -> Any:
        return self.page.locator(f"article.message.{who}")

    def answer(self) -> str:
        """The text of the last answer."""
        return str(self.messages("assistant").last.locator(".content").inner_text())

    def wait_for_text(self, text: str) -> Tab:
        """Wait until a text is on the page."""
        self.page.locator("#log").get_by_text(text, exact=False).first.wait_for()
        return self

    def said(self) -> list[str]:
        """All messages, one after another."""
        return [str(text) for text in self.page.locator("article.message .content").all_inner_texts()]


class Work:
    """What the page's main thread does, in tasks; in processor time, since other programs may be at work beside it."""

    def __init__(self, page: Page) -> None:
        self._devtools = page.context.new_cdp_session(page)
        self._page = page
        self._events: list[dict[str, Any]] = []
        self._is_over = False
        self._devtools.on("Tracing.dataCollected", lambda data: self._events.extend(data["value"]))
        self._devtools.on("Tracing.tracingComplete", self._end)
        settings = {"includedCategories": ["toplevel"], "excludedCategories": ["*"]}
        self._devtools.send("Tracing.start", {"traceConfig": settings, "transferMode": "ReportEvents"})

    def _end(self, _: object) -> None:
        self._is_over = True

    def tasks(self) -> list[float]:
        """Milliseconds of each task so far; no further ones are noted, nor the one in which this began."""
        self._devtools.send("Tracing.end")
        while not self._is_over:
            self._page.wait_for_timeout(10)
        names = {(e["pid"], e["tid"]): e["args"]["name"] for e in self._events if e["name"] == "thread_name"}
        mine = [e for e in self._events if names.get((e["pid"], e["tid"])) == "CrRendererMain"]
        return [e["tdur"] / 1000 for e in mine if e["name"] == "ThreadControllerImpl::RunTask" and "tdur" in e]


@pytest.fixture
def context(chromium: Browser) -> Iterator[Any]:
    """A browser of its own: its cookies, its tabs."""
    context = chromium.new_context(viewport={"width": 1100, "height": 800})
    context.set_default_timeout(15_000)
    yield context
    context.close()


@pytest.fixture
def tabs(context: Any, site: Site) -> Iterator[Any]:
    """Opens tabs of one browser, and finds that none of them had a problem."""
    opened: list[Tab] = []

    def open_tab(**options: Any) -> Tab:
        tab = Tab((options.get("context") or context).new_page(), site)
        opened.append(tab)
        return tab.open()

    yield open_tab
    problems = [problem for tab in opened for problem in tab.problems]
    assert problems == []


@pytest.fixture
def tab(tabs: Any) -> Tab:
    """One tab."""
    tab: Tab = tabs()
    return tab
