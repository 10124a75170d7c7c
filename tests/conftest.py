"""The event loop of the async tests, and the guards around every test."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.guards import no_leftover_resources, no_leftover_tasks
from tests.support.virtual_time import VirtualTimeLoop

THOROUGH = ("benchmarks", "chat/browser", "crash", "docs/browser", "proxies", "soak", "web/frameworks")
"""Folders of tests that need other programs or much time: ``-m "not thorough"`` leaves them out."""

# No clock decides about a test, and each run has the same examples; "exploring" has new ones, "brief" has few.
settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("everyday", settings.get_profile("exploring"), derandomize=True)
settings.register_profile("brief", settings.get_profile("everyday"), max_examples=20)
settings.load_profile("everyday")


def pytest_configure() -> None:
    """Give Ctrl-C back its meaning, for the processes that tests start and interrupt too.

    A shell that starts the tests in the background has it ignored, and processes inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is thorough, before options choose by the mark."""
    folders = [Path(__file__).parent / folder for folder in THOROUGH]
    for item in items:
        if any(folder in item.path.parents for folder in folders):
            item.add_marker(pytest.mark.thorough)


def pytest_collection_finish() -> None:
    """Keep what is loaded by now out of every later collection, which would take many times as long."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Virtual time, unless the module says ``REAL_TIME = True``."""
    real = getattr(request.module, "REAL_TIME", False)
    return "asyncio", {"loop_factory": asyncio.SelectorEventLoop if real else VirtualTimeLoop}


@pytest.fixture
async def loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """The event loop of the test, kept open until what depends on this fixture is torn down."""
    yield asyncio.get_running_loop()  # noqa: PT022 - a fixture that returns lets go of the loop at once


@pytest.fixture(autouse=True)
def guard_resources() -> Iterator[None]:
    """No thread, file or socket is left once the test's event loop is closed."""
    with no_leftover_resources():
        yield


@pytest.fixture(autouse=True)
def guard_tasks(request: pytest.FixtureRequest, guard_resources: None) -> Iterator[None]:
    """No task is left when the async test and its fixtures are done."""
    if "anyio_backend" not in request.fixturenames:
        yield
        return
    with no_leftover_tasks(request.getfixturevalue("loop")):
        yield
