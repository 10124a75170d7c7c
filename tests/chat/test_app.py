"""The application by its requests, as a page makes them and as others might."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from tests.support.answers import KEY
from tests.web.support import Sent, read_sse, words
from toolhouse_async import ConfigurationError, StoreError
from toolhouse_async.stores import MemorySessionStore
from toolhouse_async.web import TurnHub

from .site import EXAMPLE, Site, until


class Browser:
    """A browser without a screen: it keeps its cookie."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.cookie = ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Make a request, and return the status and what came as JSON."""
        with self.open(method, path, body, **headers) as response:
            data = response.read()
        return response.status, json.loads(data) if data.startswith(b"{") else data.decode()

    def open(self, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        """Make a request."""
        connection = HTTPConnection("127.0.0.1", self._site.port, timeout=50)
        data = None
        headers["Connection"] = "close"  # so that the response is all that has to be closed
        if method == "POST":
            headers = {"Content-Type": "application/json", **headers}
            data = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        if self.cookie:
            headers = {"Cookie": self.cookie, **headers}
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        for name, value in response.getheaders():
            if name.lower() == "set-cookie":
                self.cookie = value.partition(";")[0]
        return response

    def say(self, text: str) -> str:
        """Say something, and return the turn's id."""
        status, answer = self.ask("POST", "/api/messages", {"text": text})
        assert status == 202
        return str(answer["id"])

    def turn(self, after: str = "", chat: str = "", **headers: str) -> list[Sent]:
        """Follow the turn to its end."""
        with self.open("GET", f"/api/turn?after={after}" + (chat and f"&chat={chat}"), **headers) as response:
            assert response.status == 200
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            return read_sse(response.read())

    def chats(self) -> Any:
        """The list of this browser's conversations."""
        status, answer = self.ask("GET", "/api/conversations")
        assert status == 200
        return answer["conversations"]

    def conversation(self) -> Any:
        status, answer = self.ask("GET", "/api/conversation")
        assert status == 200
        return answer


@pytest.fixture
def browser(site: Site) -> Browser:
    """One that has opened the page."""
    browser = Browser(site)
    browser.ask("GET", "/")
    return browser


def test_a_conversation(browser: Browser, site: Site) -> None:
    assert browser.conversation() == {"messages": [], "turn": None}
    first = browser.say("Hello")
    assert words(browser.turn()) == "You said: Hello"
    assert browser.conversation() == {
        "messages": [],
        "turn": {"id": first, "message": "Hello", "running": False},
    }
    browser.say("And more")
    assert words(browser.turn()) == "You said: And more"
    before = [{"role": "user", "text": "Hello"}, {"role": "assistant", "text": "You said: Hello"}]
    assert browser.conversation()["messages"] == before
    assert [request.method for request in site.server.accepted] == ["POST", "PUT"]


def test_a_turn_that_runs_is_replayed_and_goes_on(browser: Browser, site: Site) -> None:
    turn = browser.say("wait")
    shown = browser.conversation()
    assert shown["turn"] == {"id": turn, "message": "wait", "running": True}
    status, told = browser.ask("POST", "/api/messages", {"text": "too soon"})
    assert (status, told["error"]) == (409, "SessionBusyError")
    streams: list[list[Sent]] = []
    tabs = [threading.Thread(target=lambda: streams.append(browser.turn())) for _ in range(2)]
    for tab in tabs:
        tab.start()
    site.go_on()
    for tab in tabs:
        tab.join()
    assert [words(sent) for sent in streams] == ["first second"] * 2
    assert site.accepted == ["wait"]


def test_a_page_that_returns_misses_and_repeats_nothing(browser: Browser) -> None:
    turn = browser.say("count 5")
    sent = browser.turn()
    assert words(browser.turn(f"{turn}-3")) == "2 3 4 "
    assert words(browser.turn(Last_Event_ID=f"{turn}-4")) == "3 4 "
    assert words(browser.turn(sent[-1].id or "")) == ""
    assert words(browser.turn("another-3")) == "0 1 2 3 4 "


def test_a_job_is_waited_for(browser: Browser, site: Site) -> None:
    browser.say("job")
    site.go_on()
    sent = browser.turn()
    assert [each.name for each in sent if each.name.startswith("Job")][0::2][:1] == ["JobStarted"]
    assert words(sent) == "Computing.The job says **forty-two**."
    browser.say("x")
    browser.turn()
    assert [each["text"] for each in browser.conversation()["messages"] if each["role"] == "user"] == ["job"]


def test_stopping(browser: Browser) -> None:
    browser.say("wait")
    assert browser.ask("POST", "/api/stop") == (204, "")
    assert browser.turn()[-1].data["error"] == "ClosedError"
    assert browser.ask("POST", "/api/stop") == (204, "")
    assert not browser.conversation()["turn"]["running"]


def test_the_same_words_again_hide_nothing(browser: Browser, site: Site) -> None:
    for text in ("yes", "A", "B"):
        browser.say(text)
        browser.turn()
    site.emulator.faults.add(method="PUT", status=400)
    browser.say("yes")
    assert browser.turn()[-1].data["error"] == "BadRequestError"
    assert [each["text"] for each in browser.conversation()["messages"] if each["role"] == "user"] == ["yes", "A", "B"]


def users(conversation: Any) -> list[str]:
    return [each["text"] for each in conversation["messages"] if each["role"] == "user"]


LOST: dict[str, dict[str, Any]] = {
    "refused": {"status": 503},
    "lost": {"cut": "rst"},
    "arrived, and nobody knows": {"cut": "rst", "accept": True},
}


@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
@pytest.mark.parametrize("others", [["yes", "other"], ["yes"], ["yes", "yes"], []], ids=str)
def test_words_said_before_are_shown_when_they_fail(
    browser: Browser, site: Site, others: list[str], fault: dict[str, Any]
) -> None:
    for text in others:
        browser.say(text)
        browser.turn()
    assert "GET" not in [request.method for request in site.server.requests]  # to count them costs nothing
    site.emulator.faults.add(method="GET", times=None, status=503)  # so that its fate stays unknown
    site.emulator.faults.add(method="PUT" if others else "POST", **fault)
    browser.say("yes")
    assert browser.turn()[-1].name == "TurnFailed"
    site.emulator.faults.clear()
    shown = browser.conversation()
    assert users(shown) == others
    assert shown["turn"]["message"] == "yes"


@pytest.mark.parametrize("at", ["start", "end"])
@pytest.mark.parametrize("others", [["wait", "other"], ["wait"], ["wait", "wait"], []], ids=str)
def test_words_said_before_are_shown_in_mid_answer(browser: Browser, site: Site, others: list[str], at: Any) -> None:
    site.emulator.history_message_at = at
    site.go_on()
    for text in others:
        browser.say(text)
        browser.turn()
    site.hold()
    turn = browser.say("wait")
    until(lambda: len(site.accepted) > len(others))
    shown = browser.conversation()
    assert users(shown) == others
    assert shown["turn"] == {"id": turn, "message": "wait", "running": True}


@pytest.mark.parametrize("fault", [None, *LOST.values()], ids=["answered", *LOST])
def test_words_said_before_a_restart_are_shown(browser: Browser, site: Site, fault: dict[str, Any] | None) -> None:
    browser.say("yes")
    browser.turn()
    site.restart_application()
    if fault is not None:
        site.emulator.faults.add(method="PUT", **fault)
    browser.say("yes")
    browser.turn()
    assert users(browser.conversation()) == ["yes"]


@pytest.mark.parametrize("reading", [{"status": 503}, {"cut": "silence"}], ids=str)
def test_a_history_that_cannot_be_read_keeps_no_message_back(
    browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch, reading: dict[str, Any]
) -> None:
    browser.say("yes")
    browser.turn()
    site.restart_application()
    monkeypatch.setattr(EXAMPLE, "SHORT_PATIENCE", 0.2)
    site.emulator.faults.add(method="GET", times=None, **reading)
    browser.say("yes")
    assert words(browser.turn()) == "You said: yes"
    site.emulator.faults.clear()
    assert users(browser.conversation()) == ["yes"]


def test_a_run_that_the_service_has_forgotten(browser: Browser, site: Site) -> None:
    for text in ("One", "Two"):
        browser.say(text)
        browser.turn()
    site.emulator.faults.add(method="GET", times=None, status=404)
    assert browser.conversation()["messages"] == []
    site.emulator.faults.add(method="PUT", status=404)
    browser.say("Three")
    assert words(browser.turn()) == "You said: Three"


def test_who_never_opened_the_page_leaves_nothing_behind(site: Site) -> None:
    for _ in range(3):
        assert Browser(site).conversation() == {"messages": [], "turn": None}
    with Browser(site).open("GET", "/api/conversation") as response:
        assert response.headers["cache-control"] == "no-store"
    site.stop_application()
    assert site.kept() == 0


def test_who_opens_the_page_and_says_nothing_leaves_nothing_behind(browser: Browser, site: Site) -> None:
    for _ in range(3):
        assert browser.conversation() == {"messages": [], "turn": None}
        browser.ask("POST", "/api/new")
    site.stop_application()
    assert site.kept() == 0


def test_a_page_learns_whether_its_cookie_is_kept(site: Site) -> None:
    browser = Browser(site)
    with Browser(site).open("GET", "/api/conversation") as response:
        assert response.headers["chat-cookie"] == "missing"
    browser.ask("GET", "/")
    with browser.open("GET", "/api/conversation") as response:
        assert response.headers["chat-cookie"] is None


def test_nothing_is_sent_where_the_cookie_cannot_be_kept(site: Site) -> None:
    """One that is for HTTPS, and the page came by plain HTTP: the answer would belong to nobody."""
    site.restart_application(https=True)
    browser = Browser(site)
    status, told = browser.ask("POST", "/api/messages", {"text": "Hello"})
    assert status == 403
    assert "https" in told["message"]
    browser.ask("GET", "/")
    browser.say("Hello")  # as where a proxy before it has HTTPS, so that the cookie is kept
    assert words(browser.turn()) == "You said: Hello"


def test_a_new_conversation(browser: Browser, site: Site) -> None:
    browser.say("one")
    browser.turn()
    assert browser.ask("POST", "/api/new") == (204, "")
    assert browser.conversation() == {"messages": [], "turn": None}
    assert browser.ask("GET", "/api/turn") == (204, "")
    assert browser.ask("POST", "/api/new") == (204, "")  # there is nothing to leave
    browser.say("two")
    browser.turn()
    assert [request.method for request in site.server.accepted] == ["POST", "POST"]


def test_a_conversation_can_be_gone_back_to(browser: Browser, site: Site) -> None:
    """While it is answered too: it goes on, and the list tells."""
    assert browser.chats() == []
    browser.say("One\nand " + "more " * 100)
    browser.turn()
    browser.ask("POST", "/api/new")
    browser.say("wait")
    browser.ask("POST", "/api/new")
    browser.say("Three")
    assert words(browser.turn()) == "You said: Three"
    three, waiting, one = browser.chats()
    assert [each["title"] for each in (three, waiting)] == ["Three", "wait"]
    assert (one["title"][:12], len(one["title"])) == ("One and more", EXAMPLE.TITLE)
    assert [each["running"] for each in (three, waiting, one)] == [False, True, False]
    site.go_on()
    assert words(browser.turn(chat=waiting["id"])) == "first second"
    assert browser.ask("POST", "/api/open", {"chat": one["id"]}) == (204, "")
    assert browser.conversation()["turn"]["message"].startswith("One")
    browser.say("And?")  # comes first by that
    browser.turn()
    assert [each["id"] for each in browser.chats()] == [each["id"] for each in (one, three, waiting)]
    site.restart_application()
    assert [each["title"] for each in browser.chats()][1:] == ["Three", "wait"]
    assert [each["text"] for each in browser.conversation()["messages"]][-2:] == ["And?", "You said: And?"]


def test_a_page_says_to_which_conversation_it_speaks(browser: Browser, site: Site) -> None:
    """Another tab may have opened another one meanwhile."""
    browser.say("One")
    browser.turn()
    (one,) = browser.chats()
    with browser.open("GET", "/api/conversation") as response:
        assert response.headers["chat-id"] == one["id"]
    browser.ask("POST", "/api/new")
    browser.ask("POST", "/api/messages", {"text": "wait", "chat": one["id"]})
    with browser.open("GET", "/api/conversation") as response:
        assert response.headers["chat-id"] == one["id"]
    browser.ask("POST", "/api/new")
    browser.ask("POST", "/api/stop")
    assert browser.chats()[0]["running"]
    browser.ask("POST", "/api/stop", {"chat": one["id"]})
    assert not browser.chats()[0]["running"]
    assert len(browser.chats()) == 1


def test_a_conversation_can_be_removed(browser: Browser, site: Site) -> None:
    browser.say("One")
    browser.turn()
    browser.ask("POST", "/api/new")
    browser.say("wait")
    waiting, one = browser.chats()
    status, told = browser.ask("POST", "/api/remove", {"chat": waiting["id"]})
    assert (status, told["error"]) == (409, "SessionBusyError")
    assert browser.ask("POST", "/api/remove", {"chat": one["id"]}) == (204, "")
    assert [each["title"] for each in browser.chats()] == ["wait"]
    assert browser.conversation()["turn"]["message"] == "wait"
    site.go_on()
    browser.turn()
    assert browser.ask("POST", "/api/remove", {"chat": waiting["id"]}) == (204, "")
    assert browser.chats() == []
    assert browser.conversation() == {"messages": [], "turn": None}
    assert browser.ask("POST", "/api/remove", {"chat": waiting["id"]})[0] == 404
    site.stop_application()
    assert site.kept() == 1  # that the list is empty


@pytest.mark.parametrize("chat", ["", "x" * 33, "../x", "a b", 7, {}, "é"])
def test_what_names_no_conversation_is_refused(browser: Browser, site: Site, chat: Any) -> None:
    for path in ("messages", "stop", "check", "open", "remove"):
        status, told = browser.ask("POST", f"/api/{path}", {"text": "x", "chat": chat})
        assert (status, told) == (404, {"message": EXAMPLE.NO_CHAT})
    assert browser.ask("POST", "/api/open", {"chat": "unknown"})[0] == 404
    assert browser.ask("POST", "/api/check", {"chat": "unknown"})[0] == 404
    assert site.accepted == []


def test_a_browser_has_only_so_many_conversations(
    browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ids it makes up; the one used least of late makes room, but none that is being answered."""
    monkeypatch.setattr(EXAMPLE, "CHATS_EACH", 3)
    for chat, text in (("a", "wait"), ("b", "B"), ("c", "C"), ("b", "B again"), ("d", "D")):
        browser.ask("POST", "/api/messages", {"text": text, "chat": chat})
        if text != "wait":
            browser.turn(chat=chat)
    assert [(each["id"], each["title"]) for each in browser.chats()] == [("d", "D"), ("b", "B"), ("a", "wait")]
    assert browser.ask("GET", "/api/turn?chat=c") == (204, "")
    assert browser.ask("POST", "/api/open", {"chat": "c"})[0] == 404
    site.go_on()
    assert words(browser.turn(chat="a")) == "first second"
    site.stop_application()
    assert site.kept() == 4  # three conversations, and the list of them


def test_nobody_reaches_the_conversations_of_others_by_their_ids(browser: Browser, site: Site) -> None:
    browser.say("I am Ada")
    browser.turn()
    (mine,) = browser.chats()
    eve = Browser(site)
    eve.ask("GET", "/")
    assert eve.chats() == []
    assert eve.ask("GET", f"/api/turn?chat={mine['id']}") == (204, "")
    for path in ("open", "check", "remove"):
        assert eve.ask("POST", f"/api/{path}", {"chat": mine["id"]})[0] == 404
    eve.ask("POST", "/api/messages", {"text": "I am Eve", "chat": mine["id"]})
    assert words(eve.turn(chat=mine["id"])) == "You said: I am Eve"
    assert [request.method for request in site.server.accepted] == ["POST", "POST"]  # a conversation of her own
    assert browser.conversation()["turn"]["message"] == "I am Ada"


def test_mounted_in_another_application_it_says_what_is_wrong() -> None:
    """The lifespan of what is mounted does not run."""
    chat = EXAMPLE.create_app(lambda: None, "worker", secret=KEY, hosts=["testserver"])
    with (
        TestClient(Starlette(routes=[Mount("/chat", chat)])) as client,
        pytest.raises(RuntimeError, match=r"serve what create_app\(\) returns by itself"),
    ):
        client.get("/chat/")


async def test_conversations_of_last_month_leave_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemorySessionStore()
    visitors, others = EXAMPLE.Visitors(store, "worker"), EXAMPLE.Visitors(store, "other")
    for kept in (visitors, others):
        await kept.change("ada", lambda entry: entry["chats"].append({"id": "1", "title": "x", "time": 1000}))
    await visitors.change("bob", lambda entry: entry["chats"].append({"id": "1", "title": "x", "time": 1000}))
    await visitors.change("ada", lambda entry: entry["chats"].append({"id": "2", "title": "y", "time": 5000}))
    monkeypatch.setattr(EXAMPLE.time, "time", lambda: 6000)
    await visitors.forget_idle(2000)
    assert [each["id"] for each in (await visitors.read("ada"))["chats"]] == ["2"]
    assert [each["id"] for each in (await others.read("ada"))["chats"]] == ["1"]
    assert [name async for name, _ in store.entries("")] == ["visitor:worker/ada", "visitor:other/ada"]


def test_the_service_is_away_when_a_page_is_opened(browser: Browser, site: Site) -> None:
    """It is told what is wrong, which conversation it is, and which turn it can attach to: the rest it remembers."""
    turn = browser.say("Hello")
    browser.turn()
    site.emulator.faults.add(method="GET", times=None, status=503)
    status, told = browser.ask("GET", "/api/conversation")
    assert (status, told["message"], told["error"]) == (503, EXAMPLE.AWAY, "ServerError")
    assert told["turn"] == {"id": turn, "message": "Hello", "running": False}
    (chat,) = browser.chats()
    with browser.open("GET", "/api/conversation") as response:
        assert response.headers["chat-id"] == chat["id"]
    site.restart_application()
    assert browser.ask("GET", "/api/conversation")[1]["turn"] is None
    site.emulator.faults.clear()
    assert browser.conversation()["messages"][-1]["text"] == "You said: Hello"


def test_a_service_that_does_not_answer_is_not_waited_for(
    browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.say("Hello")
    browser.turn()
    monkeypatch.setattr(EXAMPLE, "PATIENCE", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site.workers_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        site.restart_application()
        status, told = browser.ask("GET", "/api/conversation")
    assert (status, told["message"]) == (503, EXAMPLE.AWAY)


def test_a_store_that_fails_costs_no_message(browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with browser.open("GET", "/api/conversation") as response:
        chat = response.headers["chat-id"]

    async def fail(*_: object) -> None:
        raise StoreError("the disk is full at /var/lib/x")

    with monkeypatch.context() as failing:
        failing.setattr(EXAMPLE.Visitors, "read", fail)
        failing.setattr(EXAMPLE.Visitors, "change", fail)
        for path in ("conversation", "conversations"):
            status, told = browser.ask("GET", f"/api/{path}")
            assert status == 503
            assert "disk" not in json.dumps(told)
        assert browser.ask("POST", "/api/messages", {"text": "Hello", "chat": chat})[0] == 202
        assert words(browser.turn(chat=chat)) == "You said: Hello"
    assert browser.chats() == []
    browser.say("And more")
    browser.turn()
    assert [each["id"] for each in browser.chats()] == [chat]
    assert [request.method for request in site.server.accepted] == ["POST", "PUT"]


def test_each_browser_has_its_own_conversation(site: Site) -> None:
    ada, bob = Browser(site), Browser(site)
    for browser in (ada, bob):
        browser.ask("GET", "/")
    for browser, name in ((ada, "Ada"), (bob, "Bob")):
        browser.say(name)
        browser.turn()
    assert ada.cookie != bob.cookie
    assert words(ada.turn()) == "You said: Ada"
    assert words(bob.turn()) == "You said: Bob"
    payload, _, signature = bob.cookie.partition("=")[2].partition(".")
    for forged in (f"{ada.cookie.partition('.')[0]}.{signature}", f"chat={payload}", "chat=x", ada.cookie[:-3] + "xyz"):
        eve = Browser(site)
        eve.cookie = forged
        assert eve.conversation() == {"messages": [], "turn": None}
    run_ids = [each.data["run_id"] for each in ada.turn() if each.name == "TurnStarted"]
    eve = Browser(site)
    assert eve.ask("GET", f"/api/conversation?run_id={run_ids[0]}")[1] == {"messages": [], "turn": None}


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(site: Site) -> None:
    with Browser(site).open("GET", "/") as response:
        cookie = response.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_the_policy_lets_the_page_run_its_own_script_alone(browser: Browser) -> None:
    with browser.open("GET", "/") as response:
        page = response.read().decode()
        policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for element in ("script", "style"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in policy
    assert not re.findall(r"<\w+[^>]*\s(on\w+|style)=", page)
    assert not re.findall(r"(?:src|href)=.https?://", page)


@pytest.mark.parametrize("path", ["messages", "stop", "check", "new", "open", "remove"])
def test_other_sites_cannot_make_a_browser_say_anything(browser: Browser, site: Site, path: str) -> None:
    """A form of theirs can be sent to us, but not as JSON, which a browser asks the server about first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        status, told = browser.ask("POST", f"/api/{path}", {"text": "x"}, Content_Type=kind)
        assert (status, told["message"]) == (415, "Please send JSON.")
    assert browser.ask("OPTIONS", f"/api/{path}")[0] == 405
    assert site.accepted == []


@pytest.mark.parametrize("dest", ["image", "document", "iframe", "script"])
def test_what_a_worker_links_is_no_request_of_the_page(browser: Browser, site: Site, dest: str) -> None:
    """A picture of ours could take the streams that a browser has."""
    browser.say("Hello")
    for path in ("turn", "conversation", "conversations"):
        assert browser.ask("GET", f"/api/{path}", Sec_Fetch_Dest=dest)[0] == 403
    assert browser.ask("GET", "/api/conversation", Sec_Fetch_Dest="empty")[0] == 200


def test_pictures_come_from_hosts_that_are_allowed(browser: Browser, site: Site) -> None:
    def policy() -> str:
        with browser.open("GET", "/") as response:
            (found,) = re.findall(r"img-src ([^;]*);", response.headers["content-security-policy"])
        return str(found)

    assert policy() == "'self' data:"
    site.restart_application(image_hosts=["pictures.example", "*.example.org:8443"])
    assert policy() == "'self' data: https://pictures.example https://*.example.org:8443"


@pytest.mark.parametrize("host", ["*", "", "https://a.example", "a.example/x", "a.example; script-src *", "a b", "a:x"])
def test_what_is_no_host_of_pictures_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: Any = {"secret": "x", "hosts": ["x"], "image_hosts": ["a.example", host]}
    with pytest.raises(ConfigurationError, match="image_hosts"):
        EXAMPLE.create_app(lambda: None, "worker", **options)
    for name, value in (GOOD | {"CHAT_IMAGE_HOSTS": f"a.example,{host}"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match="CHAT_IMAGE_HOSTS"):
        EXAMPLE.from_environment()


def test_other_names_are_refused(browser: Browser) -> None:
    assert browser.ask("GET", "/", Host="attacker.example")[0] == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"\xff", 400),
        ({}, 422),
        ({"text": 7}, 422),
        ({"text": " \n"}, 422),
        ({"text": "x" * 20_001}, 413),
        (b"[" * 200_000, 400),
        (b'{"text":' + b"[" * 200_000, 400),
        (b'{"text":' + b'{"a":' * 40_000, 400),
        (b"9" * 5000, 400),
        ({"text": "\ud800"}, 422),
        ({"text": "half a smile \ude00 and more"}, 422),
        (b'{"text": NaN}', 422),
        (b" " * 300_000, 413),
    ],
)
def test_what_is_no_message_is_refused(browser: Browser, site: Site, body: Any, status: int) -> None:
    answered, told = browser.ask("POST", "/api/messages", body)
    assert answered == status
    assert told["message"].endswith(".")
    assert site.accepted == []


def test_a_failure_is_told_in_safe_words(browser: Browser) -> None:
    browser.say("fail")
    with browser.open("GET", "/api/turn") as response:
        stream = response.read()
    assert read_sse(stream)[-1].data["error"] == "WorkerError"
    assert b"hunter2" not in stream
    assert KEY.encode() not in stream


def test_a_message_of_unknown_fate_is_checked(browser: Browser, site: Site) -> None:
    browser.say("one")
    browser.turn()
    site.emulator.faults.add(method="PUT", cut="rst", accept=True)
    site.emulator.faults.add(method="GET", times=None, status=503)
    browser.say("two")
    assert browser.turn()[-1].data["error"] == "OutcomeUnknownError"
    assert browser.ask("POST", "/api/check")[0] == 503
    site.emulator.faults.clear()
    for _ in range(2):  # as from two tabs
        status, told = browser.ask("POST", "/api/check", {"text": "two"})
        assert (status, told) == (200, {"arrived": True})
    assert browser.conversation()["messages"][-1] == {"role": "assistant", "text": "You said: two"}
    assert site.accepted == ["one", "two"]


def test_two_tabs_check_at_once(browser: Browser, site: Site) -> None:
    browser.say("one")
    browser.turn()
    for text, accept in (("two", True), ("three", False)):
        site.emulator.faults.add(method="PUT", cut="rst", accept=accept)
        site.emulator.faults.add(method="GET", times=None, status=503)
        browser.say(text)
        assert browser.turn()[-1].data["error"] == "OutcomeUnknownError"
        site.emulator.faults.clear()
        with ThreadPoolExecutor() as tabs:
            asked = [tabs.submit(browser.ask, "POST", "/api/check", {"text": text}) for _ in range(2)]
            assert [each.result() for each in asked] == [(200, {"arrived": accept})] * 2
    assert site.accepted == ["one", "two"]


def test_the_service_is_not_there(browser: Browser, site: Site) -> None:
    site.workers_url = "http://127.0.0.1:1"
    site.stop_application()
    site.start_application()
    browser.say("Hello")
    (told,) = browser.turn()
    assert (told.data["error"], told.data["safe_to_retry"]) == ("NotSentError", True)


def test_a_restart_in_mid_job(browser: Browser, site: Site) -> None:
    turn = browser.say("job")
    with browser.open("GET", "/api/turn") as response:
        while b"JobStarted" not in response.readline():
            pass
    site.stop_application()
    site.start_application()
    shown = browser.conversation()
    assert [each["text"] for each in shown["messages"]] == ["job", "Computing."]
    assert shown["turn"]["id"] != turn
    assert shown["turn"]["message"] is None
    assert shown["turn"]["running"]
    site.go_on()
    assert words(browser.turn()).endswith("The job says **forty-two**.")
    shown = browser.conversation()
    assert shown["turn"] is None
    assert [each["role"] for each in shown["messages"]] == ["user", "assistant", "assistant"]
    assert site.accepted == ["job", ""]


def test_a_message_after_a_restart_in_mid_job(browser: Browser, site: Site) -> None:
    """It resumes the run itself: nothing else is to be sent for the job that was left."""
    browser.say("job")
    with browser.open("GET", "/api/turn") as response:
        while b"JobStarted" not in response.readline():
            pass
    site.stop_application()
    site.start_application()
    browser.say("Hello")
    site.go_on()
    assert browser.turn()[-1].name == "TurnCompleted"
    shown = browser.conversation()
    assert (shown["turn"]["message"], shown["turn"]["running"]) == ("Hello", False)
    assert site.accepted == ["job", "Hello"]


def test_who_has_no_cookie_starts_no_conversation(browser: Browser, site: Site) -> None:
    """As a program might, a thousand times; the next visitor is answered as ever."""
    for _ in range(30):
        status, told = Browser(site).ask("POST", "/api/messages", {"text": "wait"})
        assert (status, told["message"]) == (403, EXAMPLE.NO_COOKIE)
    browser.say("Hello")
    assert words(browser.turn()) == "You said: Hello"
    assert site.accepted == ["Hello"]


def test_one_address_has_only_so_many_answers_at_once(site: Site) -> None:
    browsers = [Browser(site) for _ in range(EXAMPLE.RUNNING_EACH + 1)]
    for browser in browsers:
        browser.ask("GET", "/")
    for browser in browsers[:-1]:
        browser.say("wait")
    status, told = browsers[-1].ask("POST", "/api/messages", {"text": "wait"})
    assert status == 429
    assert "your network" in told["message"]
    assert browsers[0].ask("POST", "/api/messages", {"text": "wait"})[0] == 409  # its own is being answered
    browsers[0].ask("POST", "/api/stop")
    browsers[-1].say("Hello")
    assert words(browsers[-1].turn()) == "You said: Hello"


def test_where_all_places_are_taken_the_words_fit(
    browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EXAMPLE, "TurnHub", lambda: TurnHub(max_turns=1))
    site.stop_application()
    site.start_application()
    other = Browser(site)
    other.ask("GET", "/")
    other.say("wait")
    status, told = browser.ask("POST", "/api/messages", {"text": "Hello"})
    assert (status, told["message"]) == (503, "Too many people are asking at the moment. Please try again in a minute.")


GOOD = {"AGENT_ID": "worker", "CHAT_SECRET": "kV2_0123456789-abcdefghijklmnopqrstuv", "CHAT_HOSTS": "chat.example"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in GOOD for value in (None, "", "  ")),
        *(
            ("CHAT_SECRET", value)
            for value in ("secret", "change-me", "…", "x" * 64, "secret" * 10, "0123456789abcdef")
        ),
        *(
            ("CHAT_HOSTS", value)
            for value in ("*", "chat.example,*", "chat.example,", "https://chat.example", "a:80", "*.")
        ),
    ],
)
def test_what_is_missing_or_no_protection_is_refused_at_the_start(
    name: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each, good in (GOOD | {name: value}).items():
        monkeypatch.delenv(each, raising=False) if good is None else monkeypatch.setenv(each, good)
    with pytest.raises(ConfigurationError, match=f"{name} .*set it to ") as caught:
        EXAMPLE.from_environment()
    assert len(value or "") < 8 or value not in str(caught.value)


@pytest.mark.parametrize("hosts", ["chat.example", "chat.example, www.chat.example", "*.chat.example", "127.0.0.1"])
def test_it_is_made_from_the_environment(hosts: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CHAT_HOSTS", hosts)
    monkeypatch.setenv("CHAT_STORE", str(tmp_path / "chat.db"))
    app = EXAMPLE.from_environment()
    page, headers = app.state.page
    assert 'content="worker"' in page
    assert "<title>Chat</title>" in page
    assert '<meta name="suggestions" content="[]">' in page
    assert "enguin" not in page
    assert "img-src 'self' data:;" in headers["Content-Security-Policy"]


def test_title_suggestions_and_pictures_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {
        "CHAT_TITLE": "Ask <us>",
        "CHAT_SUGGESTIONS": 'What is "new"?| Help, please',
        "CHAT_IMAGE_HOSTS": "a.b, c.d",
    }
    for name, value in (GOOD | settings).items():
        monkeypatch.setenv(name, value)
    page, headers = EXAMPLE.from_environment().state.page
    assert "<title>Ask &lt;us&gt;</title>" in page
    assert "<h1>Ask &lt;us&gt;</h1>" in page
    (suggestions,) = re.findall(r'<meta name="suggestions" content="([^"]*)">', page)
    assert json.loads(html.unescape(suggestions)) == ['What is "new"?', "Help, please"]
    assert "img-src 'self' data: https://a.b https://c.d;" in headers["Content-Security-Policy"]
