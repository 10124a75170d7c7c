"""The page that the program of the page on browsers serves shows an answer, and no HTML of a worker's."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, expect

from tests.chat.browser.conftest import chromium  # noqa: F401 - a fixture
from tests.docs.blocks import marked
from tests.docs.setups import AGENT_ID
from tests.docs.test_web import url  # noqa: F401 - a fixture
from toolhouse_async import ErrorEvent, NotFoundError
from toolhouse_async.testing import RunningEmulator, WorkerContext, WorkerEvent
from toolhouse_async.web import failure


async def moody(ctx: WorkerContext) -> AsyncIterator[WorkerEvent]:
    """A worker that says back what it is told, and fails at a blank."""
    yield ctx.text(ctx.message) if (ctx.message or "").strip() else ErrorEvent("hunter2")


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
    expect(answer).to_have_text("<b>über</b>")  # nothing is asked
    page.locator("input").fill(" ")
    page.locator("button").click()
    expect(answer).to_contain_text("worker", timeout=30_000)  # what may be shown of its error, and no more
    expect(answer).not_to_contain_text("hunter2")
    assert problems == []
    page.close()


RESTARTED = """<!doctype html>
<meta charset="utf-8">
<pre id="log">assistant: I will work</pre>
<script>
  const source = new EventSource("/turn");
  %s
</script>
"""
GONE = failure(NotFoundError("no such run", status=404, run_id="r1"))
LATER = "Your answer cannot be loaded at the moment. Please reload this page in a while."


@contextmanager
def restarted(status: int, rest: bytes) -> Iterator[str]:
    """A server that has no turn, and answers so to the request for the rest; not at all where the status is 0."""
    (block,) = marked("page-rest")
    answers = {
        "/": (200, "text/html", (RESTARTED % block.code).encode()),
        "/turn": (204, "text/plain", b""),
        "/rest": (status, "application/json", rest),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content_type, body = answers.get(self.path, (404, "text/plain", b""))
            if not status:
                return
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize(
    ("status", "rest", "shown"),
    [
        (200, b'[["user", "Hello"], ["assistant", "<b>Hi</b>"]]', "user: Hello\nassistant: <b>Hi</b>"),
        (502, json.dumps(GONE).encode(), f"assistant: I will work\n{GONE['message']}"),
        (502, b"<html>Bad gateway</html>", f"assistant: I will work\n{LATER}"),
        (500, b"null", f"assistant: I will work\n{LATER}"),
        (404, b'{"detail": "Not Found"}', f"assistant: I will work\n{LATER}"),
        (0, b"", f"assistant: I will work\n{LATER}"),
    ],
    ids=["rest", "gone", "proxy", "null", "no message", "away"],
)
def test_after_a_restart_the_page_shows_the_rest_or_why_there_is_none(
    chromium: Browser,  # noqa: F811
    status: int,
    rest: bytes,
    shown: str,
) -> None:
    page = chromium.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    with restarted(status, rest) as address:
        page.goto(address)
        expect(page.locator("#log")).to_have_text(shown, timeout=30_000)
        page.close()
    assert problems == []
