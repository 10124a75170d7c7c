"""Words on their way through nginx: buffered or not, by HTTP/1.0 or 1.1, and cut by the service behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conversations.support import AGENT, methods
from tests.faults.support import eventually
from toolhouse_async import (
    StreamInterruptedError,
    StreamRecovered,
    TextDelta,
    UnexpectedContentError,
)

from .support import DEFAULTS, PASS, WHOLE, Proxied

LINE = len(b'{"type":"text","text":"one"}\n')
"""Bytes of the first word's line."""


@pytest.mark.parametrize("family", ["ndjson", "text"])
@pytest.mark.parametrize(
    "location",
    ["proxy_buffering off; proxy_http_version 1.1;", "proxy_buffering off;", "proxy_http_version 1.1;"],
    ids=["both", "unbuffered", "version"],
)
async def test_words_come_as_they_are_said(proxied: Proxied, family: Any, location: str) -> None:
    """Without buffering; and in 1.1 also with it, since nginx passes the chunks on that it has read."""
    heard = asyncio.Event()
    proxied.pausing(heard.is_set, only="one two")
    toolhouse = await proxied.client(await proxied.nginx(location))
    said = []
    async for event in toolhouse.stream(AGENT, "one two", format=family):
        if isinstance(event, TextDelta):
            said.append(event.text)
            heard.set()  # the second word is not said before the first one was heard
    assert "".join(said) == "one two"
    proxied.accepted("POST one two")


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_nothing_comes_before_the_end_by_default_and_the_turn_is_right(proxied: Proxied, family: Any) -> None:
    may_end = asyncio.Event()
    proxied.pausing(may_end.is_set)
    toolhouse = await proxied.client(await proxied.nginx(DEFAULTS))
    turn = toolhouse.stream(AGENT, WHOLE, format=family)
    reading = asyncio.create_task(proxied.read(turn))
    await asyncio.wait([reading], timeout=0.3)
    assert (proxied.events, turn.run_id) == ([], None)  # not even the headers
    may_end.set()
    assert (await reading).text == WHOLE
    proxied.accepted(f"POST {WHOLE}")


async def test_the_service_can_turn_buffering_off_itself(proxied: Proxied) -> None:
    heard = asyncio.Event()
    proxied.pausing(heard.is_set, only="one two")
    proxied.emulator.faults.add(headers={"X-Accel-Buffering": "no"})
    toolhouse = await proxied.client(await proxied.nginx(DEFAULTS))
    async for event in toolhouse.stream(AGENT, "one two"):
        if isinstance(event, TextDelta):
            heard.set()
    proxied.accepted("POST one two")


@pytest.mark.parametrize("buffering", ["on", "off"])
async def test_a_long_answer_is_whole_and_in_order(proxied: Proxied, buffering: str) -> None:
    words = " ".join(f"word{number:06d}" for number in range(20_000))
    toolhouse = await proxied.client(await proxied.nginx(f"proxy_buffering {buffering};"))
    result = await proxied.read(toolhouse.stream(AGENT, words))
    assert result.text == words
    proxied.accepted(f"POST {words}")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("settle", ["auto", True])
async def test_either_version_of_http_brings_a_whole_answer(proxied: Proxied, version: str, settle: Any) -> None:
    toolhouse = await proxied.client(await proxied.nginx(f"proxy_buffering off; proxy_http_version {version};"))
    async with toolhouse.session(AGENT) as session:
        for message in ("one two", "three"):
            result = await session.send(message, settle=settle)
            assert (result.text, result.recovered) == (message, False)
    looks = methods(proxied.server).count("GET")
    assert looks == 0 if settle == "auto" else looks >= 4
    proxied.accepted("POST one two", "PUT three")


def cut(proxied: Proxied, how: str, after: int, **more: Any) -> None:
    """Let the service break off its answer to a message."""
    proxied.emulator.faults.add(method="POST", cut=how, cut_after=after, **more)


ONE_ZERO = "proxy_buffering off; proxy_http_version 1.0;"
PACKS = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; gzip_http_version 1.0; gzip_vary on;"
UNFRAMED = {"close_delimited": True}
"""What a service makes of a request by HTTP/1.0: the connection's end is the answer's."""


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_cut_behind_nginx_is_healed(proxied: Proxied, how: str) -> None:
    cut(proxied, how, LINE)
    toolhouse = await proxied.client(await proxied.nginx(PASS))
    assert (await proxied.read(toolhouse.stream(AGENT, WHOLE))).text == WHOLE
    proxied.accepted(f"POST {WHOLE}")


async def test_what_came_before_a_cut_behind_nginx_is_delivered(proxied: Proxied) -> None:
    cut(proxied, "fin", LINE)
    toolhouse = await proxied.client(await proxied.nginx(PASS))
    with pytest.raises(StreamInterruptedError) as caught:
        await proxied.read(toolhouse.stream(AGENT, WHOLE, recover=False))
    assert caught.value.partial.text == "one"
    assert TextDelta("one") in proxied.events
    assert caught.value.run_id is not None
    proxied.accepted(f"POST {WHOLE}")


@pytest.mark.parametrize("family", ["ndjson", "text"])
async def test_a_cut_that_nginx_makes_a_clean_end_is_seen_by_settle_true_alone(proxied: Proxied, family: Any) -> None:
    """By HTTP/1.0 the service's end is the answer's; nginx then proves to the client that this is the whole of it."""
    after = LINE if family == "ndjson" else len("one")
    for _ in range(2):
        cut(proxied, "fin", after, **UNFRAMED)
    toolhouse = await proxied.client(await proxied.nginx(ONE_ZERO))
    result = await toolhouse.run(AGENT, WHOLE, format=family)
    seen = family == "text"  # which is looked at in any case; in NDJSON "auto" cannot know
    assert (result.text, result.recovered) == (WHOLE if seen else "one", seen)
    result = await proxied.read(toolhouse.stream(AGENT, WHOLE, format=family, settle=True))
    assert (result.text, result.recovered) == (WHOLE, True)
    assert StreamRecovered(WHOLE, " two three four") in proxied.events
    proxied.accepted(f"POST {WHOLE}", f"POST {WHOLE}")


async def test_a_cut_that_nginx_makes_a_clean_end_is_an_error_without_recovery(proxied: Proxied) -> None:
    cut(proxied, "fin", LINE, **UNFRAMED)
    toolhouse = await proxied.client(await proxied.nginx(ONE_ZERO))
    with pytest.raises(StreamInterruptedError) as caught:
        await toolhouse.run(AGENT, WHOLE, settle=True, recover=False)
    assert caught.value.partial.text == "one"
    proxied.accepted(f"POST {WHOLE}")


@pytest.mark.parametrize("after", [LINE + 1, LINE + 20])
async def test_a_clean_end_within_a_line_is_seen_by_default(proxied: Proxied, after: int) -> None:
    cut(proxied, "fin", after, **UNFRAMED)
    toolhouse = await proxied.client(await proxied.nginx(ONE_ZERO))
    result = await toolhouse.run(AGENT, WHOLE)
    assert (result.text, result.recovered) == (WHOLE, True)
    proxied.accepted(f"POST {WHOLE}")


async def test_a_clean_end_is_doubted_by_default_where_nginx_does_not_prove_it(proxied: Proxied) -> None:
    """Without chunks of its own, nginx passes the service's doubtful framing on: enough for ``settle="auto"``."""
    cut(proxied, "fin", LINE, **UNFRAMED)
    toolhouse = await proxied.client(await proxied.nginx(f"{ONE_ZERO} chunked_transfer_encoding off;"))
    for recovered in (True, False):
        result = await toolhouse.run(AGENT, WHOLE)
        assert (result.text, result.recovered) == (WHOLE, recovered)
    assert "POST GET" in methods(proxied.server).removeprefix("POST GET")  # a whole answer is looked at too
    proxied.accepted(f"POST {WHOLE}", f"POST {WHOLE}")


@pytest.mark.parametrize("location", [ONE_ZERO, DEFAULTS], ids=["unbuffered", "buffered"])
async def test_a_reset_behind_nginx_is_seen_by_default(proxied: Proxied, location: str) -> None:
    """Some of what nginx had buffered may come before the cut; the rest comes from the history."""
    cut(proxied, "rst", LINE, **UNFRAMED)
    toolhouse = await proxied.client(await proxied.nginx(location))
    result = await proxied.read(toolhouse.stream(AGENT, WHOLE))
    assert (result.text, result.recovered) == (WHOLE, True)
    proxied.accepted(f"POST {WHOLE}")


async def test_nothing_is_compressed_where_nginx_compresses_everything(proxied: Proxied) -> None:
    toolhouse = await proxied.client(await proxied.nginx(f"{PASS} {PACKS}"))
    async with toolhouse.session(AGENT) as session, session.stream(WHOLE * 100) as turn:
        assert (await turn.result()).text == WHOLE * 100
        assert turn.headers["Vary"] == "Accept-Encoding"  # it was looked at
        assert "Content-Encoding" not in turn.headers
        assert [message.text for message in await session.history()] == [WHOLE * 100] * 2
    assert {request.headers["Accept-Encoding"] for request in proxied.server.requests} == {"identity"}
    proxied.accepted(f"POST {WHOLE * 100}")


async def test_what_nginx_compresses_in_spite_of_us_is_refused(proxied: Proxied) -> None:
    """Two in a row, of which the first asks for gzip on its own account."""
    inner = f"listen unix:{proxied.folder}/inner; {PACKS} location / {{ {PASS} proxy_pass http://{{upstream}}; }}"
    outer = f"{PASS} proxy_set_header Accept-Encoding gzip; proxy_pass http://unix:{proxied.folder}/inner;"
    toolhouse = await proxied.client(await proxied.nginx(outer, http=f"server {{ {inner} }}"))
    with pytest.raises(UnexpectedContentError) as caught:
        await toolhouse.run(AGENT, WHOLE)
    assert caught.value.run_id is not None
    proxied.accepted(f"POST {WHOLE}")


@pytest.mark.parametrize("ignored", [False, True], ids=["passed on", "ignored"])
async def test_the_service_hears_of_a_reader_who_leaves(proxied: Proxied, ignored: bool) -> None:
    """Unless nginx is told to ignore it; then the answer goes to its end, as the history shows."""
    proxied.emulator.on_disconnect = "stop"
    left = asyncio.Event()
    worker = proxied.pausing(left.is_set if ignored else lambda: False)
    toolhouse = await proxied.client(
        await proxied.nginx(f"{PASS} proxy_ignore_client_abort {'on' if ignored else 'off'};")
    )
    async with toolhouse.session(AGENT) as session:
        async with session.stream(WHOLE) as turn:
            async for event in turn:
                if isinstance(event, TextDelta):
                    break
        left.set()
        if ignored:
            history: list[str] = []
            while history != [WHOLE, WHOLE]:
                history = [message.text for message in await session.history()]
        else:
            await eventually(lambda: worker.cancelled)
    proxied.accepted(f"POST {WHOLE}")
