"""A worker's Markdown is shown in the way of each platform, and means nothing there that no worker is to say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from discord_bot import markdown
from formatting import GAP, Block, Code, End, Mark, Start, Style, Text, in_fences, open_marks, parse
from hypothesis import given, settings
from hypothesis import strategies as st
from slack_bot import escaped, mrkdwn
from splitting import split, utf16
from telegram_chat import html_of

from .slack import LINK
from .support import bots
from .telegram import seen_in
from .test_each import on

BOLD, ITALIC, STRIKE = Style.BOLD, Style.ITALIC, Style.STRIKE
URL = "https://x.example/a_b_(c)?d=1&e=2"
SIGNS = [
    *(
        "*",
        "**",
        "_",
        "__",
        "***",
        "~~",
        "`",
        "``",
        "```",
        "```py",
        "~~~",
        "[",
        "]",
        "](",
        ")",
        "!",
        "(",
        "\\",
        "#",
        "## ",
        "> ",
    ),
    *(
        "- ",
        "1. ",
        "\n",
        "\n\n",
        " ",
        "a",
        "b c",
        "<",
        ">",
        "&",
        "|",
        "||",
        '"',
        URL,
        f"[x]({URL})",
        "<@1>",
        "<!channel>",
        "@everyone",
    ),
    *(
        "<#1>",
        "<a:b:1>",
        "tg://user?id=1",
        "[x](tg://user?id=1)",
        "<b>",
        "</b>",
        "&lt;",
        f"<{URL}>",
        "\N{GRINNING FACE}",
        "é",
    ),
]
WRITTEN = st.lists(st.one_of(st.sampled_from(SIGNS), st.text(max_size=3)), max_size=30).map("".join)


def size(text: str) -> int:
    return sum(map(utf16, text))


def shown(text: str) -> str:
    """What is seen of Markdown, with the styles in brackets."""
    names = {BOLD: "b", ITALIC: "i", STRIKE: "s", Style.LINK: "a"}

    def of(mark: Mark) -> str:
        match mark:
            case Text(words):
                return words
            case Code(code):
                return f"{{{code}}}"
            case Block(code, language):
                return f"{{{{{language}:{code}}}}}"
            case Start(style, url):
                return f"<{names[style]}{' ' * bool(url)}{url}>"
            case End(style):
                return f"</{names[style]}>"

    return "".join(map(of, parse(text)))


# What is read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**a** __b__ *c* _d_ ~~e~~", "<b>a</b> <b>b</b> <i>c</i> <i>d</i> <s>e</s>"),
        ("***a***", "<i><b>a</b></i>"),
        ("**a _b_ c**", "<b>a <i>b</i> c</b>"),
        ("**a **b** c**", "<b>a b c</b>"),
        ("*a\nb*", "<i>a\nb</i>"),
        ("2 * 3 * 4, snake_case_name, __init__ed, 5 ** 2 ** 1", "2 * 3 * 4, snake_case_name, __init__ed, 5 ** 2 ** 1"),
        (r"\*a\* \_b\_ \[c\](d) \\", "*a* _b_ [c](d) \\"),
        ("`a *b* <c>` ``d`e`` `f\ng` ` h `", "{a *b* <c>} {d`e} {f g} {h}"),
        (f"[a]({URL}) ![b](https://x) <{URL}>", f"<a {URL}>a</a> <a https://x>b</a> {URL}"),
        ('[**a** `b`](https://x "title") [[1]](https://y)', "<a https://x><b>a</b> {b}</a> <a https://y>[1]</a>"),
        ("**[a](https://x)**", "<b><a https://x>a</a></b>"),
        ("[a [b](https://x)](https://y)", "<a https://y>a [b](https://x)</a>"),
        ("**https://x.example/a_b_c**", "<b>https://x.example/a_b_c</b>"),
        ("https://x.example/*a*/", "https://x.example/*a*/"),
        ("# A *b* #\n###### C\n#d", "<b>A <i>b</i></b>\n<b>C</b>\n#d"),
        ("## **A**", "<b>A</b>"),
        ("# C#", "<b>C#</b>"),
        ("- a\n* b\n  + *c*\n1. d\n2) e", "• a\n• b\n  • <i>c</i>\n1. d\n2) e"),
        ("- *a\n- b*", "• *a\n• b*"),
        ("a *b\n\nc* d", "a *b\n\nc* d"),
        ("a\n---\n* * *\nb", "a\n———\n———\nb"),
        ("> a *b*\n\n| c | **d** |", "> a <i>b</i>\n\n| c | <b>d</b> |"),
        ("```py x\na *b*\n```\nc", "{{py:a *b*}}\nc"),
        ("~~~\na\n```\n~~~", "{{:a\n```}}"),
        ("````\n```\na\n```\n````", "{{:```\na\n```}}"),
        ("1. a\n   ```\n   b\n     c\n ```\nd", "1. a\n{{:b\n  c}}\nd"),
        ("```a``` b", "{a} b"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_is_read(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("**a", "*a", "_a", "~~a", "`a", "``a`", "[a", "[a]", "[a](", "[a](https://x", "#", "-", "# ", "[a](#b)"),
        *("**a*b", "a ~~~~", "<https://x", "[](https://x)", "[ ](https://x)", "[a](javascript:x)", "[a](tg://user?id=1)"),
    ],
)  # fmt: skip
def test_what_is_half_open_or_no_link_to_a_page_stays_as_it_is(text: str) -> None:
    assert shown(text) == text
    assert html_of(text) is None


def test_a_block_that_is_half_open_is_one() -> None:
    assert shown("```py\na") == "{{py:a}}"
    assert shown("```py") == "{{py:}}"


@settings(max_examples=200)
@given(WRITTEN)
def test_what_is_read_has_the_form_that_it_promises(text: str) -> None:
    depth: list[Style] = []
    marks = parse(text)
    for mark in marks:
        if isinstance(mark, Start):
            assert mark.style not in depth
            depth.append(mark.style)
        elif isinstance(mark, End):
            assert depth.pop() is mark.style
        else:
            assert isinstance(mark, Block) or mark.text
        if isinstance(mark, Start | End) and mark.style is Style.LINK:
            assert re.fullmatch(r"https?://[^\s<>]*", mark.url, re.IGNORECASE)
    assert depth == []
    seen = [mark[0] for mark in marks if not isinstance(mark, Start | End)]
    assert size("".join(seen)) <= size(text)


@settings(max_examples=100)
@given(st.text(max_size=40).filter(lambda text: not set(text) & set("*_~`[]<>\\#-+|\r") and "http" not in text))
def test_words_without_signs_are_left_alone(text: str) -> None:
    assert shown(text) == text
    assert html_of(text) is None
    assert mrkdwn(text) == escaped(text)


@pytest.mark.parametrize(
    "piece",
    [
        *("[", "[x[b]", "*a **b ", "` ``", "[a](https://x", '[a](https://x "b ', "a_b *c ~~", "[`", "\\["),
        *("```\n", "# #", "_ _", "~~~a\n", " ", "(", "[a]("),
    ],
)  # fmt: skip
def test_time_grows_with_the_text(piece: str) -> None:
    """So many characters would take minutes if each were compared with each."""
    text = (piece * 100_000)[:100_000]
    parse(text)
    open_marks(text)


# How Telegram shows it


def test_telegram() -> None:
    assert html_of("# A\n**b** *c* ~~d~~ `e<` [f&](https://x/?a=1&b='\")") == (
        '<b>A</b>\n<b>b</b> <i>c</i> <s>d</s> <code>e&lt;</code> <a href="https://x/?a=1&amp;b=&#x27;&quot;">f&amp;</a>'
    )
    assert html_of("```c++\na < b\n```") == '<pre><code class="language-c++">a &lt; b</code></pre>'
    assert html_of('```"><b>\na\n```') == "<pre>a</pre>"
    assert html_of("```\n```") is None  # which would be an empty message


@settings(max_examples=300)
@given(WRITTEN)
def test_telegram_can_read_all_of_it(text: str) -> None:
    html = html_of(text)
    if html is not None:
        seen = seen_in(html)
        assert seen is not None
        assert seen.strip()
        assert size(seen) <= size(text)
        assert "tg:" not in "".join(re.findall("<[^>]*>", html))


@on("telegram")
async def test_telegram_shows_plainly_what_it_cannot_read(platform: Any, tmp_path: Path, caplog: Any) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        platform.reads_html = False
        await platform.say(platform.ada, "**bold** & so")
        await platform.sees(platform.ada, "You said: **bold** & so")
        assert "without its format" in caplog.text
        assert len(platform.times(platform.ada, "post")) == 2


# How Slack shows it


def test_slack() -> None:
    assert mrkdwn("# A\n**b** *c* ~~d~~ `e<`\n- [f & **g**](https://x/?a=1&b|c)") == (
        "*A*\n*b* _c_ ~d~ `e&lt;`\n• <https://x/?a=1&amp;b%7Cc|f &amp; g>"
    )
    assert mrkdwn("**a\n_b_**") == "*a*\n*_b_*"
    assert mrkdwn("a**b**c *d*") == f"a{GAP}*b*{GAP}c _d_"
    assert mrkdwn("``a`b``") == "``a`b``"
    assert mrkdwn("```py\na\n```") == "```\na\n```"
    assert mrkdwn("````\n````a\n```\n````").count("```") == 2


@settings(max_examples=300)
@given(WRITTEN)
def test_slack_reads_no_command_and_no_mention(text: str) -> None:
    assert not set(LINK.sub("", mrkdwn(text))) & set("<>")
    assert not set(re.sub("&(?:amp|lt|gt);", "", mrkdwn(text))) & set("&")


# How Discord shows it


def test_discord() -> None:
    assert markdown("# A\n#### B\n__c__ **d** *e* _f_ ~~g~~ `h`\n+ ![i](https://x)") == (
        "# A\n**B**\n**c** **d** *e* *f* ~~g~~ `h`\n- [i](https://x)"
    )
    assert markdown(r"a \*b\* | c") == r"a \*b\* | c"
    assert markdown("<@1> @here ||a|| <b>") == f"<{GAP}@1> @{GAP}here |{GAP}|a|{GAP}| <b>"
    assert markdown("**a <**@1>** b**").count("<@") == 0
    assert markdown("~~~py\n````\n~~~") == f"```py\n`{GAP}`{GAP}``\n```"


@settings(max_examples=300)
@given(WRITTEN.map(lambda text: text.replace("`", "").replace("~", "")))
def test_discord_reads_no_mention_but_in_code(text: str) -> None:
    """Code stays as it is: there Discord shows what stands in it, and the bot lets nothing mention anybody anyway."""
    assert not re.search("<[@#:]|@everyone|@here", markdown(text))


@settings(max_examples=100)
@given(st.text(st.sampled_from("`ab\n"), max_size=30))
def test_code_for_discord_and_slack_ends_where_it_should(code: str) -> None:
    assert in_fences(code).count("```") == 2


# In pieces


@pytest.mark.parametrize("sign", ["**", "*", "__", "~~", "***"])
def test_words_in_a_style_that_are_too_long_have_it_in_every_piece(sign: str) -> None:
    pieces = split(f"Look: {sign}{'word ' * 60}end{sign} of it", 100)
    assert len(pieces) > 3
    inner = [shown(piece) for piece in pieces]
    assert all(sign not in text for text in inner)
    assert all(text.startswith("<") for text in inner[1:])
    assert " ".join(re.sub("<.*?>", "", text) for text in inner) == f"Look: {'word ' * 60}end of it"


@pytest.mark.parametrize(
    "short", ["**in some bold words**", f"[a link to it]({URL})", "`some code of it`", "_so many words_"]
)
def test_what_is_short_is_not_cut(short: str) -> None:
    for length in range(95):
        pieces = split("a" * length + " " + short + " b" * 80, 100)
        assert sum(short in piece for piece in pieces) == 1, pieces


def test_a_longer_fence_is_closed_by_one_as_long() -> None:
    pieces = split("````md\n" + "```\nx\n```\n" * 20 + "````\nDone.", 100)
    assert len(pieces) > 2
    assert all(shown(piece).startswith("{{md:```\n") for piece in pieces)
    assert pieces[-1].endswith("Done.")


@settings(max_examples=150)
@given(WRITTEN.map(lambda text: text * 4), st.integers(0, 300))
def test_pieces_stay_and_have_room(text: str, length: int) -> None:
    pieces = split(text, 100)
    assert all(size(piece) <= 100 and piece.strip() for piece in pieces)
    earlier = split(text[:length], 100)[:-1]
    assert pieces[: len(earlier)] == earlier


# While it grows, on each platform


EXPECTED = {
    "telegram": [
        "<b>The plan</b>",
        "Some <b>bold words</b>, <i>italics</i>, <code>a &lt; b</code> and "
        '<a href="https://x.example/?a=1&amp;b=2">a link</a>.',
        "• one &lt;!channel&gt; &lt;@1&gt; @everyone\n• two",
        '<pre><code class="language-python">if a &lt; b:\n    pass</code></pre>\nDone &amp; &lt;b&gt;so&lt;/b&gt;',
    ],
    "slack": [
        "*The plan*",
        "Some *bold words*, _italics_, `a &lt; b` and <https://x.example/?a=1&amp;b=2|a link>.",
        "• one &lt;!channel&gt; &lt;@1&gt; @everyone\n• two",
        "```\nif a &lt; b:\n    pass\n```\nDone &amp; &lt;b&gt;so&lt;/b&gt;",
    ],
    "discord": [
        "# The plan",
        "Some **bold words**, *italics*, `a < b` and [a link](https://x.example/?a=1&b=2).",
        f"- one <!channel> <{GAP}@1> @{GAP}everyone\n- two",
        "```python\nif a < b:\n    pass\n```\nDone & <b>so</b>",
    ],
}


async def test_an_answer_in_the_way_of_the_platform(platform: Any, tmp_path: Path) -> None:
    async with bots(platform, tmp_path) as (_, start):
        await start()
        await platform.say(platform.ada, "formatted")
        expected = "\n\n".join(EXPECTED[platform.name])
        await platform.until(lambda: platform.written(platform.ada) == [expected])
        assert len(platform.times(platform.ada, "edit")) > 5
        assert len(platform.times(platform.ada, "post")) == 1
