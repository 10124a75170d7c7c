"""The page on reverse proxies: its settings serve as it says, and the tests that it names are there."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import trustme

from tests.conversations.support import AGENT
from tests.docs.blocks import ROOT, read_blocks
from tests.docs.test_pages import rows
from toolhouse_async import ServerError, TextDelta, Timeouts

from .support import Job, Proxied
from .test_tls import secured

PAGE = "how-to/reverse-proxies.md"
TEXT = (ROOT / "docs" / PAGE).read_text("utf-8")
SETTINGS, RATE_LIMIT = (block.code for block in read_blocks(TEXT, PAGE) if block.language == "nginx")
LINES = [line.strip().removesuffix(";") for line in SETTINGS.splitlines()[1:-1]]


def test_every_test_that_the_page_names_is_there() -> None:
    code = "\n".join(file.read_text("utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", TEXT)
    assert named
    assert [name for name in named if f"async def {name}(" not in code] == []


def test_every_setting_is_explained() -> None:
    explained = [setting for settings, *_ in rows(PAGE, "setting") for setting in settings]
    assert [line for line in LINES if not line.startswith(tuple(explained))] == [LINES[0]]
    assert LINES[0].startswith("proxy_pass ")
    assert [each for each in explained if not any(line.startswith(each) for line in LINES)] == []


def test_the_read_timeout_is_at_least_the_clients() -> None:
    (seconds,) = re.findall(r"proxy_read_timeout (\d+)s;", SETTINGS)
    timeouts = Timeouts()
    assert int(seconds) >= max(timeouts.response or 0, timeouts.idle or 0)


def test_the_rate_limit_is_that_of_its_test() -> None:
    assert RATE_LIMIT.strip() in (Path(__file__).parent / "test_limits.py").read_text("utf-8")


async def of_the_page(proxied: Proxied, authority: trustme.CA) -> str:
    """The page's settings, with a service of the test's own in place of Toolhouse's; it speaks TLS."""
    generous = "client_max_body_size 0; proxy_buffer_size 16k; proxy_buffers 8 16k;"
    service = await secured(proxied, authority, "localhost", server=generous)
    trusted = proxied.folder / "trusted.pem"
    authority.cert_pem.write_to_path(trusted)
    settings = "".join(f"{line};\n" for line in LINES)
    settings = re.sub(r"(?<=proxy_pass ).*(?=;)", service.url, settings)
    settings = re.sub(r"(?<=proxy_ssl_trusted_certificate ).*(?=;)", str(trusted), settings)
    return f"{settings} proxy_ssl_name localhost;"


async def test_the_settings_of_the_page_keep_a_conversation_whole(proxied: Proxied, authority: trustme.CA) -> None:
    heard = asyncio.Event()
    proxied.pausing(heard.is_set, only="one two")
    toolhouse = await proxied.client(await proxied.nginx(await of_the_page(proxied, authority)))
    large = "x" * 5_000_000
    async with toolhouse.session(AGENT) as session:
        async for event in session.stream("one two"):
            if isinstance(event, TextDelta):
                heard.set()  # words come as they are said
        assert (await session.send(large)).text == large
        proxied.emulator.faults.add(method="PUT", headers={"X-Trace": "x" * 6000})
        assert (await session.send("long headers")).text == "long headers"
        proxied.emulator.faults.add(method="PUT", cut="rst", accept=True)
        with pytest.raises(ServerError):
            await session.send("once")
        result = await session.reconcile()
        assert result is not None
        assert result.text == "once"
    proxied.accepted("POST one two", f"PUT {large}", "PUT long headers", "PUT once")


async def test_the_settings_of_the_page_carry_a_job(proxied: Proxied, authority: trustme.CA) -> None:
    Job(proxied, polls=3)
    toolhouse = await proxied.client(await proxied.nginx(await of_the_page(proxied, authority)))
    assert (await toolhouse.run(AGENT, "hi")).text == "working, done"
    proxied.accepted("POST hi", "PUT ")
