"""What a worker writes: Markdown where it is meant so, text whatever it is, and nothing else."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from playwright.sync_api import expect
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.chat.site import Site, until

from .conftest import Tab, Work

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<svg onload=window.hacked=1><iframe src=javascript:window.hacked=1></iframe>",
    "[press](javascript:window.hacked=1)",
    "[press](JaVaScRiPt:window.hacked=1)",
    "[press](java\tscript:window.hacked=1)",
    "[press]( \x01javascript:window.hacked=1)",
    "[press](&#106;avascript:window.hacked=1)",
    "[press](data:text/html,<script>window.hacked=1</script>)",
    "[press](vbscript:window.hacked=1)",
    "[press](//attacker.example/steal)",
    "<javascript:window.hacked=1>",
    "![seen](https://attacker.example/pixel.png)",
    "[![seen](https://attacker.example/pixel.png)](javascript:window.hacked=1)",
    '[a](https://example.com "onmouseover=window.hacked=1")',
    '[a](https://example.com" onclick="window.hacked=1)',
    "`<b onclick=window.hacked=1>`",
    "```<script>\nwindow.hacked=1\n</script>\n```",
    "| <script>window.hacked=1</script> | b |\n|---|---|\n| <img src=x onerror=window.hacked=1> | d |",
    "</article></main><h1>Not yours</h1>",
    "<style>body { display: none }</style>",
    "\u202egnp.exe",
    "<base href='https://attacker.example/'><form action='https://attacker.example'><input name=q></form>",
]
BROKEN = [
    "```python\nprint('never closed')",
    "**never closed *either `nor this",
    "| a | b |\n|---|",
    "| a | b\n|---|---|\n| only one",
    "[no end](https://example.com",
    "[no target]",
    "> quote\n>> deeper\n> back\nand on",
    "- a\n   - b\n - c\n- d\n\n\n  e",
    "#no heading\n####### seven\n# \n#",
    "1. one\n3. three\n1) other",
    "***\n---\n___\n* * *\n-",
    "***both* first** and **then *mixed** up*",
    "_snake_case_ and 2*3*4 and __init__",
    "~~struck~~ ~not~ ~~~tildes\ncode\n~~~",
    "\\*not stressed\\* \\[not a link\\](x)",
    "a\n=\nb\n-\nc",
    "\ttab\n    four spaces\n",
    "\r\nWindows\r\nlines\r\n",
    "&amp; &lt;b&gt; &#x41; &nope;",
    "https://example.com/a_b_c?x=*1*&y=(2), then (https://example.com/x). End",
    "`` ` `` and ``` `` ``` and `",
    "- [ ] to do\n- [x] done\n- [y] neither",
    "\N{GRINNING FACE}\u0301 \u200b\u2028x\u2029y",
    "",
    "\n\n\n",
    "![no end](",
    "<https://example.com> <not a link>",
]


def finish(tab: Tab, site: Site, text: str) -> None:
    """Say something, and wait until it is answered."""
    before = len(site.accepted)
    tab.say(text)
    until(lambda: len(site.accepted) > before)
    tab.wait_for("idle")


def shown(tab: Tab, site: Site, *pieces: str) -> Any:
    """The content of the answer that a worker gives in these pieces."""
    site.pieces = list(pieces)
    finish(tab, site, "pieces")
    return tab.messages("assistant").last.locator(".content").last


def letters(text: str) -> str:
    """The letters and digits of a text: what no Markdown may swallow."""
    return "".join(character for character in text if character.isalnum())


def test_hostile_text_stays_text(tab: Tab, site: Site) -> None:
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    for text in HOSTILE:
        content = shown(tab, site, f"Before.\n\n{text}\n\nAfter.")
        forbidden = "script, img, iframe, object, svg, style, base, form, input:not([type=checkbox])"
        assert content.locator(forbidden).count() == 0, text
        for link in content.locator("a").all():
            assert re.match(r"(https?|mailto):", link.evaluate("a => a.href")), text
            assert not link.get_attribute("href").startswith("//"), text
            assert "noopener" in link.get_attribute("rel"), text
            assert not [name for name in link.evaluate("a => a.getAttributeNames()") if name.startswith("on")], text
        for pressed in content.get_by_text("press").all():
            pressed.click()
        assert tab.page.evaluate("window.hacked") is None, text
        if "window.hacked" in text and "](" not in text and "```" not in text:
            assert "window.hacked" in content.inner_text()  # visibly
    assert [url for url in asked if "attacker" in url] == []
    assert tab.page.url.rstrip("/") == site.url


def test_broken_markdown_loses_nothing(tab: Tab, site: Site) -> None:
    for text in BROKEN:
        found = str(shown(tab, site, f"Before.\n\n{text}\n\nAfter.").evaluate("e => e.textContent"))
        # Nowhere on the page stand a link's target, the name of a code's language, and what an entity is called.
        kept = re.sub(r"(?<=\])\(https?:[^)]*\)|(?<=```)python|&#?\w+;", "", text)
        missing = [word for word in re.findall(r"[^\W_]{2,}", kept) if word not in found]
        assert missing == [], (text, found)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_same_however_it_comes(tab: Tab, site: Site, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(5):
        text = "\n\n".join(chance.sample(BROKEN + HOSTILE, 8))[:700]
        cuts = sorted(chance.sample(range(len(text)), 5))
        some = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        whole, single, cut = (shown(tab, site, *pieces).evaluate("e => e.innerHTML") for pieces in ([text], text, some))
        assert single == whole
        assert cut == whole


def test_markdown_is_rendered(tab: Tab, site: Site) -> None:
    content = shown(
        tab,
        site,
        "# Title\n\nSome **strong**, *stressed*, ~~struck~~ `code`, [a link](https://example.com).\n\n"
        "- one\n- two\n  - inner\n\n1. first\n2. second\n\n> quoted\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n"
        "```python\nprint('**not strong**')\n```\n\n---\n\nhttps://example.com/bare",
    )
    for selector, text in {
        "h2": "Title",
        "strong": "strong",
        "em": "stressed",
        "s, del": "struck",
        "p code": "code",
        "a[href='https://example.com']": "a link",
        "ul > li:first-child": "one",
        "ul ul li": "inner",
        "ol > li:nth-child(2)": "second",
        "blockquote": "quoted",
        "th:first-child": "a",
        "td:nth-child(2)": "2",
        "pre": "print('**not strong**')",
        "a[href='https://example.com/bare']": "https://example.com/bare",
    }.items():
        assert text in content.locator(selector).first.inner_text(), selector
    assert content.locator("hr").count() == 1
    assert content.locator("pre strong").count() == 0


PICTURE = b"<svg xmlns='http://www.w3.org/2000/svg' width='40' height='20'><script>window.hacked = 1</script></svg>"


def test_pictures_are_shown_where_their_host_is_allowed(tab: Tab, site: Site) -> None:
    """Those of the page's own origin and of hosts that the settings name; all others are links, and ask for nothing."""

    async def own(request: Request) -> Response:
        return Response(PICTURE, media_type="image/svg+xml")

    site.routes.append(Route("/own.svg", own))
    site.restart_application(image_hosts=["pictures.example", "*.wide.example"])
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.page.route("https://*.example/**", lambda route: route.fulfill(body=PICTURE, content_type="image/svg+xml"))
    tab.open()
    seen = [
        "/own.svg",
        f"{site.url}/own.svg",
        "own.svg",
        "https://pictures.example/a.svg",
        "https://deep.in.wide.example/b.svg",
    ]
    linked = [
        "https://attacker.example/a.svg",
        "https://wide.example/a.svg",
        "https://notwide.example/a.svg",
        "https://pictures.example.attacker.example/a.svg",
        "https://pictures.example:444/a.svg",
        "https://user@pictures.example/a.svg",
        "http://pictures.example/a.svg",
        "/api/turn",
        "/api/conversation?x",
        "/%61pi/turn",
        "/./x/../api/turn",
        "//attacker.example/a.svg",
        "/\\attacker.example/a.svg",
        "javascript:window.hacked=1",
        "data:image/svg+xml,<svg onload='window.hacked=1'/>",
    ]
    content = shown(tab, site, "".join(f"![Alt *{n}*]({href} 'A title')\n\n" for n, href in enumerate(seen + linked)))
    pictures = content.locator("img")
    expect(pictures).to_have_count(len(seen))
    assert [each.get_attribute("alt") for each in pictures.all()] == [f"Alt {n}" for n in range(len(seen))]
    assert pictures.first.get_attribute("title") == "A title"
    tab.page.wait_for_function("() => [...document.images].every((image) => image.naturalWidth === 40)")
    hosts = {re.sub(r"^\w+://([^/]*).*", r"\1", url) for url in asked}
    assert hosts == {site.url.partition("//")[2], "pictures.example", "deep.in.wide.example"}
    assert [url for url in asked if "turn" in url and "chat=" not in url] == []
    assert tab.page.evaluate("window.hacked") is None
    content = shown(
        tab, site, "[![Inside](/own.svg)](https://example.com) ![**](own.svg) ![](/none.svg) ![Gone](/none.svg)"
    )
    expect(content.locator("img")).to_have_count(2)
    assert content.locator("a[href='https://example.com'] img").get_attribute("alt") == "Inside"
    assert content.locator("a").last.inner_text() == "Gone"  # what cannot be loaded is a link after all
    content = shown(tab, site, "![x](/own.svg)" * 3000)
    assert content.locator("img").count() <= 40


def test_links_without_words_show_where_they_lead(tab: Tab, site: Site) -> None:
    content = shown(tab, site, "[](https://example.com/a) ![](https://example.com/b)")
    assert content.locator("a").all_inner_texts() == ["https://example.com/a", "https://example.com/b"]


def test_tools_whose_data_is_deep_or_huge_do_not_stop_the_page(tab: Tab, site: Site) -> None:
    tab.say("wait").wait_for_text("first")
    tab.page.evaluate(
        """() => {
          const deep = JSON.parse("[".repeat(100_000) + "]".repeat(100_000));
          for (const given of [deep, "x".repeat(3_000_000), ...Array(100).fill("y".repeat(19_000))]) {
            queue.push({event: "ToolCall", id: "1", name: "look", arguments: given});
            queue.push({event: "ToolResult", id: "1", name: "look", content: given});
          }
          schedule();
        }"""
    )
    tab.page.wait_for_function("() => queue.length === 0")
    site.go_on()
    tab.wait_for("idle")
    assert tab.page.evaluate("localStorage.getItem(SHOWN + chat).length") < 500_000
    tab.page.reload()
    tab.wait_for("idle")
    assert tab.ask("Still there?") == "You said: Still there?"


@pytest.mark.parametrize(
    "piece",
    [
        *("x" * 1_000_000, "word " * 200_000, "*" * 100_000, "[" * 100_000, "`" * 100_000, "> " * 10_000),
        *("a*b_" * 25_000, "- " * 20_000, "|" * 50_000, "![](" * 25_000, "http://" * 15_000, "\\" * 100_000),
        *("<" * 100_000, "http://" * 7_000 + "\x07", "http://:" * 6_000, "http://)" * 6_000, "<http://" * 6_000),
        *("[](<" * 12_000, '[](a "' * 8_000, "![*](x" * 8_000, "https://a_*" * 4_500, "~~" * 20_000, "_a*" * 16_000),
        *(
            "```\n" + "x\n" * 50_000,
            "```\n```\n" * 8_000,
            "- a\n" * 12_000,
            "|a\n|-\n" + "|" * 49_000,
            "> - > - a\n" * 5_000,
        ),
        *("# a\n" * 20_000, "![a](/b)" * 6_000),
    ],
    ids=lambda piece: f"{piece[:5]!r} x {len(piece)}",
)
def test_a_long_line_does_not_stop_the_page(tab: Tab, site: Site, piece: str) -> None:
    work = Work(tab.page)
    content = shown(tab, site, piece, "\n\nThe end.")
    tasks = work.tasks()
    assert max(tasks) < 250  # milliseconds; a parser that is not linear takes minutes
    assert sum(tasks) < 10_000
    found = str(content.evaluate("e => e.textContent"))
    assert "The end." in found
    assert letters(found).startswith(letters(piece)) or letters(piece) in letters(found)
    assert tab.ask("Still there?") == "You said: Still there?"


@pytest.mark.parametrize("between", ["", "word"])
def test_thousands_of_tools_do_not_stop_the_page(tab: Tab, site: Site, between: str) -> None:
    """The first ones have boxes, one line counts the others; words between them are all there."""
    tab.say("wait").wait_for_text("first")
    work = Work(tab.page)
    tab.page.evaluate(
        """(between) => {
          for (let n = 0; n < 20_000; n++) {
            queue.push({event: "ToolCall", id: `c${n}`, name: "look", arguments: {at: n}});
            if (between) queue.push({event: "TextDelta", text: between});
            queue.push({event: "ToolResult", id: n % 2 ? `c${n}` : null, name: "look", content: {seen: n}});
          }
          schedule();
        }""",
        between,
    )
    tab.page.wait_for_function("() => queue.length === 0", timeout=60_000)
    content = tab.messages("assistant").last.locator(".content").last
    assert content.locator(".tool").count() == 200
    assert content.locator(".tool[data-status=done]").count() == 200
    assert content.locator(".folded").inner_text() == "and 19,800 more tools"
    assert content.evaluate("e => e.querySelectorAll('*').length") < 4_000
    assert str(content.evaluate("e => e.textContent")).count("word") == (20_000 if between else 0)
    assert max(work.tasks()) < 250
    site.go_on()
    tab.wait_for("idle")
    assert tab.ask("Still there?") == "You said: Still there?"


def test_a_long_conversation_comes_onto_the_page_piece_by_piece(tab: Tab, site: Site) -> None:
    """The latest first, and at once no more than takes a moment: a reload does not stand still."""
    texts = ["".join(f"Item **{number}** of `{name}`\n\n" for number in range(1_000)) + "The end." for name in "ab"]
    for text in texts:
        shown(tab, site, text)
    tab.page.evaluate(
        """() => {
          window.pushed = [[]];
          const push = MarkdownStream.prototype.push;
          MarkdownStream.prototype.push = function (text) {
            if (pushed.at(-1).push(text.length) === 1) setTimeout(() => pushed.push([]));
            push.call(this, text);
          };
          detach();
          turn = null;
          show({messages: ["a", "b"].map((name) => ({role: "assistant", text: TEXTS[name]})), turn: null});
        }""".replace("TEXTS", json.dumps(dict(zip("ab", texts, strict=True))))
    )
    contents = tab.messages("assistant")
    assert contents.count() == 2
    tab.page.wait_for_function(
        "() => [...document.querySelectorAll('.assistant')].filter(e => /The end/.test(e.textContent)).length === 2"
    )
    pushed = tab.page.evaluate("pushed.map(sizes => sizes.reduce((a, b) => a + b, 0))")
    assert sum(pushed) == sum(map(len, texts))
    assert max(pushed) <= 16_000
    found = [str(content.evaluate("e => e.textContent")) for content in contents.all()]
    assert [text.count("Item") for text in found] == [1_000, 1_000]
    assert tab.ask("Still there?") == "You said: Still there?"


def test_results_find_their_calls(tab: Tab) -> None:
    """By their id, or by their tool where they have none: the latest that is open."""
    tab.say("wait").wait_for_text("first")
    tab.page.evaluate(
        """() => {
          for (const [id, name] of [["1", "a"], ["1", "b"], ["2", "a"], [null, "c"]]) {
            queue.push({event: "ToolCall", id, name, arguments: {}});
          }
          for (const [id, name] of [["1", null], [null, "a"], ["3", "d"]]) {
            queue.push({event: "ToolResult", id, name, content: "x", is_error: id === "3"});
          }
          flush();
        }"""
    )
    boxes = tab.messages("assistant").last.locator(".tool")
    states = [(box.locator(".tool-name").inner_text(), box.get_attribute("data-status")) for box in boxes.all()]
    assert states == [("a", "running"), ("b", "done"), ("a", "done"), ("c", "running"), ("d", "failed")]
    tab.page.locator("#stop").click()
    tab.wait_for("idle")
    assert [box.get_attribute("data-status") for box in boxes.all()] == ["ended", "done", "done", "ended", "failed"]


def test_a_long_chat_does_not_grow_without_end(tab: Tab, site: Site) -> None:
    """More turns than the page shows, and as many again."""
    session = tab.page.context.new_cdp_session(tab.page)
    session.send("Performance.enable")

    def sizes() -> dict[str, float]:
        session.send("HeapProfiler.collectGarbage")
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return {name: metrics[name] for name in ("JSHeapUsedSize", "Nodes", "JSEventListeners")}

    text = "**Words** and `code`:\n\n- one\n- two\n\n```\n" + "line\n" * 20 + "```\n"
    samples = []
    for turn in range(104):
        if turn % 6 == 0:
            finish(tab, site, "tools here")
        else:
            shown(tab, site, text)
        if turn in (51, 103):
            samples.append(sizes())
    assert tab.page.locator("article.message").count() <= 100
    before, after = samples
    assert after["Nodes"] <= before["Nodes"] * 1.1
    assert after["JSEventListeners"] <= before["JSEventListeners"] * 1.1 + 5
    assert after["JSHeapUsedSize"] <= before["JSHeapUsedSize"] * 1.2
