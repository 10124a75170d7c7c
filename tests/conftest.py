"""The event loop of the async tests, and the guards around every test."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support import guards
from tests.support.guards import no_leftover_resources, no_leftover_tasks
from tests.support.virtual_time import VirtualTimeLoop

HERE = Path(__file__).parent
OTHER_PROGRAMS = (
    "benchmarks",
    "ci",
    "crash",
    "frameworks",
    "mcp/client",
    "mcp/processes",
    "proxies",
    "soak",
    "web/frameworks",
)
"""Folders of tests that measure, or need other programs and packages."""

AROUND = (
    "batch/test_tables.py",
    "bots",
    "chat",
    "docs",
    "web/clients",
    "cli/conversation/test_chat.py",
    "cli/conversation/test_lines.py",
    "cli/sessions/test_asking.py",
    "support/test_guards.py",
    "test_map_tables.py",
    *(
        f"cli/test_{name}.py"
        for name in ("batch_stopped", "completion", "csv_analyst", "demo", "demo_web", "emulator", "run")
    ),
    "cli/test_serve_openai.py",
    "cli/test_streams.py",
)
"""Tests of what stands around the library, each in processes, in a browser or on a platform."""

SEARCHES = (
    "batch/test_every_pass.py",
    "batch/test_every_step.py",
    "cancellation/test_every_pass.py",
    "cancellation/test_every_wait.py",
    "exactly_once/test_every_cut.py",
    "exactly_once/test_many_runs.py",
    "exactly_once/test_switches.py",
    "explore",
    "fuzz",
    "manager/test_every_pass.py",
    "manager/test_every_round.py",
    "manager/test_every_wait.py",
    "model",
    "security/test_endless.py",
    "turn/test_histories.py",
)
"""Tests of very many cases, or of very large ones."""

THOROUGH = (*OTHER_PROGRAMS, *AROUND, *SEARCHES)
"""Folders and files of tests that need other programs or much time: ``-m "not thorough"`` leaves them out."""

# No clock decides about a test, and each run has the same examples; "exploring" has new ones, "brief" has few.
settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("everyday", settings.get_profile("exploring"), derandomize=True)
settings.register_profile("brief", settings.get_profile("everyday"), max_examples=20)
settings.load_profile("everyday")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Two workers more than processors: tests wait for processes. Each worker more loads all tests again."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # the plugin's own setting
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 2


def pytest_configure() -> None:
    """Set what tests, and the processes that they start, inherit.

    Ctrl-C has its meaning, which a shell that starts the tests in the background takes from it. No certificate of the
    system's is read, which takes a tenth of the time in which a process begins: tests talk to this machine alone. Where
    lines are counted, those of processes are not, which takes half of their time, but for tests that are ``traced``.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.setdefault(name, os.devnull)
    if "PYTEST_XDIST_WORKER" in os.environ:  # which is such a process itself
        for name in {"COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"} & os.environ.keys():
            _TRACING[name] = os.environ.pop(name)


_TRACING: dict[str, str] = {}
"""What coverage tells this process for those that it starts."""


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count the lines of the processes that the test starts, where those of the tests are counted."""
    for name, value in _TRACING.items():
        monkeypatch.setenv(name, value)


_THOROUGH = tuple(f"{HERE / place}{os.sep}" for place in THOROUGH)


@cache
def is_thorough(path: Path) -> bool:
    """Whether tests there are thorough, all of them."""
    return f"{path}{os.sep}".startswith(_THOROUGH)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no tests that the mark leaves out: what they need takes half a minute to load."""
    chosen = config.option.markexpr
    if chosen == "not thorough" and is_thorough(collection_path):
        return True
    leads_there = any(place.startswith(f"{collection_path}{os.sep}") for place in _THOROUGH)
    if chosen == "thorough" and not is_thorough(collection_path) and not leads_there:
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is thorough, before options choose by the mark."""
    for item in items:
        if is_thorough(item.path):
            item.add_marker(pytest.mark.thorough)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long value by its argument: pytest puts the name into the environment, where a process then cannot start.

    pytest does so itself from 9.2 on.
    """
    return argname if isinstance(val, str | bytes) and len(val) > 100 else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for garbage once the tests are collected, not again and again while they are: most of it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Keep what is loaded by now out of every later collection, which would take many times as long."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Have the guards look at all objects behind the last test."""
    guards.is_last = nextitem is None


@pytest.fixture(scope="module")
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Virtual time, unless the module says ``REAL_TIME = True``."""
    real = getattr(request.module, "REAL_TIME", False)
    return "asyncio", {"loop_factory": asyncio.SelectorEventLoop if real else VirtualTimeLoop}


@pytest.fixture
async def loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """The event loop of the test, kept open until what depends on this fixture is torn down."""
    yield asyncio.get_running_loop()  # noqa: PT022 - a fixture that returns lets go of the loop at once


@pytest.fixture
def pytester(pytester: pytest.Pytester) -> pytest.Pytester:
    """With settings of its own: else it takes this project's, where temporary files lie in its folder."""
    pytester.makeini("[pytest]")
    return pytester


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
