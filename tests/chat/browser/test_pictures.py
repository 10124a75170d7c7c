"""Pictures of the chat, as the demonstration shows it.

``TOOLHOUSE_TEST_PICTURES=docs/tutorial pytest tests/chat/browser/test_pictures.py`` makes those of the documentation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.chat.site import AGENT, Site
from toolhouse_async._cli.chat_worker import chat_worker

SCENES = {
    "chat": (1000, 760, "light"),
    "chat-phone": (390, 760, "dark"),
}


@pytest.mark.parametrize("name", SCENES)
def test_pictures(chromium: Browser, tabs: Any, site: Site, tmp_path: Path, name: str) -> None:
    folder = Path(os.environ.get("TOOLHOUSE_TEST_PICTURES", tmp_path))
    width, height, scheme = SCENES[name]
    site.emulator.worker(AGENT)(chat_worker)
    site.restart_application(title="Toolhouse chat")
    options: Any = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "device_scale_factor": 1.5}
    context = chromium.new_context(**options)
    tab = tabs(context=context)
    tab.ask("Show me Markdown")
    tab.say("Analyze the penguins and plot a histogram").wait_for("job")
    tab.wait_for_text("Next I resample")
    tab.wait_for_text("Histogram of")
    picture = tab.page.screenshot()
    assert len(picture) > 10_000
    (folder / f"{name}.png").write_bytes(picture)  # by Playwright it would be written in a thread that stays
    tab.wait_for("idle")
    context.close()
