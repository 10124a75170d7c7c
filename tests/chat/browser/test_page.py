"""What people see and do, in a browser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.chat.site import Site, until
from tests.support.answers import KEY

from .conftest import Tab


def test_words_appear_as_they_come(tab: Tab, site: Site) -> None:
    tab.say("wait").wait_for_text("first")
    assert tab.state == "answering"
    assert tab.answer().strip() == "first"
    site.go_on()
    tab.wait_for("idle")
    assert tab.answer() == "first second"
    assert site.accepted == ["wait"]


def test_a_conversation_goes_on(tab: Tab, site: Site) -> None:
    assert tab.ask("One") == "You said: One"
    assert tab.ask("Two") == "You said: Two"
    assert [request.method for request in site.server.accepted] == ["POST", "PUT"]
    assert tab.said() == ["One", "You said: One", "Two", "You said: Two"]


def test_tool_calls_fold_open(tab: Tab) -> None:
    tab.ask("tools here")
    tool = tab.page.locator("details.tool")
    assert tool.count() == 1
    assert not tool.evaluate("element => element.open")
    assert "look" in tool.locator("summary").inner_text()
    tool.locator("summary").click()
    assert tool.evaluate("element => element.open")
    shown = tool.inner_text()
    assert '"at": "here"' in shown
    assert "<b>" in shown
    assert tab.page.locator("details b").count() == 0


def test_a_job_is_shown_with_its_time(tab: Tab, site: Site) -> None:
    tab.say("job").wait_for("job")
    indicator = tab.page.locator(".job")
    expect(indicator.locator(".job-time")).to_contain_text("0:0")
    first = indicator.locator(".job-time").inner_text()
    tab.page.wait_for_function("text => document.querySelector('.job-time').innerText !== text", arg=first)
    site.go_on()
    tab.wait_for("idle")  # the conversation resumed by itself
    assert "Computing." in tab.answer()
    assert "The job says forty-two." in tab.answer()
    assert tab.page.locator(".content strong").inner_text() == "forty-two"
    assert "succe" not in tab.page.locator("body").inner_text().lower()  # nobody knows that
    assert site.accepted == ["job", ""]


@pytest.mark.parametrize("message", ["wait", "job"])
def test_reload_in_mid_answer(tab: Tab, site: Site, message: str) -> None:
    tab.say(message)
    tab.wait_for("job" if message == "job" else "answering")
    tab.wait_for_text("Computing." if message == "job" else "first")
    tab.page.reload()
    tab.wait_for("job" if message == "job" else "answering")
    assert tab.said()[0] == message
    site.go_on()
    tab.wait_for("idle")
    whole = "Computing.\\s*The job says forty-two." if message == "job" else "first second"
    expect(tab.messages("assistant").last.locator(".content").last).to_have_text(
        __import__("re").compile(whole.split("\\s*")[-1])
    )
    assert len(site.accepted) == (2 if message == "job" else 1)


def test_reload_afterwards(tab: Tab) -> None:
    tab.ask("One")
    tab.ask("tools here")
    said = tab.said()
    tab.page.reload()
    tab.wait_for("idle")
    tab.wait_for_text("I looked.")
    assert tab.said() == said
    assert tab.page.locator("details.tool").count() == 1


def test_what_was_shown_is_shown_again(tabs: Any, site: Site) -> None:
    """Tools, jobs, times and how it ended, when the server has only the words left, and in every tab."""
    one = tabs()
    one.ask("tools here")
    one.say("job").wait_for("job")
    site.go_on()
    one.wait_for("idle")
    one.ask("Hello")
    two = tabs()
    said, times = one.said(), one.page.locator("article time").all_inner_texts()
    assert len(times) == 6
    for tab in (one, two):
        for _ in range(2):
            assert tab.said() == said
            assert tab.page.locator("article time").all_inner_texts() == times
            assert tab.page.locator(".job-over").count() == 1
            tool = tab.page.locator("details.tool")
            assert tool.count() == 1
            tool.locator("summary").click()
            expect(tool).to_contain_text('"at": "here"')
            expect(tool).to_contain_text('"<b>"')
            tab.page.reload()
            tab.wait_for("idle")
            tab.wait_for_text("You said: Hello")
    two.page.locator("#new").click()
    expect(one.page.locator("article.message")).to_have_count(0)
    two.go_back_to("tools here")
    for tab in (one, two):
        tab.wait_for_text("You said: Hello")
        assert tab.page.locator("article time").all_inner_texts() == times


@pytest.mark.parametrize(
    ("elapsed", "when"), [(0, "at once"), (0.9, "at once"), (1, "after 0:01"), (65.9, "after 1:05")]
)
def test_how_long_a_job_took_is_said_as_a_person_would(tab: Tab, elapsed: float, when: str) -> None:
    assert tab.page.evaluate("(elapsed) => jobOver(elapsed).textContent", elapsed) == (
        f"The background job has ended {when}"
    )


def test_a_conversation_that_the_service_has_lost_is_told_of(tabs: Any, site: Site) -> None:
    """The next message begins another; the worker remembers nothing, and the page says so, once."""
    one = tabs()
    one.ask("Hello")
    one.ask("And again")
    assert one.page.locator(".notice").count() == 0
    site.lose()
    assert one.ask("Who am I?") == "You said: Who am I?"
    assert one.ask("Really?") == "You said: Really?"
    two = tabs()
    for tab in (one, two):
        for _ in range(2):
            tab.wait_for_text("You said: Really?")
            notices = tab.page.locator("article", has=tab.page.locator(".notice"))
            assert notices.count() == 1
            expect(notices).to_contain_text("lost what was said before this message")
            expect(notices).to_contain_text("You said: Who am I?")
            tab.page.reload()
            tab.wait_for("idle")
    one.page.locator("#new").click()
    expect(one.page.locator("article.message")).to_have_count(0)
    one.ask("Elsewhere")
    assert one.page.locator(".notice").count() == 0


def test_that_an_answer_was_stopped_is_shown_again(tab: Tab, site: Site) -> None:
    tab.say("wait").wait_for_text("first")
    tab.page.locator("#stop").click()
    tab.wait_for("idle")
    site.go_on()
    tab.ask("Hello")
    tab.page.reload()
    tab.wait_for_text("You said: Hello")
    assert tab.page.locator(".notice span").all_inner_texts() == ["Stopped."]
    assert "second" in tab.said()[1]  # what the worker had said by then


def test_tools_stay_when_another_tab_speaks(tabs: Any) -> None:
    one = tabs()
    one.ask("tools here")
    two = tabs()
    two.ask("Hello")
    one.wait_for_text("You said: Hello")
    assert one.page.locator("details.tool").count() == 1
    assert two.page.locator("details.tool").count() == 1


@pytest.mark.parametrize("kept", ["no JSON", "{}", '[{"id": "x", "message": "One", "parts": [], "ended": 1}]'])
def test_what_the_history_says_counts_more_than_what_was_kept(tab: Tab, kept: str) -> None:
    tab.ask("One")
    tab.ask("Two")
    tab.page.evaluate("kept => localStorage.setItem('toolhouse-chat-shown-' + chat, kept)", kept)
    tab.page.reload()
    tab.wait_for_text("You said: Two")
    assert tab.said() == ["One", "You said: One", "Two", "You said: Two"]


def test_a_browser_that_keeps_nothing(context: Any, tabs: Any) -> None:
    context.add_init_script("Storage.prototype.setItem = () => { throw new DOMException('full') }")
    tab = tabs()
    tab.ask("tools here")
    tab.ask("Hello")
    tab.page.reload()
    tab.wait_for_text("You said: Hello")
    assert tab.said() == ["tools here", "I looked.", "Hello", "You said: Hello"]


def test_what_a_browser_keeps_is_bounded(tab: Tab) -> None:
    """By turn, by conversation, and by the room that there is: the oldest goes first, other conversations before it."""
    tab.page.evaluate(
        """() => {
          window.keep = (id, length) => keepShown(
            {id, message: id, began: 1, parts: [{text: "x".repeat(length)}], told: null}, true);
          for (const other of ["a", "b"]) localStorage.setItem(SHOWN + other, "[]");
          for (let n = 0; n < 70; n++) keep(`t${n}`, n % 2 ? 100 : 20_000);
        }"""
    )
    kept = "readKept(chat).map(({id}) => id)"
    assert tab.page.evaluate("localStorage.getItem(SHOWN + chat).length") <= 500_100
    assert tab.page.evaluate(kept) == [f"t{n}" for n in range(21, 70)]
    tab.page.evaluate(
        """() => {
          const set = Storage.prototype.setItem;
          Storage.prototype.setItem = function (key, value) {
            if (value.length > 300_000) throw new DOMException("full", "QuotaExceededError");
            set.call(this, key, value);
          };
          keep("last", 10);
        }"""
    )
    assert tab.page.evaluate("keptChats()") == [tab.page.evaluate("chat")]
    assert tab.page.evaluate(kept)[-2:] == ["t69", "last"]
    assert len(tab.page.evaluate(kept)) == 25
    tab.page.reload()
    tab.wait_for("idle")
    assert tab.ask("Hello") == "You said: Hello"


def test_people_can_write_at_once_and_while_the_worker_works(tab: Tab, site: Site) -> None:
    expect(tab.page.locator("#input")).to_be_focused()
    tab.page.keyboard.type("wait")
    tab.page.keyboard.press("Enter")
    tab.wait_for_text("first")
    expect(tab.page.locator("#input")).to_be_focused()
    tab.page.keyboard.type("And then?")
    tab.page.keyboard.press("Enter")  # which sends nothing yet
    expect(tab.page.locator("#announcer")).to_contain_text("still answering")
    tab.page.reload()
    tab.wait_for("answering")
    expect(tab.page.locator("#input")).to_have_value("And then?")
    site.go_on()
    tab.wait_for("idle")
    expect(tab.page.locator("#input")).to_have_value("And then?")
    tab.page.keyboard.press("Enter")
    tab.wait_for_text("You said: And then?")
    expect(tab.page.locator("#input")).to_have_value("")
    assert site.accepted == ["wait", "And then?"]


def test_a_draft_is_not_lost_to_a_message_that_failed(tab: Tab, site: Site) -> None:
    held: list[Any] = []
    tab.page.route("**/api/messages", lambda route: held.append(route))
    tab.say("Hello").wait_for("sending")
    tab.page.locator("#input").fill("And more")
    until(lambda: tab.page.evaluate("1") and held)
    held[0].abort()
    tab.wait_for("idle")
    expect(tab.page.locator("#input")).to_have_value("Hello\nAnd more")
    assert site.accepted == []


def test_a_message_can_be_written_again(tab: Tab, site: Site) -> None:
    tab.say("fail")
    tab.page.get_by_role("button", name="Ask again").click()
    expect(tab.page.locator("#input")).to_have_value("fail")
    expect(tab.page.locator("#input")).to_be_focused()
    tab.page.locator("#input").fill("")
    tab.ask("One")
    tab.page.get_by_role("button", name="Edit").last.click()
    expect(tab.page.locator("#input")).to_have_value("One")
    assert site.accepted == ["fail", "One"]


def test_escape_stops_from_anywhere(tab: Tab) -> None:
    tab.say("wait").wait_for_text("first")
    tab.page.locator("#log").focus()
    tab.page.keyboard.press("Escape")
    tab.wait_for("idle")
    expect(tab.page.locator(".notice").last).to_contain_text("Stopped")


def test_a_browser_that_keeps_no_cookie_is_told(tab: Tab, site: Site, context: Any) -> None:
    """As where a page that is made for HTTPS comes by plain HTTP."""
    notice = tab.page.locator("#slot .notice.error")
    context.clear_cookies()
    tab.page.evaluate("load()")
    expect(notice).to_contain_text("cookie")
    tab.say("Hello")
    tab.wait_for("idle")
    expect(notice).to_contain_text("cookie")
    expect(tab.page.locator("#input")).to_have_value("Hello")
    assert site.accepted == []
    tab.page.reload()  # which brings one
    tab.wait_for("idle")
    expect(notice).to_have_count(0)
    tab.page.keyboard.press("Enter")
    tab.wait_for_text("You said: Hello")


def test_a_second_tab_shows_the_same(tabs: Any, site: Site) -> None:
    one = tabs()
    one.say("wait").wait_for_text("first")
    two = tabs()
    two.wait_for_text("first")
    site.go_on()
    for tab in (one, two):
        tab.wait_for("idle")
        assert tab.answer() == "first second"
    two.say("Hello")  # in the other tab this time
    for tab in (two, one):
        tab.wait_for_text("You said: Hello")
        tab.wait_for("idle")
        assert tab.said() == ["wait", "first second", "Hello", "You said: Hello"]


def test_more_tabs_than_a_browser_has_connections(tabs: Any, site: Site) -> None:
    """One of them has the stream, and the others hear of it: who is left can still load, speak and stop."""
    opened = [tabs()]
    opened[0].say("wait").wait_for_text("first")
    opened += [tabs() for _ in range(7)]
    for tab in opened:
        tab.wait_for_text("first")
        assert tab.state == "answering"
    streams = [tab for tab in opened if tab.page.evaluate("Boolean(source?.isOurs)")]
    assert streams == opened[:1]
    opened[-1].page.locator("#stop").click()
    for tab in opened:
        tab.wait_for("idle")
        assert tab.answer().strip() == "first"
    site.go_on()
    opened[3].say("Hello")
    for tab in opened:
        tab.wait_for_text("You said: Hello")
    assert site.accepted == ["wait", "Hello"]


@pytest.mark.parametrize("how", ["closed", "reloaded"])
def test_the_tab_that_has_the_stream_goes(tabs: Any, site: Site, how: str) -> None:
    one = tabs()
    one.say("wait").wait_for_text("first")
    two, three = tabs(), tabs()
    for tab in (two, three):
        tab.wait_for_text("first")
    if how == "closed":
        one.page.close()
    else:
        one.page.reload()
    site.go_on()
    for tab in (two, three):
        tab.wait_for("idle")
        assert tab.answer() == "first second"


def test_a_stream_that_no_longer_answers_is_taken_over(tabs: Any, site: Site) -> None:
    one = tabs()
    one.say("wait").wait_for_text("first")
    one.page.evaluate("BroadcastChannel.prototype.postMessage = () => {}")  # as in a tab that was frozen
    two = tabs()
    two.wait_for_text("first")
    assert two.page.evaluate("source.isOurs")
    assert not one.page.evaluate("source.isOurs")
    site.go_on()
    for tab in (one, two):
        tab.wait_for("idle")
        assert tab.answer() == "first second"


def test_a_tab_that_nobody_sees_lets_another_have_the_stream(tabs: Any, site: Site) -> None:
    one = tabs()
    one.say("wait").wait_for_text("first")
    two = tabs()
    two.wait_for_text("first")
    one.page.evaluate(HIDE)
    two.page.wait_for_function("() => source.isOurs")
    site.go_on()
    for tab in (one, two):
        tab.wait_for("idle")
        assert tab.answer() == "first second"


HIDE = """
Object.defineProperty(document, "hidden", {value: true, configurable: true});
document.dispatchEvent(new Event("visibilitychange"));
"""
SHOW = """
Object.defineProperty(document, "hidden", {value: false, configurable: true});
document.dispatchEvent(new Event("visibilitychange"));
"""


def test_without_locks_tabs_that_nobody_sees_have_no_stream(context: Any, tabs: Any, site: Site) -> None:
    """As where the page is served by plain HTTP, from another machine."""
    context.add_init_script("Object.defineProperty(navigator, 'locks', {value: undefined})")
    one = tabs()
    one.say("wait").wait_for_text("first")
    two = tabs()
    two.wait_for_text("first")
    one.page.evaluate(HIDE)
    assert one.page.evaluate("source") is None
    assert two.page.evaluate("source.isOurs")
    site.go_on()
    two.wait_for("idle")
    assert one.state == "answering"
    one.page.evaluate(SHOW)
    one.wait_for("idle")
    assert one.answer() == "first second"


def test_lost_wifi_loses_and_repeats_nothing(tab: Tab, site: Site) -> None:
    tab.say("count 60").wait_for_text("5")
    for _ in range(3):
        site.network.cut()
        tab.wait_for("offline")
        expect(tab.page.locator("#connection")).to_be_visible()
        site.network.mend()
        tab.page.evaluate("window.dispatchEvent(new Event('online'))")
        tab.wait_until_not("offline")
    tab.wait_for("idle")
    assert tab.answer().split() == [str(number) for number in range(60)]
    expect(tab.page.locator("#connection")).to_be_hidden()
    assert site.accepted == ["count 60"]


def test_wifi_that_is_gone_when_a_message_is_sent(tab: Tab, site: Site) -> None:
    site.network.cut()
    tab.say("Hello").wait_for("offline")
    site.network.mend()
    tab.page.evaluate("window.dispatchEvent(new Event('online'))")
    tab.wait_for("idle")
    assert site.accepted == []
    assert tab.page.locator("#input").input_value() == "Hello"
    assert tab.ask("Hello again") == "You said: Hello again"
    assert site.accepted == ["Hello again"]


def test_the_server_is_restarted_in_mid_job(tab: Tab, site: Site) -> None:
    tab.say("job").wait_for("job")
    site.stop_application()
    tab.wait_for("offline")
    site.start_application()
    tab.page.evaluate("window.dispatchEvent(new Event('online'))")
    tab.wait_for("job")
    site.go_on()
    tab.wait_for("idle")
    assert "The job says forty-two." in tab.answer()
    assert site.accepted == ["job", ""]


def test_stopping(tab: Tab, site: Site) -> None:
    tab.say("wait").wait_for_text("first")
    tab.page.locator("#stop").click()
    tab.wait_for("idle")
    assert tab.answer().strip() == "first"
    expect(tab.page.locator(".notice").last).to_contain_text("topped")
    assert tab.page.locator("[role=alert]:visible").count() == 0
    site.go_on()
    assert tab.ask("And now?") == "You said: And now?"


def test_an_error_says_what_to_do(tab: Tab, site: Site) -> None:
    tab.say("fail")
    notice = tab.page.locator(".notice.error")
    expect(notice).to_contain_text("You can ask again")
    tab.wait_for("idle")
    assert tab.page.locator(".retry").count() == 0  # the message has arrived
    assert "half" in tab.answer()
    body = tab.page.content()
    assert "hunter2" not in body
    assert KEY not in body
    assert tab.ask("Hello") == "You said: Hello"


def test_what_was_not_sent_can_be_sent_again(tab: Tab, site: Site) -> None:
    site.emulator.faults.add(status=429, retry_after=1)
    tab.say("Hello")
    expect(tab.page.locator(".notice.error")).to_contain_text("try again")
    tab.page.locator(".retry:enabled").click()
    tab.wait_for_text("You said: Hello")
    tab.wait_for("idle")
    assert site.accepted == ["Hello"]


def test_silence_in_mid_answer_is_told(tabs: Any, context: Any, site: Site) -> None:
    context.clock.install()
    tab = tabs()
    quiet, announcer = tab.page.locator("#quiet"), tab.page.locator("#announcer")
    tab.say("wait").wait_for_text("first")
    expect(quiet).to_be_hidden()
    context.clock.fast_forward(16_000)
    expect(quiet).to_contain_text("the connection to it is lost")
    expect(announcer).to_contain_text("the connection to it is lost")
    tab.page.evaluate("announce('')")
    context.clock.fast_forward(60_000)
    expect(quiet).to_be_visible()
    expect(announcer).to_be_empty()  # told once
    site.go_on()
    tab.wait_for("idle")
    expect(quiet).to_be_hidden()
    context.clock.fast_forward(60_000)
    expect(quiet).to_be_hidden()


def test_silence_goes_away_as_soon_as_something_comes(tabs: Any, context: Any, site: Site) -> None:
    context.clock.install()
    tab = tabs()
    tab.say("wait on").wait_for_text("first")
    context.clock.fast_forward(16_000)
    expect(tab.page.locator("#quiet")).to_be_visible()
    site.go_on()
    tab.wait_for_text("second")
    expect(tab.page.locator("#quiet")).to_be_hidden()
    assert tab.state == "answering"
    context.clock.fast_forward(16_000)
    expect(tab.page.locator("#quiet")).to_be_visible()


def test_a_silent_job_has_its_own_notice(tabs: Any, context: Any, site: Site) -> None:
    context.clock.install()
    tab = tabs()
    tab.say("job").wait_for("job")
    context.clock.fast_forward(60_000)
    expect(tab.page.locator("#quiet")).to_be_hidden()


def test_nobody_is_made_to_wait_for_a_year(tab: Tab, site: Site) -> None:
    site.emulator.faults.add(status=429, retry_after=31536000)
    tab.say("Hello")
    expect(tab.page.locator(".notice.error")).to_contain_text("try again in 365 days")
    expect(tab.page.locator(".retry")).to_have_text("Try again in 10 min")


def test_a_message_of_unknown_fate_can_be_checked(tab: Tab, site: Site) -> None:
    tab.ask("One")
    site.emulator.faults.add(method="PUT", cut="rst", accept=True)
    site.emulator.faults.add(method="GET", times=None, status=503)
    tab.say("Two")
    expect(tab.page.locator(".notice.error")).to_contain_text("Nobody knows yet")
    assert tab.page.locator(".retry").count() == 0
    site.emulator.faults.clear()
    tab.page.locator(".check").click()
    tab.wait_for_text("You said: Two")
    assert site.accepted == ["One", "Two"]


def test_each_browser_has_its_own_conversation(tabs: Any, chromium: Browser) -> None:
    ada = tabs()
    ada.ask("I am Ada")
    other = chromium.new_context()
    bob = tabs(context=other)
    assert bob.said() == []
    bob.ask("I am Bob")
    ada.page.reload()
    ada.wait_for_text("You said: I am Ada")
    assert "Bob" not in ada.page.content()
    other.close()


def test_a_new_conversation(tabs: Any) -> None:
    one, two = tabs(), tabs()
    one.ask("One")
    two.wait_for_text("You said: One")
    one.page.locator("#new").click()
    for tab in (one, two):
        expect(tab.page.locator("article.message")).to_have_count(0)
    assert one.ask("Two") == "You said: Two"
    two.wait_for_text("You said: Two")
    two.go_back_to("One")
    for tab in (two, one):
        tab.wait_for_text("You said: One")
        assert tab.said() == ["One", "You said: One"]
    assert one.ask("And more") == "You said: And more"


def test_a_conversation_that_is_left_goes_on(tab: Tab, site: Site) -> None:
    """With a job, as long as it takes: nobody has to wait in it."""
    tab.say("job").wait_for("job")
    tab.page.locator("#new").click()
    tab.wait_for("idle")
    assert tab.said() == []
    assert tab.ask("Hello") == "You said: Hello"
    tab.page.locator("#list").click()
    chats = tab.page.locator(".chat")
    expect(chats).to_have_count(2)
    expect(chats.first).to_have_attribute("aria-current", "true")
    expect(chats.last).to_contain_text("Being answered")
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#chats")).to_be_hidden()
    expect(tab.page.locator("#list")).to_be_focused()
    tab.go_back_to("job").wait_for("job")
    assert tab.said()[0] == "job"
    tab.page.locator("#list").click()
    tab.page.keyboard.press("Escape")  # which closes the list, and stops nothing
    assert tab.state == "job"
    site.go_on()
    tab.wait_for_text("The job says")
    tab.wait_for("idle")
    assert site.accepted == ["job", "Hello", ""]


def test_a_conversation_can_be_removed(tab: Tab) -> None:
    """Also the open one; nothing of it stays in the browser."""
    tab.ask("One")
    tab.page.locator("#new").click()
    expect(tab.page.locator("article.message")).to_have_count(0)
    tab.ask("Two")
    tab.page.locator("#list").click()
    for title, left in (("Two", ["One"]), ("One", [])):
        tab.page.get_by_role("button", name=f"Remove {title}").click()
        tab.page.get_by_role("button", name=f"Really remove? {title}").click()
        expect(tab.page.locator(".chat-title")).to_have_text(left)
        expect(tab.page.locator("article.message")).to_have_count(0)
    expect(tab.page.locator("#chats")).to_contain_text("Nothing has been said yet")
    assert tab.page.evaluate("keptChats()") == []
    tab.page.get_by_role("button", name="Close").click()
    assert tab.ask("Three") == "You said: Three"


def test_the_service_is_away_when_the_page_is_loaded(tab: Tab, site: Site) -> None:
    """The conversation is shown as it was known, and what is wrong; then as it is."""
    tab.ask("tools here")
    tab.ask("**Hello**")
    said = tab.said()
    site.workers_url, workers = "http://127.0.0.1:1", site.workers_url
    site.restart_application()
    tab.page.reload()
    tab.wait_for("idle")
    notice = tab.page.locator("#slot .notice.error")
    expect(notice).to_contain_text("cannot be reached")
    expect(notice).to_contain_text("remembers")
    tab.wait_for_text("You said: Hello")
    assert tab.said() == said
    assert tab.page.locator("details.tool").count() == 1
    assert tab.page.locator("article time").count() == 4
    tab.say("Are you there?")
    expect(tab.messages("assistant").last).to_contain_text("was not done")
    site.workers_url = workers
    site.restart_application()
    tab.wait_until_not("offline")
    tab.page.reload()
    tab.wait_for("idle")
    expect(notice).to_have_count(0)
    assert tab.said() == said
    site.emulator.faults.add(method="GET", times=None, status=503)
    tab.page.reload()
    expect(notice).to_contain_text("cannot be reached")
    site.emulator.faults.clear()
    notice.get_by_role("button", name="Try again").click()
    expect(notice).to_have_count(0)
    tab.wait_for_text("You said: Hello")
    assert tab.said() == said


def test_the_server_is_away_when_the_page_is_loaded(tab: Tab, site: Site) -> None:
    tab.ask("One")
    tab.page.route("**/api/conversation", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    tab.page.reload()
    tab.wait_for("offline")
    tab.wait_for_text("You said: One")
    expect(tab.page.locator("#connection")).to_be_visible()
    tab.page.unroute("**/api/conversation")
    tab.page.evaluate("window.dispatchEvent(new Event('online'))")
    tab.wait_for("idle")
    assert tab.said() == ["One", "You said: One"]
    assert tab.ask("Two") == "You said: Two"


def test_a_running_answer_is_followed_while_histories_cannot_be_read(tab: Tab, site: Site) -> None:
    tab.ask("One")
    tab.say("wait").wait_for_text("first")
    site.emulator.faults.add(method="GET", times=None, status=503)
    tab.page.reload()
    tab.wait_for_text("first")
    assert tab.said()[:3] == ["One", "You said: One", "wait"]
    site.go_on()
    tab.wait_for("idle")
    assert tab.answer() == "first second"
    site.emulator.faults.clear()


def test_the_server_is_restarted_in_mid_job_while_the_service_is_away(tab: Tab, site: Site) -> None:
    tab.say("job").wait_for("job")
    site.workers_url, workers = "http://127.0.0.1:1", site.workers_url
    site.restart_application()
    tab.page.evaluate("window.dispatchEvent(new Event('online'))")
    notice = tab.page.locator("#slot .notice.error")
    expect(notice).to_contain_text("cannot be reached")
    site.workers_url = workers
    site.restart_application()
    notice.get_by_role("button", name="Try again").click()
    tab.wait_for("job")
    site.go_on()
    tab.wait_for_text("The job says")
    tab.wait_for("idle")
    expect(notice).to_have_count(0)
    assert site.accepted == ["job", ""]


def test_suggestions_and_the_title_are_settings(tab: Tab, site: Site) -> None:
    expect(tab.page.locator("#empty")).to_be_visible()
    assert tab.page.locator(".suggestion").count() == 0
    assert tab.page.title() == tab.page.locator("h1").inner_text() == "Chat"
    site.restart_application(title="Ask <us>", suggestions=["Say <b>", "Help"])
    tab.page.reload()
    assert tab.page.title() == tab.page.locator("h1").inner_text() == "Ask <us>"
    assert tab.page.locator(".suggestion").all_inner_texts() == ["Say <b>", "Help"]
    tab.page.locator(".suggestion").first.click()
    tab.wait_for_text("You said: Say <b>")


def test_answers_and_code_can_be_copied(tab: Tab, site: Site, context: Any) -> None:
    """As the worker wrote them; also when they come from the history."""
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    site.pieces = ["Some **words**:\n\n```python\nprint('x')\n```\n"]
    tab.ask("pieces")
    for _ in range(2):
        for name, copied in (("Copy this answer", site.pieces[0]), ("Copy this code", "print('x')")):
            tab.page.get_by_role("button", name=name).click()
            expect(tab.page.get_by_role("button", name=name.replace("Copy", "Copied"))).to_be_visible()
            assert tab.page.evaluate("navigator.clipboard.readText()").strip() == copied.strip()
        tab.page.evaluate("localStorage.clear()")
        tab.page.reload()
        tab.wait_for_text("Some words")


def test_an_answer_that_was_stopped_can_be_asked_for_again(tab: Tab) -> None:
    tab.say("wait").wait_for_text("first")
    tab.page.locator("#stop").click()
    tab.page.get_by_role("button", name="Ask again").click()
    expect(tab.page.locator("#input")).to_have_value("wait")


def test_the_keyboard_is_enough(tab: Tab, site: Site) -> None:
    page = tab.page
    page.locator("#input").focus()
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line")
    assert page.locator("#input").input_value() == "One\nline"
    page.keyboard.press("Enter")
    tab.wait_for_text("You said: One")
    tab.wait_for("idle")
    expect(page.locator("#input")).to_be_focused()
    page.keyboard.type("wait")
    page.keyboard.press("Enter")
    tab.wait_for_text("first")
    page.keyboard.press("Escape")
    tab.wait_for("idle")
    assert site.accepted == ["One\nline", "wait"]
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement !== document.body")


def test_a_screen_reader_is_told(tab: Tab, site: Site) -> None:
    page = tab.page
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("#log").get_attribute("role") == "log"
    assert page.locator("main").get_attribute("role") is None
    assert page.locator("main #log").count() == 1
    for name in ("#input", "#send", "#new", "#list"):
        named = page.locator(name).evaluate(
            "e => e.getAttribute('aria-label') || e.innerText || (e.labels && e.labels.length) || e.title"
        )
        assert named, name
    tab.say("job").wait_for("job")
    expect(page.locator("#announcer")).to_contain_text("background")
    assert page.locator("article.message.assistant").last.get_attribute("aria-busy") == "true"
    assert page.locator(".job").get_attribute("role") == "status"
    site.go_on()
    tab.wait_for("idle")
    expect(page.locator("#announcer")).to_contain_text("complete")
    assert page.locator("article.message.assistant").last.get_attribute("aria-busy") in (None, "false")


def test_names_contain_the_words_that_are_seen(tab: Tab, site: Site) -> None:
    """Whoever speaks to a computer says what they see."""
    site.pieces = ["```\ncode\n```\n"]
    tab.ask("pieces")
    tab.say("wait").wait_for_text("first")
    for button in tab.page.locator("button:visible").all():
        name = button.get_attribute("aria-label")
        assert name is None or button.inner_text().strip() in name
    tab.page.locator("#stop").click()
    tab.wait_for("idle")
    tab.page.get_by_role("button", name="New chat").click()
    expect(tab.page.locator("article.message")).to_have_count(0)
    tab.page.get_by_role("button", name="Chats").click()
    tab.page.get_by_role("button", name="Close").click()


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("# A\n\n## B\n\n### C\n\n## D", [2, 3, 4, 3]),
        ("### A\n\n##### B\n\n# C\n\n###### D", [2, 3, 2, 3]),
        ("- ## A\n\n> #### B\n\n## C", [2, 3, 2]),
        ("\n\n".join("#" * n + f" {n}" for n in range(1, 7)), [2, 3, 4, 5, 6, 6]),
    ],
)
def test_headings_begin_below_the_page_s_own_and_leave_no_level_out(
    tab: Tab, site: Site, text: str, levels: list[int]
) -> None:
    site.pieces = list(text)
    tab.ask("pieces")
    headings = "[...document.querySelectorAll('.content :is(h1, h2, h3, h4, h5, h6)')].map(e => Number(e.tagName[1]))"
    assert tab.page.evaluate(headings) == levels
    assert tab.page.locator("h1").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1100])
def test_it_fits_and_can_be_read(chromium: Browser, tabs: Any, site: Site, width: int, scheme: Any) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 640}, color_scheme=scheme)
    tab = tabs(context=context)
    site.pieces = [
        "# A heading\n\nWords, " + "x" * 300 + " and a [link](https://example.com).\n\n",
        "| a | b | c | d | e | f |\n|---|---|---|---|---|---|\n" + "| long cell here | 2 | 3 | 4 | 5 | 6 |\n" * 3,
        "\n```python\n" + "print(" + "x" * 300 + ")\n```\n",
    ]
    tab.ask("pieces")
    tab.ask("tools here")
    tab.page.locator("details.tool summary").click()
    widths = tab.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1]
    low = tab.page.evaluate(CONTRAST)
    assert low == []
    context.close()


CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const parse = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const color = parse(getComputedStyle(each).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const low = [];
  for (const element of document.body.querySelectorAll("*")) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const isShown = element.checkVisibility({checkOpacity: true, checkVisibilityCSS: true});
    if (!words || !isShown || element.disabled) continue;
    const [text, ground] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const contrast = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
    if (contrast < 4.5) low.push(`${element.tagName}.${element.className}: ${contrast.toFixed(2)}`);
  }
  return low;
}
"""


def test_words_are_on_the_page_soon(tab: Tab, site: Site) -> None:
    """Within 50 ms of leaving the worker, in the median."""
    import time

    tab.page.evaluate(
        """() => {
          window.seen = {};
          new MutationObserver(() => {
            for (const [, stamp] of document.getElementById("log").innerText.matchAll(/at(\\d+)/g))
              window.seen[stamp] ??= Date.now();
          }).observe(document.getElementById("log"), {subtree: true, childList: true, characterData: true});
        }"""
    )

    async def stamping(ctx: Any) -> Any:
        import asyncio

        for _ in range(40):
            yield ctx.text(f"at{round(time.time() * 1000)} ")
            await asyncio.sleep(0.025)

    site.emulator.worker("worker")(stamping)
    tab.ask("Go")
    late = sorted(seen - int(stamp) for stamp, seen in tab.page.evaluate("window.seen").items())
    assert len(late) >= 38  # two in one millisecond would be one
    assert late[len(late) // 2] <= 50, late


def test_nothing_is_said_of_what_the_page_need_not_know(tab: Tab) -> None:
    answers: list[str] = []
    tab.page.on("response", lambda response: answers.append(json.dumps(response.headers)))
    tab.ask("tools here")
    assert answers
    assert not [answer for answer in answers if KEY in answer]
    until(lambda: tab.state == "idle")
