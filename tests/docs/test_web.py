"""The page on browsers begins with a server: it is started as the page says, and its page and its stream are there."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.support import read_sse, words
from toolhouse_async.testing import RunningEmulator

from .blocks import marked
from .setups import AGENT_ID, analyst
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


def test_its_page_is_served(url: str) -> None:
    with urllib.request.urlopen(url, timeout=50) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert 'fetch("/turn", {method: "POST"' in answer.read().decode()


def test_a_question_is_answered(url: str) -> None:
    with urllib.request.urlopen(f"{url}/turn", b"Analyze this CSV", timeout=50) as answer:
        sent = read_sse(answer.read())
    assert words(sent) == "I will work through it.Done: 344 rows, 3 outliers."
    assert (sent[0].name, sent[-1].name) == ("TurnStarted", "TurnCompleted")
