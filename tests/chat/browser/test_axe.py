"""What axe, which looks for barriers, finds on the page: nothing, in each state that people meet."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from tests.chat.site import AGENT, Site
from toolhouse_async._cli.chat_worker import chat_worker

from .conftest import Tab

MARKDOWN = (
    "# A\n\n## B\n\n- [a link](https://example.com)\n- `code`\n\n```python\nx = 1\n```\n\n| a | b |\n|-|-|\n| 1 | 2 |\n"
)


def findings(tab: Tab) -> str:
    """What it finds, as it tells people."""
    found = Axe().run(tab.page)
    return str(found.generate_report()) if found.violations_count else ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 390])
def test_it_finds_nothing(chromium: Browser, tabs: Any, site: Site, width: int, scheme: Any) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    tab = tabs(context=context)
    assert findings(tab) == "", "nothing was said"
    site.pieces = [MARKDOWN]
    tab.ask("pieces")
    tab.ask("tools here")
    tab.page.locator("details.tool summary").click()
    assert findings(tab) == "", "with Markdown and a tool"
    tab.say("job").wait_for("job")
    assert findings(tab) == "", "with a job"
    site.go_on()
    tab.wait_for("idle")
    tab.say("fail").wait_for_text("half")
    tab.wait_for("idle")
    site.emulator.faults.add(status=503, times=1)
    tab.say("away")
    tab.wait_for("idle")
    assert findings(tab) == "", "with errors"
    tab.page.locator("#new").click()
    tab.page.wait_for_function("() => !document.querySelector('article.message')")
    tab.ask("Another")
    tab.page.locator("#list").click()
    assert findings(tab) == "", "with the list of conversations"
    context.close()


def test_it_finds_nothing_in_the_demonstration(tab: Tab, site: Site) -> None:
    site.emulator.worker(AGENT)(chat_worker)
    site.restart_application(title="Toolhouse chat", suggestions=["Show me Markdown"])
    tab.open()
    assert findings(tab) == ""
    tab.ask("Analyze the penguins and plot a histogram")
    assert findings(tab) == ""


def test_it_would_find_something(tab: Tab) -> None:
    tab.page.evaluate("document.querySelector('main').append(new Image())")
    assert "image-alt" in findings(tab)
