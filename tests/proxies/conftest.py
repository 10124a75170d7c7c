"""nginx, or why there is none; a real clock."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme

from .support import Proxied

LOOPS: list[Any] = [pytest.param(("asyncio", {"loop_factory": asyncio.SelectorEventLoop}), id="asyncio")]
if os.environ.get("TOOLHOUSE_TEST_UVLOOP"):
    import uvloop

    LOOPS.append(pytest.param(("asyncio", {"loop_factory": uvloop.new_event_loop}), id="uvloop"))


@pytest.fixture(scope="session", autouse=True)
def warm_loops() -> None:
    """Let each kind of loop open what it keeps for the life of the process."""
    for loop in LOOPS:
        with asyncio.Runner(**loop.values[0][1]) as runner:
            runner.run(asyncio.sleep(0))


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Real time: nginx has a clock of its own."""
    return request.param


def need(program: str | None, environment: Mapping[str, str]) -> str:
    """Return the program; where there is none fail in CI, else skip."""
    if program is None:
        why = "needs nginx on Linux, with http_ssl and http_v2 (Debian: apt-get install nginx-light)"
        if environment.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return program


@pytest.fixture(scope="session")
def nginx_program() -> str:
    """The path of nginx."""
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]
    is_linux = sys.platform == "linux"  # processes are looked up in /proc
    return need(shutil.which("nginx", path=os.pathsep.join(folders)) if is_linux else None, os.environ)


@pytest.fixture
async def proxied(nginx_program: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Proxied]:
    """An emulator, and nginx before it once the test starts one; the test must end in ``proxied.accepted(...)``."""
    failed = request.session.testsfailed
    async with Proxied(nginx_program, tmp_path) as proxied:
        yield proxied
    assert proxied.is_checked or request.session.testsfailed > failed, "the test does not end in proxied.accepted()"


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs nginx's certificate."""
    return trustme.CA()
