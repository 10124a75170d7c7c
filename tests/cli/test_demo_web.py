import json
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.cli.support import COMMAND, environment
from tests.web.support import read_sse, words


@contextmanager
def chat(*arguments):
    """The command while it serves: its process, and the chat's URL."""
    command = [*COMMAND, "demo", "--web", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(), **pipes) as process:
        try:
            workers, url = (re.search(r"http://127\.0\.0\.1:\S+", process.stdout.readline())[0] for _ in range(2))
            process.workers = workers
            yield process, url
        finally:
            process.kill()


class Browser:
    def __init__(self, url):
        self.url, _, self.query = url.partition("/?")
        self.cookie = ""

    def open_page(self):
        """Open the address that was printed."""
        return self.ask(f"/?{self.query}")

    def ask(self, path, body=None):
        headers = {"Content-Type": "application/json", "Cookie": self.cookie}
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=40) as answer:
            self.cookie = (answer.headers["Set-Cookie"] or self.cookie).partition(";")[0]
            return answer.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_the_chat_until_it_is_told_to_stop(number):
    with chat() as (process, url):
        browser = Browser(url)
        page = browser.open_page()
        assert b"penguin-analyst" in page
        assert b"Analyze the penguins" in page  # as it suggests, and no chat of others
        for message, answer in (("Good morning", "You said: Good morning"), ("Show me Markdown", "| Adelie ")):
            browser.ask("/api/messages", {"text": message})
            assert answer in words(read_sse(browser.ask("/api/turn")))
        process.send_signal(number)
        _, errors = process.communicate(timeout=50)
        assert (process.returncode, errors) == (0, "")


def test_its_worker_computes_in_the_background(tmp_path):
    path = tmp_path / "few.csv"
    path.write_text("name,height\n" + "".join(f"n{number},{number % 17}.5\n" for number in range(200)))
    with chat(path) as (_, url):
        browser = Browser(url)
        browser.open_page()
        browser.ask("/api/messages", {"text": "Analyze the penguins"})
        sent = read_sse(browser.ask("/api/turn"))
        assert [each.name for each in sent].count("JobFinished") == 2
        assert sent[-1].name == "TurnCompleted"
        assert "few.csv" in words(sent)
        assert "```text\nHistogram of height" in words(sent)


def test_it_can_be_stopped_while_a_page_is_open():
    with chat() as (process, url):
        browser = Browser(url)
        browser.open_page()
        browser.ask("/api/messages", {"text": "Analyze the penguins"})
        request = urllib.request.Request(f"{browser.url}/api/turn", headers={"Cookie": browser.cookie})
        with urllib.request.urlopen(request, timeout=50) as answer:
            assert answer.readline().startswith(b"id: ")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=50)
        assert process.returncode == 0
        assert "Traceback" not in errors


def test_nobody_else_on_the_machine_can_talk_to_its_worker():
    with chat() as (process, _):
        request = urllib.request.Request(f"{process.workers}/penguin-analyst", b"{}")
        with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=50):
            pass
        with caught.value as refused:
            assert refused.code == 401


@pytest.mark.parametrize("cookie", ["", "chat=x", "chat=eyJndWVzdCI6IHRydWV9"])
def test_nobody_else_on_the_machine_can_open_its_page(tmp_path, cookie):
    """It tells of a private file to whoever asks: only the printed address opens it."""
    path = tmp_path / "private.csv"
    path.write_text("user,word\n" + "root,1\n" * 50)
    with chat(path) as (_, url):
        other, mine = Browser(url), Browser(url)
        assert re.fullmatch(r"token=[\w-]{40,}", other.query)
        other.cookie = cookie
        wrong = ["/", "/?token=", "/?token=x", f"/?token={other.query[6:-1]}", f"/api/conversation?{other.query}"]
        for query in (*wrong, "/api/turn", "/api/conversation", "/none", "//"):
            refused(other, query)
        refused(other, "/api/messages", {"text": "Analyze the penguins"})
        mine.open_page()
        mine.ask("/")  # the cookie is enough from then on
        mine.ask("/api/messages", {"text": "Analyze the penguins"})
        assert "private.csv" in words(read_sse(mine.ask("/api/turn")))


def refused(browser, path, body=None):
    """The request is answered with 403, and with no cookie and no word of what there is."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        browser.ask(path, body)
    with caught.value as answer:
        assert answer.code == 403
        assert answer.headers["set-cookie"] is None
        assert answer.read() == b"Please open the address that the command printed.\n"


def test_a_port_that_is_taken(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("demo", "--web", "--port", port)
        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("missing", ["uvicorn", "starlette", "itsdangerous"])
def test_without_the_extra(cli, monkeypatch, missing):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("uvicorn", "starlette", "itsdangerous")]:
        monkeypatch.delitem(sys.modules, name)  # what was imported already would not be missed
    monkeypatch.setitem(sys.modules, missing, None)
    done = cli("demo", "--web")
    assert done.returncode == 2
    assert "pip install 'toolhouse-async[chat]'" in done.stderr
