"""The guards fail for each kind of thing left behind, and for nothing else."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import guards
from tests.support.guards import no_leftover_resources, no_leftover_tasks

_ON_LINUX = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system lists no open files")
Failed = pytest.fail.Exception


@pytest.fixture
def stopped_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_a_pending_task_fails(stopped_loop: asyncio.AbstractEventLoop) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Failed, match="forever"), no_leftover_tasks(stopped_loop):
        task = stopped_loop.create_task(forever())
    with no_leftover_tasks(stopped_loop):  # it was there before
        pass
    task.cancel()
    with no_leftover_tasks(stopped_loop):  # about to finish
        stopped_loop.create_task(asyncio.sleep(0))


@_ON_LINUX
def test_an_open_socket_fails() -> None:
    with pytest.raises(Failed, match="socket:"), no_leftover_resources():
        left = socket.socket()
    left.close()
    with no_leftover_resources(), socket.socket():
        pass


def test_a_running_thread_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.guards._JOIN", 0.01)
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="left-running")
    with pytest.raises(Failed, match="left-running"), no_leftover_resources():
        thread.start()
    release.set()
    thread.join()


class Kept:
    """In use first, and then garbage that refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_was_in_use_for_some_tests_is_found_behind_the_one_that_lets_go(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [Kept()]
    found = weakref.ref(kept[0])
    monkeypatch.setattr(guards, "_tests", itertools.count(1))
    for _ in range(guards._KEPT - 2):
        with no_leftover_resources():
            pass
    assert found() is not None
    with no_leftover_resources():
        kept.clear()
    assert found() is None


def test_what_was_in_use_for_many_tests_is_found_later(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [Kept()]
    found = weakref.ref(kept[0])
    monkeypatch.setattr(guards, "_tests", itertools.count(guards._AFRESH - guards._KEPT))
    with no_leftover_resources():
        pass
    kept.clear()
    for _ in range(guards._KEPT - 1):
        with no_leftover_resources():
            pass
        assert found() is not None
    with no_leftover_resources():
        pass
    assert found() is None


def test_what_was_in_use_for_many_tests_is_found_behind_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [Kept()]
    found = weakref.ref(kept[0])
    monkeypatch.setattr(guards, "_tests", itertools.count(guards._KEPT))
    with no_leftover_resources():
        pass
    kept.clear()
    with no_leftover_resources():
        pass
    assert found() is not None
    monkeypatch.setattr(guards, "is_last", True)
    with no_leftover_resources():
        pass
    assert found() is None


def test_the_guards_are_told_which_test_is_the_last(pytester: pytest.Pytester) -> None:
    repository = Path(__file__).parents[2]
    pytester.makeconftest((repository / "tests" / "conftest.py").read_text("utf-8"))
    pytester.makepyfile(
        """
        import pytest
        from tests.support import guards

        @pytest.fixture(autouse=True)
        def tell(guard_resources, request):
            yield
            print(f"\\n{request.node.name}: {guards.is_last}")

        def test_first(): pass
        def test_second(): pass
        """
    )
    result = pytester.runpytest_subprocess("-s", "-p", "no:randomly", "-o", f"pythonpath={repository}")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_first: False*", "*test_second: True*"])


def test_unreachable_objects_warn_in_the_test_that_made_them(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Path(__file__).parents[2]
    pytester.makeconftest((repository / "tests" / "conftest.py").read_text("utf-8"))
    pytester.makepyfile(
        """
        import asyncio, socket

        async def test_leaves_a_socket_in_a_cycle():
            cycle = [socket.socket()]
            cycle.append(cycle)

        async def test_leaves_a_task():
            global task
            task = asyncio.create_task(asyncio.Event().wait())

        async def test_leaves_nothing():
            await asyncio.sleep(1000)
        """
    )
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # some take long to load
    plugins = ["-p", "anyio.pytest_plugin"]
    settings = ["-W", "error", "-o", "anyio_mode=auto", "-o", f"pythonpath={repository}"]
    result = pytester.runpytest_subprocess(*plugins, *settings)
    result.assert_outcomes(passed=3, errors=2)
    output = result.stdout
    output.fnmatch_lines(["*ERROR at teardown of test_leaves_a_socket_in_a_cycle*", "*ResourceWarning*"])
    output.fnmatch_lines(["*ERROR at teardown of test_leaves_a_task*", "*tasks left behind*"])


@pytest.mark.parametrize("value", ["a" * 200_000, b"\0" * 200_000, b"\0" * 200_001])
def test_processes_start_where_a_test_has_a_long_value(value: str | bytes) -> None:
    assert subprocess.run([sys.executable, "-Ic", ""], check=False).returncode == 0
