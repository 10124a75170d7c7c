"""The chat in two processes behind one address, where each request goes to the other one than the request before."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import expect

from tests.chat.site import Site
from tests.proxies.conftest import nginx_program
from tests.proxies.nginx import Nginx
from tests.proxies.nginx import Site as Settings
from tests.support.redis_server import RedisServer
from tests.support.stores import redis_server

from .conftest import Tab

__all__ = ["nginx_program", "redis_server"]

ROOT = Path(__file__).parents[3]


class Processes(Site):
    """A site that two processes serve.

    Attributes:
        processes: These, by their ids.
    """

    def __init__(self, portal: Any, folder: Path, redis: str, nginx: str) -> None:
        super().__init__(portal, folder)
        self._nginx = nginx
        self._redis = redis
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @contextmanager
    def up(self) -> Iterator[Processes]:
        """Serve it all."""
        with ExitStack() as stack:
            workers = stack.enter_context(self._portal.wrap_async_context_manager(self.emulator.serve()))
            self.server, self.workers_url = workers, workers.url
            ports = [stack.enter_context(self._process()) for _ in range(2)]
            place = Path(tempfile.mkdtemp(prefix="nginx"))
            stack.callback(shutil.rmtree, place)
            nginx = Nginx(self._nginx, place, "http://chat")
            stack.enter_context(self._portal.wrap_async_context_manager(nginx))
            servers = "".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
            settings = Settings(
                http=f"upstream chat {{ {servers} }}",
                location="proxy_buffering off; proxy_set_header Host $host; proxy_read_timeout 60s;",
            )
            self._portal.call(nginx.start, settings)
            self.url = nginx.url
            yield self

    @contextmanager
    def _process(self) -> Iterator[int]:
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(100)
            settings = {
                "workers": self.workers_url,
                "store": str(self._folder / "chat.db"),
                "redis": self._redis,
                "fd": listening.fileno(),
            }
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.chat.process", json.dumps(settings)],
                cwd=ROOT,
                pass_fds=[listening.fileno()],
                stdin=subprocess.DEVNULL,
            )
            port: int = listening.getsockname()[1]
        self.processes[str(process.pid)] = process
        try:
            yield port
        finally:
            process.terminate()
            process.wait()


@pytest.fixture
def site(tmp_path: Path, redis_server: RedisServer, nginx_program: str) -> Iterator[Processes]:
    with (
        start_blocking_portal(name="chat") as portal,
        Processes(portal, tmp_path, redis_server.url, nginx_program).up() as site,
    ):
        yield site


class Answers:
    """Which process gave the last answer to each kind of request of a page."""

    def __init__(self, tab: Tab) -> None:
        self._latest: dict[str, str] = {}
        tab.page.on("response", self._note)

    def _note(self, response: Any) -> None:
        path = response.url.partition("?")[0].rpartition("/api/")[2]
        self._latest[path] = response.headers.get("process", "")

    def of(self, path: str) -> str:
        return self._latest[path]


def ask_elsewhere(tab: Tab, message: str) -> tuple[str, str]:
    """Say something, and reload until another process than the one that runs the answer sends it.

    Returns:
        The ids of both.
    """
    answers = Answers(tab)
    tab.say(message).wait_for_text("first")
    running = answers.of("messages")
    for _ in range(20):
        tab.page.reload()
        tab.wait_for_text("first")
        if answers.of("turn") != running:
            return running, answers.of("turn")
    raise AssertionError("all requests went to one process")


def test_an_answer_is_read_by_another_process_than_the_one_that_runs_it(tab: Tab, site: Processes) -> None:
    running, reading = ask_elsewhere(tab, "wait")
    assert {running, reading} == set(site.processes)
    site.go_on()
    tab.wait_for("idle")
    assert tab.answer() == "first second"
    tab.page.reload()
    tab.wait_for("idle")
    tab.wait_for_text("first second")
    assert tab.ask("Hello") == "You said: Hello"
    assert tab.said() == ["wait", "first second", "Hello", "You said: Hello"]
    assert site.accepted == ["wait", "Hello"]


def test_an_answer_is_stopped_in_whatever_process(tab: Tab, site: Processes) -> None:
    for number in range(4):
        site.hold()
        tab.say("wait").wait_for("answering")
        expect(tab.messages("assistant").nth(number).locator(".content")).to_contain_text("first")
        tab.page.locator("#stop").click()
        tab.wait_for("idle")
        site.go_on()  # the worker's own run goes on, and takes the next message when it is over
    assert tab.page.locator(".notice span").all_inner_texts() == ["Stopped."] * 4


def test_the_process_that_runs_an_answer_is_killed(tab: Tab, site: Processes) -> None:
    running, _ = ask_elsewhere(tab, "wait")
    site.processes[running].send_signal(signal.SIGKILL)
    site.processes[running].wait()
    site.go_on()
    tab.wait_for("idle")
    tab.wait_for_text("Your message arrived, but its answer broke off.")
    tab.page.locator(".check").click()
    tab.wait_for_text("first second")
    assert tab.ask("Hello") == "You said: Hello"
    assert site.accepted == ["wait", "Hello"]
